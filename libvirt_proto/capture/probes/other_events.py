"""Trace records to ProbeEvents of the event loop and the QEMU monitor.

A monitor line ends before the first zero byte: bytes after it belong to the process. A line that fills the
event without a zero byte is `cut`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...events import Notice, ProbeEvent
from .formats import Values
from .live import Reader, bytes_of, number_of, text_of
from .plan import UprobeEvent
from .tasks import Process


class ProbeEventReader(Reader[ProbeEvent | Notice]):
    """Converts each record to a ProbeEvent."""

    def _fired(
        self, event: UprobeEvent, values: Values, time_ns: int, process: Process
    ) -> Iterator[ProbeEvent]:
        arguments: dict[str, int | str] = {}
        cut = False
        for name, meaning in event.arguments:
            value = values[name]
            if meaning in ("signed", "unsigned"):
                arguments[name] = int(text_of(value, meaning))
            elif meaning == "line" and event.arrays and value:
                memory = b"".join(bytes_of(values[f"p{index}"]) for index in range(event.arrays))
                line, end, _ = memory.partition(b"\0")
                arguments[name], cut = text_of(line, "line"), not end
            else:
                arguments[name] = text_of(value, meaning)
        thread = number_of(values["common_pid"])
        yield ProbeEvent(event.kind, time_ns, process.pid, process.comm, thread, arguments, cut)
