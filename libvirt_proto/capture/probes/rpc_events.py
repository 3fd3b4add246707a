"""Trace records to Items: a message is one Chunk, everything else an event of its connection.

The bytes of a message are used only if they agree with the probe's own arguments: length word and header.
Bytes after the message's length belong to the process and are ignored. Bytes that do not fit the event are
`cut`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...events import ConnectionEvent, Item, Notice, NoticeCode
from ...rpc.wire import MAX_FRAME, MIN_FRAME
from ..objects import FIELDS, MESSAGES, Objects, header
from .formats import Format, FormatError, Values
from .live import Reader, Selection, bytes_of, number_of, text_of
from .plan import UprobeEvent
from .tasks import Process, Tasks


class RpcReader(Reader[Item]):
    """Converts records to Items."""

    def __init__(
        self,
        events: dict[str, UprobeEvent],
        formats: dict[str, Format],
        tasks: Tasks,
        wanted: Selection,
        offset: int,
    ) -> None:
        super().__init__(events, formats, tasks, wanted, offset)
        self._objects = Objects("probe", lambda pid, address: f"{tasks.of(int(pid))}:{address}")
        #: Files already reported because their messages cannot be read.
        self._unreadable: set[str] = set()

    def _fired(self, event: UprobeEvent, values: Values, time_ns: int, process: Process) -> Iterator[Item]:
        found = self._message if event.kind in MESSAGES else self._event
        for item in found(event, values, time_ns, process):
            if self._is_wanted(item):
                yield item

    def _is_wanted(self, item: Item) -> bool:
        """Return whether an event is wanted. With one side selected, events that may be the other's are left
        out: sockets that no connection uses yet."""
        if self._wanted.sides == "both" or not isinstance(item, ConnectionEvent):
            return True
        return item.connection is not None or item.side == self._wanted.sides

    def _ended(self, process: Process, time_ns: int) -> Iterator[Item]:
        yield from self._objects.ended(str(process.pid), time_ns)

    def _message(self, event: UprobeEvent, values: Values, time_ns: int, process: Process) -> Iterator[Item]:
        length = number_of(values["len"]) & 0xFFFFFFFFFFFFFFFF
        if length == 0:  # libvirt's placeholders, which are never sent
            return
        if not MIN_FRAME <= length <= MAX_FRAME:
            raise FormatError(f"expected len from {MIN_FRAME} to {MAX_FRAME}, got {length}")
        data = header(length, {field: number_of(values[field]) for field in FIELDS})
        if event.arrays:
            seen = b"".join(bytes_of(values[f"p{index}"]) for index in range(event.arrays))
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
