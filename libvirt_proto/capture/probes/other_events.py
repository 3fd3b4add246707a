"""Records of a trace's events to ProbeEvent: the event loop and the QEMU monitor.

A line of the monitor is what is before the first zero byte: what is behind belongs to the process. One that
has no zero byte where the event ends is `cut`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...events import Notice, ProbeEvent
from .formats import Values
from .live import Reader, bytes_of, number_of, text_of
from .plan import UprobeEvent
from .provider import PROBES
from .tasks import Process


class ProbeEventReader(Reader[ProbeEvent | Notice]):
    """Makes a ProbeEvent of each record."""

    def _fired(
        self, event: UprobeEvent, values: Values, time_ns: int, process: Process
    ) -> Iterator[ProbeEvent]:
        arguments: dict[str, int | str] = {}
        cut = False
        for name, meaning in PROBES[event.kind]:
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
