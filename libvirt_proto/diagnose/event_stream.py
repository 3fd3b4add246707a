"""EVENT_FLOOD, UNREGISTERED_EVENT: events that a client receives too fast, or did not ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..bounded import BoundedDict
from ..events import Captured, Closed
from ..rpc.message import Status, Type
from ..text import amount
from .detector import Detector, Recording, Sample
from .findings import Finding
from .peers import Peer

if TYPE_CHECKING:
    from ..rpc.message import Header
    from ..session import Exchange

_SECOND: Final = 10**9
#: A plain number is compared faster than a member of an enumeration.
_MESSAGE: Final = int(Type.VIR_NET_MESSAGE)
#: Events of a connection in each of some consecutive seconds that are a flood, or in two of them. (Starting a
#: hundred domains causes some hundred events in half a minute.)
_RATE: Final = 100
_SECONDS: Final = 3
_BURST: Final = 300

#: Maximum number of connections, of kinds of events and objects of each, and of registrations of all.
_MAX_FLOWS: Final = 4_096
_MAX_NAMES: Final = 64
_MAX_REGISTERED: Final = 65_536
#: Connections that evidence lists.
_LISTED: Final = 5
_NAME: Final = 128

#: The kind of object in the name of a procedure that registers for events with a callback ID, and the old
#: forms without one.
_REGISTERS: Final = re.compile(
    r"connect_(?:(network|storage_pool|node_device|secret)_event_(?:de)?register_any"
    r"|(domain)_event_callback_(?:de)?register_any|domain_(monitor)_event_(?:de)?register)"
)
_REGISTERS_WITHOUT_ID: Final = re.compile(
    r"connect_(?:domain_event_register(?:_any)?|register_close_callback)"
)
_EVENT: Final = re.compile(r"(?:domain_(monitor)|(domain|network|storage_pool|node_device|secret))_event.*")

#: Before the kind of a registration that is cancelled.
_CANCEL: Final = "-"
#: Program, version, procedure.
_Number = tuple[int, int, int]


class _Flow:
    """The events of a connection, in seconds."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.second: int | None = None
        self.count = 0
        #: Consecutive seconds with many events up to the last one, and their events.
        self.run = self.run_count = 0
        self.flooded: int | None = None
        self.longest = self.longest_count = self.peak = self.burst = 0
        self.before = (0, 0)
        # Of the seconds with many events.
        self.sample = Sample()
        self.names: Counter[str] = Counter()
        self.objects: Counter[str] = Counter()

    def end_second(self) -> None:
        """Evaluate a second that is over."""
        second, count, self.count = self.second, self.count, 0
        if second is None:
            return
        before, self.before = self.before, (second, count)
        self.burst = max(self.burst, count + (before[1] if before[0] == second - 1 else 0))
        self.peak = max(self.peak, count)
        if count < _RATE:
            return
        if self.flooded is None or second != self.flooded + 1:
            self.run = self.run_count = 0
        self.flooded = second
        self.run += 1
        self.run_count += count
        if self.run_count > self.longest_count:
            self.longest, self.longest_count = self.run, self.run_count

    @property
    def is_flood(self) -> bool:
        """True if it lasted, or was very fast."""
        return self.longest >= _SECONDS or self.burst >= _BURST


class _Registered:
    """The registrations of a connection that was seen from its connect_open on."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        #: Kind of object and callback ID → False once the daemon has confirmed that it is cancelled.
        self.ids: dict[tuple[str, int], bool] = {}
        #: True if a registration cannot be read, or has no ID: any event may belong to it.
        self.any = False
        #: Events of unknown callbacks (the reply of a registration may follow its first event), and of
        #: cancelled ones.
        self.unknown: dict[tuple[str, int, str], Sample] = {}
        self.cancelled: dict[tuple[str, int, str], Sample] = {}

    @property
    def unregistered(self) -> dict[tuple[str, int, str], Sample]:
        """Events of callbacks that were not registered at their time."""
        unknown = {key: sample for key, sample in self.unknown.items() if key[:2] not in self.ids}
        return {**self.cancelled, **unknown}


class EventStream(Detector):
    """Rates of events, and registrations for them."""

    rules = ("EVENT_FLOOD", "UNREGISTERED_EVENT")
    roles = ("event",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._flows: BoundedDict[int, _Flow] = BoundedDict(_MAX_FLOWS)
        self._registered: BoundedDict[int, _Registered] = BoundedDict(_MAX_FLOWS)
        self._count = 0
        #: Procedures that say something about registrations, by their numbers.
        self._kinds: BoundedDict[_Number, str] = BoundedDict(_MAX_FLOWS)

    def message(self, peer: Peer, captured: Captured) -> None:
        """Count an event."""
        if captured.direction == "c2s":
            return
        time_ns = captured.time_ns
        if time_ns is not None:
            self._rate(peer, captured, time_ns)
        registered = self._registered.get(peer.connection.id)
        if registered is not None:
            self._check(registered, captured)

    def wants(self, header: Header) -> bool:
        """Return whether a procedure concerns registrations."""
        return bool(self._kind(header))

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Note the beginning of a connection, and its registrations."""
        if exchange.call is None or not (kind := self._kind(exchange.header)):
            return
        if kind == "open":
            if exchange.outcome == "ok" and peer.connection.id not in self._registered:
                self._registered.put(peer.connection.id, _Registered(peer))
            return
        registered = self._registered.get(peer.connection.id)
        if registered is None or exchange.outcome == "error":
            return
        if kind.startswith(_CANCEL):
            id_ = getattr(exchange.call.message.payload, "callbackID", None)
            if id_ is not None and exchange.outcome == "ok" and (kind[1:], id_) in registered.ids:
                registered.ids[kind[1:], id_] = False
            return
        id_ = None if exchange.reply is None else getattr(exchange.reply.message.payload, "callbackID", None)
        if kind == "any" or id_ is None or self._count >= _MAX_REGISTERED:
            registered.any = True
            return
        self._count += 1
        registered.ids[kind, id_] = True

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Forget a connection without unknown events."""
        registered = self._registered.get(peer.connection.id)
        if registered is not None and not registered.unregistered:
            self._count -= len(registered.ids)
            del self._registered[peer.connection.id]

    def findings(self) -> Iterator[Finding]:
        """Report floods, and events that nobody registered for."""
        for flow in self._flows.values():
            flow.end_second()
        copies = self.recording.copies
        floods = [flow for id_, flow in self._flows.items() if flow.is_flood and id_ not in copies]
        if floods:
            yield self._of_floods(sorted(floods, key=lambda flow: -flow.longest_count))
        if self.recording.lossy:
            return
        unknown = [
            each
            for id_, each in self._registered.items()
            if not each.any and id_ not in copies and each.unregistered
        ]
        if unknown:
            yield self._of_unknown(unknown)

    def _kind(self, header: Header) -> str:
        """Return `open` for connect_open, the kind of object of a registration with a callback ID, `-` and
        the kind if it is cancelled, `any` for a registration without one, and "" for other procedures."""
        number = header.prog, header.vers, header.proc
        known = self._kinds.get(number)
        if known is not None:
            return known
        name, kind = self.recording.procedure(header), ""
        if name == "connect_open":
            kind = "open"
        elif (match := _REGISTERS.fullmatch(name)) is not None:
            kind = (_CANCEL if "_deregister" in name else "") + (match[1] or match[2] or match[3])
        elif _REGISTERS_WITHOUT_ID.fullmatch(name):
            kind = "any"
        self._kinds.put(number, kind)
        return kind

    def _rate(self, peer: Peer, captured: Captured, time_ns: int) -> None:
        flow = self._flows.get(peer.connection.id)
        if flow is None:
            flow = _Flow(peer)
            self._flows.put(peer.connection.id, flow)
        second = time_ns // _SECOND
        if second != flow.second:
            flow.end_second()
            flow.second = second
        flow.count += 1
        if flow.count <= _RATE // 2:
            return
        flow.sample.add(captured)
        name = self.recording.procedure(captured.message.header)
        if name in flow.names or len(flow.names) < _MAX_NAMES:
            flow.names[name] += 1
        subject = self.recording.subject(captured.message)
        of = "" if subject is None else str(subject)[:_NAME]
        if of in flow.objects or len(flow.objects) < _MAX_NAMES:
            flow.objects[of] += 1

    def _check(self, registered: _Registered, captured: Captured) -> None:
        message = captured.message
        id_ = getattr(message.payload, "callbackID", None)
        if id_ is None or message.header.status != Status.VIR_NET_OK:
            return
        name = self.recording.procedure(message.header)
        match = _EVENT.fullmatch(name)
        kind = None if match is None else match[1] or match[2]
        if kind is None:
            return
        active = registered.ids.get((kind, id_))
        if active:
            return
        events = registered.unknown if active is None else registered.cancelled
        key = (kind, id_, name)
        if key not in events and len(events) < _MAX_NAMES:
            events[key] = Sample()
        if key in events:
            events[key].add(captured)

    # Findings

    def _of_floods(self, floods: list[_Flow]) -> Finding:
        first = floods[0]
        who = f"The client of connection {first.peer}" if len(floods) == 1 else amount(len(floods), "client")
        name, _ = first.names.most_common(1)[0]
        of, count = first.objects.most_common(1)[0] if first.objects else ("", 0)
        about = f", nearly all about {of}" if of and count * 10 >= first.objects.total() * 9 else ""
        for_ = f"for {amount(first.longest, 'second')}"
        how = f"{first.longest_count // max(1, first.longest):,} events a second {for_}"
        if first.longest < _SECONDS:
            how = f"{first.burst:,} events within two seconds"
        return self.finding(
            "EVENT_FLOOD",
            f"{who} received {how}, mostly {name}{about}.",
            [
                self.recording.messages(
                    f"up to {flow.peak:,} events a second, and {flow.burst:,} in two seconds:"
                    f" {_most_common(flow.names)}"
                    + (f"; about {_most_common(flow.objects)}" if any(flow.objects) else ""),
                    flow.sample,
                    peer=flow.peer,
                )
                for flow in floods[:_LISTED]
            ],
            subject=name,
            advice=(
                f"find out what makes {of or 'the daemon'} send them",
                "register only for the objects and the kinds of events that are needed (dom and eventID of"
                " virConnectDomainEventRegisterAny)",
                "let the callback only queue the event: while it works, the client reads no replies either",
            ),
        )

    def _of_unknown(self, found: list[_Registered]) -> Finding:
        samples = {key: sample for each in found for key, sample in each.unregistered.items()}
        _, id_, name = next(iter(samples))
        cancelled = all((of, number) in each.ids for each in found for of, number, _ in each.unregistered)
        why = "whose callback the daemon had cancelled" if cancelled else "that it had not registered for"
        count = sum(sample.count for each in found for sample in each.unregistered.values())
        who = f"The client of connection {found[0].peer}" if len(found) == 1 else amount(len(found), "client")
        return self.finding(
            "UNREGISTERED_EVENT",
            f"{who} received {amount(count, 'event')} {why}: {name} with callback {id_}.",
            [
                self.recording.messages(
                    f"{amount(sample.count, 'event')}: {event} with callback {number}; registered:"
                    f" {_ids(each, of)}",
                    sample,
                    peer=each.peer,
                )
                for each in found[:_LISTED]
                for (of, number, event), sample in list(each.unregistered.items())[:_LISTED]
            ],
            subject=name,
            certainty="certain" if cancelled else "likely",
            advice=(
                "ignore events of callbacks that were cancelled: the daemon may send some that it had queued",
            )
            if cancelled
            else (
                "see which connection of the same client registered: libvirt-proto stats --format json lists"
                " the registrations of each connection",
            ),
        )


def _ids(registered: _Registered, kind: str) -> str:
    ids = sorted(id_ for of, id_ in registered.ids if of == kind)
    listed = ", ".join(map(str, ids[:_LISTED]))
    return (f"{listed}, …" if len(ids) > _LISTED else listed) or "none"


def _most_common(counts: Counter[str]) -> str:
    return ", ".join(f"{name or 'no object'} ({count:,})" for name, count in counts.most_common(_LISTED))
