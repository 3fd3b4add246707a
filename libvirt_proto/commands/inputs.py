"""The files of a command: the options that say how they are read, and what is in them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..capture.chunk import Captured, Closed, ConnectionEvent, Item, Notice

if TYPE_CHECKING:
    from ..registry import Registry
    from .status import Status

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a user gave: the files (`-` is standard input), and how to read them."""

    files: tuple[str, ...]
    ports: tuple[int, ...] = ()
    #: Set when a user has asked to end what is followed; None: files are read to their end.
    follow: threading.Event | None = None

    def check(self, output: Path | None) -> None:
        """Raises click.UsageError for a file that is not there, or that is the output, too."""
        if self.follow is not None and len(self.files) > 1:
            raise click.UsageError("--follow takes one file, for it never comes to the next.")
        for file in self.files:
            if file != "-" and not os.path.exists(file):
                raise click.UsageError(f"{file}: no such file.")
            if os.path.isdir(file):
                raise click.UsageError(f"{file} is a folder.")
            if output is not None and output.is_file() and _is_same(file, output):
                raise click.UsageError(f"{output} is an input, too.")

    def items(self, file: str, status: Status) -> Iterator[Item]:
        """The Chunks and what else there is in one of the files.

        Raises SourceError for what cannot be opened or is not understood.
        """
        from ..capture.sources import open_source
        from ..capture.tcp import LIBVIRT_PORTS

        ports = LIBVIRT_PORTS.union(self.ports)
        return open_source(file, ports=ports, progress=status.advance, follow=self.follow)

    def messages(
        self, file: str, registry: Registry, status: Status, flush: Callable[[], object] = lambda: None
    ) -> Iterator[Captured | ConnectionEvent | Closed]:
        """The messages of one of the files, and what else happened to its connections.

        What a person should know goes to `status`, after `flush` was called, so that it comes behind
        what was written before.
        """
        from ..capture.sources import SourceError
        from ..capture.stream import messages
        from ..message import decode_message

        name = "standard input" if file == "-" else file
        status.source(name)
        decode = partial(decode_message, registry=registry)
        seen = 0
        try:
            for item in messages(self.items(file, status), decode, programs=registry.numbers):
                if isinstance(item, Notice):
                    flush()
                    status.notice(item)
                    continue
                if isinstance(item, Captured):
                    status.messages += 1
                    status.problems += item.message.malformed
                    seen = max(seen, item.connection.id)
                yield item
        except SourceError as error:
            flush()
            status.problem(str(error).removeprefix(f"{name}: "))
        status.connections += seen

    def merged(
        self, registry: Registry, status: Status, flush: Callable[[], object] = lambda: None
    ) -> Iterator[Captured | ConnectionEvent]:
        """As `messages`, for both of two files in one timeline."""
        from ..capture.merge import merge

        first, second = (
            [item for item in self.messages(file, registry, status, flush) if not isinstance(item, Closed)]
            for file in self.files
        )
        status.source(" and ".join(self.files))
        for item in merge(first, second, _short_names(self.files)):
            if isinstance(item, Notice):
                status.notice(item)
            else:
                yield item


def inputs(command: Command) -> Command:
    """`FILE...` and the options that say how files are read, as parameter `inputs`."""

    @click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
    @click.option(
        "--port",
        "ports",
        type=click.IntRange(1, 65535),
        metavar="N",
        multiple=True,
        help="Look for libvirt on this TCP port, too (beside 16509 and 16514).",
    )
    @click.option(
        "-f",
        "--follow",
        is_flag=True,
        help="At the end of the file, wait for what is added to it, until interrupted (Ctrl-C).",
    )
    @wraps(command)
    def with_inputs(
        *args: Any, files: tuple[str, ...], ports: tuple[int, ...], follow: bool, **rest: Any
    ) -> Any:
        stop = _stopped_by_signals() if follow else None
        return command(*args, inputs=Inputs(files, ports, stop), **rest)

    return with_inputs  # type: ignore[return-value]


def _short_names(files: tuple[str, ...]) -> tuple[str, str]:
    """What two files are called: without their folders, if that tells them apart."""
    first, second = (os.path.basename(file) for file in files)
    return (first, second) if first != second else (files[0], files[1])


def _stopped_by_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set: the way to end what has no end is no error.

    The handlers are set whatever was there: a job in the background inherits that SIGINT is ignored.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _is_same(file: str, output: Path) -> bool:
    if file != "-":
        return os.path.samefile(file, output)
    try:
        return os.path.samestat(os.fstat(sys.stdin.fileno()), output.stat())
    except (OSError, AttributeError):  # it is closed, or no file of the system's
        return False
