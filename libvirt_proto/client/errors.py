"""Errors of a client's connection. What the server reports is a LibvirtError."""

from __future__ import annotations

from ..errors import Error


class ConnectError(Error):
    """A connection that could not be opened; the text is a sentence with the remedy."""


class ConnectionLost(Error):
    """The connection has ended. `cause` is why: an OSError, a ProtocolError, a KeepaliveTimeout, or None if
    the server closed it or the caller did."""

    def __init__(self, cause: Exception | None, text: str) -> None:
        super().__init__(cause, text)
        self.cause = cause

    def __str__(self) -> str:
        return str(self.args[1])

    def copy(self) -> ConnectionLost:
        """Return an equal error, since each that is raised has a traceback of its own."""
        return ConnectionLost(self.cause, str(self))


class EventOverflow(Error):
    """An iterator of events was read too slowly: its queue was full, and later events are lost."""
