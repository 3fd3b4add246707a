"""A client without libvirt, for messages that libvirt's own clients do not send."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager

from libvirt_proto import registry
from tests.support.frames import REMOTE, frame, text, word

PATIENCE = 20.0  # seconds
HEADER = 28  # bytes
MESSAGE = word(2)  # virNetMessageType


class Direct(AbstractContextManager["Direct"]):
    """A connection to the daemon's port."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._stream = self.socket.makefile("rb")
        self._serial = 0
        #: Payloads of events that came before replies.
        self.events: list[bytes] = []

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def call(self, procedure: int | str, payload: bytes = b"", *, prog: int = REMOTE, vers: int = 1) -> bytes:
        """Make a call, and return the payload of the reply, or nothing if the daemon ends the connection."""
        if isinstance(procedure, str):
            procedure = registry.program(prog).procedure(procedure).number
        self.send(frame(payload, prog=prog, vers=vers, proc=procedure, serial=self._serial))
        self._serial += 1
        while (reply := self.read())[16:20] == MESSAGE:
            self.events.append(reply[HEADER:])
        return reply[HEADER:]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self) -> bytes:
        """The next frame from the daemon, or nothing at the end of the connection."""
        try:
            length = self._stream.read(4)
        except ConnectionResetError:  # the daemon did not read all
            return b""
        return length + self._stream.read(int.from_bytes(length) - 4) if length else b""

    def open(self, uri: bytes = b"test:///default", flags: int = 0) -> None:
        """Open the driver."""
        self.call("auth_list")
        assert self.call("connect_open", word(1) + text(uri) + word(flags)) == b""

    def lookup(self, name: bytes) -> bytes:
        """A domain as an argument of calls."""
        return self.call("domain_lookup_by_name", text(name))
