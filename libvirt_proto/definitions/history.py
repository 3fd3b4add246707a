"""When everything in libvirt's definitions came, changed, was renamed and left.

The data is generated (generated/history.py), from the definitions of all releases that are known. It is
loaded when the first thing is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

#: The words of a key: ("procedure", "0x20008086", "422"), ("type", NAME), ("field", TYPE, NAME),
#: ("member", ENUM, NAME), ("constant", NAME), ("program", "0x20008086").
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """When something happened: in `release`; or, where that is not known, after the release `after` (None
    for no matter when) and by the release `by`."""

    release: str | None = None
    after: str | None = None
    by: str | None = None

    def __str__(self) -> str:
        """`1.0.5`, `after 4.5.0, by 9.8.0`, `0.9.7 or earlier`."""
        if self.release is not None:
            return self.release
        return f"{self.by} or earlier" if self.after is None else f"after {self.after}, by {self.by}"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a thing after it came.

    `kind` is `changed`, `renamed`, `left` or `came` (again). `what` is what changed: the `number` of a
    constant, a field's or a typedef's `xdr`, a procedure's `args`, `ret`, `priority`, `acl`, …; `before` and
    `after` are its values, and `before` the old name of what was renamed. `also` names maintenance
    releases that have this, too.
    """

    kind: str
    when: Span
    what: str | None = None
    before: int | str | None = None
    after: int | str | None = None
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`raised from 65536 to 262144 in 0.9.13`, `renamed in 1.0.5, was remote_open_args`."""
        match self.kind, self.what, self.before, self.after:
            case "renamed", _, before, _:
                text = f"renamed in {self.when}, was {before}"
            case "changed", "number", int(before), int(after):
                word = "raised" if after > before else "lowered"
                text = f"{word} from {before} to {after} in {self.when}"
            case "changed", "xdr", before, _:
                text = f"changed in {self.when}, was {before}"
            case "changed", what, before, after:
                nothing = "void" if what in ("args", "ret", "msg") else "nothing"
                text = f"{what} changed in {self.when}, was {before or nothing}"
            case kind:
                text = f"{kind[0]} in {self.when}"
        return text + (f" (also in {', '.join(self.also)})" if self.also else "")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a thing. `function` is one of libvirt's public API that a procedure serves, with the
    release that brought the function, where that says more than `since`. `also` is as in Event."""

    since: Span
    function: tuple[str, str] | None = None
    events: tuple[Event, ...] = ()
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`since` in words, and what the public API's description says, marked as such."""
        text = str(self.since) + (f" (also in {', '.join(self.also)})" if self.also else "")
        if self.function is None:
            return text
        name, release = self.function
        return f"{release}, by {name} of the public API (the definitions say: {text})"


def program(number: int) -> Facts:
    """The history of a program."""
    return of(("program", f"{number:#010x}"))


def procedure(program: int, number: int) -> Facts:
    """The history of a procedure, which is known by its number whatever it is called."""
    return of(("procedure", f"{program:#010x}", str(number)))


def of(key: Key) -> Facts:
    """The history of a thing that some release of libvirt has; it may go by an older name."""
    facts = _facts(key)
    if facts is not None:
        return facts
    now = former().get(key)
    if now is None and key[0] in ("field", "member"):
        owner = former().get(("type", key[1]), ("type", key[1]))
        now = (key[0], owner[1], key[2]) if owner[1] != key[1] else None
    return of(now) if now is not None else Facts(_since(key))


def parts(type_: str) -> Mapping[str, Facts]:
    """The history of a type's fields or members, of those alone that have one of their own."""
    found = (tuple(key.split(" ")) for key in _data().FACTS)
    return {key[2]: of(key) for key in found if key[0] in ("field", "member") and key[1] == type_}


def told_of(name: str) -> Iterator[tuple[Key, Facts]]:
    """Things that had another name in an older release, and things of that name that left: by the name in the
    .x or, for a procedure, the short one (`get_type` for `REMOTE_PROC_GET_TYPE`). Case does not count."""
    wanted, short = name.upper(), f"_PROC_{name.upper()}"
    for text, (_, _, events, _) in _data().FACTS.items():
        key = tuple(text.split(" "))
        older = [str(before).upper() for kind, _, _, before, *_ in events if kind == "renamed"]
        gone = bool(events) and events[-1][0] == "left" and key[-1].upper() == wanted
        renamed = wanted in older or (key[0] == "procedure" and any(each.endswith(short) for each in older))
        if gone or renamed:
            yield key, of(key)


@cache
def former() -> Mapping[Key, Key]:
    """The keys of types, fields, members and constants that had other names → those that they have now."""
    return {
        (*words[:-1], event[3]): words
        for key, (_, _, events, _) in _data().FACTS.items()
        for event in events
        if event[0] == "renamed" and (words := tuple(key.split(" ")))[0] not in ("program", "procedure")
    }


def _since(key: Key) -> Span:
    """When a thing came that has no release of its own."""
    above = _facts(("type", key[1])) if key[0] in ("field", "member") else None
    return above.since if above is not None else Span(by=_data().FIRST)


def _facts(key: Key) -> Facts | None:
    found = _data().FACTS.get(" ".join(key))
    if found is None:
        return None
    since, function, events, also = found
    return Facts(
        _since(key) if since is None else _span(since),
        function,
        tuple(
            Event(kind, _span(when), what, before, after, releases)
            for kind, when, what, before, after, releases in events
        ),
        also,
    )


def _span(said: Any) -> Span:
    return Span(said) if isinstance(said, str) else Span(None, *said)


def _data() -> Any:
    from ..generated import history

    return history
