"""The values of a diagnosis, as written in JSON. Times are in ns since the epoch; None without a clock."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

#: How severe a finding is, as in the rule: something failed, something will fail or is slow, something
#: could be better.
Severity = Literal["error", "warning", "note"]
#: How certain its cause is: stated by libvirt or the bytes; the only common cause of what is seen; one of
#: several.
Certainty = Literal["certain", "likely", "possible"]

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
CERTAINTIES: Final[tuple[Certainty, ...]] = ("certain", "likely", "possible")


class Evidence(msgspec.Struct, frozen=True):
    """One observation that supports a finding.

    `text` is a sentence without a full stop. `messages` are the numbers of the messages in `file`, at most
    20 of `count`; `lines` are line numbers of a log. `start_ns` and `end_ns` span what was observed. `conn`
    is the connection. `command` shows exactly these messages or lines; None for a live source.
    """

    text: str
    file: str
    count: int = 1
    messages: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()
    start_ns: int | None = None
    end_ns: int | None = None
    conn: str | None = None
    command: str | None = None


class Finding(msgspec.Struct, frozen=True):
    """One result of a rule.

    `rule` is a stable identifier. `summary` is one sentence that names the cause. `subject` identifies what
    it is about (a connection, a procedure, an object), so that the same finding in several files is
    recognised. `advice` are steps, the best first: a setting with its file and value, a change of the
    client, or a command.
    """

    rule: str
    severity: Severity
    certainty: Certainty
    summary: str
    subject: str
    evidence: tuple[Evidence, ...]
    advice: tuple[str, ...] = ()

    @property
    def start_ns(self) -> int | None:
        """The first time in the evidence."""
        return min((each.start_ns for each in self.evidence if each.start_ns is not None), default=None)

    @property
    def end_ns(self) -> int | None:
        """The last time in the evidence."""
        times = (each.end_ns if each.end_ns is not None else each.start_ns for each in self.evidence)
        return max((time for time in times if time is not None), default=None)


class Check(msgspec.Struct, frozen=True):
    """A rule, the number of its findings, and the reason why it could not be checked; None if it was."""

    rule: str
    findings: int
    missing: str | None = None


class Diagnosis(msgspec.Struct, frozen=True):
    """The findings, the most severe first, and what was checked.

    `messages`, `connections` and `lines` (of logs, that state something) count what was examined.
    `start_ns` and `end_ns` span it. `redacted` is the option that was used, if any.
    """

    findings: list[Finding]
    checked: list[Check]
    files: list[str]
    messages: int
    connections: int
    lines: int
    start_ns: int | None
    end_ns: int | None
    redacted: str | msgspec.UnsetType = msgspec.UNSET
