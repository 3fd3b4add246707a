"""When things came and changed: for docstrings and comments, and as the data of history.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from libvirt_proto.codec.history import Event, Key, Span, since_text
from libvirt_proto.codec.types import TypeDefinition, part_names
from libvirt_proto.names import fields, public

from ...releases.facts import Facts, History
from ...releases.symbols import ANNOTATIONS, procedure_key
from ...schema import Module, Procedure, Program


def type_lines(history: History, definition: TypeDefinition) -> list[str]:
    """A type's history and that of its fields, a line each."""
    key = ("type", definition.name)
    lines = [f"Since: {_since(history, key)}.", *_events(history, key)]
    for name in part_names(definition.node):
        field = ("field", definition.name, name)
        facts = history.facts.get(field)
        if facts is not None and facts.since is not None:
            lines.append(f"{name}: since {_since(history, field)}.")
        lines += [f"{name}: {line}" for line in _events(history, field)]
    lines += _public_names(definition, _release(history, key))
    return [_plain(line) for line in lines]


def annotation_lines(history: History, module: Module) -> dict[str, list[str]]:
    """Return payload → the changes to the annotations of its procedures, such as the permissions that a call
    requires; a procedure without arguments has them at its result or message."""
    found: dict[str, list[str]] = defaultdict(list)
    for program in module.programs:
        for procedure in program.procedures:
            payload = procedure.args or procedure.ret or procedure.msg
            if payload is not None and payload.module == module.name:
                found[payload.name] += [
                    _plain(f"{program.short}.{procedure.short}: {event}.")
                    for event in _annotation_events(history, program, procedure)
                ]
    return found


def _public_names(definition: TypeDefinition, release: str) -> Iterator[str]:
    """Yield the enums of the public API whose numbers are in a type, with their newer names."""
    named = fields.enums_of(definition.name)
    for name in part_names(definition.node):
        enums = named.get(name, ())
        if enums:
            yield f"{name}: numbers of {', '.join(enums)}."
        for enum in enums:
            for member, since in public.later(enum, release).items():
                yield f"{member}: since {since}."


def _release(history: History, key: Key) -> str:
    """Return the release that had a definition first, as far as that is known."""
    facts, span = history.facts.get(key, Facts()), history.since(key)
    return facts.function[1] if facts.function else span.release or span.by or history.last


def procedure_line(history: History, program: Program, procedure: Procedure) -> str:
    """When a procedure came, and changes to its annotations: `since 1.0.5; acl changed in 1.2.12, was …`."""
    since = f"since {_since(history, procedure_key(program.number, procedure.number))}"
    return _plain("; ".join([since, *map(str, _annotation_events(history, program, procedure))]))


def _annotation_events(history: History, program: Program, procedure: Procedure) -> Iterator[Event]:
    facts = history.facts.get(procedure_key(program.number, procedure.number), Facts())
    yield from (event for event in facts.events if event.what in ANNOTATIONS)


def _since(history: History, key: Key) -> str:
    facts = history.facts.get(key, Facts())
    return since_text(history.since(key), facts.function)


def _events(history: History, key: Key) -> Iterator[str]:
    for event in history.facts.get(key, Facts()).events:
        text = str(event)
        yield f"{text[:1].upper()}{text[1:]}."


def _plain(text: str) -> str:
    """Replace characters that could end a docstring or start an escape."""
    return "".join(c if c.isprintable() and c not in '"\\' else "?" for c in text)


def rows(history: History) -> list[tuple[str, str]]:
    """(key, value) of everything, as literals that libvirt_proto.definitions.history reads.

    A value has the release of the addition, the function of the public API that narrows it down, the later
    changes, and the maintenance releases that have it, too.
    """
    return [
        (repr(" ".join(key)), repr((_span(facts.since), facts.function, _event_rows(facts), facts.also)))
        for key, facts in history.facts.items()
    ]


def _span(span: Span | None) -> str | tuple[str | None, str | None] | None:
    if span is None:
        return None
    return (span.after, span.by) if span.release is None else span.release


def _event_rows(facts: Facts) -> tuple[object, ...]:
    return tuple(_event(event) for event in facts.events)


def _event(event: Event) -> tuple[object, ...]:
    return event.kind, _span(event.when), event.what, event.before, event.after, event.also
