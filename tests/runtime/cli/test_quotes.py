"""Meanings of pasted error messages and log lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.cli import main as cli
from libvirt_proto.cli import quotes

#: The error of virNetMessageDecodeLength, without its limit.
PACKET = "packet %d bytes received from server too large, want"


def lookup(*words: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(cli.main, ["lookup", "--json", *words])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def named(*words: str) -> list[tuple[str, str]]:
    return [(found["kind"], found["name"]) for found in lookup(*words)]


@pytest.mark.parametrize(
    "line", ["unknown procedure: 350", "error: internal error: unknown procedure: 0x15e"]
)
def test_unknown_procedure_is_newer_than_the_daemon(line: str) -> None:
    [found] = lookup(line)
    assert (found["name"], found["since"]) == ("remote.domain_define_xml_flags", "1.2.12")
    assert found["means"] == "the daemon is older than remote.domain_define_xml_flags"


@pytest.mark.parametrize(
    ("line", "name", "means"),
    [
        (
            "packet 218762502 bytes received from server too large, want 33554432",
            '"\\r\\n\\r\\n" (0x0d0a0d0a)',
            "",
        ),
        (
            "packet -2147483612 bytes received from server too large, want 335",
            "0x80000028",
            "ONC RPC record mark",
        ),
        (f"{PACKET % 536903810} 33554432", "0x20008086", "out of step"),
        (
            "libvirtd: 2022-12-07 07:05:31.018+0000: 28481: error : virNetMessageDecodeLength:150 :"
            f" {PACKET % 1195725852} 33554432",
            '"GET " (0x47455420)',
            "an HTTP request (GET)",
        ),
    ],
)
def test_wrong_lengths_are_explained(line: str, name: str, means: str) -> None:
    found = lookup(line)[0]
    assert (found["kind"], found["name"]) == ("wrong length word", name)
    assert means in found["means"]


def test_limit_in_a_message_gives_its_releases() -> None:
    _, limit = lookup(f"{PACKET % 218762502} 16777216")
    assert (limit["name"], limit["first"], limit["last"]) == ("VIR_NET_MESSAGE_MAX", "1.0.6", "3.3.0")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "client=0x1c63910 len=64 prog=536903814 vers=1 proc=183 type=0 status=0 serial=8",
            [
                ("procedure", "remote.domain_has_managed_save_image"),
                ("enum member", "VIR_NET_CALL"),
                ("enum member", "VIR_NET_OK"),
            ],
        ),
        (
            "got unexpected RPC call prog 536903815 vers 1 proc 2 type 1",
            [("procedure", "qemu.domain_attach"), ("enum member", "VIR_NET_REPLY")],
        ),
        (
            "program mismatch (actual 0x20008087, expected 0x20008086)",
            [("program", "qemu"), ("program", "remote")],
        ),
        ("Unexpected message type 3", [("enum member", "VIR_NET_STREAM")]),
        ("unexpected message proc 66 != 67", [("procedure", "remote.auth_list")]),
        (
            "error: expected a message, got length word 1195725856",
            [("wrong length word", '"GET " (0x47455420)')],
        ),
        ("Cannot find program 536903815 version 1", [("program", "qemu")]),
        ("no call waiting for reply with prog 536903814 vers 1 serial 4", [("program", "remote")]),
        ("no call waiting for reply with prog 0x87539319 vers 1", [("program", "log_manager")]),
        (
            "libvirt.libvirtError: code=42 domain=10",
            [("error code", "VIR_ERR_NO_DOMAIN"), ("error domain", "VIR_FROM_QEMU")],
        ),
        ('{"code":38,"level":2}', [("error code", "VIR_ERR_SYSTEM_ERROR"), ("error level", "VIR_ERR_ERROR")]),
        (
            "this function is not supported by the connection driver: virDomainGetGuestInfo",
            [("API function", "virDomainGetGuestInfo"), ("procedure", "remote.domain_get_guest_info")],
        ),
        (
            "cannot acquire state change lock (held by monitor=remoteDispatchDomainBlockJobAbort)",
            [("procedure", "remote.domain_block_job_abort")],
        ),
        ("access denied: org.libvirt.api.domain.open-device", [("permission", "domain:open_device")]),
        ("rejecting VIR_ERR_ACCESS_DENIED for caller", [("error code", "VIR_ERR_ACCESS_DENIED")]),
        ("error: access denied for domain:read here", [("permission", "domain:read")]),
    ],
)
def test_lines_are_explained(line: str, expected: list[tuple[str, str]]) -> None:
    assert named(line) == expected


def test_limits_of_lists_are_explained() -> None:
    found = named("Too many domains '20000' for limit '16384'")
    assert ("constant", "REMOTE_DOMAIN_LIST_MAX") in found
    assert ("former value", "REMOTE_NODE_DEVICE_LIST_MAX") in found
    assert named("too many remote domains: 20000 > 16384") == found


def test_message_without_quotes_is_one_message() -> None:
    [found] = lookup("unknown", "procedure:", "350")
    assert found["query"] == "unknown procedure: 350"
    assert found["name"] == "remote.domain_define_xml_flags"


def test_several_numbers_stay_numbers() -> None:
    assert {found["query"] for found in lookup("66", "182")} == {"66", "182"}


def test_text_without_meaning_is_an_error() -> None:
    result = CliRunner().invoke(cli.main, ["lookup", "the weather is 7: fine"])
    assert result.exit_code == 1
    assert "unknown number or name" in result.stderr


@given(st.text(max_size=200))
def test_any_text_gives_meanings_or_none(text: str) -> None:
    assert all("kind" in meaning for meaning in quotes.of(registry.default(), text))
