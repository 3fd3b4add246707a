"""Descriptions of registry entries as ordered dicts: the JSON of `lookup`, `list` and `describe`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..codec.annotations import Annotations
from ..codec.history import Event, Facts, Key, Span, since_text, version_key
from ..definitions import history
from ..names import public as publicnames

if TYPE_CHECKING:
    from ..codec.xdrtype import XdrType
    from ..definitions.functions import Function
    from ..definitions.program import Procedure, Program
    from ..registry import Module, Registry
    from ..rpc.wronglength import WrongLength

Description = dict[str, Any]
#: Enums of the API whose numbers are looked up as numbers; members of all others only by name, for a small
#: number would be in most of them.
NUMBERS = {
    "virErrorNumber": "error code",
    "virErrorDomain": "error domain",
    "virErrorLevel": "error level",
    "virDrvFeature": "driver feature",
    "virDomainEventID": "domain event",
}
#: The kinds of the enums, and of the others' members.
API_ENUM = "API enum"
API_MEMBER = "API enum member"
#: Kinds with fields that hold their numbers.
API_KINDS = frozenset((API_ENUM, API_MEMBER, *NUMBERS.values()))
_ENUMS = {kind: enum for enum, kind in NUMBERS.items()}


def program(program: Program) -> Description:
    """A program: `number`, `name`, `symbol`, `version`, and how many procedures it has."""
    return {
        "kind": "program",
        "name": program.name,
        "number": program.number,
        "symbol": program.symbol,
        "version": program.version,
        "procedures": len(program.procedures),
    }


def procedure(program: Program, procedure: Procedure) -> Description:
    """A procedure with the names of its types (null for void) and the details from its comment in the .x;
    `since` is null until `with_history` fills it in."""
    return {
        "kind": "procedure",
        "name": f"{program.name}.{procedure.name}",
        "number": procedure.number,
        "symbol": procedure.symbol,
        "program": program.name,
        "args": _name(procedure.args_place),
        "ret": _name(procedure.ret_place),
        "msg": _name(procedure.msg_place),
        "since": None,
        **annotations_of(procedure.annotations),
    }


def _name(place: str | None) -> str | None:
    return None if place is None else place.partition(".")[2]


def annotations_of(annotations: Annotations) -> Description:
    """The annotations that are there; `acl` is a list, empty for `@acl: none`."""
    facts: Description = {
        "generate": annotations.generate,
        "priority": annotations.priority,
        "readstream": annotations.readstream,
        "writestream": annotations.writestream,
        "sparseflag": annotations.sparseflag,
        "acl": None if annotations.acl is None else [str(rule) for rule in annotations.acl],
        "aclfilter": [str(rule) for rule in annotations.aclfilter] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def type_(file: str, type_: XdrType) -> Description:
    """A type: what it is, the file that defines it, its size on the wire in bytes (`max_size` null
    where nothing bounds it) and its definition."""
    return {
        "kind": type_kind(type_),
        "name": type_.name,
        "file": file,
        "min_size": type_.min_size,
        "max_size": type_.max_size,
        "text": type_.text,
    }


def type_kind(type_: XdrType) -> str:
    """struct, union, enum or typedef: the word that its definition begins with."""
    return type_.text.split(None, 1)[0]


def member(module: Module, enum: str, name: str, number: int) -> Description:
    """A member of an enum."""
    return {"kind": "enum member", "name": name, "number": number, "enum": enum, "file": module.file}


def constant(file: str, name: str, value: int) -> Description:
    """A constant, and the file or the C header that has it."""
    return {"kind": "constant", "name": name, "number": value, "file": file}


def public_enum(name: str, source: str, members: Mapping[str, int]) -> Description:
    """An enum of the public libvirt API, in C syntax, with its header or other source; `since` is the release
    of its first member (null if unknown), `history` has the members that were added later, as has `text`."""
    first = min(publicnames.additions(name).values(), key=version_key, default=None)
    later = publicnames.later(name, first) if first is not None else {}
    notes = {member: f" /* since {release} */" for member, release in later.items()}
    body = "".join(f"    {member} = {number},{notes.get(member, '')}\n" for member, number in members.items())
    return {
        "kind": API_ENUM,
        "name": name,
        "file": source,
        "since": first,
        "text": f"enum {name} {{\n{body}}};",
        **({"history": [_came(member, Span(release)) for member, release in later.items()]} if later else {}),
    }


def public_name(enum: str, source: str, name: str, number: int) -> Description:
    """A number that libvirt's public API names, with the release that added it (`since`, null if unknown);
    where its kind doesn't say enough, its enum, too."""
    since = publicnames.since(name)
    if enum in NUMBERS:
        return {"kind": NUMBERS[enum], "name": name, "number": number, "since": since}
    return {
        "kind": API_MEMBER,
        "name": name,
        "number": number,
        "enum": enum,
        "file": source,
        "since": since,
    }


def function(function: Function, calls: list[str]) -> Description:
    """A function of the public API: `since`, and `calls`, the names of procedures, or `stream` for messages
    of a stream; empty for a function that only uses what the client has."""
    calls = [*calls, *(["stream"] if function.streams else [])]
    return {"kind": "API function", "name": function.name, "since": function.since, "calls": calls}


def permission(name: str, procedures: list[str], filtered: list[str]) -> Description:
    """A permission in libvirt's access control: its polkit `action`, the `procedures` that require it
    (`@acl`), and those whose reply leaves out items without it (`@aclfilter`)."""
    action = f"org.libvirt.api.{name.replace('_', '-').replace(':', '.')}"
    return {
        "kind": "permission",
        "name": name,
        "action": action,
        "procedures": procedures,
        **({"filtered": filtered} if filtered else {}),
    }


def wrong_length(found: WrongLength) -> Description:
    """Four bytes that libvirt read as a length word."""
    return {"kind": "wrong length word", "name": found.label, "number": found.word, "means": found.text}


def with_fields(registry: Registry, facts: Description) -> Description:
    """Return an enum of the public API, or a member, with `fields`: the fields of these definitions that hold
    its numbers."""
    enum = facts["name"] if facts["kind"] == API_ENUM else facts.get("enum") or _ENUMS[facts["kind"]]
    types = _type_names(registry)
    fields = [field for field in publicnames.fields_of(enum) if field.partition(".")[0] in types]
    return {**facts, "fields": fields}


def later_names(registry: Registry, type_: str) -> dict[str, str]:
    """Return the public API's names for numbers in a type that are newer than the type: name → release;
    nothing for custom definitions."""
    from ..names.fields import enums_of  # a large table

    if registry.release is None:
        return {}
    facts = history.lookup(("type", type_))
    since = facts.function[1] if facts.function else facts.since.release or facts.since.by
    found: dict[str, str] = {}
    for enum in dict.fromkeys(enum for enums in enums_of(type_).values() for enum in enums):
        found |= publicnames.later(enum, since or registry.release)
    return found


@lru_cache(1)
def _type_names(registry: Registry) -> frozenset[str]:
    return frozenset(name for module in registry.modules() for name in module.type_names)


def former_values(registry: Registry, number: int) -> Iterator[Description]:
    """Yield the constants that had a value in older releases: `first` and `last` release with it, and the
    value `now`, null for a constant that these definitions lack."""
    if registry.release is None:
        return
    now = {name: value for module in registry.modules() for name, value in module.constants.items()}
    for name, first, last in history.former_values(number):
        if now.get(name) == number:  # in these definitions, of an older release
            continue
        yield {
            "kind": "former value",
            "name": name,
            "number": number,
            "first": str(first),
            "last": last,
            "now": now.get(name),
        }


def with_history(registry: Registry, facts: Description) -> Description:
    """Return an entry of libvirt's own definitions with its history: `since` (a release, or words for a span
    of releases), its `provenance` unless that is genuine, `function` (`name` and `since` of the public API
    function, where that is more precise or more reliable) and `history` (changes to the entry or to a part of
    it, as objects with `event`, `in`, `what`, `before`, `after`, `text`)."""
    key = _key(registry, facts) if registry.release is not None else None
    if key is None:
        return facts
    found = history.lookup(key)
    more: Description = {"since": _since(found)}
    if found.since.provenance != "genuine":
        more["provenance"] = found.since.provenance
    if found.function is not None:
        name, release = found.function
        more["function"] = {"name": name, "since": release}
    events = [_event(event) for event in found.events]
    if key[0] == "type":
        for name, part in history.parts(key[1]).items():
            if part.since != found.since:
                events.append({**_came(name, part.since), "text": f"{name}: since {part}"})
            events += [_event(event, name) for event in part.events]
    if events:
        more["history"] = events
    return facts | more


def former(registry: Registry, word: str) -> Iterator[Description]:
    """Entries of older libvirt releases whose name these definitions lack: `now` is the current name, null
    for a removed entry; the other keys are those of `with_history`."""
    for key, found in history.find_former(word) if registry.release is not None else ():
        yield {
            "kind": f"older {key[0]}",
            "name": word,
            "now": None if found.events[-1].kind == "left" else _spelled(registry, key),
            "since": _since(found),
            "history": [_event(event) for event in found.events],
        }


def _since(found: Facts) -> str:
    """Return a release, or words for a span of releases."""
    genuine = found.since._replace(provenance="genuine")
    return str(found._replace(since=genuine, function=None))


def _spelled(registry: Registry, key: Key) -> str:
    """Return the current name of an entry."""
    if key[0] not in ("program", "procedure"):
        return ".".join(key[1:])
    program = next((each for each in registry.programs() if f"{each.number:#010x}" == key[1]), None)
    if program is None:
        return " ".join(key[1:])
    procedure = program.by_number.get(int(key[2])) if len(key) > 2 else None
    return f"{program.name}.{procedure.name}" if procedure else program.name


def addition(facts: Description) -> str | None:
    """Return `since` in words, with the release of the API function; None if unknown."""
    since: str | None = facts.get("since")
    if since is None:
        return None
    function = facts.get("function")
    span = Span(since, provenance=facts.get("provenance", "genuine"))
    return since_text(span, (function["name"], function["since"]) if function else None)


def _key(registry: Registry, facts: Description) -> Key | None:
    """Return the history key of an entry, if it has one."""
    match facts["kind"]:
        case "program":
            return "program", f"{facts['number']:#010x}"
        case "procedure":
            return "procedure", f"{registry.program(facts['program']).number:#010x}", str(facts["number"])
        case "struct" | "union" | "enum" | "typedef":
            return "type", facts["name"]
        case "enum member":
            return "member", facts["enum"], facts["name"]
        case "constant" if facts["file"].endswith(".x"):
            return "constant", facts["name"]
        case _:
            return None


def _event(event: Event, part: str | None = None) -> Description:
    values = {"what": event.what, "before": event.before, "after": event.after}
    return {
        **({} if part is None else {"part": part}),
        "event": event.kind,
        "in": _span(event.when),
        **{name: value for name, value in values.items() if value is not None},
        **({"also": list(event.also)} if event.also else {}),
        "text": str(event) if part is None else f"{part}: {event}",
    }


def _came(part: str, since: Span) -> Description:
    return {"part": part, "event": "came", "in": _span(since), "text": f"{part}: since {since}"}


def _span(span: Span) -> Description:
    if span.release is not None:
        provenance = {} if span.provenance == "genuine" else {"provenance": span.provenance}
        return {"release": span.release, **provenance}
    return {"after": span.after, "by": span.by}
