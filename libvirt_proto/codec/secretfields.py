"""The list of secret fields (secretfields.toml): fields that hold secrets, and names that look secret.

Imports only the standard library, so that the generator's `lint` can read the same list.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, cast

#: `secret`: the field is a secret. `xml`, `qmp`, `text`: it may contain one. `error`: it may quote one.
#: `public`: it looks secret and is not.
Kind = Literal["secret", "xml", "qmp", "text", "error", "public"]

_FILE: Final = Path(__file__).with_suffix(".toml")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list: `pattern` is `struct.field`, in which `*` matches any text."""

    pattern: str
    kind: Kind
    reason: str

    def matches(self, name: str) -> bool:
        """Return True for a field (`struct.field`) that the entry lists."""
        return fnmatchcase(name, self.pattern)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for the content of an XML element or the value of a JSON key: everything is secret except for
    what `keep` names (`@` before attributes); with `scalars`, only a string or a number is."""

    reason: str
    keep: frozenset[str] = frozenset()
    scalars: bool = False


@cache
def table(name: str) -> Mapping[str, Any]:
    """A table of the file, such as `errors`: names with their reasons."""
    return tomllib.loads(_FILE.read_text("utf-8"))[name]  # type: ignore[no-any-return]


@cache
def rules(name: str) -> Mapping[str, Rule]:
    """The Rules of `elements` or `keys`."""
    return {
        key: Rule(entry)
        if isinstance(entry, str)
        else Rule(entry["reason"], frozenset(entry.get("keep", ())), entry.get("scalars", False))
        for key, entry in table(name).items()
    }


@cache
def entries() -> tuple[Entry, ...]:
    """All entries of fields, exact names first."""
    found = [
        Entry(pattern, cast(Kind, kind), reason)
        for kind, patterns in table("fields").items()
        for pattern, reason in patterns.items()
    ]
    return tuple(sorted(found, key=lambda entry: "*" in entry.pattern))


def parameter_kind(name: str) -> Kind | None:
    """The kind of a typed parameter by its name: `secret`, `xml`, or None (it is searched as any string)."""
    if name in table("parameters")["xml"]:
        return "xml"
    return "secret" if name in table("parameters")["secret"] or name_looks_secret(name) else None


def entry(field: str) -> Entry | None:
    """The entry of a field (`struct.field`); None if it is not listed."""
    return next((entry for entry in entries() if entry.matches(field)), None)


@cache
def kind(field: str) -> Kind | None:
    """The kind of a field (`struct.field`); None if it is not listed."""
    found = entry(field)
    return None if found is None else found.kind


def field_looks_secret(field: str) -> bool:
    """Return True if a word in the name of a field (`struct.field`) looks secret."""
    words = {word.lower() for word in _CAMEL.split(field.rpartition(".")[2])}
    squashed = _NOT_IN_NAMES.sub("", field.lower())
    whole = table("whole_words").keys() | table("field_words").keys()
    return not words.isdisjoint(whole) or any(word in squashed for word in table("words"))


def name_looks_secret(name: str) -> bool:
    """Return True if the name of an element, an attribute, a key or a parameter looks secret."""
    squashed = _NOT_IN_NAMES.sub("", name.lower())
    if squashed in table("public_names"):
        return False
    return squashed in table("whole_words") or any(word in squashed for word in table("words"))
