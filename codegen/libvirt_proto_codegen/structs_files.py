"""Layout files (`remote_protocol-structs`): parsing and comparison, by ABI and by wire format.

A layout file has the names of types, but neither the targets of typedefs, nor limits, nor case labels. So it
can
be unclear whether a difference affects the wire.
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
    type, a
    field (`remote_error.code`) or a member; `what` describes how the file and the definitions differ, and
    `wire`
    states whether the file's layout gives a wire format other than the definitions'.
    """

    type: str
    name: str
    what: str
    wire: Wire


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    `spelling` is the same layout written differently (with comments, say); `white space` is a difference that
    `diff -b` ignores: `crlf` lines of the file end with CRLF, and `lines` are the numbers, from 1, of those
    that differ in other white space. `why` is the reason why a file is unreadable.
    """

    verdict: Verdict
    lines: tuple[int, ...] = ()
    crlf: int = 0
    changes: tuple[Change, ...] = ()
    why: str = ""

    @property
    def wire(self) -> Wire:
        """The effect of all changes on the wire."""
        found = {change.wire for change in self.changes}
        return "changes" if "changes" in found else "unclear" if "unclear" in found else "same"


class LayoutError(Exception):
    """A text that is not a layout file; the message gives the place and the reason in one line."""


def compare_layouts(file: str, ours: str) -> Comparison:
    """Compare the text of a layout file with ours, generated from the definitions."""
    if file == ours:
        return Comparison("equal")
    theirs, mine = (list(StringIO(text, newline="\n")) for text in (file, ours))  # split only at \n
    if list(map(squeezed, theirs)) == list(map(squeezed, mine)):
        crlf = sum(line.endswith("\r\n") for line in theirs)
        pairs = enumerate(zip(theirs, mine, strict=True), 1)
        lines = tuple(number for number, (old, new) in pairs if old.replace("\r\n", "\n") != new)
        return Comparison("white space", lines, crlf)
    try:
        old = read_layout(file)
    except LayoutError as error:
        return Comparison("unreadable", why=str(error))
    changes = tuple(_changes(old, read_layout(ours)))
    return Comparison("differs", changes=changes) if changes else Comparison("spelling")


def squeezed(line: str) -> str:
    """Return a line as `diff -b` compares it."""
    return re.sub(r"[ \t\r\f\v\n]+", " ", line).rstrip(" ")


@dataclass(frozen=True, slots=True)
class _Item:
    """A field or member. `value` is a field's type with `[n]`, `<>` and `*` (a counted array is one item), or
    a
    member's number. `arm` is True inside a union."""

    name: str
    value: str
    arm: bool = False


#: Definition (`struct remote_error`, `enum` for the anonymous one) → its items in order.
Layout = Mapping[str, tuple[_Item, ...]]

_TOKEN = re.compile(r"(?P<gap>\s+|/\*.*?\*/)|(?P<word>-?\w+|[{}\[\];,=*])|(?P<else>.)", re.DOTALL)
_KEYWORDS = ("struct", "union", "enum")
#: Our layouts have one or two braces per nested body, and a .x may nest MAX_DEPTH of them.
_MAX_DEPTH: Final = 4 * MAX_DEPTH


@dataclass(slots=True)
class _Group:
    """An open brace: the words before it, and the items found after it."""

    head: list[str]
    items: list[_Item] = field(default_factory=list)

    @property
    def keyword(self) -> str:
        return next((word for word in self.head if word in _KEYWORDS), "")


def read_layout(text: str) -> Layout:
    """Parse the definitions of a text. Raises LayoutError."""
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
                    raise LayoutError(f"line {line}: expected struct, union or enum before a brace")
                if len(groups) > _MAX_DEPTH:
                    raise LayoutError(f"line {line}: more than {_MAX_DEPTH} nested braces")
                words = []
            case "}":
                if not groups or words or closed:
                    raise LayoutError(f"line {line}: unmatched brace, or an entry without ';'")
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
                raise LayoutError(f"line {line}: an entry has no name")
            case _:
                words.append(word)
    if groups or words or closed:
        raise LayoutError(f"line {line}: the file ends within a definition")
    return found


def _words(text: str) -> Iterator[tuple[int, str]]:
    line = 1
    for token in _TOKEN.finditer(text):
        if token["else"]:
            raise LayoutError(f"line {line}: unexpected {token[0]!r}")
        if token["word"]:
            yield line, token[0]
        line += token[0].count("\n")


def _item(words: list[str], arm: bool) -> _Item:
    """Parse `u_int flags`, `char model [ 32 ]`, `RED = 1`."""
    if "=" in words:
        return _Item(words[0], " ".join(words[2:]))
    at = words.index("[") if "[" in words else len(words)
    return _Item(words[at - 1], " ".join([*words[: at - 1], "".join(words[at:])]).rstrip(), arm)


def _nested(group: _Group, words: list[str], arm: bool) -> Iterator[_Item]:
    """Yield the items of a nested group; a counted array is one item."""
    name = " ".join(words)
    if group.keyword == "struct" and [item.name for item in group.items] == [f"{name}_len", f"{name}_val"]:
        yield _Item(name, group.items[1].value.removesuffix("*").rstrip() + "<>", arm)
        return
    yield _Item(name, group.keyword, arm)
    for item in group.items:
        yield _Item(f"{name}.{item.name}", item.value, item.arm)


def _changes(old: Layout, new: Layout) -> Iterator[Change]:
    """Yield the differences in the order of our definitions; those only in the file come last."""
    for head, items in new.items():
        if head not in old:
            yield Change(head, head, "only in the definitions", "same")
        elif head.startswith("enum"):
            yield from _members(head, old[head], items)
        else:
            yield from _fields(head, old[head], items)
    added = {items: head for head, items in new.items() if head not in old}
    for head, items in old.items():
        if head == "enum":
            what = "this anonymous enum is only in the file, not in the .x"
            if head not in new:
                yield Change(head, head, what, "same")
        elif head not in new and items in added:
            yield Change(head, head, f"only in the file; renamed to {added[items]}?", "unclear")
        elif head not in new:
            yield Change(head, head, "only in the file", "changes")
    if _reordered(list(old), list(new)):
        yield Change("", "definitions", "their order differs", "same")


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
            yield Change(head, item.name, f"{item.value} is named {before} in the file", "same")
        else:
            yield Change(head, item.name, f"only in the definitions ({item.value})", "same")
    for item in old:
        if item.name not in kept and item.name not in renamed:
            yield Change(head, item.name, f"only in the file ({item.value})", "changes")
    if _reordered([item.name for item in old], [item.name for item in new]):
        yield Change(head, _tag(head), "the order of its members differs", "same")


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
            yield Change(head, name, f"named {old[at].name} in the file", "same")
        else:
            wire: Wire = "same" if item.arm else "changes"
            yield Change(head, name, f"only in the definitions ({item.value})", wire)
    for item in old:
        if item.name not in after and item.name not in renamed:
            what = f"only in the file ({item.value})"
            yield Change(head, f"{_tag(head)}.{item.name}", what, "changes")
    for arm in (False, True):
        orders = [[item.name for item in items if item.arm is arm] for items in (old, new)]
        if _reordered(*orders):
            what = f"the order of its {'arms' if arm else 'fields'} differs"
            yield Change(head, _tag(head), what, "same" if arm else "changes")


#: Beginnings of types that the .x does not name.
_PLAIN: Final = re.compile(
    r"u?int(64_t)?\b|u_(int|char|short)\b|(char|short|float|double|quadruple|bool_t|struct|union|enum)\b"
)


def _retyped(old: str, new: str) -> Wire:
    """Return the effect of a changed type on the wire. A name may be a typedef of the other."""
    return "changes" if _PLAIN.match(old) and _PLAIN.match(new) else "unclear"


def _reordered(old: Sequence[str], new: Sequence[str]) -> bool:
    """Return True if the items on both sides are in a different order."""
    both = {*old} & {*new}
    return [name for name in old if name in both] != [name for name in new if name in both]


def _tag(head: str) -> str:
    return head.split()[-1]
