"""AGENT_NO_REPLY: calls that failed because a guest agent did not answer, or is not there.

A call that needs the agent of a guest fails at once if the domain has no channel for it
(VIR_ERR_ARGUMENT_UNSUPPORTED), or if nothing in the guest has opened it (VIR_ERR_AGENT_UNRESPONSIVE), and
after 5 s by default if the agent does not answer guest-sync, which precedes each command (qemu_domain.c,
qemu_agent.c). Since 11.2.0, a command without an answer has a code of its own
(VIR_ERR_AGENT_COMMAND_TIMEOUT).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..bounded import BoundedDict
from ..events import LogLine
from ..rpc.reported import LibvirtError
from ..session import Exchange
from ..text import amount, listed
from .detector import Recording
from .dispatchers import Dispatchers
from .errors import ErrorDetector, Failure, Group, described
from .findings import Finding
from .settings import quoted_domain
from .worker_jobs import WorkerJobs

#: VIR_ERR_AGENT_UNRESPONSIVE and VIR_ERR_AGENT_COMMAND_TIMEOUT.
_CODES: Final = (86, 112)
#: A part of the reason that libvirt states → the beginning of a sentence; the first one that is found.
_REASONS: Final = {
    "not connected": "No guest agent is connected in {domain}",
    "not configured": "The XML of {domain} has no channel for a guest agent",
    "disappeared": "The guest agent of {domain} disconnected during a command",
    "due to an error": "The connection to the guest agent of {domain} failed",
}
_SILENT: Final = "The guest agent of {domain} did not answer{within}"
_CHANNEL: Final = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
#: Names that are kept.
_MAX_NAMES: Final = 1000


class _Agents:
    """Failures with the same reason, and the domains and calls that are known."""

    def __init__(self, first: Failure) -> None:
        self.group = Group(first)
        self.domains: BoundedDict[str, None] = BoundedDict(_MAX_NAMES)
        self.calls: BoundedDict[str, None] = BoundedDict(_MAX_NAMES)
        #: The time that libvirt waited; "" if unknown.
        self.seconds = ""


class GuestAgents(ErrorDetector):
    """Errors about guest agents in replies and in logs, by their reasons."""

    rules = ("AGENT_NO_REPLY",)
    kinds = frozenset(("agent-silent",))

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._jobs = WorkerJobs()
        self._dispatchers = Dispatchers(recording.registry)
        #: Reason → failures.
        self._failed: dict[str, _Agents] = {}
        #: The domain and the procedure of a line, by its number, until its failure is known.
        self._about: BoundedDict[int, tuple[str, str]] = BoundedDict(_MAX_NAMES)

    def line(self, line: LogLine) -> None:
        """Look at an error, and at the jobs of workers: one of them had it."""
        if line.kind not in self.kinds:
            self._jobs.add(line)
            return
        job = self._jobs.of(line.process, line.thread)
        if job is not None:
            self._about.put(line.number, (job.domain or "", self._dispatchers.name(job.dispatcher)))
        super().line(line)

    def concerns(self, error: LibvirtError, _exchange: Exchange) -> bool:
        """Return whether an error is about a guest agent."""
        return error.code in _CODES or self.stated(error) is not None

    def failed(self, failure: Failure) -> None:
        """Group failures by their reasons."""
        stated = failure.statement
        details = {} if stated is None else stated.details
        reason = next((each for each in _REASONS if each in details.get("reason", "")), "")
        agents = self._failed.get(reason)
        if agents is None:
            agents = self._failed[reason] = _Agents(failure)
        agents.group.add(failure)
        agents.seconds = agents.seconds or details.get("seconds", "")
        domain, call = next(
            (self._about[line.number] for line in failure.lines if line.number in self._about), ("", "")
        )
        if failure.exchange is not None:
            call = self.recording.procedure(failure.exchange.header)
            request = failure.exchange.call
            subject = None if request is None else self.recording.subject(request.message)
            domain = domain if subject is None else str(subject)
        if domain:
            agents.domains.put(domain, None)
        if call:
            agents.calls.put(call, None)

    def findings(self) -> Iterator[Finding]:
        """Report a finding for each reason."""
        self.end()
        for reason, agents in self._failed.items():
            yield self._of(reason, agents)

    def _of(self, reason: str, agents: _Agents) -> Finding:
        group, names = agents.group, [*agents.calls]
        count = group.count
        within = f" within {agents.seconds} s" if agents.seconds else ""
        cause = _REASONS.get(reason, _SILENT).format(domain=_domains([*agents.domains]), within=within)
        failed = names[0] if count == len(names) == 1 else "a call" if count == 1 else f"{count:,} calls"
        text = amount(count, "failed call")
        if names:
            text += f" ({listed(names)})"
        if group.first.error is not None:
            text += f": {described(group.first.error)}"
        domains = [*agents.domains]
        return self.finding(
            "AGENT_NO_REPLY",
            f"{cause}, so {failed} failed.",
            [*group.evidence(self.recording, text)],
            subject=reason or "no reply",
            advice=_advice(reason, domains[0] if len(domains) == 1 else ""),
        )


def ping_advice(domain: str) -> str:
    """Return the advice to ask the guest agent of a domain, "" if unknown, whether it answers."""
    return (
        "see whether the guest agent runs in the guest:"
        f' virsh qemu-agent-command --timeout 5 {quoted_domain(domain)} \'{{"execute":"guest-ping"}}\''
    )


def _domains(names: list[str]) -> str:
    if len(names) < 2:
        return f"domain {names[0]}" if names else "a domain"
    return f"{amount(len(names), 'domain')} ({listed(names)})"


def _advice(reason: str, domain: str) -> tuple[str, ...]:
    start = "install and start the agent in the guest: systemctl enable --now qemu-guest-agent"
    state = (
        "see whether the domain's XML has its channel, and whether it is connected:"
        f" virsh dumpxml {quoted_domain(domain)} | grep guest_agent"
    )
    if reason == "not configured":
        return (
            f"add the channel to the domain's XML, and start it again: virsh edit {quoted_domain(domain)};"
            f" {_CHANNEL}",
            start,
        )
    if reason == "not connected":
        return start, state, ping_advice(domain)
    if reason:
        return "restart the agent in the guest: systemctl restart qemu-guest-agent", ping_advice(domain)
    return (
        ping_advice(domain),
        "restart the agent in the guest, unless the guest itself hangs: systemctl restart qemu-guest-agent",
        "if it is only slow, let calls wait longer for it:"
        f" virsh guest-agent-timeout {quoted_domain(domain)} --timeout 30",
    )
