"""The client and a real libvirtd; virsh is the judge."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from libvirt_proto import LibvirtError
from libvirt_proto.client.errors import ConnectError, ConnectionLost
from libvirt_proto.client.open import connect
from tests.differential import ours, sasl
from tests.differential.certificates import CONFIGURATION, make
from tests.differential.libvirtd import Libvirtd, free_port, prepared, started

pytestmark = pytest.mark.system("libvirtd", "virsh")

#: virsh command → procedure, arguments, and the part of the reply that virsh prints.
QUESTIONS: dict[tuple[str, ...], tuple[str, dict[str, Any], str]] = {
    ("hostname",): ("connect_get_hostname", {}, "hostname"),
    ("capabilities",): ("connect_get_capabilities", {}, "capabilities"),
    ("dumpxml", "test"): ("domain_get_xml_desc", {"flags": 0}, "xml"),
    ("net-dumpxml", "default"): ("network_get_xml_desc", {"flags": 0}, "xml"),
    ("pool-dumpxml", "default-pool"): ("storage_pool_get_xml_desc", {"flags": 0}, "xml"),
}
OBJECTS = {"dumpxml": "--dom", "net-dumpxml": "--net", "pool-dumpxml": "--pool"}


def uri(daemon: Libvirtd, transport: str) -> str:
    if transport == "unix":
        return f"test+unix:///default?socket={daemon.socket}"
    return f"test+tcp://127.0.0.1:{daemon.port}/default"


@pytest.mark.releases
@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_call_and_virsh_agree(libvirtd: Libvirtd, command: tuple[str, ...], transport: str) -> None:
    procedure, arguments, field = QUESTIONS[command]
    options = [OBJECTS[command[0]], command[1]] if len(command) > 1 else []
    done = ours.run("call", "-c", uri(libvirtd, transport), *options, procedure, json.dumps(arguments))
    assert json.loads(done.stdout)[field].strip() == libvirtd.virsh(*command).strip()


@pytest.mark.releases
def test_error_is_json(libvirtd: Libvirtd) -> None:
    done = ours.run(
        *("call", "-c", uri(libvirtd, "tcp"), "domain_lookup_by_name", '{"name": "none"}'), status=1
    )
    assert done.stdout == ""
    error = json.loads(done.stderr)["error"]
    assert error["code_name"] == "VIR_ERR_NO_DOMAIN"
    # virsh prints its own words for this one, and the daemon's for others.
    assert error["message"].startswith("Domain not found")


def test_download_is_what_virsh_downloads(libvirtd: Libvirtd, tmp_path: Path) -> None:
    arguments = ("--dom", "test", "domain_screenshot", '{"screen": 0, "flags": 0}')
    ours.run("call", "-c", uri(libvirtd, "unix"), *arguments, "--download", tmp_path / "ours.png")
    libvirtd.virsh("screenshot", "test", str(tmp_path / "virsh.png"))
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "virsh.png").read_bytes()


def test_follows_events(libvirtd: Libvirtd) -> None:
    async def main() -> list[tuple[int, int]]:
        async with asyncio.timeout(20), connect(uri(libvirtd, "tcp")) as connection:
            register = connection.remote.connect_domain_event_callback_register_any
            await register(eventID=0, dom=None)
            events = connection.events("domain_event_callback_lifecycle")
            domain = (await connection.remote.domain_lookup_by_name(name="test")).dom
            await connection.remote.domain_suspend(dom=domain)
            await connection.remote.domain_resume(dom=domain)
            return [((await anext(events)).value.msg.event, 0) for _ in range(2)]

    assert asyncio.run(main()) == [(3, 0), (4, 0)]


@pytest.mark.releases
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_many_concurrent_calls(libvirtd: Libvirtd, transport: str) -> None:
    async def main() -> set[int]:
        async with asyncio.timeout(60), connect(uri(libvirtd, transport), keepalive=(5, 5)) as connection:
            calls = [connection.remote.connect_get_lib_version() for _ in range(500)]
            return {reply.lib_ver for reply in await asyncio.gather(*calls)}

    [version] = asyncio.run(main())
    assert version > 9_000_000 - 1


def test_every_waiter_learns_of_a_dead_daemon() -> None:
    async def main(daemon: Libvirtd) -> list[BaseException | None]:
        async with connect(uri(daemon, "tcp")) as connection:
            os.kill(daemon.pid, signal.SIGSTOP)
            calls = [asyncio.create_task(connection.remote.connect_get_lib_version()) for _ in range(20)]
            events = connection.events()
            await asyncio.sleep(0)
            os.kill(daemon.pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                return await asyncio.gather(*calls, anext(events), return_exceptions=True)

    with started() as daemon:
        ends = asyncio.run(main(daemon))
    assert [type(end) for end in ends] == [ConnectionLost] * 21


def test_refused_connection_names_the_remedy(tmp_path: Path) -> None:
    port = free_port()
    done = ours.run("call", "-c", f"test+tcp://127.0.0.1:{port}/default", "connect_get_uri", status=1)
    assert done.stderr == "libvirt-proto: error: cannot connect to 127.0.0.1: connection refused\n"


def test_process_of_ext_is_reported_and_ended(libvirtd: Libvirtd, tmp_path: Path) -> None:
    program = tmp_path / "helper"
    program.write_text("#!/bin/sh\necho $$ >$(dirname $0)/pid\necho no way to $1 >&2\n")
    program.chmod(0o755)
    done = ours.run("call", "-c", f"test+ext:///default?command={program}", "connect_get_uri", status=1)
    assert "no way to test:///default" in done.stderr


@pytest.fixture(scope="module")
def tls_daemon(certificates: Path) -> Iterator[tuple[Libvirtd, int]]:
    port = free_port()
    with started(CONFIGURATION.replace("{port}", str(port)).replace("{folder}", str(certificates))) as daemon:
        yield daemon, port


@pytest.fixture(scope="module")
def sasl_daemon() -> Iterator[Libvirtd]:
    with prepared({"auth_unix_rw": '"sasl"', "auth_unix_ro": '"sasl"'}) as daemon:
        daemon.start(**sasl.make(daemon.folder / "sasl", "scram-sha-256"))
        try:
            yield daemon
        finally:
            daemon.stop()


class TestTls:
    def uri(self, port: int, pkipath: Path | str, host: str = "localhost", query: str = "") -> str:
        return f"test+tls://{host}:{port}/default?pkipath={pkipath}{query}"

    @pytest.mark.system("certtool")
    def test_call(self, tls_daemon: tuple[Libvirtd, int], certificates: Path) -> None:
        libvirtd, port = tls_daemon
        done = ours.run("call", "-c", self.uri(port, certificates), "connect_get_hostname")
        assert json.loads(done.stdout)["hostname"] == libvirtd.virsh("hostname").strip()

    @pytest.mark.system("certtool")
    def test_no_client_certificate(
        self, tls_daemon: tuple[Libvirtd, int], certificates: Path, tmp_path: Path
    ) -> None:
        shutil.copy(certificates / "cacert.pem", tmp_path)
        done = ours.run("call", "-c", self.uri(tls_daemon[1], tmp_path), "connect_get_hostname", status=1)
        assert "certificate refused" in done.stderr

    @pytest.mark.system("certtool")
    def test_foreign_authority(
        self, tls_daemon: tuple[Libvirtd, int], certificates: Path, tmp_path: Path
    ) -> None:
        make(tmp_path)
        done = ours.run("call", "-c", self.uri(tls_daemon[1], tmp_path), "connect_get_hostname", status=1)
        assert "the certificate of localhost is not valid" in done.stderr

    @pytest.mark.system("certtool")
    @pytest.mark.parametrize(("query", "refused"), [("", True), ("&no_verify=1", False)])
    def test_host_without_a_place_in_the_certificate(
        self, certificates: Path, query: str, refused: bool
    ) -> None:
        async def main() -> None:
            async with (
                await asyncio.start_server(answer, "127.0.0.2", 0, ssl=settings) as server,
                connect(
                    self.uri(server.sockets[0].getsockname()[1], certificates, "127.0.0.2", query), open=False
                ),
            ):
                pass

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"\1")
            await writer.drain()

        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings.load_cert_chain(certificates / "clientcert.pem", certificates / "clientkey.pem")
        with pytest.raises(ConnectError, match="IP address mismatch") if refused else nullcontext():
            asyncio.run(main())


class TestSasl:
    def credentials(self, folder: Path, password: str) -> Path:
        path = folder / "auth.conf"
        path.write_text(
            f"[auth-libvirt-default]\ncredentials=x\n[credentials-x]\nauthname=admin\npassword={password}\n"
        )
        return path

    @pytest.mark.system("saslpasswd2")
    def test_right_password(self, sasl_daemon: Libvirtd, tmp_path: Path) -> None:
        authfile = self.credentials(tmp_path, "right")
        done = ours.run(
            "call", "-c", f"{uri(sasl_daemon, 'unix')}&authfile={authfile}", "connect_get_hostname"
        )
        assert json.loads(done.stdout)["hostname"] == gethostname()

    @pytest.mark.system("saslpasswd2")
    def test_wrong_password(self, sasl_daemon: Libvirtd, tmp_path: Path) -> None:
        authfile = self.credentials(tmp_path, "wrong")
        done = ours.run(
            *("call", "-c", f"{uri(sasl_daemon, 'unix')}&authfile={authfile}", "connect_get_hostname"),
            status=1,
        )
        assert "the server refused the user or the password" in done.stderr

    @pytest.mark.system("saslpasswd2")
    def test_no_credentials(
        self, sasl_daemon: Libvirtd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("LIBVIRT_AUTH_FILE", str(tmp_path / "none"))

        async def main() -> None:
            async with connect(uri(sasl_daemon, "unix")):
                pass

        with pytest.raises(ConnectError, match=r"auth\.conf"):
            asyncio.run(main())

    @pytest.mark.system("saslpasswd2")
    def test_calls_need_authentication(self, sasl_daemon: Libvirtd) -> None:
        async def main() -> None:
            async with connect(uri(sasl_daemon, "unix"), open=False) as connection:
                await connection.remote.connect_get_hostname()

        with pytest.raises(LibvirtError, match="authentication required"):
            asyncio.run(main())
