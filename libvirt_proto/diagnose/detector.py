"""The base of detectors: each sees a recording once, in order, and reports findings at its end."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar, Final

from ..events import Captured, Closed, Connection, ConnectionEvent, LogLine, Notice, ProbeEvent, Side
from ..rpc.message import Header
from ..rpc.names import Names
from ..rpc.objects import NamedObject, ObjectFinder
from ..rpc.reported import LibvirtError, reported_error
from ..session import ROLES, Role
from ..text import amount, file_argument, listed, printable, shorten
from .both_ends import BothEnds
from .findings import Certainty, Evidence, Finding, Severity
from .peers import Peer
from .rules import RULES

if TYPE_CHECKING:
    from ..registry import Registry
    from ..routine import RoutineExchanges
    from ..rpc.message import Message
    from ..session import Exchange

#: Numbers of messages or lines that an Evidence lists.
MAX_NUMBERS: Final = 20
#: Different calls that it names.
_NAMED: Final = 3
#: A call that is answered sooner is routine, unless something else is unusual.
ROUTINE_NS: Final = 10**9
#: Suffix of a compressed file → the command that writes its text.
_READERS: Final = {".gz": "gzip -dc", ".bz2": "bzip2 -dc", ".xz": "xz -dc", ".zst": "zstd -dc"}


class Recording:
    """One input of a diagnosis: names of numbers and objects, and commands that show its messages.

    `file` is its name; `decode` is the command that shows messages; None for a live source. `lossy` is set
    once bytes of a connection are known to be missing.
    """

    def __init__(
        self,
        file: str,
        registry: Registry,
        decode: Sequence[str] | None,
        both_ends: BothEnds | None = None,
    ) -> None:
        self.file = file.encode("utf-8", "backslashreplace").decode()
        self.registry = registry
        self.lossy = False
        #: The ends of connections that reported them: a log of a daemon has only `server`.
        self.sides: set[Side] = set()
        #: The last time in the recording.
        self.end_ns: int | None = None
        #: Its connections so far, by their `id`.
        self.peers: Mapping[int, Peer] = {}
        #: The number of exchanges so far, and the time of the last reply of one.
        self.exchanges = 0
        self.answered_ns: int | None = None
        #: The calls of all recordings, and numbers of connections here that are the client's end of another.
        self.both_ends = BothEnds() if both_ends is None else both_ends
        self.copies: set[int] = set()
        self._decode = decode
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        #: The last call whose object was found: several detectors look at the same one.
        self._last: tuple[Message | None, Message | None] = (None, None)
        self._subject: NamedObject | None = None
        #: The same of the last message with an error.
        self._failed: Message | None = None
        self._error: LibvirtError | None = None

    def procedure(self, header: Header) -> str:
        """Return the name of a procedure, such as `domain_get_info`; `remote.500` without a name."""
        program, procedure = self._names.of(header)
        return procedure or f"{program or f'{header.prog:#010x}'}.{header.proc}"

    def program(self, header: Header) -> str:
        """Return the name of a program, such as `remote`; "" if it is unknown."""
        return self._names.of(header)[0] or ""

    def subject(self, call: Message | None, reply: Message | None = None) -> NamedObject | None:
        """Return the object that a call is about."""
        if call is not self._last[0] or reply is not self._last[1]:
            self._last = (call, reply)
            self._subject = self._objects.subject(call, reply)
        return self._subject

    def error(self, message: Message) -> LibvirtError | None:
        """Return the error that a message reports."""
        if message is not self._failed:
            self._failed, self._error = message, reported_error(message)
        return self._error

    def is_other(self, call: Captured, other: Captured) -> bool:
        """Return whether two calls are of different procedures and not known to be about one object."""
        if call.message.header.proc == other.message.header.proc:
            return False
        one, two = self.subject(call.message), self.subject(other.message)
        return one is None or two is None or str(one) != str(two)

    def priority(self, header: Header) -> str | None:
        """Return `high` for a procedure that a priority worker may serve, `low` for others, None if it is
        unknown."""
        procedure = self.registry.procedure(header.prog, header.vers, header.proc)
        return None if procedure is None else procedure.annotations.priority or "low"

    def messages(
        self,
        text: str,
        seen: Iterable[Captured | None] | Sample,
        *,
        peer: Peer | None = None,
        exchanges: bool = False,
    ) -> Evidence:
        """Return evidence that consists of messages; `exchanges` shows them with their calls and replies."""
        sample = seen if isinstance(seen, Sample) else Sample(seen)
        options = ["--exchanges"] if exchanges else []
        for first, last in _ranges(sample.numbers):
            options += ["--message", str(first) if first == last else f"{first}-{last}"]
        return Evidence(
            text,
            self.file,
            sample.count,
            tuple(sample.numbers),
            (),
            sample.start_ns,
            sample.end_ns,
            str(peer) if peer is not None else sample.conn,
            self.show(*options) if sample.numbers else None,
        )

    def numbered(self, text: str, numbers: Iterable[int], connection: Connection) -> Evidence:
        """Return evidence that consists of exchanges, by the numbers of their messages."""
        listed = tuple(sorted(list(numbers)[:MAX_NUMBERS]))
        options = ["--exchanges", *(f"--message={n}" for n in listed)]
        return Evidence(
            text, self.file, len(listed), listed, conn=str(connection), command=self.show(*options)
        )

    def call(self, call: Captured) -> str:
        """Return the procedure of a call, and its object if it is known: `domain_get_info (vm1)`."""
        name = self.procedure(call.message.header)
        subject = self.subject(call.message)
        return f"{name} ({shorten(str(subject))})" if subject is not None else name

    def calls(self, what: str, calls: Collection[Captured], *, peer: Peer | None = None) -> Evidence:
        """Return evidence that consists of calls, with the names of the first different ones."""
        return self.messages(f"{amount(len(calls), 'call')} {what}: {self.names(calls)}", calls, peer=peer)

    def names(self, calls: Iterable[Captured]) -> str:
        """Return what calls are about, each once: `domain_get_info (vm1), connect_close and 3 more`."""
        return listed(dict.fromkeys(map(self.call, islice(calls, MAX_NUMBERS))), _NAMED)

    def lines(self, text: str, seen: Iterable[LogLine] | Lines) -> Evidence:
        """Return evidence that consists of lines of the log."""
        all_lines = seen.first if isinstance(seen, Lines) else list(seen)
        numbers = [line.number for line in all_lines][:MAX_NUMBERS]
        times = [line.time_ns for line in all_lines if line.time_ns is not None]
        command = None
        if self._decode is not None and self.file != "-":
            places = ";".join(f"{a}p" if a == b else f"{a},{b}p" for a, b in _ranges(numbers))
            command = self._on_text("sed", "-n", places)
        return Evidence(
            text,
            self.file,
            seen.count if isinstance(seen, Lines) else len(all_lines),
            (),
            tuple(numbers),
            min(times, default=None),
            max(times, default=None),
            None,
            command,
        )

    def matches(self, text: str, pattern: str, start_ns: int | None, end_ns: int | None) -> Evidence:
        """Return evidence that consists of the lines of the log that contain a pattern."""
        command = None
        if self._decode is not None and self.file != "-":
            command = self._on_text("grep", "-F", "-e", pattern)
        return Evidence(text, self.file, start_ns=start_ns, end_ns=end_ns, command=command)

    def show(self, *options: str) -> str | None:
        """Return the command that shows messages with some options."""
        if self._decode is None:
            return None
        return shlex.join([*self._decode, *options, file_argument(self.file)])

    def _on_text(self, *command: str) -> str:
        """Return a command on the lines of the file, which may be compressed."""
        reader = _READERS.get(PurePath(self.file).suffix)
        if reader is None:
            return shlex.join([*command, file_argument(self.file)])
        return f"{reader} {shlex.quote(file_argument(self.file))} | {shlex.join(command)}"


class Sample:
    """Messages of one kind: how many there were, when, and the numbers of the first ones."""

    __slots__ = ("conn", "count", "end_ns", "numbers", "start_ns")

    def __init__(self, seen: Iterable[Captured | None] = ()) -> None:
        self.count = 0
        self.numbers: list[int] = []
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        #: The connection, "" if there are several.
        self.conn: str | None = None
        for each in seen:
            if each is not None:
                self.add(each)

    def add(self, captured: Captured) -> None:
        """Add a message."""
        self.note(captured.n, captured.time_ns, captured.connection)

    def note(self, n: int, time_ns: int | None, connection: Connection) -> None:
        """Add a message by its number, its time and its connection."""
        self.count += 1
        if time_ns is not None:
            if self.start_ns is None or self.end_ns is None:
                self.start_ns = self.end_ns = time_ns
            elif time_ns > self.end_ns:  # nearly always
                self.end_ns = time_ns
            elif time_ns < self.start_ns:
                self.start_ns = time_ns
        if len(self.numbers) < MAX_NUMBERS:
            self.numbers.append(n)
            name = str(connection)
            if self.conn is None:
                self.conn = name
            elif self.conn != name:
                self.conn = ""


class Lines:
    """Lines of a log that state the same: how many there were, and the first ones."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.count = 0
        self.first: list[LogLine] = []

    def add(self, line: LogLine) -> None:
        """Add a line."""
        self.count += 1
        if len(self.first) < MAX_NUMBERS:
            self.first.append(line)


class Detector:
    """A detector of the findings of some rules in one recording. Methods that are not overridden are not
    called. All state is bounded."""

    #: Identifiers of the rules whose findings it reports.
    rules: ClassVar[tuple[str, ...]]
    #: The roles of the messages that `message` looks at.
    roles: ClassVar[tuple[Role, ...]] = ROLES

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def first(self, peer: Peer, captured: Captured) -> None:
        """Look at the first message of a connection in its direction; `peer` already contains it."""

    def message(self, peer: Peer, captured: Captured) -> None:
        """Look at a message; `peer` already contains it."""

    def wants(self, _header: Header) -> bool:
        """Return whether `exchange` looks at routine exchanges of a procedure. The answer is kept."""
        return True

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at a call with its reply and stream, once these are complete, or cannot be completed."""

    def sees(self, header: Header) -> bool:
        """Return whether routine exchanges of a procedure, or their messages, are passed to it."""
        message = overridden(self, "message") and not {"call", "reply"}.isdisjoint(self.roles)
        return bool(message or (overridden(self, "exchange") and self.wants(header)))

    def takes(self, _header: Header) -> bool:
        """Return whether routine exchanges of a procedure may be passed to `routine`, all at once. The answer
        is kept."""
        return False

    def ready(self, _peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether `routine` may replace `message` and `exchange` for routine exchanges now."""
        return True

    def routine(self, peer: Peer, exchanges: RoutineExchanges) -> None:
        """Look at routine exchanges of procedures that it takes; `peer` already contains them."""

    def event(self, peer: Peer | None, event: ConnectionEvent) -> None:
        """Look at an event of a connection."""

    def probe(self, event: ProbeEvent) -> None:
        """Look at an event that is not about RPC: of the QEMU monitor, or the event loop."""

    def line(self, line: LogLine) -> None:
        """Look at a line of a log."""

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Look at the end of a connection; calls that still wait are in `peer.waiting`. `exchange` follows
        for each of them."""

    def notice(self, notice: Notice) -> None:
        """Look at a problem or remark of the input."""

    def findings(self) -> Iterator[Finding]:
        """Report the findings at the end of the recording, by default none."""
        return iter(())

    def finding(
        self,
        rule: str,
        summary: str,
        evidence: Sequence[Evidence],
        *,
        subject: str = "",
        certainty: Certainty = "certain",
        severity: Severity | None = None,
        advice: Sequence[str] = (),
    ) -> Finding:
        """Build a finding; the rule gives its severity, unless another one is given."""
        assert rule in self.rules
        assert evidence
        return Finding(
            rule,
            severity or RULES[rule].severity,
            certainty,
            printable(summary),
            subject,
            tuple(evidence),
            tuple(advice),
        )


def is_routine(exchange: Exchange) -> bool:
    """Return whether a call was answered soon, without an error, a stream, or anything malformed."""
    latency_ns, reply = exchange.latency_ns, exchange.reply
    return (
        exchange.outcome == "ok"
        and latency_ns is not None
        and latency_ns < ROUTINE_NS
        and exchange.stream is None
        and reply is not None
        and reply.message.error is None
    )


#: The methods of a Detector that the pass calls.
Hook = Callable[..., None]


def overridden(detector: Detector, name: str) -> Hook | None:
    """Return a method of a detector, or None if it is that of the base class."""
    method: Hook = getattr(detector, name)
    return None if getattr(type(detector), name) is getattr(Detector, name) else method


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of successive numbers."""
    first = last = None
    for number in sorted(numbers):
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        elif number > last:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
