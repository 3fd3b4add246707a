"""MONITOR_NO_REPLY: commands on a QEMU monitor that had no reply, or only after seconds.

libvirt sends one command at a time on each monitor, and waits for its reply without a limit (qemuMonitorSend
in qemu_monitor.c); whoever needs the domain waits, too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import islice
from typing import Final

from ..bounded import BoundedDict
from ..events import LogLine, ProbeEvent
from ..text import amount, clock, duration
from .detector import Detector, Recording
from .dispatchers import Dispatchers
from .findings import Evidence, Finding
from .settings import quoted_domain
from .worker_jobs import WorkerJobs

#: QEMU answers in milliseconds, and a user notices seconds.
SLOW_NS: Final = 3 * 10**9
#: Maximum number of monitors (one per domain) whose commands are tracked.
MAX_MONITORS: Final = 4096
#: Kinds of slow commands of a monitor that are kept.
_MAX_SLOW: Final = 20
#: Commands that wait, which are compared with the owners of a job.
_MAX_COMPARED: Final = 64
#: The first command of each QEMU, which answers once it has allocated the memory of its domain.
_FIRST: Final = "qmp_capabilities"
#: Only the name of a command: its arguments may be secret.
_QMP: Final = re.compile(r'\s*\{\s*"execute"\s*:\s*"([\w.-]{1,60})"')
_HMP: Final = re.compile(r"[a-z_]{1,40}")
#: libvirt's identifier is the last member of a command and of its reply.
_ID: Final = re.compile(r'"id"\s*:\s*"(libvirt-\d{1,10})"')
_ID_SIZE: Final = 40


class Command:
    """A command of a monitor. `end_ns` is the time of its reply, or of the end of the monitor."""

    __slots__ = ("closed", "end_ns", "id", "monitor", "name", "start_ns", "thread")

    def __init__(self, event: ProbeEvent, monitor: str, text: str) -> None:
        qmp = _QMP.match(text)
        hmp = None if qmp else _HMP.match(text)
        self.monitor = monitor
        self.name = qmp[1] if qmp else hmp[0] if hmp else "a command"
        self.id = _last_id(text)
        self.start_ns = event.time_ns
        self.end_ns: int | None = None
        self.thread = _thread(event)
        self.closed = False

    def waited_ns(self, end_ns: int | None) -> int:
        """Return the time until its end, or until `end_ns`; 0 if it is unknown."""
        until = self.end_ns if self.end_ns is not None else end_ns
        return 0 if self.start_ns is None or until is None else until - self.start_ns


class Commands:
    """The commands that wait for a reply, by monitor."""

    def __init__(self) -> None:
        self.waiting: BoundedDict[str, Command] = BoundedDict(MAX_MONITORS)
        #: Replies and events of monitors, and commands that were followed by another one without a reply:
        #: a log may lack the replies.
        self.received = self.lost = 0

    def add(self, event: ProbeEvent) -> Command | None:
        """Add an event, and return the command that it ends."""
        monitor = event.arguments.get("mon")
        if not isinstance(monitor, str) or not event.kind.startswith("qemu_monitor_"):
            return None
        if event.kind == "qemu_monitor_send_msg":
            if self.waiting.pop(monitor, None) is not None:
                self.lost += 1
            self.waiting.put(monitor, Command(event, monitor, str(event.arguments.get("msg", ""))))
            return None
        if event.kind == "qemu_monitor_recv_event":
            self.received += 1
            return None
        if event.kind not in ("qemu_monitor_recv_reply", "qemu_monitor_close"):
            return None
        command = self.waiting.get(monitor)
        if event.kind == "qemu_monitor_recv_reply":
            self.received += 1
            id_ = _last_id(str(event.arguments.get("reply", "")))
            if command is None or (None not in (id_, command.id) and id_ != command.id):
                return None
        if command is not None:
            del self.waiting[monitor]
            command.end_ns, command.closed = event.time_ns, event.kind == "qemu_monitor_close"
        return command

    def unanswered(self, end_ns: int | None) -> list[Command]:
        """Return the commands that had no reply for long at the end of the recording; none if the log lacks
        replies."""
        if self.lost and not self.received:
            return []
        return [each for each in self.waiting.values() if each.waited_ns(end_ns) >= SLOW_NS]


class MonitorCommands(Detector):
    """Commands of QEMU monitors without a reply, or with a late one."""

    rules = ("MONITOR_NO_REPLY",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._dispatchers = Dispatchers(recording.registry)
        self._commands = Commands()
        self._jobs = WorkerJobs()
        self._domains: BoundedDict[str, str] = BoundedDict(MAX_MONITORS)
        #: The slow commands of each monitor.
        self._slow: BoundedDict[str, list[Command]] = BoundedDict(MAX_MONITORS)
        #: The procedures that sent commands which were slow.
        self._senders: BoundedDict[str, str] = BoundedDict(MAX_MONITORS)

    def probe(self, event: ProbeEvent) -> None:
        """Look at an event of a monitor."""
        command = self._commands.add(event)
        if command is None:
            sent = self._commands.waiting.get(str(event.arguments.get("mon")))
            job = self._jobs.of(*_thread(event))
            if sent is not None and job is not None and job.domain is not None:
                self._domains.put(sent.monitor, job.domain)
            return
        if command.name == _FIRST:
            return
        if command.waited_ns(None) >= SLOW_NS:
            slow = self._slow.get(command.monitor)
            if slow is None:
                self._slow.put(command.monitor, slow := [])
            if len(slow) < _MAX_SLOW:
                slow.append(command)
                self._note_sender(command)

    def line(self, line: LogLine) -> None:
        """Note the domain of a monitor, and the jobs of the threads that send commands.

        A refused job names the domain and the threads that hold its jobs; one of them may wait for QEMU.
        """
        if line.kind == "monitor-entered":
            self._domains.put(line.details.get("monitor", ""), line.details.get("domain", ""))
        elif line.kind == "job-refused":
            owners = {owner.partition(" ")[0] for owner in line.details.get("owners", "").split(", ")}
            for command in islice(self._commands.waiting.values(), _MAX_COMPARED):
                if command.thread[0] == line.process and command.thread[1] in owners:
                    self._domains.put(command.monitor, line.details.get("domain", ""))
        else:
            self._jobs.add(line)

    def findings(self) -> Iterator[Finding]:
        """Report a finding per monitor."""
        end_ns = self.recording.end_ns
        for command in self._commands.unanswered(end_ns):
            self._note_sender(command)
            yield self._unanswered(command, self._slow.pop(command.monitor, []))
        for monitor, slow in self._slow.items():
            yield self._late(monitor, slow)

    def _unanswered(self, command: Command, slow: list[Command]) -> Finding:
        end_ns, domain = self.recording.end_ns, self._domains.get(command.monitor)
        assert command.start_ns is not None
        waited = duration(command.waited_ns(end_ns))
        seen = bool(self._commands.received)
        return self.finding(
            "MONITOR_NO_REPLY",
            f"{self._qemu(command)} has not answered {self._sent(command)} since {clock(command.start_ns)}:"
            f" no reply in the {waited} until the recording ended.",
            [self._evidence(command), *map(self._evidence, slow)],
            subject=command.monitor,
            certainty="certain" if seen else "likely",
            advice=(
                process_advice(domain),
                f"end it if it does not continue: virsh destroy {quoted_domain(domain)}",
            ),
        )

    def _late(self, monitor: str, slow: list[Command]) -> Finding:
        longest = max(slow, key=lambda each: each.waited_ns(None))
        waited = duration(longest.waited_ns(None))
        if longest.closed:
            summary = (
                f"{self._qemu(longest)} did not answer {self._sent(longest)} for {waited}, until its monitor"
                " was closed."
            )
        else:
            summary = f"{self._qemu(longest)} took {waited} to answer {self._sent(longest)}."
        if len(slow) > 1:
            summary = f"{summary[:-1]}, and seconds for {amount(len(slow) - 1, 'other command')}."
        return self.finding(
            "MONITOR_NO_REPLY",
            summary,
            [*map(self._evidence, slow)],
            subject=monitor,
            severity="error" if longest.closed else "warning",
            advice=(process_advice(self._domains.get(monitor)),),
        )

    def _qemu(self, command: Command) -> str:
        domain = self._domains.get(command.monitor)
        return f"QEMU (domain {domain})" if domain else f"QEMU (monitor {command.monitor})"

    def _sent(self, command: Command) -> str:
        sender = self._senders.get(command.monitor)
        return f"{command.name} (sent by {sender})" if sender else command.name

    def _note_sender(self, command: Command) -> None:
        job = self._jobs.of(*command.thread)
        if job is not None:
            self._senders.put(command.monitor, self._dispatchers.name(job.dispatcher))

    def _evidence(self, command: Command) -> Evidence:
        waited = duration(command.waited_ns(self.recording.end_ns))
        if command.end_ns is None:
            text = f"{command.name} without a reply for {waited}"
        elif command.closed:
            text = f"{command.name} without a reply until the monitor was closed after {waited}"
        else:
            text = f"{command.name} was answered after {waited}"
        pattern = f'{command.id}"' if command.id else f"mon={command.monitor}"
        return self.recording.matches(text, pattern, command.start_ns, command.end_ns)


def process_advice(domain: str | None = None) -> str:
    """Return the advice to look at a domain's process; libvirt passes the domain's name to it since 2.2.0
    as `guest=`."""
    name = f"guest={domain}," if domain else "guest="
    return (
        "see what the domain's QEMU process is doing: ps -o pid,stat,wchan:30,args -p"
        f" $(pgrep -d, -f {shlex.quote(name)}); state T is a stopped process, D one that waits for its"
        " storage"
    )


def _last_id(text: str) -> str | None:
    at = text.rfind('"id"')
    match = None if at < 0 else _ID.match(text, at, at + _ID_SIZE)
    return None if match is None else match[1]


def _thread(event: ProbeEvent) -> tuple[str, str | None]:
    """Return the process and the thread of an event, as lines of a log name them."""
    return "" if event.pid is None else str(event.pid), None if event.thread is None else str(event.thread)
