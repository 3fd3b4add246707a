"""Findings of `diff` and `lint`: data first, sentences second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .source import Span

SymbolKind = Literal["program", "procedure", "type", "field", "arm", "member", "constant"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """The subject of a finding, as a key into a Schema.

    `name` is the name in the .x (`REMOTE_PROC_AUTH_LIST`); an arm has that of its field, or `case 7` or
    `default` without a field. `owner` is the type that holds a field, an arm or an enum member; `program` is
    the number of a program, or of a procedure's program; `number` is a procedure's. `file` is the base name
    of the .x that defines it, None for a constant that no file defines.
    """

    kind: SymbolKind
    name: str
    file: str | None = None
    owner: str | None = None
    program: int | None = None
    number: int | None = None

    @property
    def qualified(self) -> str:
        """The name, qualified by its owner, if any: `remote_domain_get_info_ret.state`."""
        return f"{self.owner}.{self.name}" if self.owner else self.name


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a rule.

    `rule` is a stable identifier in capitals (`FIELD_TYPE_CHANGED`), `category` one of the command's (WIRE,
    LIMIT, ACCESS, SOURCE, ADDED), `program` a program's short name (None without a program), `name` the
    subject (`remote_domain_get_info_ret.state`). `message` states the fact, `effect` its consequence for a
    peer. `old` and `new` are the places on the two sides; lint has only `new`. `reaches` names the procedures
    whose payload contains the subject (`remote.domain_get_info`), in the order of their numbers.

    The remaining fields are for programs, so that none has to parse sentences. `symbol` is the subject on the
    new side (for something removed, on the old side); `old_symbol` is the same thing on the old side, None
    for something new; `before` and `after` are the number, the XDR or the annotation that changed, None where
    there was none. `payloads` are the payload types that contain the subject, on the side of `symbol`.
    """

    rule: str
    category: str
    program: str | None
    name: str
    message: str
    effect: str | None = None
    old: Span | None = None
    new: Span | None = None
    reaches: tuple[str, ...] = ()
    symbol: Symbol | None = None
    old_symbol: Symbol | None = None
    before: int | str | None = None
    after: int | str | None = None
    payloads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FindingRule:
    """A rule: its identifier, the category of its findings, and one sentence about what it finds."""

    id: str
    category: str
    summary: str


#: Identifier → rule, in report order.
Rules = Mapping[str, FindingRule]


#: The severity of a category, as CI systems name it.
Level = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of finding: its identifier, its default level, and a short description for authors of
    definitions.
    The level `error` makes the command fail, unless --fail-on overrides it."""

    id: str
    level: Level
    summary: str


#: Identifier → category, the most severe first.
Categories = Mapping[str, Category]
