"""`libvirt-proto decode`: captures in, messages out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from ..capture.chunk import Captured
from ..present.text import printable
from . import names, options
from .filters import Filter, FilterError
from .inputs import Inputs
from .inputs import inputs as inputs_option
from .output import create, standard_output
from .status import Status

if TYPE_CHECKING:
    from ..capture.chunk import ConnectionEvent
    from ..present.access import Accesses
    from ..present.style import Palette
    from ..registry import Registry
    from ..session import Exchange

T = TypeVar("T")

FORMATS = ("pretty", "monitor", "jsonl")


@click.command()
@inputs_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="pretty: for people, with payloads; monitor: a line per message, as libvirt's rpc-monitor script"
    " prints it; jsonl: a JSON object per message. Default: pretty on a terminal, otherwise jsonl.",
)
@click.option(
    "--exchanges",
    is_flag=True,
    help="Show calls together with their replies and streams, one exchange at a time instead of one message:"
    " how it came out, how long the reply took, bytes each way.",
)
@click.option(
    "--acl",
    is_flag=True,
    help="Add to each call the permissions that it needs, its priority and the direction of its stream.",
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
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
)
@click.pass_context
def decode(
    ctx: click.Context,
    inputs: Inputs,
    format_: str | None,
    exchanges: bool,
    acl: bool,
    registry: Registry,
    full: bool,
    color: str,
    output: Path | None,
    errors_only: bool,
    programs: tuple[str, ...],
    procedures: tuple[str, ...],
    types: tuple[str, ...],
    connections: tuple[str, ...],
) -> None:
    """Show the messages in captures: pcap and pcapng files, raw byte streams, or hex; what a file holds is
    found by looking at it. Several files are read one after the other; - is standard input.

    Filters can be repeated: a message is shown if it matches one of each kind. Programs, procedures and types
    are given by name, by the symbol in libvirt's sources, by number, or as a pattern (domain_*); a procedure
    can have its program before it (qemu.domain_*). --conn takes the number of a connection or a part of its
    name (192.0.2.7, :40508).

    With --exchanges an exchange is shown as soon as it is complete, if one of its messages passes the
    filters. Events and keepalive belong to no exchange and are left out; calls without a reply come last.

    pretty cuts strings after 512 characters, bytes after 128 and arrays after 32 elements, and says how much
    it left out.

    \b
    Examples:
      libvirt-proto decode capture.pcap
      libvirt-proto decode --procedure 'domain_get_*' --type reply capture.pcap
      libvirt-proto decode --errors-only --format monitor *.pcap
      libvirt-proto decode --exchanges --format monitor capture.pcap
      libvirt-proto decode --format jsonl capture.pcap | jq -r .procedure | sort | uniq -c
      tcpdump -i lo -U -w - 'tcp port 16509' | libvirt-proto decode --format pretty -

    The exit status is 1 if something in the input was wrong: a damaged file, lost bytes, malformed messages.
    """
    if exchanges and types:
        raise click.UsageError("--type picks messages; an exchange (--exchanges) has several types.")
    inputs.check(output)
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
    on_terminal = output is None and sys.stdout.isatty()
    palette = options.stdout_palette("never" if output and color == "auto" else color)
    format_ = format_ or ("pretty" if on_terminal else "jsonl")
    talkative = sys.stderr.isatty()
    status = Status(options.palette(color, sys.stderr), bar=talkative and not on_terminal, summary=talkative)
    destination = standard_output() if output is None else create(output)
    with destination as out, status:
        for file in inputs.files:
            view: _View
            if exchanges:
                view = _Exchanges(format_, registry, palette, filter_, full=full, acl=acl)
            else:
                view = _Messages(format_, registry, palette, filter_, full=full, acl=acl)
            if format_ == "pretty" and len(inputs.files) > 1:
                out.write(f"{palette.name}== {printable(file)}{palette.off}\n".encode())
            live = not os.path.isfile(file)
            try:
                for item in inputs.messages(file, registry, status, out.flush):
                    for text in view.take(item, status):
                        out.write(text)
                        if live:
                            out.flush()
            finally:  # also if the user interrupts it: what was never answered is what he waited for
                for text in view.finish(status):
                    out.write(text)
                out.flush()
        out.flush()
    ctx.exit(1 if status.problems else 0)


class _View(Protocol):
    """What is made of one input."""

    def take(self, item: Captured | ConnectionEvent, status: Status) -> Iterable[bytes]:
        """What is to be written after one more item; what is shown is counted in `status`."""

    def finish(self, status: Status) -> Iterable[bytes]:
        """What is to be written at the end."""


class _Messages:
    """Message by message."""

    def __init__(
        self, format_: str, registry: Registry, palette: Palette, filter_: Filter, *, full: bool, acl: bool
    ) -> None:
        self._accepts = filter_ if filter_.active else None
        accesses = _accesses(registry) if acl else None
        self._present: Callable[[Captured], bytes]
        if format_ == "jsonl":
            from ..present import jsonl

            self._present = jsonl.Presenter(registry, accesses)
        elif format_ == "monitor":
            from ..present import monitor

            self._present = _encoded(monitor.Presenter(registry, palette, accesses))
        else:
            from ..present import pretty

            self._present = _encoded(pretty.Presenter(registry, palette, accesses, full=full))

    def take(self, item: Captured | ConnectionEvent, status: Status) -> Iterable[bytes]:
        if not isinstance(item, Captured) or (self._accepts is not None and not self._accepts(item)):
            return ()
        status.shown += 1
        return (self._present(item),)

    def finish(self, status: Status) -> Iterable[bytes]:
        return ()


class _Exchanges:
    """Exchange by exchange; times count from the first message of the input."""

    def __init__(
        self, format_: str, registry: Registry, palette: Palette, filter_: Filter, *, full: bool, acl: bool
    ) -> None:
        from ..present import exchanges
        from ..session import Sessions

        self._filter = filter_
        self._sessions = Sessions(registry)
        self._start: int | None = None
        accesses = _accesses(registry) if acl else None
        self._present: Callable[[Exchange], bytes]
        if format_ == "jsonl":
            self._present = exchanges.Lines(registry, accesses)
            return
        if format_ == "monitor":
            text: exchanges.Monitor | exchanges.Pretty = exchanges.Monitor(registry, palette, accesses)
        else:
            text = exchanges.Pretty(registry, palette, accesses, full=full)
        self._present = _encoded(lambda exchange: text(exchange, self._start))

    def take(self, item: Captured | ConnectionEvent, status: Status) -> Iterable[bytes]:
        if self._start is None:
            self._start = item.time_ns
        return self._show(self._sessions.feed(item), status)

    def finish(self, status: Status) -> Iterable[bytes]:
        return self._show(self._sessions.finish(), status)

    def _show(self, done: list[Exchange], status: Status) -> Iterator[bytes]:
        for exchange in done:
            if not self._filter.active or self._filter.exchange(exchange):
                status.shown += exchange.messages
                yield self._present(exchange)


def _accesses(registry: Registry) -> Accesses:
    from ..present.access import Accesses

    return Accesses(registry)


def _encoded(text: Callable[[T], str]) -> Callable[[T], bytes]:
    """A presenter of text as one of bytes, with the newline."""
    encoding = sys.stdout.encoding or "utf-8"
    return lambda item: (text(item) + "\n").encode(encoding, "backslashreplace")
