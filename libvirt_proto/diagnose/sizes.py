"""LIMIT_EXCEEDED: messages, lists and strings that are longer than their limit, and were refused for it.

A sender refuses what it cannot encode, a receiver what it cannot decode (virnetmessage.c). A daemon that
cannot encode its reply sends an error instead; if it cannot encode the error either, it closes the
connection. A list that is too long has its own error ("Too many storage_vols '16385' for limit '16384'",
gendispatch.pl). The history of the definitions gives the release that raised each limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from ..bounded import BoundedDict
from ..codec.history import Event
from ..codec.lengths import LengthWalks, Walk
from ..codec.type_table import TypeTable
from ..codec.types import Bound
from ..codec.xdrtype import XdrType
from ..definitions import history
from ..errors import OverLimit
from ..events import Captured, Closed, Direction, LogLine, Notice, NoticeCode
from ..rpc.limits import longest_frame
from ..rpc.reported import LibvirtError
from ..rpc.statements import Statement
from ..rpc.wire import MAX_FRAME, WORD_SIZE
from ..rpc.wronglength import explain
from ..text import amount
from .detector import MAX_NUMBERS, Recording
from .ends import over_tcp
from .errors import ErrorDetector, Failure, Group, described, reporter
from .findings import Certainty, Finding, Severity
from .peers import MAX_PEERS, Peer

if TYPE_CHECKING:
    from ..registry import Registry
    from ..rpc.message import Message
    from ..session import Exchange

#: Different lengths that are kept.
_MAX_GROUPS: Final = 64
#: virErrorNumber: INTERNAL_ERROR, RPC.
_CODES: Final = frozenset((1, 39))
#: What libvirt adds to an argument in the text of an error is shorter.
_WORDS: Final = 1024
#: A length word above this is another protocol's text, or encrypted.
_CREDIBLE_FRAME: Final = 256 << 20
#: A call is too small for any limit of strings, and a limit is not the reason why it could not be decoded.
_SMALL: Final = 64 << 10
#: The notice about a length word that no message can have (capture/stream.py).
_LENGTH_WORD: Final = re.compile(r"expected a message, got length word (\d{1,10})")
_INDEX: Final = re.compile(r"\[\d+\]")
#: The path of the number of descriptors (rpc/message.py).
_DESCRIPTORS: Final = "fds"
_UNITS: Final = {"list": "element", "string": "byte", "opaque": "byte"}


class Limits(ErrorDetector):
    """Errors about lengths, and connections that ended because of one."""

    rules = ("LIMIT_EXCEEDED",)
    kinds = frozenset(("over-limit", "not-encoded", "not-decoded", "wrong-length"))

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._lengths = _Lengths(recording.registry)
        self._string_limit = _constant(recording.registry, "VIR_NET_MESSAGE_STRING_MAX")
        #: By the cause in words.
        self._groups: BoundedDict[_Cause, Group] = BoundedDict(_MAX_GROUPS)
        #: Connection → the length word of a message that is too large.
        self._frames: BoundedDict[int, Notice] = BoundedDict(MAX_PEERS)

    # Hooks

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at errors, and at replies that a client refuses."""
        super().exchange(peer, exchange)
        reply = exchange.reply
        if reply is not None and isinstance(error := reply.message.error, OverLimit):
            self._add(self._of_error(error, reply.message, call=False), Failure(peer, exchange, None, ()))

    def notice(self, notice: Notice) -> None:
        """Note the length word of a message that is too large."""
        if notice.code is NoticeCode.BAD_FRAME and notice.connection is not None:
            match = _LENGTH_WORD.match(notice.text)
            if match is not None and MAX_FRAME < int(match[1]) <= _CREDIBLE_FRAME:
                self._frames.put(notice.connection.id, notice)

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Look at a message before the end of a connection."""
        notice = self._frames.pop(peer.connection.id, None)
        if notice is not None and notice.direction != closed.first and not self.recording.lossy:
            match = _LENGTH_WORD.match(notice.text)
            assert match is not None
            failure = Failure(peer, None, None, ())
            self._add(self._of_frame(int(match[1]), notice.direction, None), failure, peer.last)
        elif _by(closed) != "c2s" and self._string_limit is not None and peer.waiting:
            for call in islice(peer.waiting.values(), MAX_NUMBERS):
                if isinstance(error := call.message.error, OverLimit):
                    cause = self._of_error(error, call.message, call=True)
                    self._add(cause, Failure(peer, None, None, ()))
                    self._groups[cause].sample.add(call)
                elif call.message.length >= self._string_limit - _WORDS:
                    self._unanswered_call(peer, call, _by(closed))

    def concerns(self, error: LibvirtError, _exchange: Exchange) -> bool:
        """Return whether a length is the reason."""
        return error.code in _CODES and self.stated(error) is not None

    def failed(self, failure: Failure) -> None:
        """Find out which length it was."""
        found = failure.statement
        assert found is not None
        cause = self._cause(found, failure)
        if cause is not None:
            self._add(cause, failure)

    def findings(self) -> Iterator[Finding]:
        """Report each cause."""
        self.end()
        for cause, group in self._groups.items():
            failure = group.first
            text = amount(group.count, "failure")
            if failure.error is not None:
                text += f": {described(failure.error)}"
            evidence = [*group.evidence(self.recording, cause.evidence or text)]
            if not evidence and cause.last is not None:
                evidence = [self.recording.messages(cause.evidence, [cause.last])]
            if evidence:
                yield self.finding(
                    "LIMIT_EXCEEDED",
                    cause.summary,
                    evidence,
                    subject=cause.subject,
                    certainty=cause.certainty,
                    severity=cause.severity,
                    advice=cause.advice,
                )

    def _add(self, cause: _Cause, failure: Failure, last: Captured | None = None) -> None:
        if cause not in self._groups:
            cause.last = last
            self._groups.put(cause, Group(failure))
        self._groups[cause].add(failure)

    # Causes

    def _cause(self, found: Statement, failure: Failure) -> _Cause | None:
        """Return the cause of a failure; None if it is another one than a length."""
        exchange, details = failure.exchange, found.details
        match found.kind:
            case "over-limit":
                return self._of_list(details, exchange)
            case "wrong-length":
                if details.get("fault") != "large":
                    return None
                word = int(details.get("size", 0)) + WORD_SIZE
                foreign = explain(word, self.recording.registry.programs()).kind in (
                    "foreign",
                    "text",
                    "step",
                )
                if foreign or word > _CREDIBLE_FRAME:
                    return None
                return self._of_frame(word, None, details.get("limit"))
            case "not-encoded":
                return self._of_not_encoded(exchange)
            case _:
                return self._of_not_decoded(exchange)

    def _of_list(self, details: dict[str, str], exchange: Exchange | None) -> _Cause:
        """Return the cause "Too many domains '17000' for limit '16384'"."""
        what, count = details.get("what", "elements").replace("_", " "), int(details.get("count", 0))
        limit = int(details.get("limit", 0))
        name = self.recording.procedure(exchange.header) if exchange is not None else ""
        constant = self._constant_of(limit, exchange)
        raised = _raised_from(constant, limit)
        called = f"{name} failed" if name else "A call failed"
        summary = (
            f"{called}: it has {count:,} {what}, and {_allows(constant, limit)}{_older(raised, 'this side')}."
        )
        advice = ("ask for less at a time: flags of the call filter the list, such as only active objects",)
        return _Cause(summary, name, "certain", advice=(*_upgrade(raised), *advice))

    def _of_frame(self, word: int, direction: str | None, limit: str | None) -> _Cause:
        """Return the cause of a message that is too large as a whole; `word` is its length word."""
        most = longest_frame(self.recording.registry) or MAX_FRAME
        allowed = most - WORD_SIZE if limit is None else int(limit)
        sender = {"c2s": "The client", "s2c": "The daemon", None: "A peer"}[direction]
        other = {"c2s": "the daemon", "s2c": "the client", None: "the other side"}[direction]
        raised = _raised_from("VIR_NET_MESSAGE_MAX", allowed)
        summary = (
            f"{sender} announced a message of {word - WORD_SIZE:,} bytes, and"
            f" {_allows('VIR_NET_MESSAGE_MAX', allowed)}{_older(raised, other)}: {other} closed the"
            " connection."
        )
        text = f"the last message before a length word of {word:,}" if limit is None else ""
        advice = (*_upgrade(raised), "send less in one message, or use a stream for large data")
        return _Cause(summary, "message", "likely" if limit is None else "certain", text, advice=advice)

    def _of_error(self, error: OverLimit, message: Message, *, call: bool) -> _Cause:
        """Return the cause of a value that the bytes prove to be too long."""
        name = self.recording.procedure(message.header)
        path = _INDEX.sub("[]", error.path)
        place = self._lengths.place(message.payload_type, path)
        constant = place.bound.name if place is not None else None
        unit = _UNITS[place.what] if place is not None else "byte"
        if path == _DESCRIPTORS:
            constant, unit, path = "VIR_NET_MESSAGE_NUM_FDS_MAX", "descriptor", "message"
        sender, receiver = ("client", "daemon") if call else ("daemon", "client")
        where = f"the call of {name}" if call else f"the reply to {name}"
        summary = (
            f"The {receiver} refused {where}: its {_field(path)} has {amount(error.actual, unit)}, and"
            f" {_allows(constant, error.limit)}."
        )
        advice = (f"let the {sender} send a shorter {_field(path)}, or less at a time",)
        return _Cause(summary, name, "certain", advice=advice)

    def _of_not_decoded(self, exchange: Exchange | None) -> _Cause | None:
        """Return the cause of arguments that the daemon cannot decode. They may also be malformed, or of
        another release; without the call nothing is known."""
        if exchange is None or exchange.call is None:
            return None
        message = exchange.call.message
        name = self.recording.procedure(exchange.header)
        if isinstance(message.error, OverLimit):
            return self._of_error(message.error, message, call=True)
        if message.malformed and message.length < (self._string_limit or MAX_FRAME):
            return None  # the client's fault, and not about a limit
        size = amount(message.length, "byte")
        if message.payload is not None and message.error is None:
            for place in self._lengths.of(message):
                raised = _raised_beyond(place.bound.name, place.threshold)
                if raised is not None:
                    summary = (
                        f"The daemon refused the call of {name}: its {_field(place.path)} has"
                        f" {amount(place.threshold, _UNITS[place.what])}, and before libvirt {_when(raised)},"
                        f" {place.bound.name} allowed {raised.before:,}: the daemon is older."
                    )
                    return _Cause(summary, name, "likely", advice=_upgrade(raised))
            return None  # other types in another release
        if message.length < _SMALL:
            return None
        if self._string_limit is None:
            return None
        summary = (
            f"The daemon refused the call of {name}: it has {size}, and for each string in it"
            f" {_allows('VIR_NET_MESSAGE_STRING_MAX', self._string_limit)}."
        )
        return _Cause(summary, name, "likely", advice=_FIND)

    def _of_not_encoded(self, exchange: Exchange | None) -> _Cause:
        """Return the cause of a message that its sender cannot encode."""
        if exchange is None:
            side = reporter(self.recording)
            what = "a call" if side == "The client" else "a message"
            most = f" (strings may have {self._string_limit:,} bytes)" if self._string_limit else ""
            summary = f"{side} could not send {what}: a value in it was over its limit{most}."
            return _Cause(summary, "", "certain", advice=_FIND)
        header = exchange.header
        name = self.recording.procedure(header)
        procedure = self.recording.registry.procedure(header.prog, header.vers, header.proc)
        places = self._lengths.places(procedure.ret) if procedure is not None and procedure.ret else []
        limits = {
            place.bound.name: f"{place.bound.name} ({place.bound.value:,} {_UNITS[place.what]}s)"
            for place in places
            if place.bound.name is not None
        }
        listed = " or ".join([*limits.values()][:2]) or "its limit"
        what = f"the {_field(places[0].path)}" if len(places) == 1 else "a value in it"
        summary = f"The daemon could not send its reply to {name}: {what} is over {listed}."
        advice = (
            "make what is asked for smaller, for instance the metadata of a domain, or ask for less at a"
            " time",
        )
        return _Cause(summary, name, "certain" if len(limits) < 2 else "likely", advice=advice)

    def _unanswered_call(self, peer: Peer, call: Captured, first: Direction | None) -> None:
        """Look at a large call before the daemon, or an unknown side, closed the connection without a reply:
        its error repeats an argument, and is too long for its own limit."""
        assert self._string_limit is not None
        message = call.message
        name = self.recording.procedure(message.header)
        near = [
            place
            for place in self._lengths.of(message)
            if place.what == "string" and place.threshold >= place.bound.value - _WORDS
        ]
        lines = self._near(call)
        if not (near or lines or message.missing):
            return
        what = (
            f"its {_field(near[0].path)} has {amount(near[0].threshold, 'byte')}"
            if near
            else f"it has {amount(message.length, 'byte')}"
        )
        summary = (
            f"The daemon closed the connection without a reply to {name}: {what}, and an error that repeats"
            " it"
            f" is too long: {_allows('VIR_NET_MESSAGE_STRING_MAX', self._string_limit)}."
        )
        evidence = self.recording.messages(f"a call of {amount(message.length, 'byte')}", [call], peer=peer)
        cause = _Cause(
            summary,
            name,
            "certain" if lines else "possible" if first is None else "likely",
            evidence.text,
            advice=("let the client send a shorter argument",),
        )
        failure = Failure(peer, None, None, tuple(lines))
        self._add(cause, failure)
        self._groups[cause].sample.add(call)

    def _near(self, call: Captured) -> list[LogLine]:
        """Return the waiting lines about a message that could not be encoded."""
        found = [line for line in self._lines if line.kind == "not-encoded"]
        for line in found:
            self._lines.remove(line)
        return [
            line
            for line in found
            if None in (line.time_ns, call.time_ns) or (line.time_ns or 0) >= (call.time_ns or 0)
        ]

    def _constant_of(self, limit: int, exchange: Exchange | None) -> str | None:
        """Return the name of a limit of a call, or of what a limit was in an older release."""
        if exchange is None:
            return None
        header = exchange.header
        procedure = self.recording.registry.procedure(header.prog, header.vers, header.proc)
        if procedure is None:
            return None
        types = [type_ for type_ in (procedure.ret, procedure.args) if type_ is not None]
        bounds = [place.bound for type_ in types for place in self._lengths.places(type_)]
        for bound in bounds:
            if bound.value == limit and bound.name:
                return bound.name
        return next((bound.name for bound in bounds if _raised_from(bound.name, limit)), None)


class _Cause:
    """A cause in words. Two with the same words are one."""

    __slots__ = ("advice", "certainty", "evidence", "last", "severity", "subject", "summary")

    def __init__(
        self,
        summary: str,
        subject: str,
        certainty: Certainty,
        evidence: str = "",
        *,
        advice: tuple[str, ...] = (),
        severity: Severity | None = None,
    ) -> None:
        self.summary = summary
        self.subject = subject
        self.certainty = certainty
        self.evidence = evidence
        self.advice = advice
        self.severity = severity
        self.last: Captured | None = None

    def __hash__(self) -> int:
        return hash(self.summary)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Cause) and self.summary == other.summary


class _Place:
    """A place with a limit. `threshold` is the longest value so far."""

    __slots__ = ("bound", "path", "threshold", "what")

    def __init__(self, what: str, path: str, bound: Bound) -> None:
        self.what = what
        self.path = path
        self.bound = bound
        self.threshold = 0

    def report(self, length: int) -> None:
        """Keep a length."""
        self.threshold = length


class _Walks(LengthWalks):
    """Functions that keep the longest value of each place of one type."""

    def __init__(self, types: TypeTable) -> None:
        super().__init__(types, types)
        self.places: dict[str, _Place] = {}

    def place(self, what: str, path: str, limit: Bound) -> _Place:
        """Return the place of a path."""
        return self.places.setdefault(path, _Place(what, path, limit))


class _Lengths:
    """The lengths in messages, next to their limits."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: BoundedDict[str, tuple[_Walks, Walk | None]] = BoundedDict(_MAX_GROUPS)

    def of(self, message: Message) -> list[_Place]:
        """Return the places in a payload, with their longest values, the longest first."""
        if message.payload_type is None or message.payload is None or message.error is not None:
            return []
        walks, walk = self._walks(self._registry.type(message.payload_type))
        for place in walks.places.values():
            place.threshold = 0
        if walk is not None:
            walk(message.payload)
        return sorted(walks.places.values(), key=lambda place: -place.threshold)

    def places(self, type_: XdrType) -> list[_Place]:
        """Return the places of a type."""
        return [*self._walks(type_)[0].places.values()]

    def place(self, type_: str | None, path: str) -> _Place | None:
        """Return the place of a path in a type."""
        if type_ is None:
            return None
        return self._walks(self._registry.type(type_))[0].places.get(f"{type_}.{path}" if path else type_)

    def _walks(self, type_: XdrType) -> tuple[_Walks, Walk | None]:
        if type_.name not in self._known:
            walks = _Walks(type_.types)
            self._known.put(type_.name, (walks, walks.visit(type_.reference, type_.reference, type_.name)))
        return self._known[type_.name]


_FIND: Final = (
    "find the call and the value: record the messages (libvirt-proto trace, or tcpdump), and see"
    " libvirt-proto stats for the lengths closest to their limits",
)


def _by(closed: Closed) -> Direction | None:
    """Return the direction that ended first; a recording of a trace does not show it."""
    connection = closed.connection
    return closed.first if over_tcp(connection) or connection.transport != "tcp" else None


def _constant(registry: Registry, name: str) -> int | None:
    return next((m.constants[name] for m in registry.modules() if name in m.constants), None)


def _raises(constant: str | None) -> Iterator[Event]:
    """Yield the changes that raised a constant, the newest first."""
    if constant is not None:
        for event in reversed(history.lookup(("constant", constant)).events):
            if event.what == "number" and isinstance(event.before, int) and isinstance(event.after, int):
                yield event


def _raised_from(constant: str | None, limit: int) -> Event | None:
    """Return the change that ended a former limit."""
    return next((event for event in _raises(constant) if event.before == limit), None)


def _raised_beyond(constant: str | None, length: int) -> Event | None:
    """Return the last change before which a length was over the limit."""
    return next((e for e in _raises(constant) if isinstance(e.before, int) and e.before < length), None)


def _when(raised: Event) -> str:
    """Return the first release that certainly has a change."""
    return raised.when.release or raised.when.by or "a later one"


def _allows(constant: str | None, limit: int) -> str:
    """Return `REMOTE_STRING_MAX allows 4,194,304 (since libvirt 1.0.6)`."""
    event = next((event for event in _raises(constant) if event.after == limit), None)
    since = f" (since libvirt {_when(event)})" if event is not None else ""
    return f"{constant or 'its limit'} allows {limit:,}{since}"


def _older(raised: Event | None, who: str) -> str:
    """Return that a side is older than the release that raised a limit."""
    if raised is None:
        return ""
    return f" ({who} is older than libvirt {_when(raised)}, which raised it to {raised.after:,})"


def _upgrade(raised: Event | None) -> tuple[str, ...]:
    return () if raised is None else (f"upgrade the older side to libvirt {_when(raised)} or later",)


def _field(path: str) -> str:
    """Return the last field of a path."""
    return path.rpartition(".")[2].removesuffix("[]") or "value"
