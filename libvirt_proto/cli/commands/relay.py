"""`libvirt-proto relay`: stands between clients and a daemon, and shows their messages."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from ...text import printable
from .. import options
from ..inputs import check_record, counted, recording, reporting
from ..output import destination
from ..output_options import Show, live_figures
from ..output_options import show as show_options

if TYPE_CHECKING:
    import asyncio

    from ...capture.address import Address
    from ...capture.pcap.recorder import Recorder
    from ..status import Status

#: How long the decoder may make no progress at the end, in seconds: its output is taken by nobody.
PATIENCE: Final = 5.0
#: Python lets a thread that decodes hold up the others for this long, in seconds (its default is ten times
#: as much).
_SWITCH_INTERVAL: Final = 0.0005


def _address(_ctx: click.Context, option: click.Parameter, text: str) -> Address:
    from ...capture.address import AddressError, parse

    try:
        address = parse(text)
    except AddressError as error:
        raise click.BadParameter(str(error)) from None
    if option.name == "connect_to" and address.transport == "tcp" and not (address.name and address.port):
        raise click.BadParameter(f"{text!r} needs a host and a port to connect to.")
    return address


def _mode(_ctx: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """An octal mode, as chmod(1) has it."""
    if text is None:
        return None
    if not re.fullmatch("[0-7]{3,4}", text) or int(text, 8) > 0o777:
        raise click.BadParameter(f"expected an octal mode such as 660, got {text!r}.")
    return int(text, 8)


@click.command(cls=options.RedactingCommand)
@click.option(
    "--listen",
    "listen_at",
    metavar="ADDRESS",
    required=True,
    callback=_address,
    help="Where clients connect.",
)
@click.option(
    "--connect",
    "connect_to",
    metavar="ADDRESS",
    required=True,
    callback=_address,
    help="Where the daemon is.",
)
@click.option(
    "--mode",
    metavar="OCTAL",
    callback=_mode,
    help="Who can connect to the unix socket of --listen, as chmod takes it: 660 for its group, 666 for"
    " everybody on this machine. Default: 600, only you (and root).",
)
@show_options
@live_figures("relay")
@options.record
@click.pass_context
def relay(
    ctx: click.Context,
    listen_at: Address,
    connect_to: Address,
    mode: int | None,
    show: Show,
    record: Path | None,
) -> None:
    """Stand between clients and a daemon: pass everything on unchanged, and show the messages.

    ADDRESS is tcp:HOST:PORT, tcp:[::1]:PORT, unix:PATH, or unix:@NAME for an abstract socket. Port 0 is any
    free port; tcp::PORT listens on loopback, tcp:0.0.0.0:PORT and tcp:[::]:PORT on all addresses of this
    host. A line on standard error reports when clients can connect. SIGINT (Ctrl-C), SIGTERM and SIGHUP end
    it, as soon as all is shown; a second one at once.

    File descriptors pass from unix socket to unix socket. The daemon sees the relay's user and process
    instead of the client's: whoever can connect to the relay has its user's rights. Only you can connect to
    its unix socket (mode 600), unless --mode allows more; TCP and abstract sockets are open to every local
    user. The socket's file is removed at the end. What is encrypted (TLS, SASL's security layers) passes
    through and is not shown.

    Showing never slows a connection down: where it cannot keep up, messages are left out, and a line says how
    many bytes. They are missing in what -w records, too. Filters, -o and -w are those of decode.

    \b
    Examples:
      libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:/run/libvirt/libvirt-sock
      virsh -c 'qemu+unix:///system?socket=/tmp/relay.sock' list
      libvirt-proto relay --listen tcp:127.0.0.1:16510 --connect tcp:192.0.2.1:16509 --format monitor
      libvirt-proto relay --listen tcp:127.0.0.1:16510 --connect unix:/run/libvirt/libvirt-sock -w x.pcapng

    The exit status is 1 if something was lost or malformed, or if a client could not be connected.
    """
    check_record(record, show.output)
    if mode is not None and (listen_at.transport != "unix" or listen_at.name.startswith("@")):
        raise click.UsageError("--mode is for the file of a unix socket (--listen unix:PATH).")
    status = show.status(summary=True)
    status.source("relay")
    with recording(record, show.redact) as recorder, destination(show.output) as out, status:
        _serve(listen_at, connect_to, mode, _Decoder(show, status, recorder, out))
    ctx.exit(1 if status.problems else 0)


class _Decoder(Thread):
    """Shows what is in its feed, until that is closed or nobody takes the output."""

    def __init__(self, show: Show, status: Status, recorder: Recorder | None, out: BinaryIO) -> None:
        from ...api.capture import live_capture
        from ...capture.feed import Feed

        super().__init__(name="decoder", daemon=True)
        self.feed: Final = Feed()
        self.error: BaseException | None = None
        self.status: Final = status
        self._show, self._out = show, out
        # Loaded now: while Python loads a large module, no other thread runs.
        self._view = show.view()
        show.registry.programs()
        self._capture = live_capture(
            "relay",
            self.feed.items(idle=out.flush),
            show.registry,
            filter=show.filter,
            redact=show.redact,
            on_notice=reporting(status, out.flush),
            recorder=recorder,
        )
        #: Called when it ends because of an error.
        self.failed: Callable[[], object] = lambda: None

    def run(self) -> None:
        """Decode and show."""
        try:
            with counted(self._capture, self.status):
                self._show.write(self._capture, self._out, self.status, view=self._view)
        except BaseException as error:
            self.error = error
            self.failed()

    def drain(self) -> bool:
        """Wait until all is shown; False if nobody takes it, or wants to wait for it."""
        waiting = -1
        with suppress(KeyboardInterrupt):
            while self.is_alive() and waiting != self.feed.waiting:
                waiting = self.feed.waiting
                self.join(PATIENCE)
        return not self.is_alive()


def _serve(listen_at: Address, connect_to: Address, mode: int | None, decoder: _Decoder) -> None:
    """Relay until a signal comes. Raises what ended the decoder."""
    import asyncio

    from ...capture.address import AddressError

    _allow_many_files()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        asyncio.run(_relay(listen_at, connect_to, mode, decoder))
    except AddressError as error:
        raise click.UsageError(f"--listen: {error}") from None
    decoder.feed.close()
    if not decoder.drain():
        # The thread that writes cannot be ended; only the process can.
        click.echo("relay: error: nobody takes the output: not everything is shown", err=True)
        os._exit(1)
    decoder.status.dropped = decoder.feed.dropped
    if decoder.error is not None:
        raise decoder.error


async def _relay(listen_at: Address, connect_to: Address, mode: int | None, decoder: _Decoder) -> None:
    import asyncio

    from ...capture.address import PRIVATE
    from ...capture.relay import Relay

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A background job of a shell has SIGINT ignored; who sends it all the same means it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    decoder.failed = lambda: _wake(loop, stop)

    def ready(address: Address) -> None:
        decoder.start()
        click.echo(printable(f"listening on {address}, connecting to {connect_to}"), err=True)

    try:
        relay = Relay(listen_at, connect_to, decoder.feed, PRIVATE if mode is None else mode)
        await relay.run(stop, ready)
    except OSError as error:
        if decoder.ident is not None:  # it could listen
            raise
        raise click.ClickException(
            printable(f"cannot listen on {listen_at}: {error.strerror or error}.")
        ) from None


def _wake(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(stop.set)


def _allow_many_files() -> None:
    """A connection takes two descriptors; by default the system's limit is for 500 of them."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
