"""Secrets in XML, JSON and plain text."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import msgspec
import pytest

from libvirt_proto.redact.text import redact_qmp, redact_text, redact_xml
from tests.support.markers import MARKER, QMP, TEXT, XML, found
from tests.support.work import assert_linear, grown

M = MARKER
X = "x" * len(M)


@pytest.mark.parametrize("text", XML)
def test_xml_markers_are_gone(text: str) -> None:
    done = redact_xml(text)
    assert not found(done)
    assert len(done.encode()) == len(text.encode())
    assert redact_xml(done) == done


@pytest.mark.parametrize("text", QMP)
def test_qmp_markers_are_gone(text: str) -> None:
    done = redact_qmp(text)
    assert not found(done)
    assert len(done.encode()) == len(text.encode())
    assert redact_qmp(done) == done


@pytest.mark.parametrize("text", TEXT)
def test_text_markers_are_gone(text: str) -> None:
    done = redact_text(text)
    assert not found(done)
    assert len(done.encode()) == len(text.encode())
    assert redact_text(done) == done


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<a passwd='{M}' port='1'/>", f"<a passwd='{X}' port='1'/>"),
        (f'<a passwd = "{M}"\n/>', f'<a passwd = "{X}"\n/>'),
        (f"<v:a V:PassWD='é{M}'/>", f"<v:a V:PassWD='xx{X}'/>"),
        (f"<password>\n <b>{M}</b>\n</password>", f"<password>\n <b>{X}</b>\n</password>"),
        (f"<password><![CDATA[{M}]]></password>", f"<password><![CDATA[{X}]]></password>"),
        (f"<secret>{M}<uuid>1</uuid></secret>", f"<secret>{X}<uuid>1</uuid></secret>"),
        (f"<a>https://me:{M}@h/</a>", f"<a>https://me:{X}@h/</a>"),
    ],
)
def test_blanks_exactly_the_secret_in_xml(text: str, expected: str) -> None:
    assert redact_xml(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<domain type='kvm'><name>my-secret</name><memory unit='KiB'>1</memory></domain>",
        "<graphics type='vnc' passwdValidTo='2030-01-01T00:00:00'/>",
        "<auth username='u'><secret type='ceph' uuid='6dd3e4a5-1d76-44ce-961f-f119f5aad935'/></auth>",
        "<secret ephemeral='no'><uuid>1</uuid><usage type='ceph'><name>a secret</name></usage></secret>",
        "<tpm><backend><encryption secret='6dd3e4a5-1d76-44ce-961f-f119f5aad935'/></backend></tpm>",
        "<?xml version='1.0'?>\n<!-- made by virsh -->\n<a mode='passthrough'/>\n",
        "",
    ],
)
def test_keeps_xml_without_secrets(text: str) -> None:
    assert redact_xml(text) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"execute":"query-status","id":"libvirt-1"}',
        '{"execute":"expire_password","arguments":{"protocol":"vnc","time":"now"}}',
        '{"execute":"blockdev-add","arguments":{"driver":"rbd","key-secret":"libvirt-1-storage-secret0"}}',
        '{"event":"STOP","data":{"reason":"paused","n":[1,2.5,true,null]}}',
        "info block",
        "qemu+ssh://root@192.0.2.1/system",
        "/var/lib/libvirt/secrets/secret.img",
        "vm-password-store",
        "domain is not running",
    ],
)
def test_keeps_text_without_secrets(text: str) -> None:
    assert redact_text(text) == text
    assert redact_qmp(text) == text


def test_redacted_documents_stay_well_formed() -> None:
    for text in XML[:3] + XML[4:13]:
        if not text.startswith("<!"):
            ElementTree.fromstring(text)
            ElementTree.fromstring(redact_xml(text))
    for text in QMP:
        try:
            json.loads(text)
        except ValueError:
            continue
        msgspec.json.decode(redact_qmp(text))


def test_json_numbers_stay_numbers() -> None:
    assert redact_qmp('{"password":[12,-3.5e7,null,true]}') == '{"password":[11,111111,null,true]}'


def test_depth_is_bounded() -> None:
    assert redact_xml("<a>" * 200 + "</a>" * 200).startswith("<a>")
    assert set(redact_xml("<a>" * 300 + "</a>" * 300)) == {"x"}
    assert set(redact_qmp("[" * 100_000 + "]" * 100_000)) == {"x"}


@pytest.mark.parametrize(
    "piece",
    [
        "<a p='",
        "<!--",
        "<![CDATA[",
        "<a ",
        " ",
        "://a:",
        "a://b:c@d ",
        "<a b='c'/>",
        '"',
        "{",
        '{"a":',
        "\\u00",
        "&#1",
        "%2525",
        "<a>password</a>",
        "<?",
    ],
)
def test_work_grows_linearly(piece: str) -> None:
    for change in (redact_text, redact_xml, redact_qmp):
        for head in ("", "<a>", "<a b='", '{"a":"', "@"):
            assert_linear(*grown(lambda n, c=change, h=head: lambda: c(h + piece * n), 100))  # type: ignore[misc]
