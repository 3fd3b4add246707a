"""Lanes of a pass over statistics or a diagnosis: the native core gives routine exchanges as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import Lines
from ..native_kinds import RoutineMessages
from ..routine import merged
from .lanes import Lanes

if TYPE_CHECKING:
    from .pcap.file import Ahead


class RoutineLanes(Lanes):
    """The lanes of one pass."""

    def __init__(self, messages: RoutineMessages) -> None:
        super().__init__(messages)
        self._messages = messages
        self._decode = self.decoder().decode

    def packets(self, ahead: Ahead) -> tuple[int, Lines | None, int]:
        """Read packets of open lanes: see pcap.file.Skim."""
        pos, lines, strays = super().packets(ahead)
        scanner = self._messages.scanner
        if lines is None or scanner is None:
            return pos, lines, strays
        assert isinstance(lines.data, tuple)
        data = tuple(merged(lines.data, *scanner.routine(), self._messages.routine, self._decode))
        counts = (lines.messages, lines.shown, lines.failures, lines.time_ns, lines.data_ns)
        return pos, Lines(data, *counts), strays
