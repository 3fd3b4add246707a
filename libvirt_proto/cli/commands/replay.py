"""`libvirt-proto replay`: a server that answers as recorded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ...text import amount, printable
from .. import options
from ..inputs import Inputs, input_format, keylog, port
from ..listening import cannot_listen, listening
from ..signals import stop_event
from ..status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...capture.address import Address
    from ...capture.detect import FileFormat
    from ...registry import Registry
    from ...server.answers import Order
    from ...server.recording import Recording
    from ...server.replay import Server


@click.command()
@click.argument("capture", metavar="CAPTURE", type=click.Path())
@listening
@click.option(
    "--order",
    type=click.Choice(["any", "recorded"]),
    default="any",
    show_default=True,
    help="any: equal calls get the recorded answers one after the other, then the last one again. recorded:"
    " a connection must make the calls of the next recorded connection, in their order.",
)
@click.option(
    "--timing",
    is_flag=True,
    help="Keep the recorded time from call to reply, and between events and messages of streams. Default:"
    " send at once.",
)
@port
@keylog
@input_format
@options.definitions
@options.colour
@click.pass_context
def replay(
    ctx: click.Context,
    capture: str,
    listen_at: Address,
    mode: int,
    order: Order,
    timing: bool,
    ports: tuple[int, ...],
    keylog: str | None,
    input_format: FileFormat | None,
    registry: Registry,
    color: str,
) -> None:
    """Serve clients with the answers of a capture, without a daemon. CAPTURE is any input of decode with
    payloads: a packet capture, the recording of a trace or a relay (-w), strace output.

    A call with the procedure and the arguments of a recorded one gets its reply, the messages of its stream,
    and the events that followed the reply. Any other call gets VIR_ERR_RPC, which names the procedure. Calls
    with which libvirt's client begins and ends a connection are answered even if they were not recorded.
    Authentication is never required, whatever was recorded. Replies with file descriptors cannot be replayed;
    their calls get an error, too.

    ADDRESS is tcp:HOST:PORT, tcp:[::1]:PORT, unix:PATH, or unix:@NAME for an abstract socket. Port 0 is any
    free port; tcp::PORT listens on loopback. A line on standard error reports when clients can connect.
    SIGINT (Ctrl-C), SIGTERM and SIGHUP end the server. Only you can connect to its unix socket (mode 600),
    unless --mode allows more; TCP and abstract sockets are open to every local user, who can then read what
    was recorded.

    \b
    Examples:
      libvirt-proto replay virsh.pcapng --listen tcp:127.0.0.1:16510
      virsh -c test+tcp://127.0.0.1:16510/default list --all
      libvirt-proto replay virsh.pcapng --listen unix:/tmp/replay.sock --order recorded --timing
      virsh -c 'qemu+unix:///system?socket=/tmp/replay.sock' list

    The exit status is 1 if there were calls without a recorded answer; a line at the end lists them.
    """
    from ...server.answers import Recorded
    from ...server.replay import Server

    recording = _read(Inputs((capture,), ports, None, None, keylog, input_format), registry, color)
    answers = Recorded(recording, registry, order)
    server = Server(answers, timing=timing, max_frame=recording.longest, report=_warn)
    _serve(server, listen_at, mode, f"replaying {amount(recording.calls, 'call')} of {capture}")
    if answers.unrecorded:
        _summarise(answers.unrecorded)
    ctx.exit(1 if answers.unrecorded else 0)


def _read(inputs: Inputs, registry: Registry, color: str) -> Recording:
    """Read the capture, and report what cannot be replayed."""
    from ...server.recording import RecordingError, record

    inputs.check(None)
    [file] = inputs.files
    status = Status(options.palette(color, sys.stderr), bar=False, summary=False)
    try:
        with inputs.open(file, registry, status) as opened:
            recording = record(opened)
    except RecordingError as error:
        raise click.ClickException(printable(str(error))) from None
    for reason, count in recording.left_out.items():
        _warn(f"not replayed: {reason} ({count:,})")
    return recording


def _serve(server: Server, listen_at: Address, mode: int, what: str) -> None:
    """Serve until a signal arrives."""
    import asyncio

    listens = False

    def ready(address: Address) -> None:
        nonlocal listens
        listens = True
        click.echo(printable(f"listening on {address}, {what}"), err=True)

    async def run() -> None:
        await server.run(listen_at, stop_event(), ready, mode)

    with cannot_listen(listen_at, lambda: listens):
        asyncio.run(run())


def _warn(text: str) -> None:
    click.echo(printable(f"replay: warning: {text}"), err=True)


def _summarise(unrecorded: Mapping[str, int]) -> None:
    """List the calls without an answer."""
    total = amount(sum(unrecorded.values()), "call")
    names = ", ".join(f"{name} ({count:,})" for name, count in sorted(unrecorded.items()))
    click.echo(printable(f"replay: error: {total} without a recorded answer: {names}"), err=True)
