"""Selection of probes: the options shared by all kinds of traces, and the steps before one."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, TypeVar, get_args

import click

from ..rpc.wire import MAX_FRAME, MIN_FRAME
from ..text import amount, printable
from . import options, trace_shell
from .output import check_reader
from .signals import stopping

if TYPE_CHECKING:
    from ..capture.probes.live import Source
    from ..capture.probes.loaded import Binary
    from ..capture.probes.plan import Probe, Sides, UprobeEvent
    from ..capture.probes.provider import Subject
    from ..capture.probes.tracefs import Rejection
    from ..capture.stop import Stop

Command = TypeVar("Command", bound=Callable[..., Any])

#: The ways of setting probes.
Method = Literal["auto", "bpf", "tracefs"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

#: Total buffer size for all CPUs in KiB, and the minimum for each.
_BUFFERS: Final = 64 << 10
_LEAST: Final = 1 << 10
#: Maximum number of warnings about a file, and of characters of one.
_WARNINGS: Final = 5
_WARNING_SIZE: Final = 1000
#: The columns of `--probes`, and the order in which a narrow terminal lacks them (None: never).
_COLUMNS: Final = {"probe": None, "site": None, "semaphore": 1, "payload": 2, "arguments": None, "file": None}

_LIBRARY: Final = "libvirt.so.0"
_DRIVER: Final = "libvirt_driver_qemu.so"


@dataclass(frozen=True, slots=True)
class Tracing:
    """The options of a trace. `buffer` is in KiB per CPU, `limit` the maximum number of bytes of a message
    (None: the default of the method)."""

    subject: Subject
    libraries: tuple[str, ...]
    pids: tuple[int, ...]
    comms: tuple[str, ...]
    buffer: int
    print_commands: bool
    list_probes: bool
    method: Method
    limit: int | None

    @contextmanager
    def probes(self) -> Iterator[list[Probe]]:
        """Yield the available probes, in files that stay open meanwhile, and warn of unusable ones. Raises
        TraceError if none can be used, or not by this user."""
        from ..capture.probes.errors import TraceError
        from ..capture.probes.plan import probes

        if os.geteuid() != 0 and not (self.list_probes or self.print_commands):
            raise TraceError("setting probes requires root: run this command with sudo")
        with ExitStack() as files:
            binaries = self._binaries(files)
            for binary in binaries:
                _warn(binary.name, [f"{problem}; it is skipped" for problem in binary.notes.problems])
            found = probes(binaries)
            wanted = [probe for probe in found if probe.subject == self.subject]
            for binary in binaries:
                problems = [
                    f"{probe.site.name} at {probe.site.offset:#x} is skipped: {probe.problem}"
                    for probe in wanted
                    if probe.problem and probe.binary is binary
                ]
                _warn(binary.name, problems)
            if all(probe.problem for probe in wanted):
                what, library = {
                    "rpc": ("RPC", _LIBRARY),
                    "events": ("event loop", _LIBRARY),
                    "qemu-monitor": ("QEMU monitor", _DRIVER),
                }[self.subject]
                names = ", ".join(binary.name for binary in binaries[:_WARNINGS])
                if len(binaries) > _WARNINGS:
                    names += f" and {len(binaries) - _WARNINGS} more"
                if wanted:
                    raise TraceError(f"{names}: no usable {what} probes")
                raise TraceError(
                    f"{names}: no {what} probes found: it was built without them"
                    f" (-Ddtrace=disabled), or"
                    f" is not {library}"
                )
            yield found if self.subject == "rpc" else wanted

    def shows(self, found: list[Probe], color: str, sides: Sides = "both", *, wide: bool = False) -> bool:
        """Print the probes or the commands, if the user asked only for those; return whether they did."""
        from ..capture.probes.plan import plan

        if self.list_probes:
            _list(found, color, options.width(fit=not wide))
        elif self.print_commands:
            limit = self._windows_limit()
            steps = plan("libvirt_proto", found, self.buffer, self.subject, sides, self.pids, limit)
            click.echo("\n".join(trace_shell.commands(steps)))
        return self.list_probes or self.print_commands

    @contextmanager
    def armed(
        self, found: list[Probe], stop: Stop, outs: Sequence[BinaryIO], sides: Sides = "both"
    ) -> Iterator[tuple[Source, Callable[[float], bool]]]:
        """Set the probes, and remove them at the end. Yields the source of their records, and a function that
        waits for some seconds and returns whether `stop` is set; it raises BrokenPipeError if one of `outs`
        has lost its reader. Raises TraceError."""
        from ..capture.probes import tracefs
        from ..capture.probes.bpf import BpfError

        found = _of_this_machine(found)
        tracefs.check_pid_namespace()
        root = tracefs.find()
        leftovers = [] if root is None else tracefs.remove_leftovers(root)
        if leftovers:
            what = amount(len(leftovers), "killed trace")
            click.echo(f"trace: removed what {what} left behind", err=True)

        def wait(seconds: float) -> bool:
            for out in outs:
                check_reader(out)
            return stop.wait(seconds)

        with stopping(stop), ExitStack() as armed:
            source = None
            if self.method != "tracefs":
                try:
                    source = self._arm_bpf(armed, found, sides)
                except BpfError:
                    if self.method == "bpf":
                        raise
            yield source or self._arm_tracefs(armed, found, sides), wait

    def _windows_limit(self) -> int:
        """Return the maximum number of bytes of a message with tracefs. Raises TraceError."""
        from ..capture.probes.errors import TraceError
        from ..capture.probes.plan import MAX_WINDOWS, WINDOW

        limit = self.limit or WINDOW
        if limit > MAX_WINDOWS:
            raise TraceError(
                f"--max-message {limit}: the maximum with tracefs is {MAX_WINDOWS}; doctor shows why the"
                " kernel does not run BPF programs"
            )
        return limit

    def _arm_bpf(self, armed: ExitStack, found: list[Probe], sides: Sides) -> Source:
        from ..capture.probes import bpf

        limit = self.limit or bpf.LIMIT
        plan = bpf.plan(found, self.buffer, self.subject, sides, self.pids, limit)
        source, rejected = armed.enter_context(bpf.armed(plan))
        report(found, [binary for binary, _ in plan.files])
        for binary, events in plan.files:
            _warn_of_rejected(binary, [event for _, event in events], rejected)
        return source

    def _arm_tracefs(self, armed: ExitStack, found: list[Probe], sides: Sides) -> Source:
        from ..capture.probes import tracefs
        from ..capture.probes.plan import plan

        limit = self._windows_limit()
        root = tracefs.find()
        if root is None:
            root = tracefs.mount()
            click.echo(f"trace: mounted tracefs at {root}; it stays mounted", err=True)
        group = tracefs.own_group()
        steps = plan(group, found, self.buffer, self.subject, sides, self.pids, limit)
        report(found, [binary for binary, _ in steps.files])
        source, rejected = armed.enter_context(tracefs.armed(root, steps))
        for binary, events in steps.files:
            _warn_of_rejected(binary, events, rejected)
        return source

    def _binaries(self, files: ExitStack) -> list[Binary]:
        """Return the files whose probes are used; `files` closes them. Raises TraceError if there are
        none."""
        from ..capture.probes.errors import TraceError
        from ..capture.probes.loaded import loaded, named

        if self.libraries:
            return named(files, self.libraries)
        library = _DRIVER if self.subject == "qemu-monitor" else _LIBRARY
        found = loaded(files, library, self.pids, self.comms)
        if not found.binaries and not self.pids:
            # Processes of that name may start later, with a library that others have loaded.
            found = loaded(files, library)
        _warn("left out", found.problems)
        if found.binaries:
            return found.binaries
        whose = [
            *(f"process {pid}" for pid in self.pids),
            *(f"a process called {comm!r}" for comm in self.comms),
        ]
        who = " or ".join(whose) if whose else "a running process"
        if library == _DRIVER:
            hint = (
                "start libvirtd or virtqemud first, or name the file with --library PATH (in the folder"
                " libvirt/connection-driver)."
            )
        else:
            hint = (
                "start the daemon or the client first, or name the file with --library PATH"
                " (ldconfig -p | grep libvirt.so.0)."
            )
        yours = "" if os.geteuid() == 0 else " of yours"
        raise TraceError(f"no {library} with probes is loaded by {who}{yours}: {hint}")


_max_message = click.option(
    "--max-message",
    "limit",
    metavar="N",
    type=click.IntRange(MIN_FRAME, MAX_FRAME),
    help="Truncate messages after N bytes. Default: 65536; 2560 with tracefs.",
)


def tracing(subject: Subject) -> Callable[[Command], Command]:
    """Add the options of all traces, as parameter `tracing`."""

    def decorate(command: Command) -> Command:
        @click.option(
            "--library",
            "libraries",
            metavar="PATH",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False),
            help="Use the probes in this file. Repeatable.",
        )
        @click.option(
            "--pid",
            "pids",
            metavar="N",
            multiple=True,
            type=click.IntRange(1),
            help="Trace only this process. Repeatable.",
        )
        @click.option(
            "--comm",
            "comms",
            metavar="NAME",
            multiple=True,
            help="Trace only processes of this name (ps -o comm), also later ones. Repeatable.",
        )
        @click.option(
            "--buffer",
            metavar="KB",
            type=click.IntRange(64, 4 << 20),
            help="Buffer size per CPU in KiB. Default: 64 MiB for all.",
        )
        @click.option(
            "--method",
            metavar="HOW",
            type=click.Choice(METHODS),
            default="auto",
            help="bpf (whole messages), tracefs (their beginnings), or auto (the default): bpf if possible.",
        )
        @click.option(
            "--print-commands",
            is_flag=True,
            help="Print the steps for tracefs as shell commands, and exit.",
        )
        @click.option("--probes", "list_probes", is_flag=True, help="List the probes, and exit.")
        @wraps(command)
        def with_tracing(
            *args: Any,
            libraries: tuple[str, ...],
            pids: tuple[int, ...],
            comms: tuple[str, ...],
            buffer: int | None,
            print_commands: bool,
            list_probes: bool,
            method: Method,
            limit: int | None = None,
            **rest: Any,
        ) -> Any:
            names = tuple(map(comparable, comms))
            size = buffer or buffer_size()
            asked = Tracing(subject, libraries, pids, names, size, print_commands, list_probes, method, limit)
            return command(*args, tracing=asked, **rest)

        if subject == "rpc":
            return _max_message(with_tracing)  # type: ignore[return-value]
        return with_tracing  # type: ignore[return-value]

    return decorate


def buffer_size() -> int:
    """Return the default size of a CPU's buffer, in KiB."""
    return max(_LEAST, _BUFFERS // (os.cpu_count() or 1))


def comparable(name: str) -> str:
    """Return the name of a process in the form in which names are compared: they may be any bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextmanager
def failing_in_words() -> Iterator[None]:
    """Turn TraceError into an error of the command."""
    from ..capture.probes.errors import TraceError

    try:
        yield
    except TraceError as error:
        raise click.ClickException(printable(str(error))) from None


def begin() -> None:
    """Report that the probes are armed."""
    click.echo("begin", err=True)


def _of_this_machine(found: list[Probe]) -> list[Probe]:
    """Return the probes for this machine's processor; warn of others. Raises TraceError if none is left."""
    from ..capture.probes.errors import TraceError

    machine = platform.machine()
    others = {probe.binary: probe.binary.notes.machine for probe in found}
    problems = {
        binary: f"is for {other} processors, but this machine is {machine}"
        for binary, other in others.items()
        if other != machine
    }
    if found and len(problems) == len(others):
        raise TraceError("; ".join(f"{binary.name} {problem}" for binary, problem in problems.items()))
    for binary, problem in problems.items():
        _warn(binary.name, [f"it {problem}; it is skipped"])
    return [probe for probe in found if probe.binary not in problems]


def _warn(subject: str, problems: Sequence[str]) -> None:
    """Warn of the first problems and of the number of others: files of other users may have any number."""
    for problem in problems[:_WARNINGS]:
        text = printable(f"trace: warning: {subject}: {problem}")
        click.echo(text if len(text) <= _WARNING_SIZE else text[:_WARNING_SIZE] + "…", err=True)
    if len(problems) > _WARNINGS:
        more = len(problems) - _WARNINGS
        click.echo(printable(f"trace: warning: {subject}: {more:,} more are skipped"), err=True)


def _warn_of_rejected(binary: Binary, events: Iterable[UprobeEvent], rejected: Iterable[Rejection]) -> None:
    own = set(events)
    reasons = [
        f"{event.kind} at {event.definition.split()[0]} is skipped: the kernel rejects it ({reason})"
        for event, reason in rejected
        if event in own
    ]
    _warn(binary.name, reasons)


def report(found: Sequence[Probe], binaries: Sequence[Binary]) -> None:
    """Report which declarations apply to which files. A file without a version is reported only if arguments
    of its probes are unknown."""
    choices = {probe.binary: probe.choice for probe in found}
    incomplete = {probe.binary for probe in found if None in probe.arguments}
    names: dict[str, list[str]] = {}
    for binary in binaries:
        choice = choices[binary]
        if binary in incomplete or (choice and choice.version):
            names.setdefault(str(choice), []).append(binary.name)
    for sentence, files in list(names.items())[:_WARNINGS]:
        more = [f"{len(files) - _WARNINGS} more"] if len(files) > _WARNINGS else []
        click.echo(printable(f"trace: {sentence} ({', '.join(files[:_WARNINGS] + more)})"), err=True)


def _list(found: list[Probe], color: str, width: int) -> None:
    """Print a table on a terminal, otherwise the same columns separated by tabs, without a header."""
    from ..presenters import table

    rows: list[tuple[str, ...]] = []
    for probe in found:
        kind, site = probe.kind, probe.site
        known = probe.arguments or [None] * len(probe.operands)
        names = [argument.name if argument else "" for argument in known]
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
    columns = [
        table.Column(name, cells, drop, right=False, cut=name in ("arguments", "file"))
        for (name, drop), cells in zip(_COLUMNS.items(), zip(*rows, strict=True), strict=True)
    ]
    for line in table.lines(columns, width, options.palette(color, sys.stdout)):
        click.echo(line, color=True)
