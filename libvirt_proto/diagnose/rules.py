"""The rules of `diagnose`. docs/diagnose.md describes each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .findings import Severity

#: What a rule needs in an input: times of messages, their payloads, or a log.
Need = Literal["times", "payloads", "log"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its stable identifier, the severity of its findings, and one sentence about what it finds.
    Without `needs` in an input, it is not checked."""

    id: str
    severity: Severity
    summary: str
    needs: tuple[Need, ...] = ()


def _rules(*rules: Rule) -> Mapping[str, Rule]:
    return {rule.id: rule for rule in rules}


#: Identifier → rule; causes precede their effects, and findings of equal severity have this order.
RULES: Final[Mapping[str, Rule]] = _rules(
    Rule("MONITOR_NO_REPLY", "error", "QEMU did not answer a command on its monitor.", ("log",)),
    Rule("AGENT_NO_REPLY", "error", "A guest agent did not answer, or is not connected."),
    Rule("STATE_CHANGE_LOCK", "error", "A call failed because another one held the lock of its domain."),
    Rule(
        "BLOCKED_OBJECT",
        "warning",
        "Calls on one object waited for an earlier call, and ended when it did.",
        ("times",),
    ),
    Rule("UNFINISHED_JOB", "error", "A worker of the daemon began a job and did not finish it.", ("log",)),
    Rule(
        "CLIENT_REQUEST_LIMIT",
        "warning",
        "A connection had as many calls in flight as the daemon serves at a time; the others waited.",
    ),
    Rule(
        "WORKERS_EXHAUSTED",
        "warning",
        "Calls of all clients waited because all workers were busy.",
        ("times",),
    ),
    Rule(
        "TOO_MANY_CLIENTS",
        "error",
        "The daemon dropped connections, or accepted none, at its limit of clients.",
    ),
    Rule("DAEMON_STALLED", "warning", "The daemon answered nobody for a while.", ("times",)),
    Rule("DAEMON_RESTARTED", "error", "The daemon ended or was restarted while clients were connected."),
    Rule("KEEPALIVE_TIMEOUT", "error", "One side gave up because the other did not answer its pings."),
    Rule("LIMIT_EXCEEDED", "error", "A message, list or string was over its limit, and was refused."),
    Rule(
        "VERSION_SKEW",
        "error",
        "Client and daemon are of different releases, and one lacks what the other uses.",
    ),
    Rule("AUTH_REFUSED", "error", "An authentication was refused."),
    Rule("AUTH_WAITING", "warning", "An authentication took seconds.", ("times",)),
    Rule("CERTIFICATE_REFUSED", "error", "A TLS certificate was refused."),
    Rule("WRONG_TLS", "error", "TLS was spoken to the plain port, or the reverse."),
    Rule("SASL_WITHOUT_TLS", "warning", "SASL was used over TCP without TLS."),
    Rule("READ_ONLY", "error", "A read-only connection was asked to change something."),
    Rule("ACCESS_DENIED", "error", "The access control of the daemon denied a call."),
    Rule("CONNECTION_LOST", "error", "A connection ended while calls waited for their replies."),
    Rule("DISCONNECTED", "warning", "A connection ended without being closed by its client."),
    Rule("RECONNECT_STORM", "warning", "A client connected again and again.", ("times",)),
    Rule("STILL_WAITING", "warning", "Calls had no reply at the end of the input.", ("times",)),
    Rule("REPLY_NOT_CAPTURED", "note", "Replies are missing because the recording lost bytes."),
    Rule(
        "SLOW_CALLS",
        "warning",
        "Some calls took far longer than others of their procedure.",
        ("times",),
    ),
    Rule(
        "SLOW_OBJECT", "warning", "Calls on one object took far longer than on others.", ("payloads", "times")
    ),
    Rule(
        "TIME_OUTSIDE_DAEMON",
        "warning",
        "Calls spent their time between client and daemon, not in the daemon.",
        ("times",),
    ),
    Rule("STREAM_FAILED", "warning", "A stream was aborted, or ended with an error."),
    Rule("STREAM_STALLED", "warning", "The data of a stream paused for long.", ("times",)),
    Rule(
        "EVENT_FLOOD",
        "warning",
        "A client received events faster than it can be expected to handle.",
        ("times",),
    ),
    Rule(
        "UNREGISTERED_EVENT",
        "note",
        "A client received events for which it had not registered.",
        ("payloads",),
    ),
    Rule("POLLING", "note", "A client repeated the same cheap call at a steady rate.", ("times",)),
    Rule(
        "CALL_PER_OBJECT",
        "note",
        "A client called a procedure for each object where one call serves all.",
        ("payloads",),
    ),
    Rule("REPEATED_LOOKUP", "note", "A client looked up the same object again and again.", ("payloads",)),
    Rule("PORT_SCAN", "note", "Connections were opened and closed without libvirt's protocol."),
    Rule("OTHER_PROTOCOL", "note", "Another protocol was spoken on libvirt's port."),
)
