"""The history of definitions as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libvirt_proto.codec.history import Event, Key, Span

from ...releases.facts import Facts, History


@dataclass(frozen=True, slots=True)
class Histories:
    """The history of each key of a History, which is None for definitions without one."""

    history: History | None

    def releases(self) -> dict[str, Any] | None:
        """Return the releases that the history knows."""
        if self.history is None:
            return None
        first, last = self.history.first, self.history.last
        return {"first": first, "last": last, "releases": list(self.history.releases)}

    def of(self, key: Key) -> dict[str, Any] | None:
        """Return the history of a key, None if it is unknown."""
        if self.history is None:
            return None
        current = self.history.current(key)
        return _facts(self.history.since(current), self.history.facts.get(current, Facts()))

    def of_part(self, key: Key) -> dict[str, Any] | None:
        """Return the history of a field, an arm or a member; None, too, if it is only that of its type."""
        if self.history is None:
            return None
        facts = self.history.facts.get(self.history.current(key), Facts())
        return self.of(key) if facts.since is not None or facts.events else None


def _facts(since: Span, facts: Facts) -> dict[str, Any]:
    function = facts.function
    return {
        "since": _span(since),
        "function": None if function is None else {"name": function[0], "since": function[1]},
        "also": list(facts.also),
        "changes": list(map(_event, facts.events)),
    }


def _span(span: Span) -> dict[str, Any]:
    return span._asdict()


def _event(event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "when": _span(event.when),
        "what": event.what,
        "before": event.before,
        "after": event.after,
        "also": list(event.also),
    }
