"""Names of numbers in a real libvirtd's messages, compared with virsh's words."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours
from tests.differential.libvirtd import PATIENCE, Libvirtd

pytestmark = [pytest.mark.releases, pytest.mark.system("libvirtd", "virsh", "tcpdump")]

#: One virsh, so that everything shares a connection: the test driver's state ends with the last one.
STATES = ["suspend test", "resume test", "destroy test", "start test"]
SCRIPT = "; ".join(f"{command}; domstate test --reason" for command in ["version", *STATES])

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def recorded(libvirtd: Libvirtd, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lines, dict[str, str]]:
    """All messages of some commands, and their output."""
    capture = tmp_path_factory.mktemp("capture") / "virsh.pcap"
    with libvirtd.recorded(capture):
        printed = {
            "states": libvirtd.virsh(SCRIPT),
            "events": libvirtd.virsh("event", "--list"),
            "event": watched(libvirtd),
        }
        libvirtd.virsh("event test --all --timeout 1", fails=True)
        libvirtd.virsh("list", "--all", "--state-running", "--persistent")
        # For these the client sets an undocumented bit; the test driver supports neither.
        libvirtd.virsh("domlaunchsecinfo", "test", fails=True)
        libvirtd.virsh("node-memory-tune", fails=True)
        libvirtd.virsh("dumpxml", "test", "--inactive", "--security-info")
        host = "<host mac='00:11:22:33:44:55' ip='192.168.122.10'/>"
        libvirtd.virsh("net-update", "default", "add", "ip-dhcp-host", host, "--live")
    return decoded(capture, libvirtd), printed


def decoded(capture: Path, libvirtd: Libvirtd) -> Lines:
    return ours.decode(capture, "--port", str(libvirtd.port))


def watched(libvirtd: Libvirtd) -> str:
    """virsh's output for the first lifecycle event; a second virsh causes events until then."""
    uri = f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    end = time.monotonic() + PATIENCE
    with subprocess.Popen(
        libvirtd.installation.command("virsh", "-q", "-c", uri, "event", "test", "lifecycle"),
        env=os.environ | {"LC_ALL": "C"},
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        try:
            while watch.poll() is None:
                assert time.monotonic() < end, "no event came"
                libvirtd.virsh("suspend test; resume test")
        finally:
            watch.kill()
        assert watch.stdout is not None
        return watch.stdout.read()


def payloads(lines: Lines, procedure: str, type_: str) -> list[dict[str, Any]]:
    return [line["payload"] for line in lines if (line["procedure"], line["type"]) == (procedure, type_)]


def words(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace("_", " ").lower()


def test_state_and_reason_match_virsh(recorded: tuple[Lines, dict[str, str]]) -> None:
    """`shut off (destroyed)`: VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED."""
    lines, printed = recorded
    said = [line for line in printed["states"].splitlines() if line.endswith(")")]
    shown = []
    for reply in payloads(lines, "domain_get_state", "reply"):
        state, reason = reply["state_name"], reply["reason_name"]
        shown.append(f"{words(state, 'VIR_DOMAIN_')} ({words(reason, f'{state}_')})")
    assert shown[: len(said)] == [line.replace("shut off", "shutoff") for line in said]
    assert len(said) == len(STATES) + 1
    assert {"running (unknown)", "shutoff (destroyed)"} <= {*shown}


def test_event_and_detail_match_virsh(recorded: tuple[Lines, dict[str, str]]) -> None:
    """`event 'lifecycle' for domain 'test': Suspended Paused`."""
    lines, printed = recorded
    event, detail = printed["event"].splitlines()[0].rpartition(": ")[2].upper().split()
    # The client ignores events while it does not know the callback's number: the first one that comes right
    # after the reply, too, if its thread has not yet seen the reply.
    registered = ("connect_domain_event_callback_register_any", "reply")
    at = next(n for n, line in enumerate(lines) if (line["procedure"], line["type"]) == registered)
    events = payloads(lines[at:], "domain_event_callback_lifecycle", "message")[:2]
    named = [(each["msg"]["event_name"], each["msg"]["detail_name"]) for each in events]
    assert (f"VIR_DOMAIN_EVENT_{event}", f"VIR_DOMAIN_EVENT_{event}_{detail}") in named


def test_event_ids_match_virsh(recorded: tuple[Lines, dict[str, str]]) -> None:
    """virsh registers for all events in the order of its list, with the API's names except for dashes."""
    lines, printed = recorded
    asked = payloads(lines, "connect_domain_event_callback_register_any", "call")
    names = [words(call["eventID_name"], "VIR_DOMAIN_EVENT_ID_") for call in asked]
    listed = printed["events"].split()
    assert len(listed) > 25
    # The virsh that watches requested the first.
    assert [name.replace(" ", "") for name in names[1:]] == [name.replace("-", "") for name in listed]


def test_flags_match_virsh(recorded: tuple[Lines, dict[str, str]]) -> None:
    lines, _ = recorded
    assert [call["flags_name"] for call in payloads(lines, "domain_get_xml_desc", "call")] == [
        ["VIR_DOMAIN_XML_SECURE", "VIR_DOMAIN_XML_INACTIVE"]
    ]
    assert payloads(lines, "connect_list_all_domains", "call")[-1]["flags_name"] == [
        "VIR_CONNECT_LIST_DOMAINS_ACTIVE",
        "VIR_CONNECT_LIST_DOMAINS_INACTIVE",
        "VIR_CONNECT_LIST_DOMAINS_PERSISTENT",
        "VIR_CONNECT_LIST_DOMAINS_RUNNING",
    ]
    assert payloads(lines, "network_update", "call")[0]["flags_name"] == ["VIR_NETWORK_UPDATE_AFFECT_LIVE"]


def test_features_match_client_behaviour(recorded: tuple[Lines, dict[str, str]]) -> None:
    """Before updating a network, the client asks whether both sides use the right order."""
    lines, _ = recorded
    at = next(n for n, line in enumerate(lines) if line["procedure"] == "network_update")
    asked = payloads(lines[:at], "connect_supports_feature", "call")
    assert asked[-1]["feature_name"] == "VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER"
    assert "VIR_DRV_FEATURE_PROGRAM_KEEPALIVE" in {call["feature_name"] for call in asked}


def test_every_flag_bit_of_a_client_has_a_name(
    recorded: tuple[Lines, dict[str, str]], captures: Path
) -> None:
    """Every field of flags that is not 0 has a name, also in the test captures."""
    lines, _ = recorded
    for name in ("tour.pcap", "stream-events-keepalive.pcap"):
        lines = lines + ours.decode(captures / name)
    sets = [line["payload"] for line in lines if "flags" in (line["payload"] or {})]
    types = {line["payload_type"] for line in lines}
    assert {"remote_domain_get_launch_security_info_args", "remote_node_get_memory_parameters_args"} <= types
    for payload in sets:
        if payload["flags"]:
            assert all(isinstance(name, str) for name in payload["flags_name"]), payload
    assert sum(payload["flags"] > 0 for payload in sets) > 180
