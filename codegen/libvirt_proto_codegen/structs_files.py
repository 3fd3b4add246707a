"""Layout files (`remote_protocol-structs`), read and compared: what of the ABI differs, and of the wire.

A layout file has the names of types, but not what typedefs stand for, no limits and no case labels. So it is
sometimes unclear whether a difference is one of the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Final, Literal

from .rules import MAX_DEPTH

Wire = Literal["changes", "same", "unclear"]
Verdict = Literal["equal", "white space", "spelling", "differs", "unreadable"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    `type` is the definition (`struct remote_error`), empty for the file as a whole. `name` is that of the
    type, a field (`remote_error.code`) or a member; `what` says in words how file and definitions differ
    in it, and `wire` whether what peers exchange by the file's layout looks otherwise by ours.
    """

    type: str
    name: str
    what: str
    wire: Wire


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a comparison.

    `spelling` is the same layout, written otherwise (with comments, say), `white space` what `diff -b`
    ignores; of that, `lines` are the numbers of the file's lines that differ, from 1. `why` says why a file
    is unreadable.
    """

    verdict: Verdict
    lines: tuple[int, ...] = ()
    changes: tuple[Change, ...] = ()
    why: str = ""

    @property
    def wire(self) -> Wire:
        """What becomes of the wire in all."""
        found = {change.wire for change in self.changes}
        return "changes" if "changes" in found else "unclear" if "unclear" in found else "same"


class LayoutError(Exception):
    """A text that is no layout file; says where and why in one line."""


def compare_layouts(file: str, ours: str) -> Comparison:
    """Compares the text of a layout file with ours, which the definitions give."""
    if file == ours:
        return Comparison("equal")
    theirs, mine = (list(StringIO(text, newline="\n")) for text in (file, ours))  # split at \n alone
    if list(map(squeezed, theirs)) == list(map(squeezed, mine)):
        pairs = enumerate(zip(theirs, mine, strict=True), 1)
        return Comparison("white space", tuple(number for number, (old, new) in pairs if old != new))
    try:
        old = read_layout(file)
    except LayoutError as error:
        return Comparison("unreadable", why=str(error))
    changes = tuple(_changes(old, read_layout(ours)))
    return Comparison("differs", changes=changes) if changes else Comparison("spelling")


def squeezed(line: str) -> str:
    """A line as `diff -b` compares it."""
    return re.sub(r"[ \t\r\f\v\n]+", " ", line).rstrip(" ")


@dataclass(frozen=True, slots=True)
class _Item:
    """A field or member. Of a field `value` is its type with `[n]`, `<>` and `*` (a counted array is one
    item), of a member its number. `arm` is True inside a union."""

    name: str
    value: str
    arm: bool = False


#: Definition (`struct remote_error`, `enum` for the anonymous one) → its items in order.
Layout = Mapping[str, tuple[_Item, ...]]

_TOKEN = re.compile(r"(?P<gap>\s+|/\*.*?\*/)|(?P<word>-?\w+|[{}\[\];,=*])|(?P<else>.)", re.DOTALL)
_KEYWORDS = ("struct", "union", "enum")
#: Ours have a brace or two for each body within another, of which an .x may have MAX_DEPTH.
_MAX_DEPTH: Final = 4 * MAX_DEPTH


@dataclass(slots=True)
class _Group:
    """An open brace: what stood before it, and what was found behind it."""

    head: list[str]
    items: list[_Item] = field(default_factory=list)

    @property
    def keyword(self) -> str:
        return next((word for word in self.head if word in _KEYWORDS), "")


def read_layout(text: str) -> Layout:
    """The definitions of a text. Raises LayoutError."""
    found: dict[str, tuple[_Item, ...]] = {}
    groups: list[_Group] = []
    closed: _Group | None = None
    words: list[str] = []
    line = 1
    for line, word in _words(text):
        match word:
            case "{":
                groups.append(_Group(words))
                if not groups[-1].keyword:
                    raise LayoutError(f"line {line}: a brace that no struct, union or enum is before")
                if len(groups) > _MAX_DEPTH:
                    raise LayoutError(f"line {line}: more than {_MAX_DEPTH} braces within each other")
                words = []
            case "}":
                if not groups or words or closed:
                    raise LayoutError(f"line {line}: a brace too many, or an entry that has no end")
                closed = groups.pop()
            case ";" if closed and not groups:
                found[" ".join([*closed.head, *words])] = tuple(closed.items)
                closed, words = None, []
            case ";" if closed:
                groups[-1].items += _nested(closed, words, groups[-1].keyword == "union")
                closed, words = None, []
            case ";" | "," if groups and len(words) > 1:
                groups[-1].items.append(_item(words, groups[-1].keyword == "union"))
                words = []
            case ";" | ",":
                raise LayoutError(f"line {line}: an entry without a name")
            case _:
                words.append(word)
    if groups or words or closed:
        raise LayoutError(f"line {line}: it ends within a definition")
    return found


def _words(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    for token in _TOKEN.finditer(text):
        if token["else"]:
            raise LayoutError(f"line {line}: {token[0]!r} has no place here")
        if token["word"]:
            yield line, token[0]
        line += token[0].count("\n")


def _item(words: list[str], arm: bool) -> _Item:
    """`u_int flags`, `char model [ 32 ]`, `RED = 1`."""
    if "=" in words:
        return _Item(words[0], " ".join(words[2:]))
    at = words.index("[") if "[" in words else len(words)
    return _Item(words[at - 1], " ".join([*words[: at - 1], "".join(words[at:])]).rstrip(), arm)


def _nested(group: _Group, words: list[str], arm: bool) -> Iterator[_Item]:
    """The items of a group inside another; a counted array is one."""
    name = " ".join(words)
    if group.keyword == "struct" and [item.name for item in group.items] == [f"{name}_len", f"{name}_val"]:
        yield _Item(name, group.items[1].value.removesuffix("*").rstrip() + "<>", arm)
        return
    yield _Item(name, group.keyword, arm)
    for item in group.items:
        yield _Item(f"{name}.{item.name}", item.value, item.arm)


def _changes(old: Layout, new: Layout) -> Iterator[Change]:
    """What differs, in the order of our definitions; what the file alone has comes last."""
    for head, items in new.items():
        if head not in old:
            yield Change(head, head, "only the definitions have it", "same")
        elif head.startswith("enum"):
            yield from _members(head, old[head], items)
        else:
            yield from _fields(head, old[head], items)
    added = {items: head for head, items in new.items() if head not in old}
    for head, items in old.items():
        if head == "enum":
            what = "only the file has this anonymous enum, which is not of the .x"
            if head not in new:
                yield Change(head, head, what, "same")
        elif head not in new and items in added:
            yield Change(head, head, f"only the file has it; is it called {added[items]} now?", "unclear")
        elif head not in new:
            yield Change(head, head, "only the file has it", "changes")
    if _reordered(list(old), list(new)):
        yield Change("", "definitions", "they stand in another order", "same")


def _members(head: str, old: Sequence[_Item], new: Sequence[_Item]) -> Iterator[Change]:
    values = {item.name: item.value for item in old}
    names = {item.value: item.name for item in old}
    kept = {item.name for item in new}
    renamed = set()
    for item in new:
        if item.name in values:
            if values[item.name] != item.value:
                what = f"{values[item.name]} in the file, {item.value} in the definitions"
                yield Change(head, item.name, what, "changes")
        elif (before := names.get(item.value)) and before not in kept:
            renamed.add(before)
            yield Change(head, item.name, f"{item.value} is called {before} in the file", "same")
        else:
            yield Change(head, item.name, f"only the definitions have it ({item.value})", "same")
    for item in old:
        if item.name not in kept and item.name not in renamed:
            yield Change(head, item.name, f"only the file has it ({item.value})", "changes")
    if _reordered([item.name for item in old], [item.name for item in new]):
        yield Change(head, _tag(head), "its members stand in another order", "same")


def _fields(head: str, old: Sequence[_Item], new: Sequence[_Item]) -> Iterator[Change]:
    before = {item.name: item for item in old}
    after = {item.name for item in new}
    renamed = set()
    for at, item in enumerate(new):
        name = f"{_tag(head)}.{item.name}"
        theirs = before.get(item.name)
        if theirs:
            if theirs.value != item.value:
                what = f"{theirs.value} in the file, {item.value} in the definitions"
                yield Change(head, name, what, _retyped(theirs.value, item.value))
        elif at < len(old) and old[at].name not in after and old[at].value == item.value:
            renamed.add(old[at].name)
            yield Change(head, name, f"it is called {old[at].name} in the file", "same")
        else:
            wire: Wire = "same" if item.arm else "changes"
            yield Change(head, name, f"only the definitions have it ({item.value})", wire)
    for item in old:
        if item.name not in after and item.name not in renamed:
            what = f"only the file has it ({item.value})"
            yield Change(head, f"{_tag(head)}.{item.name}", what, "changes")
    for arm in (False, True):
        orders = [[item.name for item in items if item.arm is arm] for items in (old, new)]
        if _reordered(*orders):
            what = f"its {'arms' if arm else 'fields'} stand in another order"
            yield Change(head, _tag(head), what, "same" if arm else "changes")


#: How types begin that are not named by the .x.
_PLAIN: Final = re.compile(
    r"u?int(64_t)?\b|u_(int|char|short)\b|(char|short|float|double|quadruple|bool_t|struct|union|enum)\b"
)


def _retyped(old: str, new: str) -> Wire:
    """What another type does to the wire. A name may be a typedef of the other."""
    return "changes" if _PLAIN.match(old) and _PLAIN.match(new) else "unclear"


def _reordered(old: Sequence[str], new: Sequence[str]) -> bool:
    """Whether what both have stands in another order."""
    both = {*old} & {*new}
    return [name for name in old if name in both] != [name for name in new if name in both]


def _tag(head: str) -> str:
    return head.split()[-1]
