"""Whose probes are traced, and how: the options that all kinds of traces share, and what comes before one."""

from __future__ import annotations

import os
import platform
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import click

from ..text import amount, printable
from . import options
from .inputs import stopped_by_signals
from .output import check_reader

if TYPE_CHECKING:
    from ..capture.probes.loaded import Binary
    from ..capture.probes.plan import Plan, Probe, Sides
    from ..capture.probes.provider import Subject
    from ..capture.stop import Stop

Command = TypeVar("Command", bound=Callable[..., Any])

#: KiB of buffer for all CPUs together, and the least for each.
_BUFFERS: Final = 64 << 10
_LEAST: Final = 1 << 10
#: The columns of `--probes`.
_COLUMNS: Final = ("probe", "site", "semaphore", "payload", "arguments", "file")

_LIBRARY: Final = "libvirt.so.0"
_DRIVER: Final = "libvirt_driver_qemu.so"


@dataclass(frozen=True, slots=True)
class Tracing:
    """What a user asked for. `buffer` is in KiB for each CPU."""

    subject: Subject
    libraries: tuple[str, ...]
    pids: tuple[int, ...]
    comms: tuple[str, ...]
    buffer: int
    print_commands: bool
    list_probes: bool

    def probes(self) -> list[Probe]:
        """The probes that there are; what cannot be used is said. Raises TraceError where none can be, or not
        by this user."""
        from ..capture.probes.errors import TraceError
        from ..capture.probes.plan import probes

        if os.geteuid() != 0 and not (self.list_probes or self.print_commands):
            raise TraceError("only root may set probes: run this with sudo.")
        binaries = self._binaries()
        for binary in binaries:
            for problem in binary.notes.problems:
                click.echo(printable(f"trace: warning: {binary.name}: {problem}; it is left out"), err=True)
        found = probes(binaries)
        wanted = [probe for probe in found if probe.subject == self.subject]
        for probe in wanted:
            if probe.problem:
                name, place = probe.site.name, f"{probe.site.offset:#x}"
                text = f"trace: warning: {probe.binary.name}: {name} at {place} is left out: {probe.problem}"
                click.echo(printable(text), err=True)
        if all(probe.problem for probe in wanted):
            what, library = {
                "rpc": ("RPC", _LIBRARY),
                "events": ("event loop", _LIBRARY),
                "qemu-monitor": ("QEMU monitor", _DRIVER),
            }[self.subject]
            names = ", ".join(binary.name for binary in binaries)
            if wanted:
                raise TraceError(f"{names}: none of the probes of libvirt's {what} can be used.")
            raise TraceError(
                f"{names}: no probe of libvirt's {what} is in there: it was built without them"
                f" (-Ddtrace=disabled), or is not {library}."
            )
        return found if self.subject == "rpc" else wanted

    def shows(self, found: list[Probe], color: str, sides: Sides = "both") -> bool:
        """Show what there is, or what would be done, if that is all that is asked for."""
        from ..capture.probes.plan import plan

        if self.list_probes:
            _list(found, color)
        elif self.print_commands:
            _print_commands(plan("libvirt_proto", found, self.buffer, self.subject, sides, self.pids))
        return self.list_probes or self.print_commands

    @contextmanager
    def armed(
        self, found: list[Probe], stop: Stop, out: BinaryIO, sides: Sides = "both"
    ) -> Iterator[tuple[Path, Plan, Callable[[float], bool]]]:
        """Sets the probes, and removes them: the instance's folder, the plan, and what waits for so many
        seconds and says whether `stop` is set; it raises BrokenPipeError when nobody reads `out` any
        more. Raises TraceError."""
        from ..capture.probes import tracefs
        from ..capture.probes.errors import TraceError
        from ..capture.probes.plan import plan

        machine = platform.machine()
        for probe in found:
            if probe.binary.notes.machine != machine:
                other = probe.binary.notes.machine
                raise TraceError(f"{probe.binary.name} is for {other} processors, and this one is {machine}.")
        root = tracefs.find()
        if root is None:
            root = tracefs.mount()
            click.echo(f"trace: mounted tracefs at {root}; it stays mounted", err=True)
        leftovers = tracefs.remove_leftovers(root)
        if leftovers:
            what = amount(len(leftovers), "killed trace")
            click.echo(f"trace: removed what {what} left behind", err=True)
        steps = plan(tracefs.own_group(), found, self.buffer, self.subject, sides, self.pids)

        def wait(seconds: float) -> bool:
            check_reader(out)
            return stop.wait(seconds)

        with tracefs.armed(root, steps) as instance:
            yield instance, steps, wait

    def _binaries(self) -> list[Binary]:
        """The files whose probes are used. Raises TraceError where there are none."""
        from ..capture.probes.errors import TraceError
        from ..capture.probes.loaded import loaded, named

        if self.libraries:
            return [named(path) for path in self.libraries]
        library = _DRIVER if self.subject == "qemu-monitor" else _LIBRARY
        found = loaded(library, self.pids, self.comms)
        if not found and not self.pids:
            # Those of a name may begin later, with what others have loaded.
            found = loaded(library)
        if found:
            return found
        whose = [
            *(f"process {pid}" for pid in self.pids),
            *(f"a process called {comm!r}" for comm in self.comms),
        ]
        who = " or ".join(whose) if whose else "a running process"
        if library == _DRIVER:
            hint = (
                "start libvirtd or virtqemud first, or name the file with --library PATH (it is in the folder"
                " libvirt/connection-driver)."
            )
        else:
            hint = (
                "start the daemon or the client first, or name the file with --library PATH"
                " (ldconfig -p | grep libvirt.so.0)."
            )
        yours = "" if os.geteuid() == 0 else " of yours"
        raise TraceError(f"no {library} with probes is loaded by {who}{yours}: {hint}")


def tracing(subject: Subject) -> Callable[[Command], Command]:
    """The options of all traces, as parameter `tracing`."""

    def decorate(command: Command) -> Command:
        @click.option(
            "--library",
            "libraries",
            metavar="PATH",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False),
            help="Use the probes in this file, instead of those in what running processes have loaded. May be"
            " repeated.",
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
            help="Only what processes of this name do (the first 15 characters, as ps -o comm shows them),"
            " also those that start later. May be repeated.",
        )
        @click.option(
            "--buffer",
            metavar="KB",
            type=click.IntRange(64, 4 << 20),
            help="Memory for each CPU in which events wait to be read, in KiB. Default: 65536 divided by the"
            " number of CPUs, at least 1024.",
        )
        @click.option(
            "--print-commands",
            is_flag=True,
            help="Print what would be done, as commands for a shell, and do nothing.",
        )
        @click.option(
            "--probes", "list_probes", is_flag=True, help="List the probes that were found, and do nothing."
        )
        @wraps(command)
        def with_tracing(
            *args: Any,
            libraries: tuple[str, ...],
            pids: tuple[int, ...],
            comms: tuple[str, ...],
            buffer: int | None,
            print_commands: bool,
            list_probes: bool,
            **rest: Any,
        ) -> Any:
            size = buffer or max(_LEAST, _BUFFERS // (os.cpu_count() or 1))
            asked = Tracing(subject, libraries, pids, comms, size, print_commands, list_probes)
            return command(*args, tracing=asked, **rest)

        return with_tracing  # type: ignore[return-value]

    return decorate


@contextmanager
def failing_in_words() -> Iterator[None]:
    """What keeps a trace from beginning is an error of the command's."""
    from ..capture.probes.errors import TraceError

    try:
        yield
    except TraceError as error:
        raise click.ClickException(printable(str(error))) from None


def begin() -> None:
    """Say that the probes are armed."""
    click.echo("begin", err=True)


def stopped() -> Stop:
    """What SIGINT, SIGTERM, and the end of the terminal set: probes must not outlive the trace."""
    stop = stopped_by_signals()
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # else it was started with nohup
        signal.signal(signal.SIGHUP, lambda *_: stop.set())
    return stop


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
