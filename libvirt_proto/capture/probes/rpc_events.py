"""Trace records to Items: a message is one Chunk, everything else an event of its connection.

The bytes of a message are used only if they agree with the probe's own arguments: length word and header.
Bytes after the message's length belong to the process and are ignored. Bytes that do not fit the event are
`cut`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from ...bounded import BoundedDict
from ...events import ConnectionEvent, Item, Notice, NoticeCode
from ...rpc.wire import MAX_FRAME, MIN_FRAME
from ..objects import FIELDS, MESSAGES, NEW, Objects, header
from .formats import FormatError, Values
from .live import Reader, RecordFormat, Selection, bytes_of, number_of, text_of
from .plan import UprobeEvent
from .ring import Record
from .tasks import Process, Tasks

#: Maximum number of threads with an unfinished message.
_MAX_THREADS: Final = 4096
#: Maximum number of new sockets of an unknown side.
_MAX_SOCKETS: Final = 64
#: Nanoseconds after which the windows of a message were lost, and after which no client object will name a
#: new socket.
_PATIENCE: Final = 1_000_000_000
_SOCKET: Final = 10_000_000


class _Windows(NamedTuple):
    """The bytes of a message that come in several events, by the place of their first byte; and the first of
    these events."""

    event: UprobeEvent
    values: Values
    time_ns: int
    process: Process
    parts: dict[int, bytes]


class RpcReader(Reader[Item]):
    """Converts records to Items."""

    def __init__(
        self,
        events: dict[str, UprobeEvent],
        formats: Mapping[str, RecordFormat],
        tasks: Tasks,
        wanted: Selection,
        offset: int,
    ) -> None:
        super().__init__(events, formats, tasks, wanted, offset)
        self._objects = Objects("probe", lambda pid, address: f"{tasks.of(int(pid))}:{address}")
        #: Files already reported because their messages cannot be read.
        self._unreadable: set[str] = set()
        #: Unfinished messages by thread, which reaches one probe after the other.
        self._windows: BoundedDict[int, _Windows] = BoundedDict(_MAX_THREADS)
        #: Items in order; and the places of sockets of an unknown side among them, with their times, by
        #: process and address.
        self._waiting: list[Item] = []
        self._sockets: BoundedDict[tuple[str, str], tuple[int, int]] = BoundedDict(_MAX_SOCKETS)

    def items(self, record: Record) -> Iterator[Item]:
        """Yield the values of a record, after those that waited for it."""
        yield from self._in_order(super().items(record), record.time)

    def settled(self, time: int) -> Iterator[Item]:
        """Yield messages of which windows are missing, and what waits for the side of a socket."""
        missing = time - _PATIENCE
        late = [thread for thread, each in self._windows.items() if each.time_ns < missing + self._offset]
        for thread in late:
            yield from self._in_order(self._complete(self._windows.pop(thread)), missing)
        yield from self._released(time)

    def _in_order(self, items: Iterator[Item], time: int) -> Iterator[Item]:
        """Yield the wanted items. From a new socket of an unknown side on, they wait until a client object
        names it, which the same thread does next."""
        for item in items:
            if isinstance(item, ConnectionEvent) and (item.kind in NEW or item.kind == "socket_new"):
                words = dict(item.details)
                socket = words["process"], words.get("sock", "")
                if item.kind == "socket_new":
                    self._sockets.pop(socket, None)
                    self._sockets.put(socket, (len(self._waiting), time))
                elif socket in self._sockets:
                    at, _ = self._sockets.pop(socket)
                    self._waiting[at] = replace(self._waiting[at], side=NEW[item.kind])
            self._waiting.append(item)
        yield from self._released(time)

    def _released(self, time: int) -> Iterator[Item]:
        """Yield the items up to the first socket that still waits."""
        for socket in [each for each, (_, since) in self._sockets.items() if since < time - _SOCKET]:
            del self._sockets[socket]
        ready = min((at for at, _ in self._sockets.values()), default=len(self._waiting))
        if ready:
            items, self._waiting = self._waiting[:ready], self._waiting[ready:]
            for socket, (at, since) in list(self._sockets.items()):
                self._sockets[socket] = at - ready, since
            yield from filter(self._is_wanted, items)

    def _is_wanted(self, item: Item) -> bool:
        """Return whether an event is wanted. With one side selected, events that may be the other's are left
        out: sockets that no connection uses."""
        if self._wanted.sides == "both" or not isinstance(item, ConnectionEvent):
            return True
        side = item.side if item.connection is None else item.connection.side
        return side == self._wanted.sides

    def _fired(self, event: UprobeEvent, values: Values, time_ns: int, process: Process) -> Iterator[Item]:
        found = self._window if event.kind in MESSAGES else self._event
        yield from found(event, values, time_ns, process)

    def _ended(self, process: Process, time_ns: int) -> Iterator[Item]:
        yield from self._objects.ended(str(process.pid), time_ns)

    def _window(self, event: UprobeEvent, values: Values, time_ns: int, process: Process) -> Iterator[Item]:
        """Collect the windows of a message. The kernel runs the events of a place in any order; those that
        were lost are missing when the thread reaches the next probe."""
        thread = number_of(values["common_pid"])
        length = _length(values)
        if length == 0:  # libvirt's placeholders, which are never sent
            return
        if not MIN_FRAME <= length <= MAX_FRAME:
            if event.window:  # the first one is reported
                return
            raise FormatError(f"expected len from {MIN_FRAME} to {MAX_FRAME}, got {length}")
        seen = b"".join(bytes_of(values[f"p{index}"]) for index in range(event.arrays))
        known = self._windows.pop(thread, None)
        if known and (
            known.event.site != event.site or _length(known.values) != length or event.window in known.parts
        ):
            yield from self._complete(known)
            known = None
        windows = known or _Windows(event, values, time_ns, process, {})
        windows.parts[event.window] = seen
        if not seen or sum(map(len, windows.parts.values())) >= min(length, event.limit):
            yield from self._complete(windows)
        elif evicted := self._windows.put(thread, windows):
            yield from self._complete(evicted[1])

    def _complete(self, windows: _Windows) -> Iterator[Item]:
        seen = b""
        for window, part in sorted(windows.parts.items()):
            if window != len(seen):
                break
            seen += part
        yield from self._message(windows, seen[: windows.event.limit])

    def _message(self, windows: _Windows, seen: bytes) -> Iterator[Item]:
        event, values, time_ns, process, _ = windows
        length = _length(values)
        data = header(length, {field: number_of(values[field]) for field in FIELDS})
        if event.arrays:
            if seen.startswith(data):
                data = seen[:length]
            elif event.binary not in self._unreadable:
                self._unreadable.add(event.binary)
                text = (
                    f"{event.binary}: the bytes of messages are not where they are expected in this build of"
                    " libvirt: only headers are shown"
                )
                yield Notice(NoticeCode.NO_PAYLOADS, text, time_ns=time_ns, severity="note")
        client = text_of(values["client"], "object")
        yield from self._objects.message(event.kind, time_ns, str(process.pid), client, data, length)

    def _event(self, event: UprobeEvent, values: Values, time_ns: int, process: Process) -> Iterator[Item]:
        words = {a.name: text_of(values[a.name], a.meaning) for a in event.arguments}
        thread = str(values["common_pid"])
        details = (("process", str(process)), ("thread", thread), *words.items())
        yield from self._objects.event(event.kind, time_ns, str(process.pid), words, details)


def _length(values: Values) -> int:
    """Return the length of a message, which is unsigned."""
    return number_of(values["len"]) & 0xFFFFFFFFFFFFFFFF
