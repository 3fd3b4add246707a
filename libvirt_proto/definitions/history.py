"""When everything in libvirt's definitions came, changed, was renamed and left.

The data is generated (generated/history.py), from the definitions of all releases that are known. It is
loaded when the first thing is asked for.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from ..codec.history import Event, Facts, Key, Span

#: Kinds that are known by their numbers, whatever their names.
_NUMBERED: Final = ("program", "procedure")


def program(number: int) -> Facts:
    """The history of a program."""
    return lookup(("program", f"{number:#010x}"))


def procedure(program: int, number: int) -> Facts:
    """The history of a procedure, which is known by its number whatever it is called."""
    return lookup(("procedure", f"{program:#010x}", str(number)))


def lookup(key: Key) -> Facts:
    """The history of a thing that some release of libvirt has; it may go by an older name."""
    facts = _facts(key)
    if facts is not None:
        return facts
    now = former().get(key) if key[0] not in _NUMBERED else None
    if now is None and key[0] in ("field", "member"):
        owner = former().get(("type", key[1]), ("type", key[1]))
        now = (key[0], owner[1], key[2]) if owner[1] != key[1] else None
    return lookup(now) if now is not None else Facts(_since(key))


def parts(type_: str) -> Mapping[str, Facts]:
    """The history of a type's fields or members, only of those with a separate history; the type may go by an
    older name."""
    found = [tuple(key.split(" ")) for key in _data().FACTS]
    key = ("type", type_)
    name = key[1] if key in found else former().get(key, key)[1]
    return {key[2]: lookup(key) for key in found if key[0] in ("field", "member") and key[1] == name}


def find_former(name: str) -> Iterator[tuple[Key, Facts]]:
    """Things that had another name in an older release, and things of that name that left: by the name in the
    .x or, for a procedure, the short one (`get_type` for `REMOTE_PROC_GET_TYPE`). Case does not count."""
    wanted, short = name.upper(), f"_PROC_{name.upper()}"
    for text, (_, _, events, _) in _data().FACTS.items():
        key = tuple(text.split(" "))
        older = [str(before).upper() for kind, _, _, before, *_ in events if kind == "renamed"]
        gone = bool(events) and events[-1][0] == "left" and key[-1].upper() == wanted
        renamed = wanted in older or (key[0] == "procedure" and any(each.endswith(short) for each in older))
        if gone or renamed:
            yield key, lookup(key)


def former_values(number: int) -> Iterator[tuple[str, Span, str]]:
    """Yield the constants that had this value in older releases: name, first and last release with it."""
    for text, (_, _, events, _) in _data().FACTS.items():
        if not text.startswith("constant ") or all(number != event[3] for event in events):
            continue
        kind, name = text.split(" ")
        facts = lookup((kind, name))
        first = facts.since
        for event in facts.events:
            if event.kind != "changed" or event.what != "number":
                continue
            if event.before == number:
                yield name, first, _before(event.when)
            first = event.when


def releases() -> tuple[str, ...]:
    """Return the bundled releases, the newest last."""
    found: tuple[str, ...] = _data().RELEASES
    return found


def _before(when: Span) -> str:
    """Return the last release before a change, other than maintenance releases of older ones."""
    if when.release is None:
        return when.after or _data().FIRST
    known = [release for release in releases() if release.count(".") <= 2 or release == when.release]
    return known[max(known.index(when.release) - 1, 0)]


@cache
def former() -> Mapping[Key, Key]:
    """The keys of types, fields, members and constants that had other names → those that they have now."""
    return {
        (*words[:-1], event[3]): words
        for key, (_, _, events, _) in _data().FACTS.items()
        for event in events
        if event[0] == "renamed" and (words := tuple(key.split(" ")))[0] not in _NUMBERED
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


def _span(data: Any) -> Span:
    if isinstance(data, str):
        return Span(data, provenance=_data().PROVENANCE.get(data, "genuine"))
    return Span(None, *data)


def _data() -> Any:
    from ..generated import history

    return history
