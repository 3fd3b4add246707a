"""A real libvirtd with its test driver, its clients, and tcpdump."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.differential.installation import MACHINE, Installation

#: Lines of libvirtd.conf; `port` and `folder` are filled in.
CONFIGURATION = {
    "listen_tcp": "1",
    "listen_addr": '"127.0.0.1"',
    "tcp_port": '"{port}"',
    "max_clients": "1000",
    "max_anonymous_clients": "1000",
    "auth_tcp": '"none"',
    "log_filters": '"2:rpc"',
    "log_outputs": '"1:file:{folder}/log"',
}
PATIENCE = 20.0  # seconds


class Libvirtd:
    """A daemon on a private port, with a log of its messages; its files are in `folder`."""

    def __init__(self, port: int, folder: Path, pid: int = 0, installation: Installation = MACHINE) -> None:
        self.port = port
        self.folder = folder
        self.pid = pid
        self.installation = installation
        self.dropped = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, program: str = "libvirtd", **environment: str) -> None:
        """Start the daemon as an ordinary user, and wait until it listens."""
        options = ("--listen", "--config", str(self.folder / "libvirtd.conf"))
        names = ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
        self._process = subprocess.Popen(
            self.installation.command(
                program, *options, "--pid-file", str(self.folder / "pid"), user=self.user
            ),
            env=os.environ | dict.fromkeys(names, str(self.folder)) | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            _wait_for(self.port, self._process, self.log)
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the daemon, and wait for its end."""
        if self._process is not None:
            with self._process as process:
                process.send_signal(number)

    @property
    def user(self) -> str:
        """The user to change to. Without root's rights it is a session daemon, whose sockets, locks and state
        are in `folder`."""
        return "nobody" if os.geteuid() == 0 else ""

    @property
    def socket(self) -> Path:
        """The path of its unix socket."""
        return self.folder / "libvirt" / "libvirt-sock"

    @property
    def log(self) -> Path:
        """The path of its log."""
        return self.folder / "log"

    def virsh(self, *command: str, fails: bool = False, uri: str = "", **environment: str) -> str:
        """Run a virsh command and return its standard output, or its errors if it must fail. It connects to
        the port unless `uri` is given."""
        uri = uri or f"test+tcp://127.0.0.1:{self.port}/default"
        done = subprocess.run(
            self.installation.command("virsh", "-q", "-c", uri, *command),
            env=os.environ | {"LC_ALL": "C"} | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert bool(done.returncode) == fails, f"virsh {command}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    @contextmanager
    def recorded(self, capture: Path, *ports: int, buffer: int = 65536) -> Iterator[int]:
        """Record all of the daemon's TCP traffic in the block to a file, in pcap format, and yield the id of
        tcpdump's process. `ports` are further ports, `buffer` is in KiB: by default it is large enough for a
        loaded machine. `dropped` counts the packets that the kernel dropped."""
        options = ["-i", "lo", "-s0", "-U", "-B", str(buffer), "--immediate-mode", "-w", "-"]
        command = ["tcpdump", *options, " or ".join(f"tcp port {port}" for port in (self.port, *ports))]
        with (
            capture.open("wb") as file,
            subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True) as tcpdump,
        ):
            try:
                assert tcpdump.stderr is not None
                said = tcpdump.stderr.readline()
                assert "listening on" in said or "data link type" in said, said
                yield tcpdump.pid
                _wait_until_quiet(capture)
            finally:
                tcpdump.send_signal(signal.SIGINT)
                _, said = tcpdump.communicate()
                dropped = re.search(r"(\d+) packets? dropped by kernel", said)
                self.dropped = int(dropped[1]) if dropped else 0


@contextmanager
def started(tls: str = "listen_tls = 0\n", installation: Installation = MACHINE) -> Iterator[Libvirtd]:
    """Start an isolated libvirtd. `tls` is the TLS part of its configuration."""
    with prepared(tls=tls, installation=installation) as daemon:
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


@contextmanager
def prepared(
    settings: Mapping[str, str] = {}, tls: str = "listen_tls = 0\n", installation: Installation = MACHINE
) -> Iterator[Libvirtd]:
    """A daemon with a configuration, not started. `settings` override or add lines; "{folder}" in them and in
    `tls` is the daemon's folder."""
    port = free_port()
    with TemporaryDirectory() as name:
        folder = Path(name)
        lines = (f"{key} = {value}\n" for key, value in (CONFIGURATION | dict(settings)).items())
        configuration = ("".join(lines) + tls).format(port=port, folder=folder)
        (folder / "libvirtd.conf").write_text(configuration)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        yield Libvirtd(port, folder, installation=installation)


def free_port(preferred: int = 0) -> int:
    """An unused TCP port."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as daemons do
        try:
            free.bind(("127.0.0.1", preferred))
        except OSError:
            free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_for(port: int, daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a daemon listens, without a connection that its log would show."""
    end = time.monotonic() + PATIENCE
    while not _listens(port):
        if daemon.poll() is not None or time.monotonic() > end:
            said = log.read_text() if log.exists() else "nothing"
            raise AssertionError(f"libvirtd does not listen on port {port}; its log: {said}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    """Return whether a process listens on a TCP port; 0A is TCP_LISTEN."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines)


def _wait_until_quiet(file: Path) -> None:
    """Wait until a file has not grown for a while."""
    size = -1
    while size != file.stat().st_size:
        size = file.stat().st_size
        time.sleep(0.3)
