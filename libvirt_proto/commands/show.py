"""What of the messages is shown, in which format, and where: the options that `decode` and `relay` share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..capture.chunk import Captured, ConnectionEvent
from . import names, options
from .filters import Filter, FilterError
from .status import Status

if TYPE_CHECKING:
    from ..present.style import Palette
    from ..registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("pretty", "monitor", "jsonl")


@dataclass(frozen=True, slots=True)
class Show:
    """What a user asked for. `output` is None for standard output."""

    registry: Registry
    filter: Filter
    format: str
    full: bool
    color: str
    output: Path | None

    @property
    def palette(self) -> Palette:
        """The colours of the messages."""
        return options.stdout_palette("never" if self.output and self.color == "auto" else self.color)

    def status(self, *, summary: bool) -> Status:
        """The lines on standard error; `summary`: the last one always comes, not on a terminal alone."""
        talkative = sys.stderr.isatty()
        bar = talkative and not _on_terminal(self.output)
        return Status(options.palette(self.color, sys.stderr), bar=bar, summary=talkative or summary)

    def accepted(self, items: Iterable[Captured | ConnectionEvent], status: Status) -> Iterator[Captured]:
        """The messages that pass the filters; they are counted."""
        accepts = self.filter if self.filter.active else None
        for item in items:
            if isinstance(item, Captured) and (accepts is None or accepts(item)):
                status.shown += 1
                yield item

    def presenter(self) -> Callable[[Captured], bytes]:
        """What makes lines of the messages of one source."""
        if self.format == "jsonl":
            from ..present import jsonl

            return jsonl.Presenter(self.registry)
        text: Callable[[Captured], str]
        if self.format == "monitor":
            from ..present import monitor

            text = monitor.Presenter(self.registry, self.palette)
        else:
            from ..present import pretty

            text = pretty.Presenter(self.registry, self.palette, full=self.full)
        encoding = sys.stdout.encoding or "utf-8"
        return lambda captured: (text(captured) + "\n").encode(encoding, "backslashreplace")


def show(command: Command) -> Command:
    """Filters, `--format`, `-o` and what belongs to them, as parameter `show`."""

    @click.option(
        "--format",
        "format_",
        type=click.Choice(FORMATS),
        help="pretty: for people, with payloads; monitor: a line per message, as libvirt's rpc-monitor script"
        " prints it; jsonl: a JSON object per message. Default: pretty on a terminal, otherwise jsonl.",
    )
    @click.option(
        "--program",
        "programs",
        metavar="NAME",
        multiple=True,
        shell_complete=names.programs,
        help="Only this program.",
    )
    @click.option(
        "--procedure",
        "procedures",
        metavar="NAME",
        multiple=True,
        shell_complete=names.procedures,
        help="Only this procedure, in any program.",
    )
    @click.option(
        "--type",
        "types",
        metavar="TYPE",
        multiple=True,
        shell_complete=names.message_types,
        help="Only this type: call, reply, message, stream, call_with_fds, reply_with_fds, stream_hole.",
    )
    @click.option("--conn", "connections", metavar="TEXT", multiple=True, help="Only this connection.")
    @click.option("--errors-only", is_flag=True, help="Only error replies, and messages that are malformed.")
    @options.definitions
    @click.option("--full", is_flag=True, help="Show long strings, bytes and arrays to their end (pretty).")
    @options.colour
    @click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write to a file.",
    )
    @wraps(command)
    def with_show(
        *args: Any,
        format_: str | None,
        programs: tuple[str, ...],
        procedures: tuple[str, ...],
        types: tuple[str, ...],
        connections: tuple[str, ...],
        errors_only: bool,
        registry: Registry,
        full: bool,
        color: str,
        output: Path | None,
        **rest: Any,
    ) -> Any:
        try:
            filter_ = Filter(
                registry,
                programs=programs,
                procedures=procedures,
                types=types,
                connections=connections,
                errors_only=errors_only,
            )
        except FilterError as error:
            raise click.UsageError(str(error)) from None
        format_ = format_ or ("pretty" if _on_terminal(output) else "jsonl")
        return command(*args, show=Show(registry, filter_, format_, full, color, output), **rest)

    return with_show  # type: ignore[return-value]


def _on_terminal(output: Path | None) -> bool:
    return output is None and sys.stdout.isatty()
