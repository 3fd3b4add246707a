"""Servers for tests of clients: scripted answers, and the pytest fixture."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libvirt_proto
from libvirt_proto import ConnectionLost, LibvirtError, ProtocolError, connect_sync
from libvirt_proto.generated import remote
from libvirt_proto.testing import Drop, Failure, Raw, Reply, ScriptedServer
from tests.support.frames import frame, word
from tests.support.relays import client as connect
from tests.support.replays import ask

DOMAIN = remote.RemoteNonnullDomain("vm1", bytes(16), 1)
CAPTURE = Path(__file__).parents[1] / "captures" / "virsh-domname.pcap"
Test = Callable[[Any], None]


def test_answers_in_turn_and_remembers_calls() -> None:
    hostnames = [Reply({"hostname": "a"}), Reply(remote.RemoteConnectGetHostnameRet("b"))]
    script = {"connect_get_hostname": hostnames, "domain_suspend": Reply()}
    with ScriptedServer(script) as server, connect_sync(server.uri()) as connection:
        names = [connection.remote.connect_get_hostname().hostname for _ in range(3)]
        assert connection.remote.domain_suspend(dom=DOMAIN) is None
        assert names == ["a", "b", "b"]
    assert list(server.calls) == [
        *[("connect_get_hostname", None)] * 3,
        ("domain_suspend", remote.RemoteDomainSuspendArgs(DOMAIN)),
    ]


def test_failure_and_call_without_an_answer() -> None:
    with (
        ScriptedServer({"domain_lookup_by_name": Failure(42, "no such domain")}) as server,
        connect_sync(server.uri()) as connection,
    ):
        with pytest.raises(LibvirtError) as failed:
            connection.remote.domain_lookup_by_name(name="x")
        assert (failed.value.code, failed.value.message) == (42, "no such domain")
        with pytest.raises(LibvirtError, match="VIR_ERR_RPC: connect_get_type: the script has no answer"):
            connection.remote.connect_get_type()


def test_dropped_connection() -> None:
    with (
        ScriptedServer({"connect_get_type": Drop()}) as server,
        connect_sync(server.uri()) as connection,
        pytest.raises(ConnectionLost),
    ):
        connection.remote.connect_get_type()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(word(9)), ProtocolError),
        (Raw(b"HTTP/1.0 400 Bad Request\r\n\r\n"), ConnectionLost),
        (Raw(frame(type_=1, serial=77)), ConnectionLost),
        (Raw(word(100), drop=True), ConnectionLost),
    ],
    ids=["payload", "length", "serial", "cut"],
)
def test_malformed_reply(answer: Reply | Raw, error: type[Exception]) -> None:
    with (
        ScriptedServer({"connect_get_type": answer}) as server,
        connect_sync(server.uri()) as connection,
        pytest.raises(error),
    ):
        connection.remote.connect_get_type()


def test_delayed_reply_comes_after_later_ones() -> None:
    script = {"connect_get_hostname": Reply({"hostname": "late"}, delay=0.2), "domain_suspend": Reply()}
    with ScriptedServer(script) as server, connect(server.address) as one:
        late, early = 59, 11
        one.sendall(frame(proc=late, serial=4))
        assert ask(one, frame(bytes(28), proc=early, serial=5))[20:24] == word(5)
        assert one.recv(4) == word(4 + 24 + 8)


def test_events_and_streams() -> None:
    event = {"callbackID": 7, "dom": DOMAIN, "event": 3, "detail": 0}
    lifecycle = ("domain_event_lifecycle", {k: v for k, v in event.items() if k != "callbackID"})
    script = {
        "domain_suspend": Reply(events=[lifecycle]),
        "domain_screenshot": Reply({"mime": "image/png"}, stream=[b"12", b"345"]),
        "storage_vol_upload": Reply(),
    }

    async def main(uri: str) -> list[Any]:
        found: list[Any] = []
        vol = remote.RemoteNonnullStorageVol("pool", "name", "key")
        async with asyncio.timeout(20), libvirt_proto.connect(uri) as connection:
            events = connection.events("domain_event_lifecycle")
            await connection.remote.domain_suspend(dom=DOMAIN)
            found.append((await anext(events)).value)
            async with connection.stream("domain_screenshot", dom=DOMAIN, screen=0, flags=0) as stream:
                found += [piece async for piece in stream]
            upload = {"vol": vol, "offset": 0, "length": 0, "flags": 0}
            async with connection.stream("storage_vol_upload", **upload) as stream:
                await stream.send(b"data")
                await stream.finish()
        return found

    with ScriptedServer(script) as server:
        assert asyncio.run(main(server.uri())) == [
            remote.RemoteDomainEventLifecycleMsg(DOMAIN, 3, 0),
            b"12",
            b"345",
        ]


def test_unknown_procedure_of_a_script() -> None:
    with pytest.raises(libvirt_proto.UnknownName, match="domain_get_inf"):
        ScriptedServer({"domain_get_inf": Reply()})


def test_address_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with (
        ScriptedServer({}, listen=f"unix:{tmp_path}/s") as first,
        pytest.raises(ValueError, match="another process listens"),
        ScriptedServer({}, listen=str(first.address)),
    ):
        pass


TESTS = f"""
from libvirt_proto import connect_sync

def test_recorded(libvirt_replay):
    with connect_sync(libvirt_replay({str(CAPTURE)!r}).uri()) as connection:
        assert connection.remote.domain_lookup_by_id(id=1).dom.name == "test"

def test_not_recorded(libvirt_replay):
    with connect_sync(libvirt_replay({str(CAPTURE)!r}).uri()) as connection:
        try:
            connection.remote.connect_get_type()
        except Exception:
            pass

def test_not_strict(libvirt_replay):
    server = libvirt_replay({str(CAPTURE)!r}, strict=False)
    with connect_sync(server.uri()) as connection:
        try:
            connection.remote.connect_get_type()
        except Exception:
            pass
    assert server.unrecorded == {{"connect_get_type": 1}}
"""


def test_fixture(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["libvirt_proto.testing"]\n')
    (tmp_path / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "calls that were not recorded: connect_get_type (1)" in done.stdout
