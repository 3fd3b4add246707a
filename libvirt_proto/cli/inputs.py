"""The files of a command: the options that say how they are read, and what is in them."""

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
from ..events import Captured, Closed, ConnectionEvent, Item, Notice, Seen
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
    """What a user gave: the files (`-` is standard input), how to read them, and where to record them."""

    files: tuple[str, ...]
    ports: tuple[int, ...] = ()
    #: Set when a user has asked to end what is followed; None: files are read to their end.
    follow: Stop | None = None
    record: Path | None = None
    #: The keys of TLS connections.
    keylog: str | None = None

    def check(self, output: Path | None) -> None:
        """Raises click.UsageError for a file that is not there, and for one that is to be read and written,
        or written twice."""
        if self.follow is not None and len(self.files) > 1:
            raise click.UsageError("--follow takes one file, for it never comes to the next.")
        if self.follow is not None and self.keylog is not None:
            raise click.UsageError("--keylog is for captures that are whole, not for one that is followed.")
        for file in self.files:
            if file != "-" and not os.path.exists(file):
                raise click.UsageError(f"{file}: no such file.")
            if os.path.isdir(file):
                raise click.UsageError(f"{file} is a folder.")
            if Path(file).is_socket():
                hint = f"libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:{file}"
                raise click.UsageError(f"{file} is a socket; a relay shows what goes over it: {hint}")
            for written in (output, self.record):
                if written is not None and written.is_file() and _is_same(file, written):
                    raise click.UsageError(f"{written} is an input, too.")
        check_record(self.record, output)

    def items(self, file: str, status: Status) -> Iterator[Item]:
        """The Chunks and what else there is in one of the files.

        Raises SourceError for what cannot be opened or is not understood.
        """
        from ..capture.pcap.tcp import LIBVIRT_PORTS
        from ..capture.sources import open_source

        ports = LIBVIRT_PORTS.union(self.ports)
        return open_source(file, ports=ports, progress=status.advance, follow=self.follow, keylog=self.keylog)

    def is_live(self, file: str) -> bool:
        """Whether more may be long in coming."""
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
        """The messages of one of the files, and what else happened to its connections; `recorder` gets what
        they are made of. With `redact`, all of it is redacted.

        What a person should know goes to `status`, after `flush` was called, so that it comes behind
        what was written before.
        """
        from ..errors import SourceError

        name = "standard input" if file == "-" else file
        status.source(name)
        try:
            items = self.items(file, status)
            yield from messages(items, registry, status, flush, recorder, redact, live=self.is_live(file))
        except SourceError as error:
            flush()
            problem = Notice("unreadable", str(error).removeprefix(f"{name}: "))
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
        """As `messages`, for both of two files in one timeline."""
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
    """A Recorder that writes to a file, which is made anew; nothing for None. The file notes `redact`."""
    if path is None:
        yield None
        return
    from ..capture.pcap.recorder import Recorder

    with create(path) as file:
        yield Recorder(file, redacted_note(redact))


def check_record(record: Path | None, output: Path | None) -> None:
    """Raises click.UsageError for a recording that would go where the messages go."""
    if record is None:
        return
    if str(record) == "-":
        raise click.UsageError("-w writes a capture, and standard output is for messages: give it a file.")
    taken = _is_same_fd(sys.stdout, record) if output is None else record.resolve() == output.resolve()
    if taken or (output is not None and output.is_file() and record.exists() and record.samefile(output)):
        raise click.UsageError(f"{record} is the output, too.")


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
    """As Inputs.messages, for the items of any source; what is `live` is recorded as it comes."""
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
    """Messages, events and notices of items: recorded and then decoded, or redacted and then recorded."""
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
    """The one file of a command, `-` for standard input, which stays open. Raises click.UsageError where that
    is a terminal or closed, OSError for a file that cannot be opened."""
    if file != "-":
        return open(file, "rb")
    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError(f"give a FILE: standard input is {'a terminal' if sys.stdin else 'closed'}.")
    return nullcontext(sys.stdin.buffer)


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
        "--keylog",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        help="Decrypt TLS connections with the keys in this file: a client or daemon of libvirt that runs"
        " with SSLKEYLOGFILE=FILE writes it. Needs tshark.",
    )
    @click.option(
        "-f",
        "--follow",
        is_flag=True,
        help="At the end of the file, wait for what is added to it, until interrupted (Ctrl-C). Rotated files"
        " are followed.",
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
    """What two files are called: without their folders, if that tells them apart."""
    first, second = (os.path.basename(file) for file in files)
    return (first, second) if first != second else (files[0], files[1])


def _is_same(file: str, written: Path) -> bool:
    return os.path.samefile(file, written) if file != "-" else _is_same_fd(sys.stdin, written)


def _is_same_fd(stream: IO[Any] | None, written: Path) -> bool:
    """Whether a standard stream goes to or comes from a file."""
    try:
        return (
            stream is not None
            and written.is_file()
            and os.path.samestat(os.fstat(stream.fileno()), written.stat())
        )
    except OSError:  # it is closed, or no file of the system's
        return False
