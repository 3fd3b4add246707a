"""Filters of messages, connection events and exchanges.

A Filter has the conditions; a Selection applies them to one pass over an input. Names are checked against the
registry before anything is read; a wrong one raises UnknownName.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from msgspec.structs import replace

from .bounded import BoundedDict
from .errors import UnknownName
from .events import Captured, Closed, Connection, ConnectionEvent, ProbeEvent
from .moments import Moment, duration_ns, moment
from .rpc.message import Header, Message, Status
from .rpc.names import TYPES
from .session import MAX_OPEN, MAX_OPEN_BYTES, Role, role, stream_direction
from .text import number

if TYPE_CHECKING:
    from .definitions.program import Program
    from .registry import Registry
    from .rpc.objects import NamedObject
    from .session import Exchange

T = TypeVar("T")

#: Words for kinds of objects → their kinds in the definitions.
KINDS: Final = {
    "domain": "domain",
    "network": "network",
    "pool": "storage_pool",
    "volume": "storage_vol",
    "interface": "interface",
    "nodedev": "node_device",
    "nwfilter": "nwfilter",
    "secret": "secret",
    "snapshot": "domain_snapshot",
    "checkpoint": "domain_checkpoint",
}
#: Maximum number of names and UUIDs that messages give to an object.
_MAX_ALIASES: Final = 256
_UUID_DIGITS: Final = 32
#: Size of a message of a stream without its data, in bytes of memory.
_WITHOUT_DATA: Final = 1024
#: Connection, program, version, serial.
_Key = tuple[int, int, int, int]


class Filter:
    """A filter that accepts what matches one value of each kind that is given.

    - `programs`, `procedures`: names, symbols of the .x, numbers or patterns (`*`, `?`); a procedure may have
      its program before it (`remote.domain_*`).
    - `types`: tapset names, numbers or patterns.
    - `connections`: ids, or parts of a connection's name.
    - `errors_only`: error replies and malformed messages.
    - `messages`, `frames`, `serials`: numbers of messages, of packets and of calls: `57`, `"57-60"`, `"57-"`.
    - `since`, `until`: the first and the last moment: a datetime, or text (see `moments.moment`).
    - `slower_than`: calls and replies that took at least this long, and calls without a reply: `"50ms"`,
      seconds, or a timedelta.
    - `objects`: names or UUIDs of domains, networks, pools and other objects, optionally after their kind
      (`pool:default`). Messages with the object and others of the same call are accepted.
    - `context`: also this number of messages before and after each of these, on the same `connections`.

    A message that only the reply to it selects (by its latency, or by the object that it returns) comes right
    before the reply. Raises UnknownName for a name or pattern without a match, ValueError for a number or a
    time that cannot be read, and TypeError for a string in place of a list.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        programs: Iterable[str] = (),
        procedures: Iterable[str] = (),
        types: Iterable[str] = (),
        connections: Iterable[str] = (),
        errors_only: bool = False,
        messages: Iterable[str | int] = (),
        frames: Iterable[str | int] = (),
        serials: Iterable[str | int] = (),
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        slower_than: str | float | timedelta | None = None,
        objects: Iterable[str] = (),
        context: int = 0,
    ) -> None:
        given = {
            "programs": programs,
            "procedures": procedures,
            "types": types,
            "connections": connections,
            "messages": messages,
            "frames": frames,
            "serials": serials,
            "objects": objects,
        }
        for kind, words in given.items():
            if isinstance(words, str):  # each of its characters would be a pattern
                raise TypeError(f"{kind}: expected a list of strings, got {words!r}")
        self.registry: Final = registry
        self._programs = {n for word in programs for n in program_numbers(registry.programs(), word)}
        #: (program or None for any, procedure).
        self._procedures = {p for word in procedures for p in procedure_numbers(registry.programs(), word)}
        self._types = {n for word in types for n in type_numbers(word)}
        self._connections = tuple(connections)
        self._errors_only = errors_only
        self._messages, self._frames, self._serials = map(Ranges, (messages, frames, serials))
        self.since: Final = None if since is None else moment(since)
        self.until: Final = None if until is None else moment(until)
        self.slower_than_ns: Final = None if slower_than is None else duration_ns(slower_than)
        self.objects: Final = tuple(objects)
        for word in self.objects:
            WantedObject(word)  # raises ValueError
        self.context: Final = context
        numbers = (self._messages.given, self._frames.given, self._serials.given)
        #: Whether the conditions are about messages, so that none accepts an event.
        self._of_messages = any((self._programs, self._procedures, self._types, errors_only, *numbers))
        #: Whether a condition is about calls with their replies.
        self.of_exchanges: Final = self.slower_than_ns is not None or bool(self.objects)
        #: Whether any value is given: without one, everything is accepted.
        self.active: Final = (
            self._of_messages
            or self.of_exchanges
            or bool(self._connections or self.since is not None or self.until is not None)
        )

    def __call__(self, captured: Captured) -> bool:
        """Return True for a message that meets all conditions but those of time, calls and objects, for which
        a Selection is needed."""
        return self._is_wanted_error(captured) and self._matches(captured)

    def _matches(self, captured: Captured) -> bool:
        """Return True for a message that meets the same conditions, except for `errors_only`."""
        header = captured.message.header
        return (
            (not self._programs or header.prog in self._programs)
            and (not self._procedures or self._has_procedure(header))
            and (not self._types or header.type in self._types)
            and (not self._connections or self.has_connection(captured.connection))
            and (not self._messages.given or captured.n in self._messages)
            and (not self._frames.given or self._has_frame(captured))
            and (not self._serials.given or header.serial in self._serials)
        )

    def _is_wanted_error(self, captured: Captured) -> bool:
        """Return True for an error reply and a malformed message, and for all without `errors_only`."""
        message = captured.message
        return not self._errors_only or message.header.status == Status.VIR_NET_ERROR or message.malformed

    def of_event(self, event: ConnectionEvent | ProbeEvent) -> bool:
        """Return True for an event that is accepted, whenever it was: none is by a filter of messages."""
        if self._of_messages or self.of_exchanges:
            return False
        return not self._connections or (
            event.connection is not None and self.has_connection(event.connection)
        )

    def has_connection(self, connection: Connection) -> bool:
        """Return True for a connection that is accepted."""
        name = str(connection)
        return not self._connections or any(
            connection.id == int(word) if word.isdecimal() else word in name for word in self._connections
        )

    def _has_frame(self, captured: Captured) -> bool:
        """Return whether a message is in one of the packets, of any recording that has it."""
        return captured.packet in self._frames or any(
            each.packet in self._frames for each in captured.sightings
        )

    def _has_procedure(self, header: Header) -> bool:
        wanted = self._procedures
        return (header.prog, header.proc) in wanted or (None, header.proc) in wanted


def is_of_kinds(filter: Filter) -> bool:
    """Return whether program, procedure, type and status decide about each message that is not malformed."""
    others = (
        *(filter._connections, filter._messages.given, filter._frames.given, filter._serials.given),
        *(filter.since, filter.until, filter.of_exchanges, filter.context),
    )
    return not any(others)


class Selection:
    """A Filter applied to one pass over an input, in memory that the input cannot grow.

    With `whole_calls`, a message is accepted if the exchange that it belongs to is, as by `exchange`; those
    before the message that decides come right before it. Of the data of a stream among these, only the
    lengths are kept.

    `start_ns` is the beginning of the input, to be set before anything with a time is passed.
    """

    def __init__(self, filter: Filter, *, whole_calls: bool = False) -> None:
        self._filter = filter
        #: The number of neighbours of a message; calls are counted without any.
        self._context = 0 if whole_calls else filter.context
        self._window: tuple[int | None, int | None] | None = None
        self._calls = _Calls(filter, whole=whole_calls) if whole_calls or filter.of_exchanges else None
        self._neighbours: _Neighbours[Captured] = _Neighbours(self._context)
        self._exchanges: _Neighbours[Exchange] = _Neighbours(self._context)
        self.start_ns: int | None = None

    def feed(self, item: Captured | Closed) -> list[Captured]:
        """Add a message or the end of a connection, and return the messages that are accepted now."""
        calls = self._calls
        if isinstance(item, Closed):
            return [] if calls is None else self._late(calls.end(item.connection.id))
        if self._context and not self._filter.has_connection(item.connection):
            return []
        matches = self._filter._matches(item) and self._in_window(item.time_ns)
        is_error = self._filter._is_wanted_error(item)
        if calls is None:
            return self._neighbours.feed(item, matches and is_error)
        meets, held = calls.feed(item, matches, is_error)
        shown = self._late(held) + self._neighbours.feed(item, meets)
        for each in shown if self._context else ():
            calls.is_shown(each)
        return shown

    def finish(self) -> list[Captured]:
        """End the input, and return the calls without a reply that are accepted."""
        return [] if self._calls is None else self._late(self._calls.end(None))

    def event(self, event: ConnectionEvent | ProbeEvent) -> bool:
        """Return True for an event that is accepted."""
        return self._filter.of_event(event) and self._in_window(event.time_ns)

    def lone(self, captured: Captured) -> bool:
        """Return True for an accepted message that belongs to no exchange."""
        matches = self._filter._matches(captured) and self._in_window(captured.time_ns)
        is_error = self._filter._is_wanted_error(captured)
        if self._calls is None:
            return matches and is_error
        accepted, _ = self._calls.feed(captured, matches, is_error)
        return accepted

    def exchange(self, exchange: Exchange) -> list[Exchange]:
        """Add an exchange, and return the exchanges that are accepted now: those with a message that meets
        the conditions of messages, and for `errors_only` also one with an error."""
        if self._context and not self._filter.has_connection(exchange.connection):
            return []
        matches, is_wanted_error = self._filter._matches, self._filter._is_wanted_error
        accepted = any(map(is_wanted_error, exchange.parts)) and any(
            matches(part) and self._in_window(part.time_ns) for part in exchange.parts
        )
        if self._calls is not None:
            accepted = self._calls.accepts(exchange) and accepted
        return self._exchanges.feed(exchange, accepted)

    def _in_window(self, time_ns: int | None) -> bool:
        since, until = self._filter.since, self._filter.until
        if since is None and until is None:
            return True
        if time_ns is None or self.start_ns is None:
            return False
        if self._window is None:
            self._window = _at(since, self.start_ns), _at(until, self.start_ns)
        first, last = self._window
        return (first is None or first <= time_ns) and (last is None or time_ns <= last)

    def _late(self, calls: list[Captured]) -> list[Captured]:
        """Return calls that are accepted only now, with the messages around them that are still there."""
        shown: dict[int, Captured] = {}
        for call in calls:
            if id(call) not in shown:  # else it is next to an earlier one
                shown |= {id(each): each for each in self._neighbours.late(call)}
        if self._calls is not None and self._context:
            for each in shown.values():
                self._calls.is_shown(each)
        return list(shown.values())


def _at(moment: Moment | None, start_ns: int) -> int | None:
    return None if moment is None else moment.at(start_ns)


class _Neighbours(Generic[T]):
    """Adds the items before and after an accepted one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._before: deque[T] = deque(maxlen=count)
        #: Number of items still to be added after the last one.
        self._after = 0

    def feed(self, item: T, accepted: bool) -> list[T]:
        """Add an item, and return what is accepted now."""
        if accepted:
            shown = [*self._before, item]
            self._before.clear()
            self._after = self._count
            return shown
        if self._after:
            self._after -= 1
            return [item]
        self._before.append(item)
        return []

    def late(self, item: T) -> list[T]:
        """Accept an earlier item, and return what is accepted now."""
        for index, each in enumerate(self._before):
            if each is item:
                shown = [*self._before]
                self._before.clear()
                self._after = max(self._after, self._count - (len(shown) - 1 - index))
                return shown
        return [item]


class _Call:
    """A call that waits for its reply, or whose stream may be accepted."""

    __slots__ = ("answered", "errs", "held", "is_slow", "matches", "named", "size", "time_ns")

    def __init__(self, time_ns: int | None, *, is_slow: bool) -> None:
        #: The time of the call; None without a clock, and if only others of its messages were seen.
        self.time_ns = time_ns
        #: Whether it took long enough.
        self.is_slow = is_slow
        #: Whether one of its messages has an object that is searched for, meets the conditions of messages,
        #: and is an error, if one is wanted.
        self.named = self.matches = self.errs = False
        self.answered = False
        #: Its messages that are not shown yet, and their size.
        self.held: list[Captured] = []
        self.size = 0


class _Calls:
    """The conditions that need a call and its reply: latency and objects. With `whole`, all messages of a
    call are accepted if it meets these and one of its messages the others."""

    def __init__(self, filter: Filter, *, whole: bool) -> None:
        from .rpc.objects import ObjectFinder

        self._registry = filter.registry
        self._whole = whole
        self._least_ns = filter.slower_than_ns
        self._wanted = [WantedObject(word) for word in filter.objects]
        self._objects = ObjectFinder(filter.registry).objects
        self._open: BoundedDict[_Key, _Call] = BoundedDict(MAX_OPEN)
        self._by_connection: dict[int, dict[_Key, None]] = {}
        self._held_bytes = 0

    def feed(self, captured: Captured, matches: bool, is_error: bool) -> tuple[bool, list[Captured]]:
        """Return whether a message is accepted, and earlier ones that are accepted because of it. `matches`
        and `is_error` are whether it meets the other conditions."""
        header = captured.message.header
        part = role(header)
        if part not in ("call", "reply", "stream"):
            accepted = matches and is_error and self._least_ns is None
            return self._names(captured.message) and accepted, []
        key = (captured.connection.id, header.prog, header.vers, header.serial)
        call = self._remove(key) if part == "call" else self._open.get(key)
        if call is None or part == "call":
            call = _Call(captured.time_ns if part == "call" else None, is_slow=self._least_ns is None)
        if part == "reply":
            call.answered = True
            call.is_slow = self._is_slow(call.time_ns, captured.time_ns)
        call.named |= self._names(captured.message)
        call.matches |= matches
        call.errs |= is_error
        accepted = call.named and call.is_slow and (not self._whole or (call.matches and call.errs))
        shown, held = accepted and (self._whole or (matches and is_error)), call.held if accepted else []
        if accepted:
            self._held_bytes -= call.size
            call.held, call.size = [], 0
        if self._is_open(key, call, captured, part, accepted=accepted):
            if key not in self._open:
                self._add(key, call)
            if not accepted and (self._whole or (part == "call" and matches and is_error)):
                if part == "stream":
                    self._hold(call, _without_data(captured), _WITHOUT_DATA)
                else:
                    self._hold(call, captured, captured.message.length)
            return shown, self._given_up() + held
        self._remove(key)
        return shown, held

    def _is_open(self, key: _Key, call: _Call, captured: Captured, part: Role, *, accepted: bool) -> bool:
        """Return whether further messages of a call may be accepted."""
        header = captured.message.header
        undecided = accepted or (self._whole and call.is_slow)
        if part == "call":
            return True
        if part == "reply":
            return undecided and header.status == Status.VIR_NET_OK and self._opens_stream(header)
        is_over = captured.direction == "s2c" and header.status != Status.VIR_NET_CONTINUE
        return not is_over and (key in self._open or (self._whole and undecided))

    def accepts(self, exchange: Exchange) -> bool:
        """Return True for an exchange that meets the conditions."""
        named = [self._names(part.message) for part in exchange.parts]
        call, reply = exchange.call, exchange.reply
        unanswered = call is not None and reply is None
        return any(named) and (
            unanswered or self._is_slow(call.time_ns if call else None, reply.time_ns if reply else None)
        )

    def end(self, connection: int | None) -> list[Captured]:
        """End a connection, or the input for None, and return the messages of its calls without a reply that
        are accepted."""
        keys = list(self._open if connection is None else self._by_connection.get(connection, ()))
        return [message for key in keys for message in self._unanswered(key)]

    def is_shown(self, captured: Captured) -> None:
        """Note that a message is shown, because it is next to another."""
        header = captured.message.header
        call = self._open.get((captured.connection.id, header.prog, header.vers, header.serial))
        if call is not None and call.held and call.held[0] is captured:  # the only one, unless `whole`
            self._held_bytes -= call.size
            call.held, call.size = [], 0

    def _given_up(self) -> list[Captured]:
        """Drop the oldest calls while there are too many, and return their messages that are accepted."""
        given_up: list[Captured] = []
        while len(self._open) > MAX_OPEN or self._held_bytes > MAX_OPEN_BYTES:
            given_up += self._unanswered(self._open.oldest)
        return given_up

    def _unanswered(self, key: _Key) -> list[Captured]:
        """Remove a call; return its messages if it has no reply and is accepted: it took longer than any
        limit."""
        call = self._remove(key)
        if call is None or call.answered or self._least_ns is None or not call.named:
            return []
        return call.held if not self._whole or (call.matches and call.errs) else []

    def _hold(self, call: _Call, captured: Captured, size: int) -> None:
        """Keep a message that may be accepted later."""
        call.held.append(captured)
        call.size += size
        self._held_bytes += size

    def _add(self, key: _Key, call: _Call) -> None:
        self._open[key] = call
        self._by_connection.setdefault(key[0], {})[key] = None

    def _remove(self, key: _Key) -> _Call | None:
        call = self._open.pop(key, None)
        if call is not None:
            self._held_bytes -= call.size
            keys = self._by_connection[key[0]]
            del keys[key]
            if not keys:
                del self._by_connection[key[0]]
        return call

    def _names(self, message: Message) -> bool:
        """Return whether a message has an object that is searched for; True without any."""
        if not self._wanted:
            return True
        # All are looked at, since each may have another name of the object.
        accepted = [wanted.accepts(each) for each in self._objects(message) for wanted in self._wanted]
        return any(accepted)

    def _is_slow(self, call_ns: int | None, reply_ns: int | None) -> bool:
        if self._least_ns is None:
            return True
        return call_ns is not None and reply_ns is not None and reply_ns - call_ns >= self._least_ns

    def _opens_stream(self, header: Header) -> bool:
        procedure = self._registry.procedure(header.prog, header.vers, header.proc)
        return procedure is not None and stream_direction(procedure) is not None


def _without_data(captured: Captured) -> Captured:
    """Return a message of a stream with its length and without its data."""
    message = captured.message
    if message.data is None or message.header.status != Status.VIR_NET_CONTINUE:
        return captured
    return replace(captured, message=replace(message, data=None))


class WantedObject:
    """An object that is searched for by name or UUID; messages with both tell the other."""

    def __init__(self, word: str) -> None:
        kind, colon, rest = word.partition(":")
        self._kind = KINDS[kind] if colon and kind in KINDS else None
        self._name = rest if self._kind is not None else word
        if not self._name:
            raise ValueError(f"expected the name or UUID of an object, got {word!r}")
        digits = self._name.lower().replace("-", "")
        is_uuid = len(digits) == _UUID_DIGITS and all(each in "0123456789abcdef" for each in digits)
        self._uuid = (
            f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}" if is_uuid else None
        )
        #: (kind, name or UUID) that messages give to the object.
        self._aliases: BoundedDict[tuple[str, str], None] = BoundedDict(_MAX_ALIASES)

    def accepts(self, found: NamedObject) -> bool:
        """Return True for the object; what else the message has of it is learned."""
        if self._kind is not None and found.kind != self._kind:
            return False
        wanted, other, alias = (
            (self._uuid, found.uuid, found.name)
            if self._uuid is not None
            else (self._name, found.name, found.uuid)
        )
        if other is None:  # the message has only what was learned
            return found.name == self._name or (alias is not None and (found.kind, alias) in self._aliases)
        if other != wanted and found.name != self._name:
            return False
        if alias is not None:
            self._aliases.put((found.kind, alias), None)
        return True


class Ranges:
    """Numbers and ranges of numbers."""

    def __init__(self, words: Iterable[str | int]) -> None:
        self._ranges = [_range(part) for word in words for part in str(word).split(",")]
        self.given = bool(self._ranges)

    def __contains__(self, value: int | None) -> bool:
        return value is not None and any(
            first <= value and (last is None or value <= last) for first, last in self._ranges
        )


def _range(word: str) -> tuple[int, int | None]:
    first, dash, last = word.strip().partition("-")
    if not (first.isascii() and first.isdecimal()) or not (
        last == "" or (last.isascii() and last.isdecimal())
    ):
        raise ValueError(f"expected N, N-M or N-, got {word!r}")
    low = int(first)
    high = int(last) if last else None if dash else low
    if high is not None and high < low:
        raise ValueError(f"expected N-M with N not over M, got {word!r}")
    return low, high


def program_numbers(known: Iterable[Program], word: str) -> set[int]:
    """Return the numbers of the programs that a word means; a number means itself."""
    as_number = number(word)
    if as_number is not None:
        return {as_number}
    names = {name: program.number for program in known for name in (program.name, program.symbol)}
    return set(_matching("program", word, names))


def procedure_numbers(known: Iterable[Program], word: str) -> set[tuple[int | None, int]]:
    """Return (program, procedure) for every procedure that a word means; the program is None for a number
    without a program."""
    as_number = number(word)
    if as_number is not None:
        return {(None, as_number)}
    before, dot, after = word.rpartition(".")
    as_number = number(after)
    if dot and as_number is not None:
        return {(program, as_number) for program in program_numbers(known, before)}
    names: dict[str, list[tuple[int | None, int]]] = {}
    for program in known:
        for procedure in program.procedures:
            pair = (program.number, procedure.number)
            full = f"{program.name}.{procedure.name}"
            for name in (full,) if dot else (procedure.name, procedure.symbol):
                names.setdefault(name, []).append(pair)
    return {pair for pairs in _matching("procedure", word, names) for pair in pairs}


def type_numbers(word: str) -> set[int]:
    """Return the numbers of the message types that a word means."""
    as_number = number(word)
    if as_number is not None:
        return {as_number}
    return set(_matching("message type", word, {name: n for n, name in TYPES.items()}))


def _matching(kind: str, word: str, names: dict[str, T]) -> list[T]:
    if word in names:
        return [names[word]]
    found = [value for name, value in names.items() if fnmatchcase(name, word)]
    if not found:
        raise UnknownName(kind, word, names)
    return found
