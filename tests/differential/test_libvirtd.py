"""Decoding of a real libvirtd's traffic with its clients, recorded by tcpdump."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours, tshark
from tests.differential.libvirtd import Libvirtd

pytestmark = [pytest.mark.releases, pytest.mark.system("libvirtd", "virsh", "tcpdump")]

#: virsh's arguments, and the procedure that serves them.
COMMANDS = {
    ("list", "--all"): "connect_list_all_domains",
    ("dominfo", "test"): "domain_get_info",
    ("domuuid", "test"): "domain_lookup_by_name",
    ("domname", "1"): "domain_lookup_by_id",
    ("dumpxml", "test"): "domain_get_xml_desc",
    ("capabilities",): "connect_get_capabilities",
    ("nodeinfo",): "node_get_info",
    ("net-list", "--all"): "connect_list_all_networks",
    ("pool-list", "--all"): "connect_list_all_storage_pools",
    ("schedinfo", "test"): "domain_get_scheduler_parameters",
    ("suspend", "test"): "domain_suspend",
}

Lines = list[dict[str, Any]]
Recorded = tuple[Path, dict[str, str]]


@pytest.fixture(scope="module")
def recorded(libvirtd: Libvirtd, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A capture of all commands and of a failing one, and the output of each, by its first word."""
    capture = tmp_path_factory.mktemp("capture") / "virsh.pcap"
    with libvirtd.recorded(capture):
        printed = {command[0]: libvirtd.virsh(*command) for command in COMMANDS}
        printed["domid"] = libvirtd.virsh("domid", "nosuch", fails=True)
    return capture, printed


@pytest.fixture(scope="module")
def connections(recorded: Recorded, libvirtd: Libvirtd) -> dict[str, Lines]:
    """The messages of each command, by its first word; every command has a separate connection."""
    capture, printed = recorded
    connections: dict[str, Lines] = {}
    for line in ours.decode(capture, "--port", str(libvirtd.port)):
        connections.setdefault(line["conn"], []).append(line)
    return dict(zip(printed, connections.values(), strict=True))


def payload(lines: Lines, procedure: str, type_: str = "reply") -> Any:
    (line,) = (line for line in lines if (line["procedure"], line["type"]) == (procedure, type_))
    return line["payload"]


def test_every_message_is_decoded_completely(connections: dict[str, Lines]) -> None:
    for lines in connections.values():
        for line in lines:
            assert line["program"] in ("remote", "keepalive")
            assert line["procedure"] is not None
            assert (line["error"], line["spare"], line["data"]) == (None, None, None)
            assert line["dir"] == ("c2s" if line["type"] == "call" else "s2c")


def test_calls_match_replies(connections: dict[str, Lines]) -> None:
    """The first call is auth_list, the last connect_close; every call has one reply."""
    for lines in connections.values():
        calls = [line for line in lines if line["type"] == "call"]
        assert [call["serial"] for call in calls] == list(range(len(calls)))
        assert (calls[0]["procedure"], calls[-1]["procedure"]) == ("auth_list", "connect_close")
        answered = Counter((line["serial"], line["procedure"]) for line in lines if line["type"] == "reply")
        assert answered == Counter((call["serial"], call["procedure"]) for call in calls)


def test_procedure_names(connections: dict[str, Lines]) -> None:
    for command, procedure in COMMANDS.items():
        assert procedure in {line["procedure"] for line in connections[command[0]]}


def test_values_match_virsh_output(connections: dict[str, Lines], recorded: Recorded) -> None:
    _, printed = recorded
    assert payload(connections["dumpxml"], "domain_get_xml_desc")["xml"].strip() == printed["dumpxml"].strip()
    capabilities = payload(connections["capabilities"], "connect_get_capabilities")["capabilities"]
    assert capabilities.strip() == printed["capabilities"].strip()
    assert payload(connections["domuuid"], "domain_lookup_by_name", "call") == {"name": "test"}
    domain = payload(connections["domuuid"], "domain_lookup_by_name")["dom"]
    assert (domain["name"], domain["uuid"], domain["id"]) == ("test", printed["domuuid"].strip(), 1)
    info = payload(connections["dominfo"], "domain_get_info")
    said = dict(line.split(":", 1) for line in printed["dominfo"].splitlines() if ":" in line)
    assert info["nrVirtCpu"] == int(said["CPU(s)"])
    assert f"{info['maxMem']} KiB" == said["Max memory"].strip()
    (parameter,) = payload(connections["schedinfo"], "domain_get_scheduler_parameters")["params"]
    assert parameter["field"] == "weight"
    assert list(parameter["value"]) == ["type", "type_name", "ui"]
    assert f"{parameter['field']:<15}: {parameter['value']['ui']}" in printed["schedinfo"]


def test_error_reply(connections: dict[str, Lines], recorded: Recorded) -> None:
    _, printed = recorded
    (error,) = (line for line in connections["domid"] if line["status"] == "error")
    assert error["procedure"] == "domain_lookup_by_name"
    assert error["payload_type"] == "virNetMessageError"
    assert error["payload"]["code"] == 42
    assert error["payload"]["code_name"] == "VIR_ERR_NO_DOMAIN"
    assert "nosuch" in printed["domid"]
    assert error["payload"]["dom"] is None


def test_detects_libvirt_on_any_port(recorded: Recorded, connections: dict[str, Lines]) -> None:
    """libvirt is detected by its content, on any port."""
    capture, _ = recorded
    assert len(ours.decode(capture)) == sum(map(len, connections.values()))


@pytest.mark.system("tshark")
def test_every_message_round_trips(recorded: Recorded, connections: dict[str, Lines]) -> None:
    capture, _ = recorded
    frames = 0
    for number in range(len(connections)):
        for stream in tshark.stream(capture, number):
            for frame in ours.split(stream):
                ours.check_round_trip(frame)
                frames += 1
    assert frames == sum(map(len, connections.values()))
