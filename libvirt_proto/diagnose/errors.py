"""Errors that a daemon or client reported: in replies, and in the words of a log.

A log has no payloads. A daemon writes its error before the reply that has it, and a client after it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from ..events import Captured, Connection, LogLine, Side
from ..rpc.message import Header, Status
from ..rpc.reported import LibvirtError
from ..rpc.statements import Statement, statement
from ..text import amount
from .detector import MAX_NUMBERS, Detector, Recording, Sample
from .findings import Evidence

if TYPE_CHECKING:
    from ..session import Exchange
    from .peers import Peer

#: Time between an error in a log and the reply that has it; both are written within milliseconds.
_TOGETHER_NS: Final = 10**9
#: Time between the lines of one failure.
_BURST_NS: Final = 10_000_000
#: Lines and replies that wait for each other.
_MAX_WAITING: Final = 256
#: Connections that are counted exactly.
_MAX_COUNTED: Final = 4096
#: The meaning of error codes (virerror.c), for replies without a text.
_MEANINGS: Final = {
    1: "internal error",
    3: "this function is not supported by the connection driver",
    8: "invalid argument",
    29: "operation forbidden for read only access",
    38: "system call error",
    39: "RPC error",
    45: "authentication failed",
    79: "authentication cancelled",
    88: "access denied",
    94: "authentication unavailable",
}


class Failure(NamedTuple):
    """A call that failed. Without payloads, `error` is None, and `lines` of the log have its text. Without
    messages, `exchange` and `peer` are None."""

    peer: Peer | None
    exchange: Exchange | None
    error: LibvirtError | None
    lines: tuple[LogLine, ...]

    @property
    def text(self) -> str | None:
        """The text of the error in a reply."""
        return None if self.error is None else self.error.message

    @property
    def statement(self) -> Statement | None:
        """The statement of the error in a reply, or that of the first line; None for another text."""
        if self.error is not None:
            return statement(self.error.message or "")
        return Statement(self.lines[0].kind, self.lines[0].details) if self.lines else None


class ErrorDetector(Detector):
    """A detector of errors in replies, in lines of a log, or in both."""

    #: The kinds of lines with such errors.
    kinds: ClassVar[frozenset[str]]

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._lines: deque[LogLine] = deque()
        self._replies: deque[tuple[Peer, Exchange, Captured]] = deque()

    @abstractmethod
    def failed(self, failure: Failure) -> None:
        """Look at a call that failed."""

    @abstractmethod
    def concerns(self, error: LibvirtError, exchange: Exchange) -> bool:
        """Return whether an error is one of this detector's."""

    def stated(self, error: LibvirtError) -> Statement | None:
        """Return what an error states, if its words are of this detector's kinds."""
        found = statement(error.message or "")
        return found if found is not None and found.kind in self.kinds else None

    def explains(self, _line: LogLine, _exchange: Exchange) -> bool:
        """Return whether a line can be about a failed call."""
        return True

    def wants(self, _header: Header) -> bool:
        """Return False: only errors matter."""
        return False

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at a reply with an error, once if both ends of its connection are recorded."""
        if exchange.outcome == "ok" or peer.connection.id in self.recording.copies:
            return
        if (reply := exchange.reply) is not None:
            self._failure(peer, exchange, reply)

    def line(self, line: LogLine) -> None:
        """Look at an error in a log."""
        if line.kind not in self.kinds or _is_foreign(line):
            return
        while self._replies:
            peer, exchange, reply = self._replies.popleft()
            if _together(reply.time_ns, line.time_ns) and self.explains(line, exchange):
                self.failed(Failure(peer, exchange, None, (line,)))
                return
        self._lines.append(line)
        if len(self._lines) > _MAX_WAITING:
            self._unanswered([self._lines.popleft()])

    def end(self) -> None:
        """Look at the lines without a reply; call it before reporting findings."""
        burst: list[LogLine] = []
        while self._lines:
            line = self._lines.popleft()
            last = burst[-1] if burst else line
            if line.thread != last.thread or not _together(last.time_ns, line.time_ns, _BURST_NS):
                self._unanswered(burst)
                burst = []
            burst.append(line)
        if burst:
            self._unanswered(burst)

    def _unanswered(self, lines: list[LogLine]) -> None:
        self.failed(Failure(None, None, None, tuple(lines[:MAX_NUMBERS])))

    def _failure(self, peer: Peer, exchange: Exchange, reply: Captured) -> None:
        message = reply.message
        if message.header.status != Status.VIR_NET_ERROR:
            return
        error = self.recording.error(message)
        if error is not None:
            if self.concerns(error, exchange):
                self.failed(Failure(peer, exchange, error, ()))
        elif message.payload is None and message.missing:
            lines = self._take(exchange, reply)
            if lines:
                self.failed(Failure(peer, exchange, None, lines))
            elif peer.connection.side == "client":
                self._replies.append((peer, exchange, reply))
                if len(self._replies) > _MAX_WAITING:
                    self._replies.popleft()

    def _take(self, exchange: Exchange, reply: Captured) -> tuple[LogLine, ...]:
        """Return the last lines of one thread, if they can be about a reply, and forget them."""
        last = self._lines[-1] if self._lines else None
        if last is None or not (_together(last.time_ns, reply.time_ns) and self.explains(last, exchange)):
            return ()
        taken: list[LogLine] = []
        while self._lines and len(taken) < MAX_NUMBERS:
            line = self._lines[-1]
            if line.thread != last.thread or not _together(
                line.time_ns, taken[0].time_ns if taken else None, _BURST_NS
            ):
                break
            taken.insert(0, self._lines.pop())
        return tuple(taken)


class Group:
    """Similar failures: how often, where and when."""

    def __init__(self, first: Failure) -> None:
        self.first = first
        self.sample = Sample()
        self.lines: list[LogLine] = []
        #: By the side that reported them.
        self._counts: Counter[Side | None] = Counter()
        self._connections: dict[Side | None, dict[int, Connection]] = {}

    @property
    def count(self) -> int:
        """The number of failures, although a trace of client and daemon has each of them twice."""
        return max(self._counts.values())

    @property
    def connections(self) -> dict[int, Connection]:
        """The connections by their numbers, as far as they are known and counted: those of one side."""
        return max(self._connections.values(), key=len, default={})

    def add(self, failure: Failure) -> None:
        """Add a failure."""
        side = failure.peer.connection.side if failure.peer is not None else None
        self._counts[side] += 1
        if failure.exchange is not None:
            self.sample.add(failure.exchange.reply or failure.exchange.first)
        if failure.peer is not None:
            connections = self._connections.setdefault(side, {})
            if len(connections) < _MAX_COUNTED:
                connections[failure.peer.connection.id] = failure.peer.connection
        self.lines += failure.lines[: MAX_NUMBERS - len(self.lines)]

    @property
    def connection(self) -> Connection | None:
        """The connection, if there is only one."""
        return next(iter(self.connections.values())) if len(self.connections) == 1 else None

    def evidence(self, recording: Recording, text: str) -> Iterator[Evidence]:
        """Yield the messages and the lines; `text` describes them."""
        if self.sample.count:
            yield recording.messages(text, self.sample, exchanges=True)
        if self.lines:
            stated = "the log states it" if self.sample.count else text
            yield recording.lines(stated, self.lines)


def blanked(text: str) -> bool:
    """Return whether a text was redacted as a whole (redact.text.blank)."""
    return not text.strip("xX")


def described(error: LibvirtError) -> str:
    """Return an error in words: `error 94 (VIR_ERR_AUTH_UNAVAILABLE): authentication unavailable: …`."""
    name = f" ({error.code_name})" if error.code_name else ""
    text = error.message if error.message and not blanked(error.message) else _MEANINGS.get(error.code, "")
    return f"error {error.code}{name}" + (f": {text}" if text else "")


def reporter(recording: Recording) -> str:
    """Return the side that wrote a log, at the beginning of a sentence."""
    names = {frozenset(("server",)): "The daemon", frozenset(("client",)): "The client"}
    return names.get(frozenset(recording.sides), "One side")


def named(connections: Collection[Connection]) -> str:
    """Return `the connection A-B` or `3 connections`."""
    if len(connections) == 1:
        return f"the connection {next(iter(connections))}"
    return amount(len(connections), "connection")


def capitalised(text: str) -> str:
    """Return a text with an upper-case first letter."""
    return text[:1].upper() + text[1:]


def _is_foreign(line: LogLine) -> bool:
    """Return whether another program wrote a line of a journal."""
    return bool(line.process) and not line.program and line.thread is None


def _together(one: int | None, two: int | None, most_ns: int = _TOGETHER_NS) -> bool:
    """Return whether two times can be of the same failure."""
    return one is None or two is None or abs(two - one) <= most_ns
