"""The ignore file: known findings, and the reasons why they are acceptable.

    [[ignore]]
    rule = "UNBOUNDED_ARRAY"
    program = "lxc"                       # a pattern, as for file names
    name = "lxc_*"                        # a pattern
    reason = "the daemon sends no more than …"

An entry needs a reason and at least one of the other keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from ..findings import Finding, Rules

_KEYS: Final = ("rule", "program", "name", "reason")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*ignore[ \t]*\]\]", re.MULTILINE)
#: Maximum size of an ignore file, in bytes.
_MAX_SIZE: Final = 2**20


class IgnoresError(ValueError):
    """An invalid ignore file; the message gives the place and the reason."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """One entry. None matches anything; `line` is None if the file uses another TOML syntax for entries."""

    reason: str
    rule: str | None = None
    program: str | None = None
    name: str | None = None
    file: str = ""
    line: int | None = None

    def matches(self, finding: Finding) -> bool:
        """Return True if the entry matches a finding."""
        return (
            (self.rule is None or self.rule == finding.rule)
            and (self.program is None or fnmatchcase(finding.program or "", self.program))
            and (self.name is None or fnmatchcase(finding.name, self.name))
        )

    @property
    def place(self) -> str:
        """`ignore.toml:12`."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        keys = (("rule", self.rule), ("program", self.program), ("name", self.name))
        return ", ".join(f"{key} {value}" for key, value in keys if value is not None)


def read_ignores(path: Path, rules: Rules) -> tuple[Ignore, ...]:
    """Read the entries of an ignore file; raises IgnoresError, or OSError if it cannot be read."""
    with path.open("rb") as file:
        data = file.read(_MAX_SIZE + 1)
    if len(data) > _MAX_SIZE:
        raise IgnoresError(f"{path}: larger than {_MAX_SIZE} bytes")
    return parse_ignores(data, str(path), rules)


def parse_ignores(data: bytes, file: str, rules: Rules) -> tuple[Ignore, ...]:
    """Parse the entries of an ignore file; raises IgnoresError."""
    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise IgnoresError(f"{file}: not TOML: {error or 'nested too deeply'}") from None
    entries = document.pop("ignore", [])
    if document:
        raise IgnoresError(f"{file}: expected only [[ignore]], got {min(document)!r}")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise IgnoresError(f"{file}: expected entries that begin with a line [[ignore]]")
    lines = [text.count("\n", 0, match.start()) + 1 for match in _HEADER.finditer(text)]
    places: Sequence[int | None] = lines if len(lines) == len(entries) else [None] * len(entries)
    return tuple(
        _entry(entry, number, file, line, rules)
        for number, (entry, line) in enumerate(zip(entries, places, strict=True), 1)
    )


def _entry(entry: dict[str, Any], number: int, file: str, line: int | None, rules: Rules) -> Ignore:
    place = f"{file}: entry {number}" if line is None else f"{file}:{line}"
    for key, value in entry.items():
        if key not in _KEYS:
            raise IgnoresError(f"{place}: expected {', '.join(_KEYS)}, got {key!r}")
        if not isinstance(value, str) or not value.strip():
            raise IgnoresError(f"{place}: expected some text in quotes for {key}")
    if "reason" not in entry:
        raise IgnoresError(f'{place}: missing reason: state why the finding is acceptable (reason = "…")')
    if len(entry) == 1:
        raise IgnoresError(f"{place}: this would ignore everything: give a rule, a program or a name")
    if (rule := entry.get("rule", "")) and rule not in rules:
        raise IgnoresError(f"{place}: unknown rule {rule!r} (--list-rules prints them)")
    return Ignore(**entry, file=file, line=line)


def first_match(ignores: Iterable[Ignore], finding: Finding) -> Ignore | None:
    """Return the first entry that matches a finding."""
    return next((ignore for ignore in ignores if ignore.matches(finding)), None)
