"""The events of a trace, and the tracefs writes that set them, as values that can be shown or executed.

Each place of a probe is an event. In tracefs, message probes have several, separated by the kernel's filter:
one with the first bytes of short messages, and one for each window of long messages; most messages are short,
so the buffer holds many more of them. The kernel reads the bytes of each event before its filter, so each
window costs time at every message. The bytes are read through the length argument, which is the member of
virNetMessage right after the pointer to the buffer.

Monitor lines are read as words, too: the kernel returns nothing for a string of 4,096 bytes or more, and an
event that a shorter one makes too long is lost without being counted (observed with Linux 6.18). Source:
virnetmessage.h, the kernel's uprobetracer document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from ...codec.providers import Choice
from ..objects import MESSAGES
from .chosen import chosen
from .loaded import Binary, threads
from .notes import Site
from .operands import Operand, OperandError, operands
from .provider import KINDS, PROBES, PROVIDER, Argument, Subject, known_arguments

#: 64-bit words of an array, which has a maximum of 64 elements, and of an event of tracefs, which has a
#: maximum of 3,072 bytes of arguments: short messages, windows of long ones, and monitor lines.
_ARRAY: Final = 64
_SHORT: Final = 32
_WINDOW: Final = 5 * _ARRAY
LINE: Final = (*(_ARRAY,) * 5, 58)
#: Maximum number of bytes of a monitor line with its end, without tracefs.
LINE_LIMIT: Final = 1 << 16
#: Bytes of a message in a window of tracefs, and the maximum of bytes in all of them.
WINDOW: Final = 8 * _WINDOW
MAX_WINDOWS: Final = 26 * WINDOW

#: Maximum number of places used per subject, in one file and in all files. A libvirt has about 40; removing
#: an event takes the kernel about 40 ms, and it has numbers for 65,535.
MAX_PLACES: Final = 128
MAX_ALL_PLACES: Final = 512

#: Events that report the process of a thread, and when it ends or runs another program. Fields: the kernel's
#: events/task, events/sched.
TASK_EVENTS: Final = (
    "task/task_newtask",
    "task/task_rename",
    "sched/sched_process_exec",
    "sched/sched_process_exit",
)

Sides = Literal["client", "server", "both"]


class UprobeEvent(NamedTuple):
    """A uprobe event. `definition` follows the path of its file (`0x1f0(0x3028) sock=%ax:u64`), `filter` is
    the kernel's. `binary` is the file's name in messages; `arrays` is the number of fields (p0, p1, …) with
    bytes of the message or line. `known` are the known arguments of the probe, None for those of the newest
    release. The bytes of a message begin at `window`; `limit` is the maximum number of bytes in all windows,
    whose events have the same `site`."""

    kind: str
    name: str
    definition: str
    filter: str
    binary: str
    arrays: int = 0
    known: tuple[Argument, ...] | None = None
    window: int = 0
    limit: int = 0
    site: int = 0

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The known arguments of the probe."""
        return PROBES[self.kind] if self.known is None else self.known


class Step(NamedTuple):
    """Create the folder `path`, or write to that file, or append to it."""

    path: str
    text: str | None
    append: bool = False


class Probe(NamedTuple):
    """A place of a probe, with the operands of its arguments and the arguments, None for each unknown one; or
    the problem that makes it unusable. `choice` has the declarations that apply to its file."""

    binary: Binary
    site: Site
    operands: tuple[Operand, ...]
    problem: str = ""
    arguments: tuple[Argument | None, ...] = ()
    choice: Choice | None = None

    @property
    def subject(self) -> Subject | None:
        """The subject of its events, None for a probe that is not traced."""
        return KINDS.get(self.site.name, (None, None))[0]

    @property
    def kind(self) -> str | None:
        """The kind of its events, None for a probe that is not traced."""
        return KINDS.get(self.site.name, (None, None))[1]

    @property
    def place(self) -> str:
        """Its offset in the file, and that of its semaphore: `0x1f0(0x3028)`."""
        semaphore = "" if self.site.semaphore is None else f"({self.site.semaphore:#x})"
        return f"{self.site.offset:#x}{semaphore}"

    @property
    def known(self) -> list[tuple[Argument, Operand]]:
        """The known arguments with their operands."""
        pairs = zip(self.arguments, self.operands, strict=True)
        return [(argument, operand) for argument, operand in pairs if argument]

    @property
    def line(self) -> Operand | None:
        """The operand of the line of the monitor, if it can be read."""
        lines = (operand for argument, operand in self.known if argument.meaning == "line")
        return next((operand for operand in lines if operand.register is not None), None)

    @property
    def carries_bytes(self) -> bool:
        """True if the bytes of a message can be read."""
        return self.kind in MESSAGES and not self.problem and self.operands[1].displacement is not None


def probes(binaries: Sequence[Binary]) -> list[Probe]:
    """Return all libvirt probes in the files. Those beyond MAX_PLACES and MAX_ALL_PLACES have a problem."""
    choices = chosen(binaries)
    used: Counter[tuple[Subject, Binary | None]] = Counter()
    return [
        _limited(_probe(binary, site, choices[binary])._replace(choice=choices[binary]), used)
        for binary in binaries
        for site in binary.notes.sites
        if site.provider == PROVIDER
    ]


def _probe(binary: Binary, site: Site, choice: Choice) -> Probe:
    if max(site.offset, site.semaphore or 0) >= binary.size:
        return Probe(binary, site, (), "its offsets are beyond the end of the file")
    try:
        found = operands(site.arguments, binary.notes.machine)
    except OperandError as error:
        return Probe(binary, site, (), str(error))
    subject, kind = KINDS.get(site.name, (None, None))
    if kind is None:
        return Probe(binary, site, found)
    known = known_arguments(choice, site.name, len(found))
    declared = choice.has((PROVIDER, site.name), len(found))
    if subject == "rpc" and kind not in MESSAGES and choice.basis != "unknown":
        # The object is enough for an event of its connection, if the file is certainly libvirt's.
        usable = bool(known and known[0])
    else:
        usable = declared and None not in known
    if not usable:
        expected = len(PROBES[kind])
        problem = "its arguments are unknown"
        if len(found) != expected:
            problem = f"expected {expected} arguments, got {len(found)}"
        return Probe(binary, site, found, problem, known)
    return Probe(binary, site, found, "", known)


def _limited(probe: Probe, used: Counter[tuple[Subject, Binary | None]]) -> Probe:
    """Count a usable probe, by subject in its file and in all files (None), and give the excess a problem."""
    if probe.subject is None or probe.problem:
        return probe
    for binary, limit, where in ((probe.binary, MAX_PLACES, "file"), (None, MAX_ALL_PLACES, "trace")):
        if used[probe.subject, binary] >= limit:
            return probe._replace(problem=f"the limit is {limit} places of probes in a {where}")
    used.update([(probe.subject, probe.binary), (probe.subject, None)])
    return probe


@dataclass(frozen=True, slots=True)
class Plan:
    """The events of a trace by file, in a group and an instance of this name, with a buffer of this many KiB
    per CPU. With `pids`, the kernel leaves out other processes."""

    group: str
    files: tuple[tuple[Binary, tuple[UprobeEvent, ...]], ...]
    buffer: int
    pids: tuple[int, ...] = ()

    @property
    def events(self) -> list[UprobeEvent]:
        """The events of all files."""
        return [event for _, events in self.files for event in events]

    @property
    def instance(self) -> str:
        """The instance's folder."""
        return f"instances/{self.group}"

    def preparations(self) -> Iterator[Step]:
        """Yield the steps before the events are defined, in order."""
        yield Step(self.instance, None)
        yield Step(f"{self.instance}/trace_clock", "boot")
        yield Step(f"{self.instance}/buffer_size_kb", str(self.buffer))
        # A full buffer rejects and counts further events.
        yield Step(f"{self.instance}/options/overwrite", "0")
        if self.pids:
            # The filter applies to threads; threads that these create are added.
            yield Step(f"{self.instance}/options/event-fork", "1")
            own = [str(thread) for pid in self.pids for thread in threads(pid) or [pid]]
            yield Step(f"{self.instance}/set_event_pid", " ".join(own))

    def definition(self, event: UprobeEvent, path: str) -> list[Step]:
        """Return the steps that define an event in the file at `path`, beginning with the event itself."""
        text = f"p:{self.group}/{event.name} {path}:{event.definition}"
        steps = [Step("uprobe_events", text, append=True)]
        if event.filter:
            steps.append(Step(f"{self.instance}/events/{self.group}/{event.name}/filter", event.filter))
        return steps

    def enabling(self) -> Iterator[Step]:
        """Yield the steps after the events are defined, in order; the last one enables them."""
        for name in TASK_EVENTS:
            yield Step(f"{self.instance}/events/{name}/enable", "1")
        yield Step(f"{self.instance}/events/{self.group}/enable", "1")


def wanted(found: Iterable[Probe], subject: Subject, sides: Sides) -> Iterator[tuple[int, str, Probe]]:
    """Yield the usable probes of a subject, for one side or both, each with a number and its kind."""
    for number, probe in enumerate(found, 1):
        kind = probe.kind
        if kind is not None and probe.subject == subject and not probe.problem and _is_of(kind, sides):
            yield number, kind, probe


def plan(
    group: str,
    found: Iterable[Probe],
    buffer: int,
    subject: Subject = "rpc",
    sides: Sides = "both",
    pids: tuple[int, ...] = (),
    limit: int = WINDOW,
) -> Plan:
    """Plan the events of all usable probes of a subject, for one side or both, with at most `limit` bytes of
    a message (MAX_WINDOWS or less)."""
    files: dict[Binary, list[UprobeEvent]] = {}
    for number, kind, probe in wanted(found, subject, sides):
        files.setdefault(probe.binary, []).extend(_events(probe, kind, number, limit))
    return Plan(group, tuple((binary, tuple(events)) for binary, events in files.items()), buffer, pids)


def _is_of(kind: str, sides: Sides) -> bool:
    """Return whether a probe is of these sides. Sockets, keepalive and TLS are of both."""
    if kind.startswith("server_client_"):
        return sides != "client"
    return sides != "server" or not kind.startswith("client_")


def event_of(probe: Probe, kind: str, number: int) -> UprobeEvent:
    """Return an event with the known arguments of a probe, and without bytes of a message or line."""
    words = [
        f"{argument.name}={operand.string if argument.meaning == 'text' else operand.fetch}"
        for argument, operand in probe.known
    ]
    return UprobeEvent(
        kind,
        f"{kind}_{number}",
        " ".join((probe.place, *words)),
        "",
        probe.binary.name,
        known=tuple(argument for argument, _ in probe.known),
        site=number,
    )


def _events(probe: Probe, kind: str, number: int, limit: int) -> Iterator[UprobeEvent]:
    event = event_of(probe, kind, number)
    if probe.line is not None:
        parts = [f"p{i}={probe.line.words(8 * sum(LINE[:i]), count)}" for i, count in enumerate(LINE)]
        yield event._replace(definition=" ".join((event.definition, *parts)), arrays=len(LINE))
    elif kind not in MESSAGES:
        yield event
    elif not probe.carries_bytes:
        yield event._replace(filter="len > 0")
    else:
        for suffix, window, words_, condition in _windows(limit):
            counts = [min(_ARRAY, words_ - at) for at in range(0, words_, _ARRAY)]
            parts = [
                f"p{i}={probe.operands[1].array(window + 8 * _ARRAY * i, count)}"
                for i, count in enumerate(counts)
            ]
            yield event._replace(
                name=event.name + suffix,
                definition=" ".join((event.definition, *parts)),
                filter=condition,
                arrays=len(parts),
                window=window,
                limit=limit,
            )


def _windows(limit: int) -> Iterator[tuple[str, int, int, str]]:
    """Yield the events that have up to `limit` bytes of a message: the end of the name, the first byte, the
    number of words, and the filter."""
    short = min(_SHORT, -(-limit // 8))
    yield "", 0, short, f"len > 0 && len <= {8 * short}" if limit > 8 * short else "len > 0"
    if limit > 8 * short:
        for number, window in enumerate(range(0, limit, WINDOW)):
            words = min(_WINDOW, -(-(limit - window) // 8))
            suffix = f"_long{number + 1}" if number else "_long"
            yield suffix, window, words, f"len > {window or 8 * short}"
