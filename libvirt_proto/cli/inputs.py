"""The files of a command: the options that control how they are read, and their Captures."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click
import msgspec
from msgspec.structs import replace

from ..capture.stop import Stop
from ..errors import SourceError
from ..events import Item, Notice, NoticeCode
from .options import redacted_note
from .output import create, destination, is_standard_output

if TYPE_CHECKING:
    from pathlib import Path

    from ..api.capture import Capture
    from ..capture.detect import FileFormat
    from ..capture.pcap.recorder import Recorder
    from ..filters import Filter
    from ..redact.redactor import What
    from ..registry import Registry
    from .status import Status

Command = TypeVar("Command", bound=Callable[..., Any])

#: Parameters that decide about messages and their numbers, for commands that name a command to show them.
READING: Final = frozenset(
    {"ports", "keylog", "input_format", "redact", "release", "defs", "package", "defines"}
)


class Inputs(msgspec.Struct, frozen=True):
    """The files (`-` is standard input), the options for reading them, and the recording."""

    files: tuple[str, ...]
    ports: tuple[int, ...] = ()
    #: Set when the user asks to stop following; None: files are read to their end.
    follow: Stop | None = None
    record: Path | None = None
    #: File with the keys of TLS connections.
    keylog: str | None = None
    #: Format of the files; None: it is recognised.
    format: FileFormat | None = None
    #: What is read instead of the only file, which a command has opened.
    opened: BinaryIO | None = None

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
                raise click.UsageError(f"{file}: expected a file, got a folder")
            if _is_socket(file):
                hint = f"libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:{file}"
                raise click.UsageError(
                    f"{file}: expected a file, got a socket; use a relay to show its messages: {hint}"
                )
            for written in (output, None if is_standard_output(self.record) else self.record):
                if written is not None and written.is_file() and _is_same(file, written):
                    raise click.UsageError(f"{written} is also an input; choose another output")
        check_record(self.record, output)

    def is_live(self, file: str) -> bool:
        """Return whether items may arrive slowly."""
        return self.follow is not None or not os.path.isfile(file)

    @contextmanager
    def open(
        self,
        file: str,
        registry: Registry,
        status: Status,
        *,
        filter: Filter | None = None,
        flush: Callable[[], object] = lambda: None,
        recorder: Recorder | None = None,
        redact: What | None = None,
    ) -> Iterator[Capture]:
        """Open one of the files, and count in `status` what was read when the block ends.

        Notices go to `status`, after a call of `flush`: after the output that precedes them. A file that
        cannot be opened is reported, too, and gives an empty Capture.
        """
        from ..api.capture import Capture, decode_source
        from ..api.source import Source

        name = "standard input" if file == "-" else file
        status.source(name)
        report = _reporting(status, flush)
        if redact is None:
            report = _recognising(report, registry)
        try:
            source = Source(
                self.opened or (_standard_input() if file == "-" else file),
                name=name,
                ports=self.ports,
                keylog=self.keylog,
                format=self.format,
                follow=self.follow,
                progress=status.advance,
            )
        except SourceError as error:
            report(_unreadable(str(error).removeprefix(f"{name}: "), redact))
            capture = Capture(name, lambda _: iter(()), registry)
        else:
            capture = decode_source(
                source,
                registry,
                filter=filter,
                redact=redact,
                on_notice=report,
                recorder=recorder,
                live=self.is_live(file),
            )
        with _counted(capture, status):
            try:
                yield capture
            except SourceError as error:  # the verdict on a text comes at its end
                report(_unreadable(str(error).removeprefix(f"{name}: "), redact))

    @contextmanager
    def merged(
        self,
        registry: Registry,
        status: Status,
        *,
        filter: Filter,
        flush: Callable[[], object] = lambda: None,
        redact: What | None = None,
    ) -> Iterator[Capture]:
        """As `open`, for both of two files in one timeline."""
        from ..api.capture import Capture
        from ..capture.merge import merge

        timelines = []
        for file in self.files:
            with self.open(file, registry, status, flush=flush, redact=redact) as capture:
                timelines.append(list(capture.timeline()))
        status.source(" and ".join(self.files))
        first, second = timelines
        names = _short_names(self.files)
        capture = Capture(
            " and ".join(names),
            lambda _: merge(first, second, names),
            registry,
            filter=filter,
            redact=redact,  # the timelines are redacted; the output notes it
            on_notice=_reporting(status, flush),
        )
        with _counted(capture, status):
            yield capture


def live(
    name: str,
    items: Iterable[Item],
    registry: Registry,
    status: Status,
    *,
    filter: Filter,
    flush: Callable[[], object],
    recorder: Recorder | None,
    redact: What | None,
) -> AbstractContextManager[Capture]:
    """Open what a relay or a trace sees, as `Inputs.open` does for files. It is recorded message by
    message."""
    from ..api.capture import Capture, decoded

    capture = Capture(
        name,
        lambda _: decoded(items, registry, recorder=recorder, redact=redact, live=True),
        registry,
        filter=filter,
        redact=redact,
        on_notice=_reporting(status, flush),
    )
    return _counted(capture, status)


def _reporting(status: Status, flush: Callable[[], object]) -> Callable[[Notice], None]:
    """Return a function that shows a notice after the output that precedes it."""

    def report(notice: Notice) -> None:
        flush()
        status.notice(notice)

    return report


@contextmanager
def _counted(capture: Capture, status: Status) -> Iterator[Capture]:
    """Yield a Capture, close it at the end, and add what it read to `status`."""
    try:
        yield capture
    finally:
        capture.close()
        status.messages += capture.read_messages
        status.native += capture.native_messages
        status.problems += capture.malformed
        status.failures += capture.failures
        status.connections += capture.connections


def _recognising(report: Callable[[Notice], None], registry: Registry) -> Callable[[Notice], None]:
    """Return a function that also reports what bytes without a message are."""

    def recognise(notice: Notice) -> None:
        if notice.data:
            from ..guess.fragments import describe

            if (what := describe(notice.data, registry)) is not None:
                notice = replace(notice, text=f"not a message but {what}")
        report(notice)

    return recognise


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise SourceError("standard input: is closed")
    return sys.stdin.buffer


def _unreadable(text: str, redact: What | None) -> Notice:
    notice = Notice(NoticeCode.UNREADABLE, text)
    if redact is None:
        return notice
    from ..redact.redactor import redacted_notice

    return redacted_notice(notice)


@contextmanager
def recording(
    path: Path | None, redact: What | None = None, stop: Stop | None = None
) -> Iterator[Recorder | None]:
    """Yield a Recorder that writes to a new file, or for `-` to standard output (with `stop` as `destination`
    does); None for None. The file's comment notes `redact`."""
    if path is None:
        yield None
        return
    from ..capture.pcap.recorder import Recorder

    with destination(None, stop) if is_standard_output(path) else create(path) as file:
        yield Recorder(file, redacted_note(redact))


def check_record(record: Path | None, output: Path | None) -> None:
    """Raise click.UsageError for a recording with the same destination as the messages, or for a terminal."""
    if record is None:
        return
    if is_standard_output(record):
        if sys.stdout.isatty():
            raise click.UsageError(
                "-w - writes a capture, and standard output is a terminal: pipe it to another program"
                " (| wireshark -k -i -)"
            )
        return
    taken = _is_same_fd(sys.stdout, record) if output is None else record.resolve() == output.resolve()
    if taken or (output is not None and output.is_file() and record.exists() and record.samefile(output)):
        raise click.UsageError(f"{record} is also the output; choose another file")


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


#: `--port`, as parameter `ports`; `--keylog` and `--input-format`, as parameters with these names.
port = click.option(
    "--port",
    "ports",
    type=click.IntRange(1, 65535),
    metavar="N",
    multiple=True,
    help="Also look for libvirt on this TCP port.",
)
keylog = click.option(
    "--keylog",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Decrypt TLS with the keys in this file (SSLKEYLOGFILE). Requires tshark.",
)
input_format = click.option(
    "--input-format",
    "input_format",
    type=click.Choice(["pcap", "pcapng", "raw", "hex", "log", "monitor", "strace"]),
    metavar="KIND",
    help="Read the files as pcap, pcapng, raw, hex (any bytes as text), log, monitor or strace.",
)


def inputs(command: Command) -> Command:
    """Add `FILE...` and the options for reading files, as parameter `inputs`."""
    argument = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
    return _inputs(command, argument)


def one_input(command: Command) -> Command:
    """Add `[FILE]` and the options for reading it, as parameter `inputs`, without files if none is given."""

    def as_files(_ctx: click.Context, _argument: click.Parameter, file: str | None) -> tuple[str, ...]:
        return () if file is None else (file,)

    argument = click.argument("files", metavar="[FILE]", required=False, type=click.Path(), callback=as_files)
    return _inputs(command, argument)


def _inputs(command: Command, argument: Any) -> Command:
    @argument  # type: ignore[untyped-decorator]
    @port
    @keylog
    @input_format
    @click.option(
        "-f",
        "--follow",
        is_flag=True,
        help="At the end of the file, wait for more until interrupted.",
    )
    @wraps(command)
    def with_inputs(
        *args: Any,
        files: tuple[str, ...],
        ports: tuple[int, ...],
        keylog: str | None,
        input_format: FileFormat | None,
        follow: bool,
        record: Path | None = None,
        **rest: Any,
    ) -> Any:
        stop = Stop() if follow else None
        return command(*args, inputs=Inputs(files, ports, stop, record, keylog, input_format), **rest)

    return with_inputs  # type: ignore[no-any-return]


def _short_names(files: tuple[str, ...]) -> tuple[str, str]:
    """Return short names of two files: without their folders, if that distinguishes them."""
    first, second = (os.path.basename(file) for file in files)
    return (first, second) if first != second else (files[0], files[1])


def _is_socket(file: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(file).st_mode)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False


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
