"""Calls that waited for long, without their payloads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec.structs import replace

from ..events import Captured
from ..rpc.message import Message
from ..rpc.objects import NamedObject
from .detector import Recording, Sample
from .dispatchers import Dispatched
from .peers import Peer

#: Calls without a reply that a search for one looks at.
_MAX_SEARCHED: Final = 5_000
#: Time between the first message as its sender and as its receiver reports it.
_TWIN_NS: Final = 10 * 10**6


class Call:
    """A call of a client. `object` is what it is about, None if unknown; `end_ns` is the time of its reply,
    None if it has none; `closed_ns` is the time at which its connection ended before that. `overtaken` is
    the number of later calls of the connection that were answered earlier."""

    __slots__ = (
        "call",
        "client",
        "closed_ns",
        "conn",
        "end_ns",
        "first_ns",
        "name",
        "object",
        "overtaken",
        "reply",
        "start_ns",
    )

    def __init__(
        self,
        recording: Recording,
        peer: Peer,
        call: Captured,
        reply: Captured | None,
        overtaken: int = 0,
    ) -> None:
        self.name = recording.procedure(call.message.header)
        self.object: NamedObject | None = recording.subject(call.message)
        self.client = peer.client
        self.conn = call.connection.id
        self.call = _bare(call)
        self.reply = None if reply is None else _bare(reply)
        self.overtaken = overtaken
        self.first_ns = peer.first_ns
        self.start_ns = call.time_ns
        self.end_ns = None if reply is None else reply.time_ns
        self.closed_ns = None if reply is not None or peer.closed is None else peer.closed.time_ns

    def answer(self, reply: Captured) -> None:
        """Add the reply."""
        self.reply, self.end_ns = _bare(reply), reply.time_ns

    @property
    def sample(self) -> Sample:
        """The call and its reply."""
        return Sample((self.call, self.reply))

    def is_copy(self, other: Call) -> bool:
        """Return whether a recording of both ends of a connection has the same call twice. The two ends are
        successive connections that begin at the same time."""
        if self.first_ns is None or other.first_ns is None or abs(self.conn - other.conn) != 1:
            return False
        if self.call.message.header != other.call.message.header or self.object != other.object:
            return False
        if abs(self.first_ns - other.first_ns) > _TWIN_NS:
            return False
        if None in (self.start_ns, other.start_ns, self.end_ns, other.end_ns):
            return self.end_ns is other.end_ns
        # The client sends first, and receives last.
        assert self.start_ns is not None
        assert other.start_ns is not None
        assert self.end_ns is not None
        assert other.end_ns is not None
        return (self.start_ns <= other.start_ns) is (self.end_ns >= other.end_ns)


def _bare(captured: Captured) -> Captured:
    """Return a message without its payload: an entry of a long list must not keep megabytes."""
    header, length = captured.message.header, captured.message.length
    return replace(captured, message=Message(header, length), sightings=())


def waiting_calls(recording: Recording, dispatched: Dispatched | None) -> Iterator[tuple[Peer, Captured]]:
    """Yield the calls of a procedure without a reply so far, with their connections. The number of calls
    that are looked at is limited."""
    if dispatched is None:
        return
    every = ((peer, call) for peer in recording.peers.values() for call in peer.waiting.values())
    for peer, call in islice(every, _MAX_SEARCHED):
        header = call.message.header
        if (header.prog, header.proc) == (dispatched.program, dispatched.number):
            yield peer, call
