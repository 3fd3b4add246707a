"""A libvirtd whose conversations are recorded in three ways: as packets, by probes, and in its log."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.differential import certificates
from tests.differential.installation import MACHINE, newest
from tests.differential.libvirtd import Libvirtd, free_port, prepared
from tests.differential.tracing import trace

#: What people are told to set: messages and jobs of workers, and warnings of everything else.
LOG_FILTERS = "1:rpc 1:util.threadjob 3:*"
PATIENCE = 60.0  # seconds
LARGE, LARGEST = 10_000, 60_000  # bytes of a recording: larger ones are compressed; the maximum
NETWORK, PROBES, DAEMON_LOG, CLIENT_LOG = "network.pcap", "probes.pcapng", "daemon.log", "client.log"
_EMPTY = 24  # bytes of a pcap file without packets
#: The folder of the daemon in recordings.
ANY_FOLDER = "/tmp/scene"
TLS_PORT = 16514  # recognised in captures
DELAYS = Path(__file__).with_name("delays.c")


@dataclass(frozen=True)
class Incident:
    """Something that goes wrong, or normal traffic.

    `rules` are those that must be found; `run` does it, while a daemon with `settings` (lines of
    libvirtd.conf) runs and is recorded. `prepare` is called before the daemon starts. `tools` are needed
    beyond libvirtd, virsh and tcpdump. `probes` means that its unix socket is used and traced, `delays` that
    calls can be delayed (`Scene.delay`), `tls` that it also listens for TLS, `roots` that installations of
    other releases are needed (ROOTS), `newer` that the daemon is of the newest of them. The network is
    recorded while `run` runs, or by `run` if `recorded` is false.
    """

    name: str
    rules: frozenset[str]
    run: Callable[[Scene], None]
    settings: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Scene], None] = lambda scene: None
    tools: tuple[str, ...] = ()
    probes: bool = False
    delays: bool = False
    tls: bool = False
    roots: bool = False
    newer: bool = False
    recorded: bool = True


class Scene:
    """A daemon that listens on a port of loopback and on a unix socket, and its clients."""

    def __init__(self, daemon: Libvirtd, tls_port: int = 0) -> None:
        self.daemon = daemon
        self.tls_port = tls_port
        self.environment: dict[str, str] = {}
        #: Closed when the recordings are written.
        self.afterwards = ExitStack()
        self._clients: list[subprocess.Popen[str]] = []
        # A trace chooses processes by their names, which no other process may have.
        programs = {
            "libvirtd": "libvirtd",
            "virsh": "virsh",
            "admin": "virt-admin",
            "python": "/usr/bin/python3",
        }
        self.comms = {name: f"{name}-{daemon.port}" for name in programs}
        for name, program in programs.items():
            found = shutil.which(program)
            assert found, program
            (self.folder / self.comms[name]).symlink_to(found)

    @property
    def folder(self) -> Path:
        """The folder of the daemon's configuration, sockets and log; clients can write to it."""
        return self.daemon.folder

    @property
    def port(self) -> int:
        return self.daemon.port

    @property
    def pid(self) -> int:
        return self.daemon.pid

    @property
    def uri(self) -> str:
        """The test driver through TCP."""
        return f"test+tcp://127.0.0.1:{self.port}/default"

    @property
    def unix_uri(self) -> str:
        """The test driver through the unix socket."""
        return f"test+unix:///default?socket={self.daemon.socket}"

    @property
    def tls_uri(self) -> str:
        """The test driver through TLS."""
        return f"test+tls://localhost:{self.tls_port}/default?pkipath={self.folder}"

    @property
    def log(self) -> str:
        """The log of the daemon until now."""
        return self.daemon.log.read_text(errors="replace")

    def start(self) -> None:
        """Start the daemon, and wait until it listens."""
        self.daemon.start(str(self.folder / self.comms["libvirtd"]), **self.environment)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon, and wait for its end."""
        self.daemon.stop(number)

    def kill(self) -> None:
        """Kill the daemon."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the daemon, and start it again."""
        self.stop()
        self.start()

    @contextmanager
    def recorded(self, **options: int) -> Iterator[int]:
        """Record the network in the block, instead of earlier blocks; see `Libvirtd.recorded`."""
        ports = (self.tls_port,) if self.tls_port else ()
        with self.daemon.recorded(self.folder / NETWORK, *ports, **options) as pid:
            yield pid

    @contextmanager
    def stopped(self, pid: int = 0) -> Iterator[None]:
        """SIGSTOP in the block, for a process or the daemon."""
        os.kill(pid or self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid or self.pid, signal.SIGCONT)

    def delay(self, function: str, seconds: float, name: str = "*", *, locked: bool = False) -> None:
        """Delay a public function (`virDomainGetInfo`) from now on, for the object of this name. `locked`
        calls also wait for each other, as those that need a domain's job."""
        words = (function, name, f"{seconds * 1000:.0f}", *(["locked"] if locked else []))
        with (self.folder / "delays").open("a") as file:
            file.write(" ".join(words) + "\n")

    def client(
        self,
        *words: str,
        uri: str | None = None,
        log: bool = False,
        environment: Mapping[str, str] = {},
        user: str = "",
    ) -> subprocess.Popen[str]:
        """Start virsh, by default through TCP. `log` has it log its messages."""
        command = self._command("virsh", "-c", uri or self.uri, *words, user=user)
        return self._start(command, log, environment)

    def python(
        self,
        code: str,
        *arguments: str,
        log: bool = False,
        environment: Mapping[str, str] = {},
        user: str = "",
    ) -> subprocess.Popen[str]:
        """Start a program that uses libvirt's Python binding; its arguments are in `sys.argv[1:]`."""
        return self._start(self._command("python", "-c", code, *arguments, user=user), log, environment)

    def admin(self, *words: str) -> str:
        """Run virt-admin as the daemon's user, and return its output and errors."""
        uri = f"libvirtd:///session?socket={self.daemon.socket.with_name('libvirt-admin-sock')}"
        return self.output(self._start(self._command("admin", "-c", uri, *words, user=self.daemon.user)))

    def virsh(self, *words: str, uri: str | None = None, log: bool = False) -> str:
        """Run virsh, and return its output and errors."""
        return self.output(self.client(*words, uri=uri, log=log))

    def output(self, client: subprocess.Popen[str]) -> str:
        """Wait for the end of a client, and return its output and errors."""
        return client.communicate(timeout=PATIENCE)[0]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{condition} did not hold in {PATIENCE} s"
            time.sleep(0.02)

    def _command(self, name: str, *words: str, user: str) -> list[str]:
        return MACHINE.command(str(self.folder / self.comms[name]), *words, user=user)

    def _start(
        self, command: list[str], log: bool = False, environment: Mapping[str, str] = {}
    ) -> subprocess.Popen[str]:
        logging = {}
        if log:
            logging["LIBVIRT_LOG_FILTERS"] = LOG_FILTERS
            logging["LIBVIRT_LOG_OUTPUTS"] = f"1:file:{self.folder / CLIENT_LOG}"
        client = subprocess.Popen(
            command,
            env=os.environ | {"LC_ALL": "C"} | logging | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._clients.append(client)
        return client

    def end_clients(self) -> None:
        """Kill the clients that still run."""
        for client in self._clients:
            client.kill()
            client.communicate()


def record(incident: Incident, destination: Path) -> tuple[int, ...]:
    """Run an incident, and write its recordings to a new folder. Return the daemon's ports, that without TLS
    first."""
    with ExitStack() as stack:
        settings = {"log_filters": f'"{LOG_FILTERS}"'} | dict(incident.settings)
        tls, tls_port = "listen_tls = 0\n", 0
        if incident.tls:
            tls_port = free_port(TLS_PORT)
            tls = certificates.CONFIGURATION.replace("{port}", str(tls_port))
        daemon = stack.enter_context(prepared(settings, tls, newest() if incident.newer else MACHINE))
        scene = Scene(daemon, tls_port)
        if incident.tls:
            certificates.make(scene.folder)
        if incident.delays:
            scene.environment |= _delays(scene.folder)
        stack.enter_context(scene.afterwards)
        incident.prepare(scene)
        scene.start()
        # The recordings are written; a daemon whose calls wait for QEMU ends slowly.
        stack.callback(scene.kill)
        with ExitStack() as recorders:
            recorders.callback(scene.end_clients)
            if incident.probes:
                recorders.enter_context(_traced(scene))
            if incident.recorded:
                recorders.enter_context(scene.recorded())
            incident.run(scene)
        destination.mkdir(parents=True)
        for name in (NETWORK, PROBES, DAEMON_LOG, CLIENT_LOG):
            path = scene.folder / ("log" if name == DAEMON_LOG else name)
            if path.exists() and path.stat().st_size > _EMPTY:
                _write(destination / name, path.read_bytes(), scene)
        return (scene.port, tls_port) if tls_port else (scene.port,)


@contextmanager
def _traced(scene: Scene) -> Iterator[None]:
    """Trace the daemon and its clients in the block."""
    comms = [word for comm in scene.comms.values() for word in ("--comm", comm)]
    output = scene.folder / PROBES
    libraries = {MACHINE.library, scene.daemon.installation.library}
    options = [word for library in sorted(libraries) for word in ("--library", library)]
    with trace(*options, *comms, "-w", output, "-o", os.devnull) as tracer:
        yield
        status, err = tracer.end()
        assert status in (0, 1), err  # 1: malformed messages


def _delays(folder: Path) -> dict[str, str]:
    """Compile the library that delays calls, and return the daemon's environment for it."""
    library = folder / "delays.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, DELAYS], check=True)
    return {"LD_PRELOAD": str(library), "INCIDENT_DELAYS": str(folder / "delays")}


def _write(path: Path, data: bytes, scene: Scene) -> None:
    """Write a recording, compressed if it is large; text without names of this machine."""
    if path.suffix == ".log":
        text = data.decode(errors="backslashreplace")
        text = text.replace(str(scene.folder), ANY_FOLDER)
        text = text.replace(f"hostname: {socket.gethostname()}\n", "hostname: host\n")
        data = text.encode()
    if len(data) > LARGE:
        path, data = path.with_name(f"{path.name}.gz"), gzip.compress(data, mtime=0)
    assert len(data) <= LARGEST, f"{path.name} has {len(data):,} bytes, at most {LARGEST:,} are allowed"
    path.write_bytes(data)
