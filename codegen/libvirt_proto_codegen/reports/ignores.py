"""The ignore file: which findings are known, and why they are as they should be.

    [[ignore]]
    rule = "UNBOUNDED_ARRAY"
    program = "lxc"                       # a pattern, as of file names
    name = "lxc_*"                        # a pattern
    reason = "the daemon sends no more than …"

An entry needs a reason, and says with at least one of the other keys what it is about.
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
#: More than anybody writes by hand.
_MAX_SIZE: Final = 2**20


class IgnoresError(ValueError):
    """An ignore file that cannot be used; says where and why."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """One entry. None matches anything; `line` is None where the file writes entries in a way of its own."""

    reason: str
    rule: str | None = None
    program: str | None = None
    name: str | None = None
    file: str = ""
    line: int | None = None

    def matches(self, finding: Finding) -> bool:
        """Whether the entry is about a finding."""
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
    """The entries of an ignore file; raises IgnoresError, or OSError where it cannot be read."""
    with path.open("rb") as file:
        data = file.read(_MAX_SIZE + 1)
    if len(data) > _MAX_SIZE:
        raise IgnoresError(f"{path}: larger than {_MAX_SIZE} bytes")
    return parse_ignores(data, str(path), rules)


def parse_ignores(data: bytes, file: str, rules: Rules) -> tuple[Ignore, ...]:
    """The entries of an ignore file's bytes; raises IgnoresError."""
    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise IgnoresError(f"{file}: not TOML: {error or 'it nests too deep'}") from None
    entries = document.pop("ignore", [])
    if document:
        raise IgnoresError(f"{file}: it has {min(document)!r}, and may have [[ignore]] alone")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise IgnoresError(f"{file}: each entry begins with a line [[ignore]]")
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
            raise IgnoresError(f"{place}: an entry has {', '.join(_KEYS)}, and no {key!r}")
        if not isinstance(value, str) or not value.strip():
            raise IgnoresError(f"{place}: {key} needs some text in quotes")
    if "reason" not in entry:
        raise IgnoresError(f'{place}: it has no reason: say why this is as it should be (reason = "…")')
    if len(entry) == 1:
        raise IgnoresError(f"{place}: it would ignore everything: give a rule, a program or a name")
    if (rule := entry.get("rule", "")) and rule not in rules:
        raise IgnoresError(f"{place}: there is no rule {rule!r} (--list-rules prints them)")
    return Ignore(**entry, file=file, line=line)


def first_match(ignores: Iterable[Ignore], finding: Finding) -> Ignore | None:
    """The first entry that is about a finding."""
    return next((ignore for ignore in ignores if ignore.matches(finding)), None)
