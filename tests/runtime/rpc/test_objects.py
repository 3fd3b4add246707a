"""Objects of messages: in structs, look-ups and descriptions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.rpc.message import Message, MessageDecoder
from libvirt_proto.rpc.objects import NamedObject, ObjectFinder
from libvirt_proto.rpc.xml_description import name_and_uuid
from tests.support.frames import error_payload, frame, text, word

DEFINITIONS = registry.default()
REMOTE = DEFINITIONS.program("remote")
FINDER = ObjectFinder(DEFINITIONS)
UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
PLAIN = UUID.replace("-", "")
CALL, REPLY, ERROR = 0, 1, 1


def message(procedure: str, payload: bytes, **header: int) -> Message:
    number = REMOTE.procedure(procedure).number
    return MessageDecoder(DEFINITIONS).decode(frame(payload, proc=number, **header))


FAILED = {"type_": REPLY, "status": ERROR}


@pytest.mark.parametrize(
    ("procedure", "xml", "expected"),
    [
        (
            "domain_define_xml_flags",
            f"<?xml version='1.0'?>\n<!-- <name>no</name> --><domain><name>vm1</name><uuid>{UUID}</uuid>",
            NamedObject("domain", "vm1", UUID),
        ),
        (
            "domain_create_xml",
            "<domain><os><name>no</name></os><name>a &lt; b</name>",
            ("domain", "a < b", None),
        ),
        ("domain_define_xml", "<domain><name><![CDATA[vm1]]></name><os></domain>", ("domain", "vm1", None)),
        ("domain_define_xml", f"<domain><uuid>{PLAIN.upper()}</uuid><name/>", ("domain", "", UUID)),
        (
            "network_define_xml",
            f"<network><uuid> {PLAIN} </uuid><name>net</name></network>",
            ("network", "net", UUID),
        ),
        ("interface_define_xml", "<interface type='bridge' name='br0'/>", ("interface", "br0", None)),
        ("nwfilter_define_xml", "<filter name='clean'><rule/></filter>", ("nwfilter", "clean", None)),
        ("secret_define_xml", f"<secret><uuid>{UUID}</uuid></secret>", ("secret", None, UUID)),
        ("node_device_create_xml", "<device><name>scsi1</name></device>", ("node_device", "scsi1", None)),
        ("storage_pool_create_xml", "<pool><name>p</name>", ("storage_pool", "p", None)),
        ("domain_define_xml", "<domain><uuid>no</uuid></domain>", None),
        ("domain_define_xml", "no XML", None),
        ("domain_define_xml", "", None),
        ("domain_define_xml", "<!DOCTYPE d [<!ENTITY e 'vm1'>]><domain><name>&e;</name></domain>", None),
    ],
)
def test_object_of_a_failed_definition(
    procedure: str, xml: str, expected: NamedObject | tuple[str, str | None, str | None] | None
) -> None:
    words = 0 if procedure in ("domain_define_xml", "network_define_xml", "nwfilter_define_xml") else 1
    call = message(procedure, text(xml.encode()) + bytes(4 * words))
    assert call.error is None
    found = NamedObject(*expected) if isinstance(expected, tuple) else expected
    reply = message(procedure, error_payload(27, 10, b"no"), **FAILED)
    assert FINDER.subject(call, reply) == FINDER.subject(call, None) == found
    assert FINDER.objects(call) == ([] if found is None else [found])


def test_reply_of_a_definition_has_its_object() -> None:
    call = message("domain_define_xml", text(b"<domain><name>vm1</name></domain>"))
    reply = message("domain_define_xml", text(b"vm1") + bytes.fromhex(PLAIN) + word(1), type_=REPLY)
    assert FINDER.subject(call, reply) == NamedObject("domain", "vm1", UUID)


def test_object_of_a_call_precedes_what_it_describes() -> None:
    payload = text(b"vm1") + bytes(16) + word(1) + text(b"<domainsnapshot><name>before</name>") + word(0)
    call = message("domain_snapshot_create_xml", payload)
    assert str(FINDER.subject(call, None)) == "vm1"
    assert [each.kind for each in FINDER.objects(call)] == ["domain", "domain_snapshot"]


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_text_has_a_name_or_none(xml: str | bytes) -> None:
    name, uuid = name_and_uuid(xml)
    assert name is None or len(name) <= len(xml)
    assert uuid is None or len(uuid) == 36


def test_only_the_beginning_of_a_description_is_searched() -> None:
    assert name_and_uuid("<domain>" + " " * 70_000 + "<name>vm1</name></domain>") == (None, None)
    assert name_and_uuid("<domain>" + "<a>" * 20_000) == (None, None)
