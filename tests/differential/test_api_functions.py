"""The procedures that functions of the public API call, compared with those that a real libvirtd
receives when its client library calls the functions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from libvirt_proto import registry
from libvirt_proto.definitions import functions
from tests.differential import api_calls
from tests.differential.libvirtd import started

pytestmark = pytest.mark.system("libvirtd")

ROOT = Path(__file__).parents[2]
RECEIVED = re.compile(r"RPC_SERVER_CLIENT_MSG_RX: .* prog=(\d+) vers=\d+ proc=(\d+) type=(\d) ")
#: Types of messages: calls, without and with file descriptors, and messages, which pings are.
CALLS, MESSAGE = {"0", "4"}, "2"
#: Clients call it before many functions; the data does not list it.
FEATURE = "remote.connect_supports_feature"
MARKER = "remote.connect_get_hostname"
#: Procedures that clients call only if the daemon is older than 1.2.2.
OLD_DAEMONS = {
    f"remote.connect_domain_event_{name}"
    for name in ("register", "register_any", "deregister", "deregister_any")
}
#: Functions of which only the first call is made here, with the reason. Functions of streams call nothing;
#: their messages are not compared, because no stream is open.
CUT_SHORT = dict.fromkeys(
    ("virDomainMigrate", "virDomainMigrate2", "virDomainMigrate3"),
    "begin fails, because no domain of the daemon can migrate",
)


class Result(NamedTuple):
    """The exit status of a function's process, and the procedures that the function called."""

    status: int
    calls: list[str]


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """The results of all functions, by name."""
    if not all((api_calls.DESCRIPTIONS / file).exists() for file in api_calls.LIBRARIES):
        pytest.skip(f"libvirt-dev is not installed: expected API descriptions in {api_calls.DESCRIPTIONS}")
    with started() as daemon:
        command = [sys.executable, "-m", api_calls.__name__, str(daemon.socket), str(daemon.log)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        log = daemon.log.read_bytes()
    found = {}
    for line in map(json.loads, done.stdout.splitlines()):
        part = log[line["start"] : line["end"]].decode()
        calls = between_markers(part) if line["status"] != api_calls.NOT_CALLED else []
        found[line["name"]] = Result(line["status"], calls)
    return found


def between_markers(log: str) -> list[str]:
    """Return the procedures of the messages after the first marker, without those from the last one on if the
    function returned."""
    called = [name for name in received(log) if name != FEATURE]
    called = called[called.index(MARKER) + 1 :]
    ends = [index for index, name in enumerate(called) if name == MARKER]
    return called[: ends[-1]] if ends else called


def received(log: str) -> Iterator[str]:
    """Yield the procedures of the calls and pings in a daemon's log, in order."""
    for program, procedure, kind in RECEIVED.findall(log):
        found = registry.program(int(program))
        if kind in CALLS or (found.name == "keepalive" and kind == MESSAGE):
            yield f"{found.name}.{found.by_number[int(procedure)].name}"


def listed(name: str) -> list[str]:
    """Return the procedures that the data lists for a function, without those for old daemons."""
    function = functions.find(name)
    assert function is not None, name
    names = [
        f"{found.name}.{found.by_number[number].name}"
        for program, number in function.procedures
        for found in [registry.program(program)]
    ]
    names = [each for each in names if each not in OLD_DAEMONS]
    return names[:1] if name in CUT_SHORT else names


def test_daemon_receives_the_listed_calls(results: dict[str, Result]) -> None:
    differences = {
        name: {"called": result.calls, "listed": listed(name)}
        for name, result in results.items()
        if result.calls != listed(name)
    }
    assert not differences, json.dumps(differences, indent=1)


def test_every_function_was_called(results: dict[str, Result]) -> None:
    """A function without calls would agree with a process that never called it."""
    assert results.keys() == api_calls.described().keys()
    assert [name for name, result in results.items() if result.status == api_calls.NOT_CALLED] == []
    assert sum(bool(result.calls) for result in results.values()) >= 365


def test_log_of_other_calls_differs_from_the_list() -> None:
    """The comparison sees a missing, an additional and a swapped call."""
    line = "RPC_SERVER_CLIENT_MSG_RX: client=0x1 len=28 prog=536903814 vers=1 proc={} type=0 status=0\n"
    marker, opened, auth = (line.format(number) for number in (59, 1, 66))
    assert between_markers(marker + auth + opened + marker) == listed("virConnectOpen")
    for log in (marker, marker + auth, marker + opened + auth, marker + auth + opened + opened):
        assert between_markers(log + marker) != listed("virConnectOpen")
    with pytest.raises(ValueError):
        between_markers(auth + opened)
