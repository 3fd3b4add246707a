"""Input files of a command: the options for reading them, and their items."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from ..capture.stop import Stop
from ..events import Captured, Closed, ConnectionEvent, Item, Notice, NoticeCode, Seen
from .options import redacted_note
from .output import create

if TYPE_CHECKING:
    from ..capture.pcap.recorder import Recorder
    from ..redact.redactor import What
    from ..registry import Registry
    from .status import Status

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files (`-` is standard input), the options for reading them, and the recording."""

    files: tuple[str, ...]
    ports: tuple[int, ...] = ()
    #: Set when the user asks to stop following; None: files are read to their end.
    follow: Stop | None = None
    record: Path | None = None
    #: File with the keys of TLS connections.
    keylog: str | None = None

    def check(self, output: Path | None) -> None:
        """Raise click.UsageError for a missing file, and for one that would be both read and written, or
        written twice."""
        if self.follow is not None and len(self.files) > 1:
            raise click.UsageError("--follow requires exactly one file")
        if self.follow is not None and self.keylog is not None:
            raise click.UsageError(
                "--keylog requires a complete capture; it cannot be combined with --follow"
            )
        for file in self.files:
            if file != "-" and not os.path.exists(file):
                raise click.UsageError(f"{file}: no such file")
            if os.path.isdir(file):
                raise click.UsageError(f"{file} is a folder")
            if Path(file).is_socket():
                hint = f"libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:{file}"
                raise click.UsageError(f"{file} is a socket; use a relay to show its messages: {hint}")
            for written in (output, self.record):
                if written is not None and written.is_file() and _is_same(file, written):
                    raise click.UsageError(f"{written} is also an input; choose another output")
        check_record(self.record, output)

    def items(self, file: str, status: Status) -> Iterator[Item]:
        """Return the items of one of the files.

        Raises SourceError if it cannot be opened or its format is not recognised.
        """
        from ..capture.pcap.tcp import LIBVIRT_PORTS
        from ..capture.sources import open_source

        ports = LIBVIRT_PORTS.union(self.ports)
        return open_source(file, ports=ports, progress=status.advance, follow=self.follow, keylog=self.keylog)

    def is_live(self, file: str) -> bool:
        """Return whether items may arrive slowly."""
        return self.follow is not None or not os.path.isfile(file)

    def messages(
        self,
        file: str,
        registry: Registry,
        status: Status,
        flush: Callable[[], object] = lambda: None,
        recorder: Recorder | None = None,
        redact: What | None = None,
    ) -> Iterator[Captured | ConnectionEvent | Closed]:
        """Yield the messages of one of the files, and the events of its connections. `recorder` gets the
        underlying Chunks. With `redact`, everything is redacted.

        Notices go to `status` after a call of `flush`, so that they follow earlier output.
        """
        from ..capture.sources import SourceError

        name = "standard input" if file == "-" else file
        status.source(name)
        try:
            items = self.items(file, status)
            yield from messages(items, registry, status, flush, recorder, redact, live=self.is_live(file))
        except SourceError as error:
            flush()
            problem = Notice(NoticeCode.UNREADABLE, str(error).removeprefix(f"{name}: "))
            if redact is not None:
                from ..redact.redactor import redacted_notice

                problem = redacted_notice(problem)
            status.notice(problem)

    def merged(
        self,
        registry: Registry,
        status: Status,
        flush: Callable[[], object] = lambda: None,
        redact: What | None = None,
    ) -> Iterator[Captured | ConnectionEvent]:
        """Yield as `messages`, for two files in one timeline."""
        from ..capture.merge import merge

        first, second = (
            [
                item
                for item in self.messages(file, registry, status, flush, redact=redact)
                if not isinstance(item, Closed)
            ]
            for file in self.files
        )
        status.source(" and ".join(self.files))
        for item in merge(first, second, _short_names(self.files)):
            if isinstance(item, Notice):
                status.notice(item)
            else:
                yield item


@contextmanager
def recording(path: Path | None, redact: What | None = None) -> Iterator[Recorder | None]:
    """Yield a Recorder that writes to a new file; None for None. The file's comment notes `redact`."""
    if path is None:
        yield None
        return
    from ..capture.pcap.recorder import Recorder

    with create(path) as file:
        yield Recorder(file, redacted_note(redact))


def check_record(record: Path | None, output: Path | None) -> None:
    """Raise click.UsageError for a recording with the same destination as the messages."""
    if record is None:
        return
    if str(record) == "-":
        raise click.UsageError("-w cannot write to standard output, which is for messages; give it a file")
    taken = _is_same_fd(sys.stdout, record) if output is None else record.resolve() == output.resolve()
    if taken or (output is not None and output.is_file() and record.exists() and record.samefile(output)):
        raise click.UsageError(f"{record} is also the output; choose another file")


def messages(
    items: Iterable[Item],
    registry: Registry,
    status: Status,
    flush: Callable[[], object],
    recorder: Recorder | None,
    redact: What | None,
    *,
    live: bool,
) -> Iterator[Captured | ConnectionEvent | Closed]:
    """Yield as Inputs.messages, for the items of any source; with `live`, everything is recorded
    immediately."""
    count = problems = seen = 0
    connection = None
    try:
        for item in _decoded(items, registry, recorder, redact, live=live):
            if isinstance(item, Captured):
                count += 1
                if item.message.error is not None:
                    problems += item.message.malformed
                if item.connection is not connection:
                    connection = item.connection
                    seen = max(seen, connection.id)
            elif isinstance(item, Notice):
                flush()
                status.notice(item)
                continue
            yield item
    finally:
        status.messages += count
        status.problems += problems
        status.connections += seen


def _decoded(
    items: Iterable[Item], registry: Registry, recorder: Recorder | None, redact: What | None, *, live: bool
) -> Iterator[Seen]:
    """Yield messages, events and notices of items: recorded and then decoded, or redacted and then
    recorded."""
    if redact is not None:
        from ..redact.redactor import Redactor, redacted_messages

        redactor = Redactor(registry, redact)
        return redacted_messages(items, redactor, programs=registry.numbers, recorder=recorder, live=live)
    from ..capture import stream
    from ..rpc.message import MessageDecoder

    if recorder is not None:
        from ..capture.pcap.recorder import recorded

        items = recorded(items, recorder, live=live)
    return stream.messages(items, MessageDecoder(registry).decode, programs=registry.numbers)


def open_file(file: str) -> AbstractContextManager[BinaryIO]:
    """Open the single file of a command; `-` is standard input, which stays open. Raises click.UsageError if
    that is a terminal or closed, OSError for a file that cannot be opened."""
    if file != "-":
        return open(file, "rb")
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError(
            f"expected a FILE: standard input is {'a terminal' if sys.stdin else 'closed'}"
        )
    return nullcontext(sys.stdin.buffer)


def inputs(command: Command) -> Command:
    """Add `FILE...` and the options for reading files, as parameter `inputs`."""

    @click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
    @click.option(
        "--port",
        "ports",
        type=click.IntRange(1, 65535),
        metavar="N",
        multiple=True,
        help="Also look for libvirt on this TCP port (in addition to 16509 and 16514).",
    )
    @click.option(
        "--keylog",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Decrypt TLS connections with the keys in this file, which a libvirt client or daemon writes"
        " when it runs with SSLKEYLOGFILE=FILE. Requires tshark.",
    )
    @click.option(
        "-f",
        "--follow",
        is_flag=True,
        help="At the end of the file, wait for more until interrupted (Ctrl-C). Rotated files are followed.",
    )
    @wraps(command)
    def with_inputs(
        *args: Any,
        files: tuple[str, ...],
        ports: tuple[int, ...],
        keylog: str | None,
        follow: bool,
        record: Path | None = None,
        **rest: Any,
    ) -> Any:
        stop = Stop() if follow else None
        return command(*args, inputs=Inputs(files, ports, stop, record, keylog), **rest)

    return with_inputs  # type: ignore[return-value]


def _short_names(files: tuple[str, ...]) -> tuple[str, str]:
    """Return short names of two files: without their folders, if that distinguishes them."""
    first, second = (os.path.basename(file) for file in files)
    return (first, second) if first != second else (files[0], files[1])


def _is_same(file: str, written: Path) -> bool:
    return os.path.samefile(file, written) if file != "-" else _is_same_fd(sys.stdin, written)


def _is_same_fd(stream: IO[Any] | None, written: Path) -> bool:
    """Return whether a standard stream and a path are the same file."""
    try:
        return (
            stream is not None
            and written.is_file()
            and os.path.samestat(os.fstat(stream.fileno()), written.stat())
        )
    except OSError:  # closed, or not a real file
        return False
