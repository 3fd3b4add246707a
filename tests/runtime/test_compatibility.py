"""Parts of messages that an older release would not understand: procedures, fields, limits."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.cli import main as cli
from libvirt_proto.compatibility import CompatibilityCheck
from libvirt_proto.rpc.message import decode_message
from tests.support.frames import error_payload, frame, text, word
from tests.support.values import random_value

DOMAIN = text(b"vm") + bytes(16) + word(1)


#: Each release is compiled once.
bundled = cache(registry.release)


def told(release: str, *frames: bytes) -> list[tuple[str, str, str]]:
    """(severity, code, text) of each notice about some messages."""
    as_of = CompatibilityCheck(registry.default(), bundled(release))
    for data in frames:
        as_of.add(decode_message(data))
    return [(notice.severity, notice.code, notice.text) for notice in as_of.notices()]


def test_reports_procedure_once_with_its_count() -> None:
    backup = frame(DOMAIN + text(b"<a/>") + word(0) + word(0), proc=421)
    assert told("1.2.9", backup, backup, frame(proc=66)) == [
        (
            "note",
            "not-in-release",
            "remote.domain_backup_begin is not in libvirt 1.2.9 (since 6.0.0, by the public API): 2 times",
        )
    ]
    assert told("10.0.0", backup) == []


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("1.0.6", []),  # the first release with permissions is 1.1.0
        ("1.1.3.8", ["requires domain:read in libvirt 1.1.3.8, not domain:write; changed in 1.2.12"]),
        (
            "1.1.3.9",  # the maintenance release has the change of 1.2.12
            ["requires domain:read, domain:read_secure:VIR_DOMAIN_XML_SECURE in libvirt 1.1.3.9,"
             " not domain:write; changed in 5.5.0 (derived)"],
        ),
        (
            "5.4.0",
            ["requires domain:read, domain:read_secure:VIR_DOMAIN_XML_SECURE in libvirt 5.4.0,"
             " not domain:write; changed in 5.5.0 (derived)"],
        ),
        ("5.5.0", []),
        ("12.9.0", []),
    ],
)  # fmt: skip
def test_reports_other_permissions(release: str, expected: list[str]) -> None:
    call = frame(text(b"/x") + word(0), proc=235)
    assert told(release, call, call, frame(proc=235, type_=1)) == [
        ("note", "other-permissions", f"remote.domain_save_image_get_xml_desc {words}: 2 times")
        for words in expected
    ]


@pytest.mark.parametrize(
    ("release", "verb"),
    [("4.5.0", "requires"), ("4.8.0", "may require"), ("6.10.0", "may require"), ("7.0.0", None)],
)
def test_permissions_without_a_date(release: str, verb: str | None) -> None:
    words = (
        f"remote.domain_interface_addresses {verb} domain:read in libvirt {release}, not domain:read,"
        " domain:write::source:VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT; changed after 4.5.0, by 7.0.0: once"
    )
    found = [text for _, code, text in told(release, frame(proc=353)) if code == "other-permissions"]
    assert found == ([words] if verb else [])


def test_missing_program() -> None:
    assert [words for _, _, words in told("0.9.7", frame(prog=0x6B656570, proc=1, type_=2))] == [
        "keepalive.ping is not in libvirt 0.9.7 (since 0.9.8): once"
    ]
    assert told("0.9.8", frame(prog=0x6B656570, proc=1, type_=2)) == []


def test_missing_union_arm() -> None:
    """domain_set_memory_parameters with a string: VIR_TYPED_PARAM_STRING was added in 0.9.8."""
    string = text(b"field") + word(7) + text(b"value")
    number = text(b"field") + word(1) + word(5)
    args = frame(DOMAIN + word(3) + string + number + string + word(0), proc=197)
    assert [words for _, _, words in told("0.9.7", args)] == [
        "remote_typed_param_value.s is not in libvirt 0.9.7 (since 0.9.8): 2 times"
    ]
    assert told("0.9.8", args) == []


def test_renamed_objects_are_present() -> None:
    """1.0.5 renamed connect_open and its arguments; 11.6.0 a field of domain_migrate_perform."""
    perform = frame(DOMAIN + text(b"c") + text(b"uri") + bytes(8) + word(0) + bytes(8), proc=62)
    assert decode_message(perform).error is None
    assert told("0.9.7", frame(word(0) + word(0), proc=1), perform) == []


@pytest.mark.parametrize(
    ("release", "limit"), [("0.9.12", 65536), ("0.9.13", 1048576), ("1.0.5.9", 1048576), ("1.0.6", None)]
)
def test_limits_of_release(release: str, limit: int | None) -> None:
    """REMOTE_STRING_MAX: 64 KiB, 1 MiB since 0.9.13, 4 MiB since 1.0.6."""
    lookups = [frame(text(b"x" * size), proc=23) for size in (limit or 5, (limit or 1048576) + 1, 3)]
    found = [words for words in told(release, *lookups) if "name" in words[2]]
    expected = (
        "error",
        "over-limit",
        f"remote_domain_lookup_by_name_args.name is over the limit of libvirt {release}, {limit or 0:,}:"
        f" once, at most {(limit or 0) + 1:,}",
    )
    assert found == ([expected] if limit else [])


def test_limits_of_lists_and_messages() -> None:
    names = b"".join([word(300), *[text(b"n")] * 300])
    found = told("0.9.12", frame(names, proc=21, type_=1))  # connect_list_defined_domains
    assert found == []
    names = b"".join([word(1025), *[text(b"n" * 256)] * 1025])
    assert [words for _, _, words in told("0.9.12", frame(names, proc=21, type_=1))] == [
        "message is over the limit of libvirt 0.9.12, 262,148: once, at most 266,532",
        "remote_connect_list_defined_domains_ret.names is over the limit of libvirt 0.9.12, 1,024: once,"
        " at most 1,025",
    ]


def test_missing_message_type() -> None:
    hole = frame(word(0) + word(4096) + word(0), proc=209, type_=6, status=2)
    assert [words for _, _, words in told("3.3.0", hole)] == [
        "VIR_NET_STREAM_HOLE is not in libvirt 3.3.0 (since 3.4.0): once"
    ]
    assert told("3.4.0", hole) == []


def api_names(release: str, *frames: bytes) -> list[str]:
    """The notices about names of the public API."""
    return [words for _, _, words in told(release, *frames) if words.startswith("VIR_")]


def test_newer_event_id() -> None:
    register = frame(word(25) + word(0), proc=316)
    assert told("6.8.0", register, register) == [
        (
            "note",
            "not-in-release",
            "VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE is not in libvirt 6.8.0 (since 6.9.0): 2 times",
        )
    ]
    assert told("6.9.0", register) == []
    assert told("6.8.0", frame(word(24) + word(0), proc=316), frame(word(99) + word(0), proc=316)) == []


def test_newer_bit() -> None:
    """virDomainGuestInfoTypes: USERS is 1, since 5.7.0; LOAD 128, since 11.2.0; DEVICES 256, since 12.7.0."""
    call = frame(DOMAIN + word(1 | 128 | 256 | 1 << 31) + word(0), proc=418)
    assert api_names("12.6.0", call) == [
        "VIR_DOMAIN_GUEST_INFO_DEVICES is not in libvirt 12.6.0 (since 12.7.0): once"
    ]
    assert api_names("10.0.0", call) == [
        "VIR_DOMAIN_GUEST_INFO_LOAD is not in libvirt 10.0.0 (since 11.2.0): once",
        "VIR_DOMAIN_GUEST_INFO_DEVICES is not in libvirt 10.0.0 (since 12.7.0): once",
    ]


def test_newer_detail_of_event() -> None:
    """Detail 7 of STOPPED is RECREATED, since 11.6.0; of SUSPENDED POSTCOPY_FAILED, since 1.3.3."""
    stopped, suspended = (
        frame(word(1) + DOMAIN + word(event) + word(7), proc=318, type_=2) for event in (5, 3)
    )
    assert told("10.0.0", stopped, suspended) == [
        (
            "note",
            "not-in-release",
            "VIR_DOMAIN_EVENT_STOPPED_RECREATED is not in libvirt 10.0.0 (since 11.6.0): once",
        )
    ]
    assert told("11.6.0", stopped, suspended) == []


def test_newer_error_code() -> None:
    reply = frame(error_payload(112, 10, b"timeout"), proc=418, type_=1, status=1)
    assert api_names("10.0.0", reply) == [
        "VIR_ERR_AGENT_COMMAND_TIMEOUT is not in libvirt 10.0.0 (since 11.2.0): once"
    ]
    assert api_names("11.2.0", reply) == []


def test_number_of_an_older_name_is_known() -> None:
    """VIR_DOMAIN_SETVCPU_AFFECT_LIVE, since 12.4.0, is VIR_DOMAIN_AFFECT_LIVE; ASYNC_UNPLUG is a new bit."""
    live, unplug = (frame(DOMAIN + text(b"1") + word(0) + word(flags), proc=384) for flags in (1 | 2, 1 | 4))
    assert told("10.0.0", live) == []
    assert api_names("10.0.0", unplug) == [
        "VIR_DOMAIN_SETVCPU_ASYNC_UNPLUG is not in libvirt 10.0.0 (since 12.4.0): once"
    ]


def test_first_numbers_of_an_enum_are_known() -> None:
    """virVcpuHostCpuState, since 6.10.0, names -1, which a CPU that is offline had before; and
    virDomainControlErrorReason, since 1.2.14, names the details of state 3."""
    vcpus = frame(word(1) + word(0) + word(1) + bytes(8) + word(-1) + word(0), proc=20, type_=1)
    assert decode_message(vcpus).error is None
    control = frame(word(3) + word(2) + bytes(8), proc=229, type_=1)
    assert told("4.5.0", vcpus) == told("1.2.9", control) == []


#: Calls that need another permission in the newest release: virNodeDeviceDefineXML since 10.1.0.
OTHER_PERMISSIONS: dict[str, set[str]] = {"0.9.7": set(), "10.0.0": {"node_device_define_xml"}}


@pytest.mark.parametrize("release", OTHER_PERMISSIONS)
def test_release_understands_its_own_messages(release: str) -> None:
    """All payloads of an older release, read with the newest definitions, give no notice, except numbers that
    have a name only today, and calls whose permissions changed."""
    others = set()
    for program in bundled(release).programs():
        for procedure in program.procedures:
            for kind, type_ in enumerate((procedure.args, procedure.ret, procedure.msg)):
                if type_ is None:
                    continue
                payload = type_.to_bytes(random_value(type_, Random(procedure.number)))
                message = frame(
                    payload, prog=program.number, vers=program.version, proc=procedure.number, type_=kind
                )
                for _, code, words in told(release, message):
                    if code == "other-permissions":
                        others.add(procedure.name)
                    else:
                        assert words.startswith("VIR_")
    assert others == OTHER_PERMISSIONS[release]


@given(st.binary(max_size=60), st.integers(0, 7), st.integers(0, 2), st.integers(1, 460))
def test_checks_any_message(payload: bytes, type_: int, status: int, proc: int) -> None:
    for _, code, words in told("0.9.7", frame(payload, proc=proc, type_=type_, status=status)):
        assert code in ("not-in-release", "over-limit")
        assert "libvirt 0.9.7" in words


# The command


def decode(*words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["decode", *words], input=stdin)


@pytest.mark.parametrize("format_", ["pretty", "monitor", "jsonl"])
def test_decode_reports_at_the_end_in_every_format(captures: Path, format_: str) -> None:
    tour = str(captures / "tour.pcap")
    plain, looked = decode("--format", format_, tour), decode("--format", format_, "--as-of", "1.2.9", tour)
    assert looked.stdout == plain.stdout
    assert (plain.stderr, plain.exit_code, looked.exit_code) == ("", 0, 0)
    said = looked.stderr.splitlines()
    assert len(said) == 14
    assert (
        f"{tour}: note: remote.domain_get_fsinfo is not in libvirt 1.2.9 (since 1.2.11): 40 times"
        " [not-in-release]"
    ) in said
    assert sum("VIR_DOMAIN_MEMORY_STAT_" in line for line in said) == 5


def test_filters_apply_and_exchanges_are_checked(captures: Path) -> None:
    tour = str(captures / "tour.pcap")
    words = ["--as-of", "1.2.9", "--procedure", "domain_get_fsinfo", "--type", "reply", tour]
    assert decode(*words).stderr.count("20 times") == 1
    assert len(decode("--as-of", "1.2.9", "--exchanges", tour).stderr.splitlines()) == 14


def test_value_over_limit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "call.hex").write_text(frame(text(b"x" * 65537), proc=23).hex())
    call = str(tmp_path / "call.hex")
    assert decode(call).exit_code == 0
    looked = decode("--as-of", "0.9.12", call)
    assert looked.exit_code == 1
    assert (
        "error: remote_domain_lookup_by_name_args.name is over the limit of libvirt 0.9.12" in looked.stderr
    )
    assert json.loads(looked.stdout)["error"] is None


def stats(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["stats", "--format", "json", *words])


def test_stats_report_at_the_end(captures: Path) -> None:
    tour, other = (str(captures / name) for name in ("tour.pcap", "virsh-domname.pcap"))
    plain, looked = stats(tour), stats("--as-of", "1.2.9", tour)
    figures, without = json.loads(looked.stdout), json.loads(plain.stdout)
    assert figures["totals"].pop("notices") == {"not-in-release": 12, "other-permissions": 2}
    assert without["totals"].pop("notices") == {}
    assert figures == without
    assert looked.exit_code == 0
    assert looked.stderr == decode("--as-of", "1.2.9", tour).stderr
    together = stats("--as-of", "1.2.9", tour, tour, other).stderr
    assert (
        "3 files: note: remote.domain_get_fsinfo is not in libvirt 1.2.9 (since 1.2.11): 80 times" in together
    )
    assert stats("--as-of", "5.0.0.0.0", tour).exit_code == 2


def test_unknown_release(captures: Path) -> None:
    result = decode("--as-of", "1.2.9.4", str(captures / "tour.pcap"))
    assert result.exit_code == 2
    assert "closest: 1.2.9.3, 1.2.10" in result.stderr
    assert decode("--as-of", "9.9.0", str(captures / "tour.pcap")).exit_code == 0
