"""Lanes of a pass over calls with their replies: the native core pairs the calls of a connection in step.

It writes the lines of exchanges whose calls it has. Messages of exchanges that were open before are objects,
which Sessions pairs. Python gets the calls back before it processes a packet of the connection, and with a
message that the core does not pair: that of a stream, a reply without a call, or one whose line has another
form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from ..events import Captured, Connection, Lines
from ..session import Sessions
from .lanes import Lanes, Presenting
from .pcap.packet import Segment

if TYPE_CHECKING:
    from ..session import Exchange
    from .pcap.file import Ahead


class PresentingExchanges(Presenting, Protocol):
    """A presenter of the lines of exchanges."""

    def text(self, connection: Connection) -> bytes:
        """Return the text of a connection in a line."""

    def hide_exchange(self, exchange: Exchange) -> None:
        """Learn that exchanges of this kind are not shown."""


class PairingLanes(Lanes):
    """The lanes of one pass."""

    def __init__(self, presenting: PresentingExchanges, sessions: Sessions) -> None:
        super().__init__(presenting)
        self._texts = presenting
        self._sessions = sessions
        self._decode = self.decoder().decode
        #: Keys of lanes and connections, by number: of all with lanes, and of those whose calls are paired.
        self._keys: dict[int, tuple[bytes, Connection]] = {}
        self._paired: dict[int, tuple[bytes, Connection]] = {}
        #: Connections whose calls were given back in a scan.
        self._returned: list[int] = []
        sessions.share(self)

    @property
    def exchanges(self) -> int:
        """Number of exchanges so far."""
        return self._sessions.count

    def packets(self, ahead: Ahead) -> tuple[int, Lines | None, int]:
        """Read packets of open lanes: see pcap.file.Skim."""
        for connection in self._returned:  # Sessions has all messages of the last scan
            self._pair(connection)
        self._returned.clear()
        pos, lines, strays = super().packets(ahead)
        if lines is None:
            return pos, None, strays
        assert self._presenting.scanner is not None
        text, closed, shown = self._presenting.scanner.paired()
        counts = (lines.messages, shown, lines.failures, lines.time_ns, lines.data_ns)
        return pos, Lines(lines.data, *counts, text, closed), strays

    def open(self, segments: Iterable[Segment]) -> None:
        """Open the lanes of the connections of segments, and let their calls be paired."""
        super().open(segments)
        for segment in segments if self._open else ():
            key = segment[2]
            half = self._tcp.half(key) if key in self._open else None
            if half is not None and half.connection is not None:
                self._keys[half.connection.id] = key, half.connection
                self._pair(half.connection.id)

    def _pair(self, connection: int) -> None:
        """Let the calls of a connection be paired, if nothing of it is open."""
        known = self._keys.get(connection)
        scanner = self._presenting.scanner
        if known is None or scanner is None or connection in self._paired:
            return
        keys = self._sessions.open_keys(connection)
        if keys is not None and scanner.pair(known[0], connection, self._texts.text(known[1]), keys):
            self._paired[connection] = known

    def take(self, given: tuple[Any, ...]) -> None:
        """Tell Sessions of calls that the core has paired, or give them back: see `Scanner.unpair`."""
        if len(given) == 5:
            self._take_back(given)
            self._returned.append(given[0])
        elif given[0] in self._paired:
            self._sessions.meanwhile(*given)

    def _take_back(self, given: tuple[Any, ...]) -> None:
        id_, sent, lowest, last_n, calls = given
        _, connection = self._paired.pop(id_)
        waiting = [
            (Captured(n, time_ns, connection, "c2s", self._decode(frame, "c2s"), (), packet), position)
            for n, time_ns, packet, position, frame in calls
        ]
        self._sessions.take_back(id_, sent, lowest, last_n, waiting)

    def stop(self) -> None:
        """Give all calls back."""
        for connection in [*self._paired]:
            self._unpair(connection)

    def _unpair(self, connection: int) -> None:
        known = self._paired.get(connection)
        if known is None:
            return
        assert self._presenting.scanner is not None
        given = self._presenting.scanner.unpair(known[0])
        if given is not None:  # else they are among the messages that follow
            self._take_back(given)

    def _close(self, key: bytes) -> None:
        half = self._tcp.half(key) if key in self._open else None
        if half is not None and half.connection is not None:
            self._unpair(half.connection.id)
            self._keys.pop(half.connection.id, None)
        super()._close(key)
