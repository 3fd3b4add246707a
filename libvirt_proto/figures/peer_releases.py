"""The releases that the peers in captured messages can be of.

A client that makes a call knows the procedure, so its libvirt is at least the release that added it; so is
that of a server that answers it without an error, or sends an event. A server that reports an unknown
procedure is older. What a peer sends is within its limits, which later releases raised, and has numbers of
the public API's enums that it knows. A server states its release if it is asked (connect_get_lib_version).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from ..bounded import BoundedDict
from ..codec.history import Event, Facts, Key, Span, version_key
from ..codec.identification import Evidence, Identification, Range
from ..codec.lengths import Walk
from ..codec.type_table import TypeTable
from ..codec.types import Named, Node, Optional, bound_of, children, declared_parts
from ..compatibility import Comparison, names_added_later
from ..definitions import history
from ..names import public
from ..rpc.message import Status, Type
from ..rpc.reported import reported_error
from ..rpc.wire import WORD_SIZE
from ..session import role
from ..text import amount
from .limit_usage import LimitUsage
from .results import Closeness, Where

if TYPE_CHECKING:
    from ..events import Captured
    from ..registry import Registry
    from ..rpc.message import Message

Side = Literal["client", "server"]

#: Maximum number of connections whose peers are kept, and of different things that are used: a header may
#: contain any number.
MAX_CONNECTIONS: Final = 65_536
MAX_USES: Final = 65_536
#: Number of connections of a group that are named.
_NAMED: Final = 3
#: virNetServerProgramDispatchCall (virnetserverprogram.c).
_UNKNOWN_PROCEDURE: Final = re.compile(r"unknown procedure: ([0-9]{1,10})\b")
#: Fields of replies with the release of the server's libvirt: 1,000,000 * major + 1,000 * minor + micro.
_VERSION_FIELDS: Final = {
    "remote_connect_get_lib_version_ret": "lib_ver",
    "admin_connect_get_lib_version_ret": "libVer",
}
#: The parts of a path of LimitUsage: a type, then fields (`.names`) and elements.
_STEP: Final = re.compile(r"\.?[^.\[\]]+|\[\]")
_ELEMENT: Final = "[]"
#: Constants that limit a whole message, by the path in LimitUsage.
_MESSAGE_LIMITS: Final = {"message": "VIR_NET_MESSAGE_MAX", "descriptors": "VIR_NET_MESSAGE_NUM_FDS_MAX"}


class _Use(NamedTuple):
    """Something that a peer used or sent, the release that allowed it, and that fact in words."""

    name: str
    first: str
    since: str


class _Peer:
    """The bounds of a peer of a connection, with their reasons."""

    def __init__(self, side: Side, connection: str) -> None:
        self.side: Side = side
        self.connection = connection
        self.stated: str | None = None
        self._newest: _Use | None = None
        self._unknown: _Use | None = None

    def used(self, use: _Use) -> None:
        if self._newest is None or version_key(use.first) > version_key(self._newest.first):
            self._newest = use

    def lacks(self, use: _Use) -> None:
        """Note a procedure that a server does not know."""
        if self._unknown is None or version_key(use.first) < version_key(self._unknown.first):
            self._unknown = use

    def bounds(self) -> tuple[Range, str]:
        """Return the releases that the peer can be of, and the reason."""
        if self.stated is not None:
            return Range(self.stated, self.stated), "connect_get_lib_version returned it"
        newest, unknown = self._newest, self._unknown
        reasons = [f"{newest.name}: {newest.since}"] if newest else []
        reasons += [f"{unknown.name} is unknown to it: {unknown.since}"] if unknown else []
        first, before = newest.first if newest else None, unknown.first if unknown else None
        return Range(first, None, before), "; ".join(reasons)


class PeerReleases:
    """Collects evidence in messages about the releases of their senders. The definitions of `registry` are
    those of the newest release."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._peers: BoundedDict[tuple[int, Side], _Peer] = BoundedDict(MAX_CONNECTIONS)
        self._limits: dict[Side, LimitUsage] = {
            side: LimitUsage(registry, self._where) for side in get_args(Side)
        }
        self._names = _Names(registry)
        self._oldest = version_key(history.releases()[0])
        #: What was used: the number of its messages, and the first of them.
        self._uses: BoundedDict[_Use, tuple[int, int]] = BoundedDict(MAX_USES)
        self._procedures: dict[tuple[int, int, int], tuple[_Use, ...]] = {}
        self._types = {
            int(each): tuple(_uses(each.name, history.lookup(("member", "virNetMessageType", each.name))))
            for each in Type
        }
        self._places: dict[str, tuple[list[tuple[str, str]], str | None]] = {}

    def add(self, captured: Captured) -> None:
        """Add a message."""
        message, header = captured.message, captured.message.header
        side = _sender(captured)
        if side is None:
            return
        peer = self._peer(captured, side)
        uses = list(self._types.get(header.type, ()))
        if header.status == Status.VIR_NET_ERROR:
            self._report(captured, peer)
        else:
            uses += self._procedure(header.prog, header.vers, header.proc)
            field = _VERSION_FIELDS.get(message.payload_type or "")
            if field is not None and (number := getattr(message.payload, field, None)) is not None:
                peer.stated = _release(number)
        uses += self._names.of(message)
        for use in uses:
            self._used(peer, use, captured.n)
        self._limits[side].add(captured)

    def identification(self) -> Identification:
        """Return what is known after all messages: the peers, then what they used, the newest first.

        The Range of the whole begins with the first release whose definitions suffice for all messages;
        there is none without a message.
        """
        for side, usage in self._limits.items():
            for closeness in usage.nearest(MAX_USES):
                peer = self._peers.get((int(closeness.where.conn), side))
                if peer is not None:
                    for use in self._limits_of(closeness):
                        self._used(peer, use, closeness.where.n)
        uses = sorted(self._uses.items(), key=lambda row: version_key(row[0].first), reverse=True)
        first = uses[0][0].first if uses else None
        ranges = (Range(first),) if self._peers else ()
        return Identification("capture", ranges, (*self._groups(), *starmap(_evidence, uses)))

    def _groups(self) -> Iterator[Evidence]:
        """Yield the peers, those with the same bounds together, the newest first."""
        groups: dict[tuple[Side, Range], list[tuple[str, str]]] = {}
        for peer in self._peers.values():
            bounds, why = peer.bounds()
            groups.setdefault((peer.side, bounds), []).append((peer.connection, why))
        for (side, bounds), members in sorted(
            groups.items(), key=lambda row: _newest(row[0][1]), reverse=True
        ):
            names = [name for name, _ in members[:_NAMED]] + ["…"] * (len(members) > _NAMED)
            connections = f"{amount(len(members), 'connection')}: {', '.join(names)}"
            why = members[0][1]
            yield Evidence(side, (bounds,), f"{why}; {connections}" if why else connections)

    def _peer(self, captured: Captured, side: Side) -> _Peer:
        connection = captured.connection
        key = connection.id, side
        if key not in self._peers:
            self._peers.put(key, _Peer(side, str(connection)))
        return self._peers[key]

    def _used(self, peer: _Peer, use: _Use, n: int) -> None:
        if version_key(use.first) <= self._oldest:
            return
        peer.used(use)
        count, first = self._uses.get(use, (0, n))
        self._uses.put(use, (count + 1, min(first, n)))

    def _procedure(self, program: int, version: int, number: int) -> tuple[_Use, ...]:
        key = program, version, number
        if key not in self._procedures:
            known = self._registry.find(program, version)
            if known is None or len(self._procedures) >= MAX_USES:
                return ()
            procedure = known.by_number.get(number)
            newest = self._registry.release or ""
            if procedure is None:
                use = _Use(f"{known.name} {number}", newest, f"libvirt {newest} does not have it")
                self._procedures[key] = (use,)
            else:
                facts = history.procedure(program, number)
                self._procedures[key] = tuple(_uses(f"{known.name}.{procedure.name}", facts))
        return self._procedures[key]

    def _report(self, captured: Captured, peer: _Peer) -> None:
        """Note the procedure that a server does not know, if it reports that."""
        error, header = reported_error(captured.message), captured.message.header
        match = _UNKNOWN_PROCEDURE.search(error.message or "") if error else None
        known = self._registry.procedure(header.prog, header.vers, header.proc)
        if known is not None and match is not None and int(match[1]) == header.proc:
            for use in self._procedure(header.prog, header.vers, header.proc):
                peer.lacks(use)

    def _limits_of(self, closeness: Closeness) -> Iterator[_Use]:
        """Yield the limit that a longest value is within, and the fields on the way to it, as far as older
        releases lack them."""
        path, longest = closeness.path, closeness.longest
        constant = _MESSAGE_LIMITS.get(path)
        if path == "message":
            longest -= WORD_SIZE
        if constant is None:
            fields, constant = self._place(path)
            for owner, name in fields:
                facts = history.parts(owner).get(name)
                if facts is not None and facts.since != history.lookup(("type", owner)).since:
                    yield from _uses(f"{owner}.{name}", facts)
        if constant is not None and (event := _raised(constant, longest)) is not None:
            for first in _releases(event.when):
                yield _Use(f"{path} of {longest:,}", first, f"{constant} was {event}")

    def _place(self, path: str) -> tuple[list[tuple[str, str]], str | None]:
        """Return the fields on a path, each with the name of its type, and the constant that limits its
        end."""
        if path in self._places:
            return self._places[path]
        name, *steps = _STEP.findall(path)
        type_ = self._registry.type(name)
        owner, node = _body(type_.reference, type_.types)
        fields = []
        for step in steps:
            if step == _ELEMENT:
                node = children(node)[0]
            else:
                name = step.removeprefix(".")
                nodes = {part.name: part.node for part in declared_parts(node)}
                if name not in nodes:  # an arm without a name
                    break
                fields.append((owner, name))
                node = nodes[name]
            owner, node = _body(node, type_.types)
        bound = bound_of(node)
        self._places[path] = fields, bound.name if bound else None
        return self._places[path]

    def _where(self, captured: Captured) -> Where:
        header = captured.message.header
        numbers = header.prog, None, header.vers, header.proc, None, header.serial
        return Where("", captured.n, captured.time_ns, str(captured.connection.id), *numbers)


class _Names:
    """Finds the names of the public API for the numbers in a message."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._comparisons: dict[TypeTable, Comparison] = {}
        self._walks: dict[str, Walk | None] = {}
        self._found: dict[str, None] = {}

    def of(self, message: Message) -> Iterator[_Use]:
        """Yield the use of each name."""
        name = message.payload_type
        if name is None or message.payload is None or message.error is not None:
            return
        if name not in self._walks:
            type_ = self._registry.type(name)
            # Compared with the same definitions, for the names alone.
            comparison = Comparison(type_.types, type_.types, self, names_added_later)
            comparison = self._comparisons.setdefault(type_.types, comparison)
            self._walks[name] = comparison.visit(type_.reference, type_.reference, name)
        walk = self._walks[name]
        if walk is not None:
            self._found.clear()
            walk(message.payload)
            for each in self._found:
                if (first := public.first_since(each)) is not None:
                    yield _Use(each, first, f"since {first}")

    def absent(self, name: str, key: Key | None) -> None:
        """Note a name of the public API."""
        self._found[name] = None

    def over_limit(self, path: str, size: int, limit: int) -> None:
        """Nothing is over a limit of the same definitions."""


def _body(node: Node, types: TypeTable) -> tuple[str, Node]:
    """Return what a type is, through typedefs and options, and its name (that of its last typedef)."""
    name = ""
    while isinstance(node, Named | Optional):
        if isinstance(node, Named):
            name, node = node.name, types.definition(node).node
        else:
            node = node.element
    return name, node


def _sender(captured: Captured) -> Side | None:
    match role(captured.message.header):
        case "call":
            return "client"
        case "reply" | "event":
            return "server"
        case "stream" if captured.direction is not None:
            return "client" if captured.direction == "c2s" else "server"
    return None


def _uses(name: str, facts: Facts) -> Iterator[_Use]:
    """Yield the use of something that was added after the oldest release."""
    if facts.function is not None:
        function, release = facts.function
        yield _Use(name, release, f"since {release}, by {function} of the public API")
    else:
        for first in _releases(facts.since):
            yield _Use(name, first, f"since {facts.since}")


def _releases(when: Span) -> Iterator[str]:
    """Yield the first release that is possible; none for `0.9.7 or earlier`."""
    first = when.release or when.after
    if first is not None:
        yield first


def _raised(constant: str, length: int) -> Event | None:
    """Return the change of a constant before which it did not allow a length."""
    for event in reversed(history.lookup(("constant", constant)).events):
        if event.what == "number" and isinstance(event.before, int) and event.before < length:
            return event
    return None


def _release(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _evidence(use: _Use, figures: tuple[int, int]) -> Evidence:
    count, first = figures
    why = f"{use.since}; {amount(count, 'message')}, first in message {first:,}"
    return Evidence(use.name, (Range(use.first),), why)


def _newest(bounds: Range) -> tuple[tuple[int, int | str], ...]:
    return version_key(bounds.first or "0")
