"""`libvirt-proto trace`: the messages of running daemons and clients, from libvirt's static probes."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

import click

from ..present.text import amount, printable
from . import options
from .inputs import check_record, messages, recording, stopped_by_signals
from .output import destination
from .show import Show
from .show import show as show_options

if TYPE_CHECKING:
    from ..capture.probes.events import Selection
    from ..capture.probes.loaded import Binary
    from ..capture.probes.plan import Plan, Probe
    from ..capture.record import Recorder
    from .status import Status

#: KiB of buffer for all CPUs together, and the least for each.
_BUFFERS: Final = 64 << 10
_LEAST: Final = 1 << 10
#: The columns of `--probes`.
_COLUMNS: Final = ("probe", "site", "semaphore", "payload", "arguments", "file")


@click.command()
@click.option(
    "--library",
    "libraries",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Use the probes in this file, instead of those in what running processes have loaded. May be"
    " repeated: authentication has its probes in the daemon's program.",
)
@click.option(
    "--pid",
    "pids",
    metavar="N",
    multiple=True,
    type=click.IntRange(1),
    help="Only what this process does. May be repeated.",
)
@click.option(
    "--comm",
    "comms",
    metavar="NAME",
    multiple=True,
    help="Only what processes of this name do (the first 15 characters, as ps -o comm shows them).",
)
@click.option("--client-only", "side", flag_value="client", help="Only clients' side of connections.")
@click.option("--server-only", "side", flag_value="server", help="Only daemons' side of connections.")
@click.option(
    "--buffer",
    metavar="KB",
    type=click.IntRange(64, 4 << 20),
    help="Memory for each CPU in which events wait to be read, in KiB. Default: 65536 divided by the number"
    " of CPUs, at least 1024.",
)
@click.option(
    "--print-commands",
    is_flag=True,
    help="Print what would be done, as commands for a shell, and do nothing.",
)
@click.option(
    "--probes", "list_probes", is_flag=True, help="List the probes that were found, and do nothing."
)
@show_options
@options.record
@click.pass_context
def trace(
    ctx: click.Context,
    libraries: tuple[str, ...],
    pids: tuple[int, ...],
    comms: tuple[str, ...],
    side: Literal["client", "server"] | None,
    buffer: int | None,
    print_commands: bool,
    list_probes: bool,
    show: Show,
    record: Path | None,
) -> None:
    """Show the messages of running daemons and clients, as they send and receive them.

    This reads libvirt's static probes through the kernel's tracefs: unix sockets and TLS connections are
    shown in the clear, nothing is restarted, and neither SystemTap nor a kernel module is needed. It needs
    root, and a libvirt that was built with probes (most are). "begin" on standard error says that the probes
    are armed; SIGINT (Ctrl-C) and SIGTERM end it and remove them.

    Probes are looked for in the libvirt.so.0 that running processes have loaded, and in their programs.
    Processes that start later are covered if they load one of the same files. A connection is named after
    the process that is seen at one of its ends: a daemon and its client on one machine are two connections.

    Of messages beyond 2,560 bytes the rest is missing; fields before are shown. With --client-only and
    --server-only, events that belong to no connection (TLS, sockets not yet in use) are left out. Filters,
    -o and -w are those of decode. -w and -o may hold secrets that no network ever sees.

    \b
    Examples:
      libvirt-proto trace
      libvirt-proto trace --server-only --format monitor
      libvirt-proto trace --comm virsh --exchanges -w virsh.pcapng
      libvirt-proto trace --probes --library /usr/lib/x86_64-linux-gnu/libvirt.so.0
      libvirt-proto trace --print-commands | less

    The exit status is 1 if events were lost, messages were malformed, or tracing is not possible here.
    """
    from ..capture.probes.errors import TraceError
    from ..capture.probes.events import Selection
    from ..capture.probes.plan import plan

    check_record(record, show.output)
    sides = side or "both"
    try:
        binaries = _binaries(libraries, pids, comms)
        found = _probes(binaries)
        if list_probes:
            _list(found, show.color)
            return
        buffer = buffer or max(_LEAST, _BUFFERS // (os.cpu_count() or 1))
        if print_commands:
            _print_commands(plan("libvirt_proto", found, buffer, sides, pids))
            return
        status = show.status(summary=True)
        status.source("trace")
        with recording(record) as recorder, destination(show.output) as out, status:
            _trace(found, buffer, Selection(pids, comms, sides), show, status, recorder, out)
    except TraceError as error:
        raise click.ClickException(printable(str(error))) from None
    ctx.exit(1 if status.problems else 0)


def _binaries(libraries: tuple[str, ...], pids: tuple[int, ...], comms: tuple[str, ...]) -> list[Binary]:
    """The files whose probes are used. Raises TraceError where there are none."""
    from ..capture.probes.errors import TraceError
    from ..capture.probes.loaded import loaded, named

    if libraries:
        return [named(path) for path in libraries]
    found = loaded(pids, comms)
    if found:
        return found
    whose = [*(f"process {pid}" for pid in pids), *(f"a process called {comm!r}" for comm in comms)]
    who = " or ".join(whose) if whose else "a running process"
    raise TraceError(
        f"no libvirt.so.0 with probes is loaded by {who}{'' if os.geteuid() == 0 else ' of yours'}:"
        " start the daemon or the client first, or name the file with --library PATH"
        " (ldconfig -p | grep libvirt.so.0)."
    )


def _probes(binaries: list[Binary]) -> list[Probe]:
    from ..capture.probes.errors import TraceError
    from ..capture.probes.plan import probes

    for binary in binaries:
        for problem in binary.notes.problems:
            click.echo(printable(f"trace: warning: {binary.name}: {problem}; it is left out"), err=True)
    found = probes(binaries)
    for probe in found:
        if probe.kind is not None and probe.problem:
            name, place = probe.site.name, f"{probe.site.offset:#x}"
            text = f"trace: warning: {probe.binary.name}: {name} at {place} is left out: {probe.problem}"
            click.echo(printable(text), err=True)
    if not any(probe.kind is not None and not probe.problem for probe in found):
        names = ", ".join(binary.name for binary in binaries)
        raise TraceError(
            f"{names}: no probe of libvirt's RPC is in there: it was built without them"
            " (-Ddtrace=disabled), or is not libvirt.so.0."
        )
    return found


def _list(found: list[Probe], color: str) -> None:
    """A table on a terminal; else the same columns separated by tabs, without a head."""
    from ..capture.probes.provider import PROBES

    rows: list[tuple[str, ...]] = []
    for probe in found:
        kind, site = probe.kind, probe.site
        names = [argument.name for argument in PROBES[kind]] if kind else [""] * len(probe.operands)
        values = [operand.place for operand in probe.operands]
        arguments = probe.problem or " ".join(
            f"{name}={value}" if name else value for name, value in zip(names, values, strict=True)
        )
        semaphore = "-" if site.semaphore is None else f"{site.semaphore:#x}"
        payload = ("yes" if probe.carries_bytes else "no") if kind and kind.partition("_msg_")[1] else "-"
        cells = (site.name, f"{site.offset:#x}", semaphore, payload, arguments, probe.binary.name)
        rows.append(tuple(map(printable, cells)))
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    colour = options.palette(color, sys.stdout)
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    head, *lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_COLUMNS, *rows)
    )
    click.echo(f"{colour.field}{head}{colour.off}", color=True)
    for line in lines:
        click.echo(line)


def _print_commands(commands: Plan) -> None:
    """The steps of a plan as a shell would take them, and how they are undone."""
    from ..capture.probes.tracefs import MOUNT_POINT, find

    root = find()
    lines = ["# Set the probes, as root:"]
    if root is None:
        root = MOUNT_POINT
        lines.append(f"mount -t tracefs tracefs {root}")
    lines.append(f"cd {shlex.quote(str(root))}")
    for step in commands.steps():
        path = shlex.quote(step.path)
        if step.text is None:
            lines.append(f"mkdir {path}")
        else:
            lines.append(f"printf '%s\\n' {shlex.quote(step.text)} {'>>' if step.append else '>'} {path}")
    instance = f"instances/{commands.group}"
    lines += ["", "# See what they report (Ctrl-C ends it):", f"cat {instance}/trace_pipe", ""]
    lines += ["# Remove them:", f"rmdir {instance}"]
    lines += [f"echo '-:{commands.group}/{event.name}' >> uprobe_events" for event in commands.events]
    for line in lines:
        click.echo(line if line.isprintable() else printable(line))


def _trace(
    found: list[Probe],
    buffer: int,
    wanted: Selection,
    show: Show,
    status: Status,
    recorder: Recorder | None,
    out: BinaryIO,
) -> None:
    """Trace until a signal comes. Raises TraceError."""
    from ..capture.probes import tracefs
    from ..capture.probes.errors import TraceError
    from ..capture.probes.events import live
    from ..capture.probes.plan import plan

    if os.geteuid() != 0:
        raise TraceError("only root may set probes: run this with sudo.")
    machine = platform.machine()
    for probe in found:
        if probe.binary.notes.machine != machine:
            other = probe.binary.notes.machine
            raise TraceError(f"{probe.binary.name} is for {other} processors, and this one is {machine}.")
    stop = _stop()
    root = tracefs.find()
    if root is None:
        root = tracefs.mount()
        click.echo(f"trace: mounted tracefs at {root}; it stays mounted", err=True)
    leftovers = tracefs.remove_leftovers(root)
    if leftovers:
        what = amount(len(leftovers), "trace")
        click.echo(f"trace: removed what {what} that did not end by themselves left behind", err=True)
    steps = plan(tracefs.own_group(), found, buffer, wanted.sides, wanted.pids)
    with (
        tracefs.armed(root, steps) as instance,
        closing(live(instance, steps, wanted, stop.wait, out.flush, _begin)) as items,
    ):
        shown = messages(items, show.registry, status, out.flush, recorder, live=True)
        show.write(shown, out, status)


def _begin() -> None:
    click.echo("begin", err=True)


def _stop() -> threading.Event:
    """An event that SIGINT, SIGTERM, and the end of the terminal set: probes must not outlive the trace."""
    stop = stopped_by_signals()
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else it was started with nohup
        signal.signal(signal.SIGHUP, lambda *_: stop.set())
    return stop
