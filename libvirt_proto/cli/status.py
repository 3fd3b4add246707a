"""Standard error of commands: notices, a progress bar, and a summary line."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from ..events import Notice, NoticeCode
from ..presenters import notices
from ..presenters.style import Palette
from ..terminal import styled
from ..text import amount, printable

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds before a progress bar is drawn.
_PATIENCE = 0.7
#: The counts of each file.
_COUNTS = (
    "messages",
    "native",
    "shown",
    "connections",
    "failures",
    "encrypted",
    "problems",
    "notes",
    "notices",
)


class Status:
    """Counts items, and writes notices, a progress bar and a summary to standard error.

    `bar`: whether a progress bar may be drawn (only if it does not interfere with the output). `summary`:
    whether to write a line with the numbers of messages, connections and problems at the end.
    """

    def __init__(self, palette: Palette, *, bar: bool, summary: bool) -> None:
        self.palette = palette
        self._bar = bar
        self._summary = summary
        self._source = ""
        self._started = time.monotonic()
        self._progress: Progress | None = None
        self._task: Any = None
        self.messages = 0
        #: Number of messages that the native core read.
        self.native = 0
        self.shown = 0
        self.connections = 0
        #: Number of errors that servers reported.
        self.failures = 0
        #: Number of events of a trace without messages; None for a source of messages.
        self.events: int | None = None
        self.encrypted = 0
        self.problems = 0
        #: Number of notices that are neither problems nor about encryption.
        self.notes = 0
        #: Number of bytes left out because they arrived faster than messages can be shown.
        self.dropped = 0
        #: Number of notices by code.
        self.notices: Counter[str] = Counter()

    def source(self, name: str) -> None:
        """Begin another input."""
        self._source = name
        self._started = time.monotonic()
        self._stop_bar()

    def advance(self, done: int, total: int | None) -> None:
        """Set the number of bytes of the input that were read, and its size if known."""
        if not self._bar or total is None:
            return
        if self._progress is not None:
            self._progress.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._started > _PATIENCE:
            self._start_bar(total)

    def notice(self, notice: Notice) -> None:
        """Show a notice; errors count as problems."""
        self.notices[notice.code] += 1
        self.problems += notice.severity == "error"
        encrypted = notice.code == NoticeCode.ENCRYPTED
        self.encrypted += encrypted
        self.notes += notice.severity == "note" and not encrypted
        self._print(notices.line(notice, self._source, self.palette))

    def debug(self) -> None:
        """Show how many of the messages the native core read."""
        from .. import native

        share = 100 * self.native / self.messages if self.messages else 0.0
        read = f"{self.native:,} of {amount(self.messages, 'message')} ({share:.2f} %)"
        self._print(f"native core ({native.state()}): {read}")

    def counts(self) -> dict[str, Any]:
        """Return the counts, for `add`."""
        return {name: getattr(self, name) for name in _COUNTS}

    def add(self, counts: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Add the counts of another Status, and write its output."""
        for line in lines:
            self._print(line.rstrip("\n"))
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)

    def problem(self, text: str) -> None:
        """Show an error of the input as a whole."""
        self.notice(Notice(NoticeCode.UNREADABLE, text))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove the progress bar, and write the summary unless an error ended the command."""
        self._stop_bar()
        if self._summary and kind is None:
            shown = "" if self.shown == self.messages else f"{self.shown:,} of "
            parts = [f"{shown}{amount(self.messages, 'message')}", amount(self.connections, "connection")]
            if self.events is not None:
                parts = [amount(self.events, "event")]
            if self.dropped:
                parts.append(f"{amount(self.dropped, 'byte')} left out")
            if self.encrypted:
                parts.append(amount(self.encrypted, "encrypted connection"))
            if self.failures:
                parts.append(amount(self.failures, "server error"))
            if self.notes:
                parts.append(amount(self.notes, "note"))
            quiet, off = self.palette.quiet, self.palette.off
            if self.problems:
                end = f",{off} {self.palette.bad}{amount(self.problems, 'problem')}{off}"
            else:
                clean = not (self.failures or self.encrypted or self.notes or self.dropped)
                end = f"{', no problems' if clean else ''}{off}"
            self._print(f"{quiet}── {', '.join(parts)}{end}")

    def _print(self, line: str) -> None:
        if self._progress is None:
            print(line, file=styled(sys.stderr))
        else:
            from rich.text import Text

            self._progress.console.print(Text.from_ansi(line), soft_wrap=True)

    def _start_bar(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(file=styled(sys.stderr)),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(printable(self._source), total=total)

    def _stop_bar(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
