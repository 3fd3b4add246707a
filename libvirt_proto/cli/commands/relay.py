"""`libvirt-proto relay`: forward between clients and a daemon, and show their messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from ...text import printable
from .. import options
from ..exporting import exporting
from ..inputs import check_record, live, recording
from ..listening import address, cannot_listen, listening
from ..output import destination
from ..output_options import OutputOptions, live_figures
from ..output_options import show as show_options
from ..signals import stop_event

if TYPE_CHECKING:
    import asyncio

    from ...capture.address import Address
    from ...capture.pcap.recorder import Recorder
    from ..status import Status

#: Seconds without progress of the decoder at the end, after which its output is considered unread.
PATIENCE: Final = 5.0
#: Maximum time that Python lets the decoding thread hold up the others, in seconds (its default is ten times
#: as much).
_SWITCH_INTERVAL: Final = 0.0005


def _server(ctx: click.Context, option: click.Parameter, text: str) -> Address:
    server = address(ctx, option, text)
    if server.transport == "tcp" and not (server.name and server.port):
        raise click.BadParameter(f"expected a host and a port to connect to, got {text!r}")
    return server


@click.command(cls=options.RedactingCommand)
@listening
@click.option(
    "--connect",
    "connect_to",
    metavar="ADDRESS",
    required=True,
    callback=_server,
    help="Address of the daemon.",
)
@show_options
@live_figures("relay")
@exporting
@options.record
@click.pass_context
def relay(
    ctx: click.Context,
    listen_at: Address,
    connect_to: Address,
    mode: int,
    show: OutputOptions,
    export: AbstractContextManager[None],
    record: Path | None,
) -> None:
    """Forward everything between clients and a daemon unchanged, and show the messages.

    ADDRESS is tcp:HOST:PORT, tcp:[::1]:PORT, unix:PATH, or unix:@NAME for an abstract socket. Port 0 is any
    free port; tcp::PORT listens on loopback, tcp:0.0.0.0:PORT and tcp:[::]:PORT on all addresses of this
    host. A line on standard error reports when clients can connect. SIGINT (Ctrl-C), SIGTERM and SIGHUP end
    the relay after everything is shown; a second one ends it immediately.

    File descriptors are forwarded between unix sockets. The daemon sees the relay's user and process instead
    of the client's: anyone who can connect to the relay has its user's rights. Only you can connect to its
    unix socket (mode 600), unless --mode allows more; TCP and abstract sockets are open to every local user.
    The socket's file is removed at the end. Encrypted data (TLS, SASL security layers) is forwarded and not
    shown.

    Showing messages never slows a connection down: if it cannot keep up, messages are left out, and a line
    reports the number of bytes. They are missing in the recording of -w, too. Filters, -o and -w are those of
    decode.

    \b
    Examples:
      libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:/run/libvirt/libvirt-sock
      virsh -c 'qemu+unix:///system?socket=/tmp/relay.sock' list
      libvirt-proto relay --listen tcp:127.0.0.1:16510 --connect tcp:192.0.2.1:16509 --format monitor
      libvirt-proto relay --listen tcp:127.0.0.1:16510 --connect unix:/run/libvirt/libvirt-sock -w x.pcapng

    The exit status is 1 if anything was lost or malformed, or if a client could not be connected.
    """
    check_record(record, show.output)
    show = show.next_to(record)
    status = show.status(summary=True)
    status.source("relay")
    with export, recording(record, show.redact) as recorder, destination(show.output) as out, status:
        _serve(listen_at, connect_to, mode, _Decoder(show, status, recorder, out))
    ctx.exit(1 if status.problems else 0)


class _Decoder(Thread):
    """A thread that shows the items of its feed, until that is closed or the output has lost its reader."""

    def __init__(self, show: OutputOptions, status: Status, recorder: Recorder | None, out: BinaryIO) -> None:
        from ...capture.feed import Feed

        super().__init__(name="decoder", daemon=True)
        self.feed: Final = Feed()
        self.error: BaseException | None = None
        self.status: Final = status
        self._show, self._out = show, out
        # Loaded now: while Python loads a large module, no other thread runs.
        self._view = show.view()
        show.registry.programs()
        self._opened = live(
            "relay",
            self.feed.items(idle=out.flush),
            show.registry,
            status,
            filter=show.filter,
            flush=out.flush,
            recorder=recorder,
            redact=show.redact,
        )
        #: Called when an error ends it.
        self.failed: Callable[[], object] = lambda: None

    def run(self) -> None:
        """Decode and show."""
        try:
            with self._opened as capture:
                self._show.write(capture, self._out, self.status, view=self._view)
        except BaseException as error:
            self.error = error
            self.failed()

    def drain(self) -> bool:
        """Wait until everything is shown; return False if the reader has stalled, or a second signal
        arrives."""
        waiting = -1
        with suppress(KeyboardInterrupt):
            while self.is_alive() and waiting != self.feed.waiting:
                waiting = self.feed.waiting
                self.join(PATIENCE)
        return not self.is_alive()


def _serve(listen_at: Address, connect_to: Address, mode: int, decoder: _Decoder) -> None:
    """Relay until a signal arrives. Raises the error that ended the decoder."""
    import asyncio

    _allow_many_files()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with cannot_listen(listen_at, lambda: decoder.ident is not None):
        asyncio.run(_relay(listen_at, connect_to, mode, decoder))
    decoder.feed.close()
    if not decoder.drain():
        # The writing thread cannot be ended; only the process can.
        click.echo("relay: error: the reader of the output has stalled: not everything is shown", err=True)
        os._exit(1)
    decoder.status.dropped = decoder.feed.dropped
    if decoder.error is not None:
        raise decoder.error


async def _relay(listen_at: Address, connect_to: Address, mode: int, decoder: _Decoder) -> None:
    import asyncio

    from ...capture.relay import Relay

    loop = asyncio.get_running_loop()
    stop = stop_event()
    decoder.failed = lambda: _wake(loop, stop)

    def ready(address: Address) -> None:
        decoder.start()
        click.echo(printable(f"listening on {address}, connecting to {connect_to}"), err=True)

    await Relay(listen_at, connect_to, decoder.feed, mode).run(stop, ready)


def _wake(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


def _allow_many_files() -> None:
    """Raise the limit of open files: a connection needs two descriptors, and the default allows 500
    connections."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
