"""`libvirt-proto trace`: messages of running daemons and clients, from libvirt's static probes."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ...capture.stop import Stop
from .. import options
from ..exporting import exporting
from ..inputs import check_record, live, recording
from ..output import destination
from ..output_options import OutputOptions, live_figures
from ..output_options import show as show_options
from ..tracing import Tracing, begin, failing_in_words, tracing
from .trace_others import events, qemu_monitor

if TYPE_CHECKING:
    from ...capture.probes.plan import Sides


@click.group(
    cls=options.RedactingGroup, invoke_without_command=True, subcommand_metavar="[events|qemu-monitor]"
)
@tracing("rpc")
@click.option("--client-only", is_flag=True, help="Only the client side of connections.")
@click.option("--server-only", is_flag=True, help="Only the daemon side of connections.")
@show_options
@live_figures("trace")
@exporting
@options.record
@click.pass_context
def trace(
    ctx: click.Context,
    tracing: Tracing,
    client_only: bool,
    server_only: bool,
    show: OutputOptions,
    export: AbstractContextManager[None],
    record: Path | None,
) -> None:
    """Show the messages of running daemons and clients, as they send and receive them.

    The command reads libvirt's static probes, so unix sockets and TLS connections are shown in the clear. It
    requires root. "begin" on standard error means that the probes are set; SIGINT (Ctrl-C), SIGTERM and the
    end of --pid remove them. Processes that start later are covered if they load the same libvirt. A daemon
    and its client on one machine are two connections. Messages may contain secrets (--redact).

    \b
    Examples:
      libvirt-proto trace --comm virsh --exchanges -w virsh.pcapng
      libvirt-proto trace -w - | wireshark -k -i -
      libvirt-proto trace --server-only --metrics
      libvirt-proto trace --print-commands | less

    The commands below show libvirt's other probes. The exit status is 1 if events were lost, messages were
    malformed, or tracing is impossible.
    """
    from ...capture.probes import live as probes
    from ...capture.probes.rpc_events import RpcReader

    if ctx.invoked_subcommand is not None:
        _check_no_options(ctx, ctx.invoked_subcommand)
        return
    check_record(record, show.output)
    show = show.next_to(record)
    if client_only and server_only:
        raise click.UsageError(
            "--client-only and --server-only exclude each other; the default is both sides"
        )
    sides: Sides = "client" if client_only else "server" if server_only else "both"
    with failing_in_words(), tracing.probes() as found:
        if tracing.shows(found, show.color, sides, wide=show.wide):
            return
        status = show.status(summary=True)
        status.source("trace")
        wanted = probes.Selection(tracing.pids, tracing.comms, sides)
        stop = Stop()
        with (
            export,
            recording(record, show.redact, stop) as recorder,
            destination(show.output, stop) as out,
            status,
            tracing.armed(found, stop, [out, recorder.file] if recorder else [out], sides) as (source, wait),
            closing(probes.live(source, RpcReader, wanted, wait, out.flush, begin)) as items,
            live(
                "trace",
                items,
                show.registry,
                status,
                filter=show.filter,
                flush=out.flush,
                recorder=recorder,
                redact=show.redact,
            ) as capture,
        ):
            show.write(capture, out, status)
    ctx.exit(1 if status.problems else 0)


trace.add_command(events)
trace.add_command(qemu_monitor)


def _check_no_options(ctx: click.Context, word: str) -> None:
    """Raise click.UsageError for an option before the subcommand, which would be an option of `trace`."""
    for option in ctx.command.params:
        if ctx.get_parameter_source(option.name or "") == ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{option.opts[0]} is before {word}: write the options of {word} after it (libvirt-proto"
                f" trace {word} --help lists them)"
            )
