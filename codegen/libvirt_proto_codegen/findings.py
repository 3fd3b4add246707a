"""What `diff` and `lint` find in definitions: data first, sentences second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .source import Span

SymbolKind = Literal["program", "procedure", "type", "field", "arm", "member", "constant"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a finding is about, to look it up in a Schema.

    `name` is that of the .x (`REMOTE_PROC_AUTH_LIST`; an arm's is its field's, or `case 7` and `default`
    where it has none). `owner` is the type that holds a field, an arm or an enum member, `program` the
    number of the program that a program or procedure is (in), `number` a procedure's. `file` is the base name
    of the .x that defines it; None for a constant that no file defines.
    """

    kind: SymbolKind
    name: str
    file: str | None = None
    owner: str | None = None
    program: int | None = None
    number: int | None = None

    @property
    def qualified(self) -> str:
        """The name behind that of its owner, if any: `remote_domain_get_info_ret.state`."""
        return f"{self.owner}.{self.name}" if self.owner else self.name


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a rule found.

    `rule` is a stable identifier in capitals (`FIELD_TYPE_CHANGED`), `category` one of the command's
    (WIRE, LIMIT, SOURCE, ADDED), `program` a program's short name (None for what belongs to none), `name`
    what it is about (`remote_domain_get_info_ret.state`). `message` says what is so, `effect` what a peer
    sees of it. `old` and `new` are the places on the two sides; lint has `new` alone. `reaches` names the
    procedures whose payload it is in (`remote.domain_get_info`), in the order of their numbers.

    The rest is for programs, so that none needs to take sentences apart: `symbol` as the new side calls it
    (for what left, the old side); `old_symbol` the same thing on the old side, None for what is new;
    `before` and `after` the number or the XDR that changed, None where there was none. `payloads` are the
    payload types that contain it, on the side of `symbol`.
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
    """A rule: its identifier, the category of its findings, and what it looks for, in one sentence."""

    id: str
    category: str
    summary: str


#: Identifier → rule, in the order in which reports list them.
Rules = Mapping[str, FindingRule]


#: How much a category matters to who runs the command, as CI systems call it.
Level = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Category:
    """What findings of a kind have in common: the identifier, and in a few words what it means for who
    changes definitions. The level `error` makes the command fail, unless --fail-on says otherwise."""

    id: str
    level: Level
    summary: str


#: Identifier → category, the gravest first.
Categories = Mapping[str, Category]
