"""A thing's history in words, for comments in what is generated."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Event, Facts, Span


def when(span: Span) -> str:
    """`1.0.5`, `after 4.5.0, by 9.8.0`, `0.9.7 or earlier`."""
    if span.release is not None:
        return span.release
    return f"after {span.after}, by {span.by}" if span.after is not None else f"{span.by} or earlier"


def since(span: Span, function: tuple[str, str] | None) -> str:
    """The same or, where the public API's description says more, that, and that it does."""
    if function is None:
        return when(span)
    name, release = function
    return f"{release}, by {name} of the public API (the definitions say: {when(span)})"


def events(facts: Facts) -> Iterator[str]:
    """What happened to a thing after it came, a sentence each: `renamed in 1.0.5, was remote_open_args`."""
    for event in facts.events:
        match event.kind:
            case "renamed":
                yield f"renamed in {when(event.when)}, was {event.before}"
            case "changed":
                yield f"changed in {when(event.when)}, was {_value(event)}"
            case kind:
                yield f"{kind} in {when(event.when)}"


def _value(event: Event) -> str:
    return "void" if event.before is None else str(event.before)


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
