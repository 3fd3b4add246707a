"""READ_ONLY and ACCESS_DENIED."""

from __future__ import annotations

from libvirt_proto.events import Connection
from tests.support.failures import call, connection, finding, findings, line, rules
from tests.support.frames import text, word

DOMAIN = text(b"web") + bytes(range(16)) + word(3)
READ_ONLY = (29, b"operation forbidden: read only access prevents virDomainSuspend")
DENIED = (88, b"access denied: 'QEMU' denied access")
OPEN = word(1) + text(b"qemu:///system") + word(1)


def test_read_only_connection_that_changes_something() -> None:
    suspend = call("domain_suspend", DOMAIN, error=READ_ONLY, on=connection(1), serial=2)
    found = finding("READ_ONLY", call("connect_open", OPEN, on=connection(1)), suspend)
    assert (
        found.summary
        == "A read-only connection called domain_suspend, which changes something; libvirt refused it."
    )
    assert "domain_suspend (web): error 29 (VIR_ERR_OPERATION_DENIED)" in found.evidence[0].text
    assert found.evidence[1].text == "1 connection opened with the flag VIR_CONNECT_RO"
    assert "virsh without -r" in found.advice[0]


def test_read_only_socket() -> None:
    on = Connection(1, "", "/run/libvirt/libvirt-sock-ro", "unix")
    found = finding("READ_ONLY", call("domain_suspend", DOMAIN, error=READ_ONLY, on=on))
    assert "unix_sock_group" in found.advice[0]


def test_read_only_in_logs() -> None:
    """The daemon's; and the client's, which refuses the call itself, in the words of old and new releases."""
    new = line("operation forbidden: read only access prevents virDomainSuspend", 5)
    reply = call("domain_suspend", error=READ_ONLY, on=connection(1, side="server"), headers=True)
    assert "domain_suspend" in finding("READ_ONLY", new, reply).summary
    assert finding("READ_ONLY", new).subject == "domain_suspend"
    old = line("operation virDomainSuspend forbidden for read only access", 5)
    assert finding("READ_ONLY", old).subject == "domain_suspend"
    unknown = line("read only access prevents virOtherThing", 5)
    assert finding("READ_ONLY", unknown).subject == "virOtherThing"


def test_several_procedures_are_one_finding() -> None:
    names = ("domain_suspend", "domain_resume", "domain_destroy", "domain_shutdown")
    items = [call(name, DOMAIN, error=READ_ONLY, serial=at) for at, name in enumerate(names)]
    found = finding("READ_ONLY", *items)
    assert "domain_suspend and 3 other procedures" in found.summary


def test_access_that_is_denied_names_permission_and_action() -> None:
    found = finding("ACCESS_DENIED", call("domain_create", DOMAIN, error=DENIED))
    assert found.summary == "The access control of the daemon denied domain_create, which needs domain:start."
    assert any("org.libvirt.api.domain.start" in each for each in found.advice)
    assert "error 88 (VIR_ERR_ACCESS_DENIED)" in found.evidence[0].text


def test_polkit_over_tcp_cannot_identify_a_client() -> None:
    over_tcp = finding("ACCESS_DENIED", call("domain_create", DOMAIN, error=DENIED, on=connection(1)))
    assert over_tcp.advice[0].startswith("polkit can only identify clients of unix sockets")
    on = Connection(1, "", "/run/libvirt/libvirt-sock", "unix")
    local = finding("ACCESS_DENIED", call("domain_create", DOMAIN, error=DENIED, on=on))
    assert not any("only identify" in each for each in local.advice)


def test_action_in_the_log() -> None:
    lines = [
        line(
            "authentication unavailable: no polkit agent available to authenticate action"
            " 'org.libvirt.api.storage-vol.data-read'",
            1,
        ),
        line("access denied: 'storage' denied access", 2),
    ]
    found = finding("ACCESS_DENIED", lines)
    assert "storage_vol:data_read" in found.summary
    assert any("org.libvirt.api.storage-vol.data-read" in each for each in found.advice)


def test_count_of_denied_calls() -> None:
    items = [call("domain_create", DOMAIN, error=DENIED, serial=at) for at in range(3)]
    assert finding("ACCESS_DENIED", *items).summary.endswith("which needs domain:start, 3 times.")


def test_other_errors_have_no_finding() -> None:
    for code in (1, 28, 30, 42, 87, 89):
        assert rules(call("domain_create", DOMAIN, error=(code, b"Domain not found"))) == set()
    other = 29, b"operation forbidden: Identity attribute is already set"
    assert rules(call("connect_set_identity", error=other)) == set()
    assert findings(call("connect_open", OPEN)) == []
