"""When things of the definitions came, changed, were renamed and left: plain values, and their JSON.

Only what is not so by itself is kept: a thing without `since` came with its owner (a field with its type), or
was there in the first release that is known, or before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from libvirt_proto.codec.history import KINDS, Event, Key, Provenance, Span

#: The history's file name, next to the archive.
HISTORY: Final = "history.json"


@dataclass(frozen=True, slots=True)
class Facts:
    """The known facts about one key. `also` is as in Event, for `since`. `function` is the public API
    function that a procedure serves, with the release that added it, if this narrows `since`; stored
    histories omit it."""

    since: Span | None = None
    events: tuple[Event, ...] = ()
    also: tuple[str, ...] = ()
    function: tuple[str, str] | None = None

    @property
    def gone(self) -> bool:
        """True if the newest release does not have it."""
        last = [event.kind for event in self.events if event.kind in ("left", "came")][-1:]
        return last == ["left"]

    def with_event(self, event: Event) -> Facts:
        """The facts with one more event."""
        return replace(self, events=(*self.events, event))


@dataclass(frozen=True)
class History:
    """The facts of all releases from `first` to `last`. `releases` names the bundled ones, the newest last,
    and `provenance` has that of the changes that a release brought, if they are not genuine; stored histories
    omit both."""

    first: str
    last: str
    facts: Mapping[Key, Facts] = field(default_factory=dict)
    releases: tuple[str, ...] = ()
    provenance: Mapping[str, Provenance] = field(default_factory=dict)

    def since(self, key: Key) -> Span:
        """When a thing came that the definitions have or had."""
        facts = self.facts.get(key)
        if facts is not None and facts.since is not None:
            return facts.since
        above = owner(key)
        return self.since(above) if above is not None else Span(by=self.first)

    def current(self, key: Key) -> Key:
        """Return the key by which the history knows a thing that may have an older name."""
        if key in self.facts or key[0] in ("program", "procedure"):
            return key
        if key in self._former:
            return self._former[key]
        above = owner(key)
        now = above if above is None else self.current(above)
        return key if now is None or now == above else self.current((key[0], now[1], key[2]))

    @cached_property
    def _former(self) -> Mapping[Key, Key]:
        """The keys that things had before they were renamed, with their present keys."""
        return {
            (*key[:-1], str(event.before)): key
            for key, known in self.facts.items()
            for event in known.events
            if event.kind == "renamed" and key[0] not in ("program", "procedure")
        }


def owner(key: Key) -> Key | None:
    """The type of a field or a member; None for all else."""
    return ("type", key[1]) if key[0] in ("field", "member") else None


class HistoryError(ValueError):
    """A history file that cannot be used; the message gives the reason."""


def write_history(history: History) -> str:
    """The history as JSON, a thing a line, in the order of the keys."""
    lines = [
        f" {json.dumps(' '.join(key))}: {json.dumps(_plain(history.facts[key]), ensure_ascii=False)}"
        for key in sorted(history.facts, key=_order)
    ]
    head = f'{{"first": {json.dumps(history.first)}, "last": {json.dumps(history.last)}, "facts": {{\n'
    return head + ",\n".join(lines) + "\n}}\n"


def _order(key: Key) -> tuple[tuple[int, str], ...]:
    """Numbers count as numbers."""
    return tuple((int(word), "") if word.isdecimal() else (-1, word) for word in key)


def _plain(facts: Facts) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if facts.since is not None:
        plain["since"] = _span(facts.since)
    if facts.also:
        plain["also"] = list(facts.also)
    if facts.events:
        plain["events"] = [_event(event) for event in facts.events]
    return plain


def _event(event: Event) -> dict[str, Any]:
    plain: dict[str, Any] = {"kind": event.kind, "in": _span(event.when)}
    for name in ("what", "before", "after"):
        if getattr(event, name) is not None:
            plain[name] = getattr(event, name)
    return plain | ({"also": list(event.also)} if event.also else {})


def _span(span: Span) -> str | list[str | None]:
    """A release, or a pair of the one before and the last that it can be."""
    return span.release if span.release is not None else [span.after, span.by]


def read_history(text: str) -> History:
    """Read the output of `write_history`; raise HistoryError for anything else."""
    try:
        plain = json.loads(text)
        facts = {tuple(key.split(" ")): _read_facts(entry) for key, entry in plain["facts"].items()}
        return History(_text(plain["first"]), _text(plain["last"]), facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HistoryError(f"expected a history of releases: {error}") from None


def _read_facts(entry: dict[str, Any]) -> Facts:
    since = entry.get("since")
    events = tuple(_read_events(entry.get("events", [])))
    return Facts(
        None if since is None else _read_span(since), events, tuple(map(_text, entry.get("also", ())))
    )


def _read_events(entries: list[dict[str, Any]]) -> Iterator[Event]:
    for entry in entries:
        if entry["kind"] not in KINDS:
            raise ValueError(f"expected one of {', '.join(KINDS)}, got {entry['kind']!r}")
        what = entry.get("what")
        yield Event(
            entry["kind"],
            _read_span(entry["in"]),
            None if what is None else _text(what),
            _value(entry.get("before")),
            _value(entry.get("after")),
            tuple(map(_text, entry.get("also", ()))),
        )


def _read_span(plain: Any) -> Span:
    if isinstance(plain, str):
        return Span(plain)
    after, by = plain
    return Span(after=None if after is None else _text(after), by=_text(by))


def _value(plain: Any) -> int | str | None:
    if plain is not None and type(plain) not in (int, str):
        raise TypeError(f"expected a number or a string, got {plain!r}")
    found: int | str | None = plain
    return found


def _text(plain: Any) -> str:
    if not isinstance(plain, str):
        raise TypeError(f"expected a string, got {plain!r}")
    return plain
