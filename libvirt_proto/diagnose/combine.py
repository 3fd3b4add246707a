"""Findings of several recordings → one list: the same finding once, and none that another one explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from .findings import CERTAINTIES, SEVERITIES, Evidence, Finding
from .rules import RULES
from .settings import UNKNOWN_DOMAIN

#: Clocks of one machine, and the time between a cause and its effect.
_NEAR_NS: Final = 3 * 10**9
#: A keepalive timeout follows its cause after interval * (count + 1), by default 30 s.
_TIMEOUT_NS: Final = 60 * 10**9
#: Rule → rules whose findings are its consequences, and are listed after it, if they are about the same time.
CAUSES: Final[Mapping[str, frozenset[str]]] = {
    "MONITOR_NO_REPLY": frozenset(
        ("STATE_CHANGE_LOCK", "BLOCKED_OBJECT", "UNFINISHED_JOB", "KEEPALIVE_TIMEOUT", "STILL_WAITING")
    ),
    "AGENT_NO_REPLY": frozenset(("STATE_CHANGE_LOCK", "BLOCKED_OBJECT")),
    "UNFINISHED_JOB": frozenset(("KEEPALIVE_TIMEOUT", "CONNECTION_LOST", "STILL_WAITING")),
    "CLIENT_REQUEST_LIMIT": frozenset(("KEEPALIVE_TIMEOUT", "CONNECTION_LOST")),
    "WORKERS_EXHAUSTED": frozenset(("KEEPALIVE_TIMEOUT", "CONNECTION_LOST")),
    "AUTH_REFUSED": frozenset(("RECONNECT_STORM",)),
    "CERTIFICATE_REFUSED": frozenset(("RECONNECT_STORM",)),
}
#: Rule → rules whose findings are only its evidence, if they are about the same time.
EXPLAINS: Final[Mapping[str, frozenset[str]]] = {
    "KEEPALIVE_TIMEOUT": frozenset(("CONNECTION_LOST", "DISCONNECTED", "STILL_WAITING")),
    "DAEMON_RESTARTED": frozenset(("CONNECTION_LOST", "DISCONNECTED", "STILL_WAITING")),
    "WRONG_TLS": frozenset(("CONNECTION_LOST", "DISCONNECTED", "OTHER_PROTOCOL")),
    "CERTIFICATE_REFUSED": frozenset(("CONNECTION_LOST", "DISCONNECTED")),
    "AUTH_REFUSED": frozenset(("CONNECTION_LOST", "DISCONNECTED")),
    "TOO_MANY_CLIENTS": frozenset(("CONNECTION_LOST", "DISCONNECTED", "TIME_OUTSIDE_DAEMON")),
    "PORT_SCAN": frozenset(("DISCONNECTED",)),
    "STILL_WAITING": frozenset(("CONNECTION_LOST",)),
    "CONNECTION_LOST": frozenset(("DISCONNECTED",)),
    "STREAM_FAILED": frozenset(("DISCONNECTED",)),
    "LIMIT_EXCEEDED": frozenset(("CONNECTION_LOST", "DISCONNECTED")),
    "STATE_CHANGE_LOCK": frozenset(
        ("BLOCKED_OBJECT", "CONNECTION_LOST", "STILL_WAITING", "SLOW_CALLS", "SLOW_OBJECT")
    ),
    "BLOCKED_OBJECT": frozenset(("CONNECTION_LOST", "STILL_WAITING", "SLOW_CALLS", "SLOW_OBJECT")),
    "UNFINISHED_JOB": frozenset(("CONNECTION_LOST", "STILL_WAITING")),
    "AUTH_WAITING": frozenset(("SLOW_CALLS", "STILL_WAITING")),
    "SASL_WITHOUT_TLS": frozenset(("DISCONNECTED",)),
    "ACCESS_DENIED": frozenset(("DISCONNECTED",)),
    "DAEMON_STALLED": frozenset(
        ("BLOCKED_OBJECT", "SLOW_CALLS", "SLOW_OBJECT", "STREAM_STALLED", "TIME_OUTSIDE_DAEMON")
    ),
    "WORKERS_EXHAUSTED": frozenset(("SLOW_CALLS", "SLOW_OBJECT")),
    "CLIENT_REQUEST_LIMIT": frozenset(("SLOW_CALLS", "SLOW_OBJECT", "TIME_OUTSIDE_DAEMON")),
}


def combined(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the most severe first, causes before their effects, and then the earliest.

    The same finding in several recordings becomes one, with the evidence of all and the summary of the most
    detailed one. A cause is as severe as its effects. Findings that another one explains become evidence of
    that one.
    """
    groups: list[list[Finding]] = []
    for finding in findings:
        group = next((each for each in groups if _belongs(finding, each)), None)
        if group is None:
            groups.append([finding])
        else:
            group.append(finding)
    merged = [*map(_merge, groups)]
    kept: list[Finding] = []
    #: A cause → its effects; each is shown once, with the cause that is first in EXPLAINS.
    effects: dict[int, list[Finding]] = {}
    explained: set[int] = set()
    for effect in merged:
        causes = [each for each in merged if _is_effect(each, effect, EXPLAINS)]
        if causes:
            explained.add(id(effect))
            cause = min(causes, key=lambda each: [*EXPLAINS].index(each.rule))
            effects.setdefault(id(cause), []).append(effect)
    for finding in merged:
        if id(finding) in explained:
            continue
        severities = [each.severity for each in merged if _is_effect(finding, each, CAUSES)]
        severity = min((finding.severity, *severities), key=SEVERITIES.index)
        more = [evidence for effect in effects.get(id(finding), ()) for evidence in effect.evidence[:1]]
        kept.append(replace(finding, severity=severity, evidence=_with(finding.evidence, more)))
    order = list(RULES)  # causes first
    return sorted(
        kept,
        key=lambda each: (SEVERITIES.index(each.severity), order.index(each.rule), each.start_ns or 0),
    )


def _belongs(finding: Finding, group: list[Finding]) -> bool:
    """Return whether a finding is about the same thing as those of other recordings."""
    return all(_same(each, finding) for each in group) and any(_near(each, finding) for each in group)


def _same(one: Finding, two: Finding) -> bool:
    """Return whether two findings of different recordings can be about the same thing, at any time."""
    files = {each.file for each in one.evidence}
    if one.rule != two.rule or files & {each.file for each in two.evidence}:
        return False
    return not (one.subject and two.subject) or one.subject == two.subject


def _near(one: Finding, two: Finding, later_ns: int = _NEAR_NS) -> bool:
    """Return whether the times of two findings touch, as far as they are known; the second one may begin
    some time after the first one."""
    if None in (one.start_ns, two.start_ns):
        return True
    assert one.start_ns is not None
    assert two.start_ns is not None
    one_end, two_end = one.end_ns or one.start_ns, two.end_ns or two.start_ns
    return one.start_ns <= two_end + _NEAR_NS and two.start_ns <= one_end + later_ns


def _merge(group: list[Finding]) -> Finding:
    """Return one finding for those about the same thing."""
    group = sorted(group, key=_detail)
    return replace(
        group[0],
        certainty=min((each.certainty for each in group), key=CERTAINTIES.index),
        severity=min((each.severity for each in group), key=SEVERITIES.index),
        subject=next((each.subject for each in group if each.subject), ""),
        evidence=_unique(evidence for each in group for evidence in each.evidence),
        advice=_steps([step for each in group if _as_certain(each, group[0]) for step in each.advice]),
    )


def _as_certain(one: Finding, two: Finding) -> bool:
    """Return whether a finding is not less certain than another one, whose advice is then better."""
    return CERTAINTIES.index(one.certainty) <= CERTAINTIES.index(two.certainty)


def _detail(finding: Finding) -> tuple[bool, bool, int]:
    """Return a key that sorts findings with messages, which name calls and connections, before those that a
    log only states; those that name the domain before others; and then the most certain first."""
    unnamed = any(UNKNOWN_DOMAIN in step.split() for step in finding.advice)
    messages = any(each.messages for each in finding.evidence)
    return not messages, unnamed, CERTAINTIES.index(finding.certainty)


def _steps(advice: Sequence[str]) -> tuple[str, ...]:
    """Return the advice of several findings, the most detailed one first; of a step that begins another one,
    only the longer one, and of steps that only differ after a colon (in a name, or a figure), the first."""
    steps: dict[str, str] = {}
    for each in advice:
        step = max((other for other in advice if other.startswith(each)), key=len)
        steps.setdefault(step.partition(": ")[0], step)
    return tuple(steps.values())


def _is_effect(cause: Finding, effect: Finding, effects: Mapping[str, frozenset[str]]) -> bool:
    """Return whether a finding is a consequence of another one: by its rule, its connection and its time."""
    if effect.rule not in effects.get(cause.rule, ()):
        return False
    connections = {each.conn for each in cause.evidence} - {None, ""}
    others = {each.conn for each in effect.evidence} - {None, ""}
    same_files = {each.file for each in cause.evidence} & {each.file for each in effect.evidence}
    if same_files and connections and others and not connections & others:
        return False
    return _near(cause, effect, _TIMEOUT_NS if effect.rule == "KEEPALIVE_TIMEOUT" else _NEAR_NS)


def _unique(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    return tuple(dict.fromkeys(evidence))


def _with(evidence: Sequence[Evidence], more: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Return evidence with that of effects, unless it only repeats messages."""
    kept = [*evidence]
    shown: dict[str, set[int]] = {}
    for each in evidence:
        shown.setdefault(each.file, set()).update(each.messages)
    for each in more:
        numbers = shown.setdefault(each.file, set())
        if not each.messages or not numbers.issuperset(each.messages):
            kept.append(each)
            numbers.update(each.messages)
    return _unique(kept)
