"""Accepts connections at an address, in an event loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .address import Address, listen

#: Number of connections that are accepted before other tasks run.
_ACCEPTED_AT_ONCE: Final = 64
#: Seconds before connections are accepted again, if the system has no descriptors left.
_PAUSE: Final = 1.0


class Acceptor:
    """Listens at an address until `close`, and passes each connected, non-blocking socket to `accepted`.

    `address` has the actual port. `mode` is the mode of a unix socket's file. `failed` gets the error if
    connections have to wait. Raises AddressError and OSError if it cannot listen.
    """

    def __init__(
        self,
        address: Address,
        mode: int,
        accepted: Callable[[socket.socket], object],
        failed: Callable[[OSError], object],
    ) -> None:
        self._accepted = accepted
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._listeners = listen(address, mode)
        self._path = _Path(address)
        self.address: Final = _real_port(address, self._listeners[0])
        for listener in self._listeners:
            self._accept_from(listener)

    def close(self) -> None:
        """Accept nothing more, and remove the file of a unix socket."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._path.remove()

    def _accept_from(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._failed(error)
                self._loop.remove_reader(listener)
                self._loop.call_later(_PAUSE, self._accept_from, listener)
                return
            client.setblocking(False)
            self._accepted(client)


class _Path:
    """The path of a unix socket created here. It is removed if it is still the same file."""

    def __init__(self, address: Address) -> None:
        self._path = address.name if address.transport == "unix" and address.name[0] != "@" else None
        self._made = os.lstat(self._path) if self._path else None

    def remove(self) -> None:
        if self._path and self._made:
            with suppress(OSError):
                if os.path.samestat(os.lstat(self._path), self._made):
                    os.unlink(self._path)


def _real_port(address: Address, listener: socket.socket) -> Address:
    if address.transport == "unix":
        return address
    return Address("tcp", address.name, listener.getsockname()[1])
