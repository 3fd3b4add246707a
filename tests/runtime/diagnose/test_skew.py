"""VERSION_SKEW: what one side lacks, and the release that it is older than."""

from __future__ import annotations

import pytest

from libvirt_proto.events import Captured
from tests.support.failures import RPC_ERROR, SECOND, call, connection, finding, findings, line, rules
from tests.support.frames import text, word

#: Procedures of 10.2.0, 11.2.0 and none.
RELOAD, AUTOSTART, UNKNOWN = 448, 450, 9000
ADMIN = 0x06900690
DOMAIN = text(b"web") + bytes(range(16)) + word(3)


def unknown(proc: int, serial: int = 1, **kwargs: object) -> list[Captured]:
    """A call of a procedure that the daemon does not know."""
    error = (RPC_ERROR, b"unknown procedure: %d" % proc)
    return call(proc, error=error, serial=serial, **kwargs)  # type: ignore[arg-type]


def works(serial: int, at: int = SECOND) -> list[Captured]:
    """A call that succeeds."""
    return call("connect_get_type", b"", text(b"QEMU"), serial=serial, at=at)


def test_daemon_is_older_than_the_procedure() -> None:
    found = finding("VERSION_SKEW", unknown(RELOAD))
    assert found.summary == (
        "The daemon is older than libvirt 10.2.0: it does not know domain_graphics_reload, which the client"
        " used."
    )
    assert (found.severity, found.certainty) == ("error", "certain")
    assert found.advice[0] == "upgrade the daemon's libvirt to 10.2.0 or later"


def test_oldest_of_several_procedures_counts() -> None:
    found = finding("VERSION_SKEW", unknown(AUTOSTART), unknown(RELOAD, 2))
    assert "older than libvirt 10.2.0" in found.summary
    assert "domain_graphics_reload and domain_set_autostart_once" in found.summary
    assert [each.count for each in found.evidence] == [1, 1]


def test_client_that_goes_on_is_a_note() -> None:
    """Clients try a newer procedure, and then an older one."""
    found = finding("VERSION_SKEW", unknown(RELOAD), works(2))
    assert found.severity == "note"
    assert "the client went on without" in found.summary


def test_end_of_a_connection_is_not_going_on() -> None:
    close = call("connect_close", serial=2, at=SECOND)
    assert finding("VERSION_SKEW", unknown(RELOAD), close).severity == "error"


def test_procedure_that_no_release_has() -> None:
    found = finding("VERSION_SKEW", unknown(UNKNOWN))
    assert "remote.9000, which the daemon does not know" in found.summary
    assert "the client is newer, or not libvirt's" in found.summary
    assert found.certainty == "likely"


def test_number_of_another_procedure_is_another_error() -> None:
    assert findings(call(RELOAD, error=(RPC_ERROR, b"unknown procedure: 17"))) == []


def test_procedure_that_the_definitions_lack() -> None:
    found = finding("VERSION_SKEW", call(UNKNOWN, b"1234", b"5678"))
    assert found.severity == "note"
    assert "both are newer" in found.summary


def test_program_of_another_socket() -> None:
    error = RPC_ERROR, b"Cannot find program %d version 1" % ADMIN
    found = finding("VERSION_SKEW", call(1, word(0), error=error, prog=ADMIN))
    assert found.summary.startswith("The client called the program admin (since libvirt")
    assert "admin socket" in found.advice[0]


def test_unknown_program() -> None:
    error = RPC_ERROR, b"Cannot find program 536904999 version 1"
    found = finding("VERSION_SKEW", call(1, error=error, prog=536904999))
    assert "the program 0x20008527, which the daemon does not serve" in found.summary


def register(number: int, serial: int = 1) -> list[Captured]:
    error = 1, b"internal error: unsupported event ID %d" % number
    return call(
        "connect_domain_event_callback_register_any", word(number) + word(0), error=error, serial=serial
    )


def test_event_that_the_daemon_does_not_know() -> None:
    found = finding("VERSION_SKEW", register(28), register(27, 2))
    assert "older than libvirt 11.2.0" in found.summary
    assert "VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE and VIR_DOMAIN_EVENT_ID_VCPU_REMOVED" in found.summary


def flags(*, daemon: int | None = None) -> list[Captured]:
    """A call with a flag of 7.3.0, refused by a daemon that may state its release."""
    error = 8, b"unsupported flags (0x80000000) in function testConnectListAllNodeDevices"
    failed = call("connect_list_all_node_devices", word(1) + word(0x80000000), error=error, serial=2)
    stated = b"" if daemon is None else bytes(4) + word(daemon)
    return call("connect_get_lib_version", b"", stated) + failed if stated else failed


def test_flag_is_refused_by_an_old_daemon_or_a_driver() -> None:
    found = finding("VERSION_SKEW", flags())
    assert found.certainty == "possible"
    assert found.severity == "warning"
    assert "is older than libvirt 7.3.0, or its driver lacks the flag" in found.summary


def test_release_of_the_daemon_decides_about_a_flag() -> None:
    old = finding("VERSION_SKEW", flags(daemon=7_000_000))
    assert (old.certainty, old.severity) == ("certain", "error")
    assert "the daemon states its release: 7.0.0" in [each.text for each in old.evidence]
    assert "VERSION_SKEW" not in rules(flags(daemon=7_003_000))


def test_flags_in_a_log_have_no_names() -> None:
    found = finding("VERSION_SKEW", line("unsupported flags (0x1) in function storageVolumeCreateXML", 3))
    assert found.summary == (
        "The daemon refused the flags 0x1 of storageVolumeCreateXML: it is too old for them, or its driver"
        " does not have them."
    )
    assert (found.certainty, found.severity) == ("possible", "warning")


def test_flag_is_no_evidence_next_to_a_newer_procedure() -> None:
    found = finding("VERSION_SKEW", flags(), unknown(RELOAD, 3))
    assert "older than libvirt 10.2.0" in found.summary
    assert not any("NODE_DEVICES" in each.text for each in found.evidence)


def test_newer_procedure_that_works_rules_out_an_old_daemon() -> None:
    newer = call(AUTOSTART, DOMAIN + word(1), serial=9)
    assert "VERSION_SKEW" not in rules(newer, flags())


def test_log_of_the_daemon() -> None:
    on = connection(1, side="server")
    stated = line("unknown procedure: 448", 7)
    found = finding("VERSION_SKEW", stated, unknown(RELOAD, on=on, headers=True))
    assert [each.lines for each in found.evidence] == [(), (7,)]
    assert "older than libvirt 10.2.0" in found.summary


def test_line_without_messages_is_about_the_remote_program() -> None:
    assert "domain_graphics_reload" in finding("VERSION_SKEW", line("unknown procedure: 448", 7)).summary


def test_line_about_another_procedure_is_not_the_reason() -> None:
    on = connection(1, side="server")
    other = line("unknown procedure: 450", 7)
    found = finding("VERSION_SKEW", other, unknown(RELOAD, on=on, headers=True))
    assert "domain_set_autostart_once" in found.summary
    assert all(not each.messages for each in found.evidence)


def test_event_that_the_client_does_not_know() -> None:
    found = finding("VERSION_SKEW", line("No event expected with procedure 0x1a7", 3, program="virsh"))
    assert found.summary.startswith("The client")
    assert "which the daemon sent" in found.summary
    assert found.severity == "warning"


@pytest.mark.parametrize("supported", [0, 1])
def test_feature_probe_has_no_finding(supported: int) -> None:
    assert findings(call("connect_supports_feature", word(15), word(supported))) == []


def test_unsupported_function_has_no_finding() -> None:
    error = 3, b"this function is not supported by the connection driver: virDomainMigrate"
    assert findings(call("domain_get_info", DOMAIN, error=error)) == []
