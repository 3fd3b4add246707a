"""A relay between real sockets: `libvirt-proto relay` as a user runs it, and the Relay in a thread."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from libvirt_proto.capture.address import Address, listen
from libvirt_proto.capture.feed import Feed
from libvirt_proto.capture.relay import Relay

LIBVIRT_PROTO = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()"]
COMMAND = [*LIBVIRT_PROTO, "relay"]
PATIENCE = 30.0
Handler = Callable[[socket.socket], None]


class Running:
    """A running command that listens; it prints `address`, where clients can connect, and `what` it does."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.address, _, self.what = line.removeprefix("listening on ").partition(", ")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Its exit status, and its standard output and standard error after the first line."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@contextmanager
def listening(*words: str | Path, stdout: int = subprocess.PIPE) -> Iterator[Running]:
    """A command that listens, started like a background job of a shell."""
    with subprocess.Popen(
        [*LIBVIRT_PROTO, *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        # As in a shell script with `&`.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert said.startswith("listening on "), said + process.stderr.read()
            yield Running(process, said)
        finally:
            if process.poll() is None:
                process.kill()


def relay(
    listen_at: str, connect_to: str, *options: str | Path, stdout: int = subprocess.PIPE
) -> AbstractContextManager[Running]:
    """The command."""
    return listening("relay", "--listen", listen_at, "--connect", connect_to, *options, stdout=stdout)


def connect(address: str) -> socket.socket:
    """A connection of a client to the address that a relay prints."""
    kind, _, place = address.partition(":")
    if kind == "unix":
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(PATIENCE)
        one.connect(place)
        return one
    host, _, port = place.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), PATIENCE)


@contextmanager
def served(address: Address, handle: Handler) -> Iterator[Address]:
    """A server with a thread for each connection."""
    (listener,) = listen(address)
    listener.setblocking(True)

    def one(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            connection.settimeout(PATIENCE)
            handle(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:  # the listener is closed
                    return
                time.sleep(0.01)  # a test has lowered the limit on open files
                continue
            threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    threads = [threading.Thread(target=accept, daemon=True)]
    threads[0].start()
    port = listener.getsockname()[1] if address.transport == "tcp" else 0
    try:
        yield Address(address.transport, address.name, port)
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(PATIENCE)


@contextmanager
def relayed(listen_at: Address, connect_to: Address, feed: Feed) -> Iterator[Address]:
    """A relay in a separate thread, which has ended when the block is left."""
    ready = threading.Event()
    found: list[Address] = []
    stops: list[Callable[[], object]] = []

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))

        def listening(address: Address) -> None:
            found.append(address)
            ready.set()

        await Relay(listen_at, connect_to, feed).run(stop, listening)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield found[0]
    finally:
        stops[0]()
        thread.join(PATIENCE)
        feed.close()
        assert not thread.is_alive()


@contextmanager
def through(kinds: str, tmp_path: Path, handle: Handler, feed: Feed | None = None) -> Iterator[Address]:
    """A relay before a server; the address for clients."""
    ends = {"tcp": Address("tcp", "127.0.0.1"), "six": Address("tcp", "::1")}
    front, back = (
        ends.get(kind) or Address("unix", str(tmp_path / name))
        for kind, name in zip(kinds.split("-"), ("front", "back"), strict=True)
    )
    with served(back, handle) as server, relayed(front, server, feed or Feed()) as address:
        yield address


def client(address: Address) -> socket.socket:
    if address.transport == "unix":
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(PATIENCE)
        one.connect(address.path)
        return one
    return socket.create_connection((address.name, address.port), PATIENCE)


def read_all(one: socket.socket) -> bytes:
    return b"".join(iter(lambda: one.recv(65536), b""))


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def answer_at_end(connection: socket.socket) -> None:
    """Answer only after the client has closed its direction."""
    connection.sendall(hashlib.sha256(read_all(connection)).digest())
