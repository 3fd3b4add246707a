"""A real libvirtd with its test driver, its clients, and tcpdump."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.differential.installation import MACHINE, Installation

CONFIGURATION = """\
listen_tcp = 1
listen_addr = "127.0.0.1"
tcp_port = "{port}"
max_clients = 1000
max_anonymous_clients = 1000
auth_tcp = "none"
log_filters = "2:rpc"
log_outputs = "2:file:{folder}/log"
"""
PATIENCE = 20.0  # seconds


class Libvirtd:
    """A daemon on a private port, with a log of its messages; its files are in `folder`."""

    def __init__(self, port: int, folder: Path, pid: int = 0, installation: Installation = MACHINE) -> None:
        self.port = port
        self.folder = folder
        self.pid = pid
        self.installation = installation

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
    def recorded(self, capture: Path) -> Iterator[None]:
        """Record all of the daemon's TCP traffic in the block to a file, in pcap format."""
        # A buffer of 64 MiB (-B counts KiB): the kernel must not drop packets on a loaded machine.
        options = ["-i", "lo", "-s0", "-U", "-B", "65536", "--immediate-mode", "-w", "-"]
        command = ["tcpdump", *options, f"tcp port {self.port}"]
        with (
            capture.open("wb") as file,
            subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE, text=True) as tcpdump,
        ):
            try:
                assert tcpdump.stderr is not None
                said = tcpdump.stderr.readline()
                assert "listening on" in said or "data link type" in said, said
                yield
                _wait_until_quiet(capture)
            finally:
                tcpdump.send_signal(signal.SIGINT)
                tcpdump.communicate()


@contextmanager
def started(tls: str = "listen_tls = 0\n", installation: Installation = MACHINE) -> Iterator[Libvirtd]:
    """Start an isolated libvirtd: without root's rights it is a session daemon, which keeps its sockets,
    locks and state below the folders of its environment. `tls` is the TLS part of its configuration."""
    port = free_port()
    with TemporaryDirectory() as name:
        folder = Path(name)
        configuration = folder / "libvirtd.conf"
        configuration.write_text(CONFIGURATION.format(port=port, folder=folder) + tls)
        user = ""
        if os.geteuid() == 0:
            user = "nobody"
            shutil.chown(folder, user)
        options = ("--listen", "--config", str(configuration), "--pid-file", str(folder / "pid"))
        folders = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), name)
        with subprocess.Popen(
            installation.command("libvirtd", *options, user=user),
            env=os.environ | folders,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as daemon:
            try:
                _wait_for(port, daemon, folder / "log")
                yield Libvirtd(port, folder, daemon.pid, installation)
            finally:
                daemon.terminate()


def free_port() -> int:
    """An unused TCP port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _wait_for(port: int, daemon: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if daemon.poll() is not None or time.monotonic() > end:
                said = log.read_text() if log.exists() else "nothing"
                raise AssertionError(f"libvirtd does not listen on port {port}; its log: {said}") from error
            time.sleep(0.1)
        else:
            return


def _wait_until_quiet(file: Path) -> None:
    """Wait until a file has not grown for a while."""
    size = -1
    while size != file.stat().st_size:
        size = file.stat().st_size
        time.sleep(0.3)
