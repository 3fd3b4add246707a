"""Numbers and names in error messages and log lines that people paste."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..text import number
from . import descriptions, meanings
from .descriptions import Description

if TYPE_CHECKING:
    from ..registry import Registry

_NUMBER: Final = r"(-?(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}))\b"
#: virNetServerProgramDispatchCall (virnetserverprogram.c): the daemon is older than the procedure.
_UNKNOWN_PROCEDURE: Final = re.compile(rf"unknown procedure: {_NUMBER}")
#: virNetServerDispatchNewMessage and virNetServerProgramUnknownError (virnetserver*.c).
_UNKNOWN_PROGRAM: Final = re.compile(rf"Cannot find program {_NUMBER}(?: version {_NUMBER})?", re.IGNORECASE)
#: virNetServerProgramDispatch (virnetserverprogram.c).
_MISMATCH: Final = re.compile(rf"program mismatch \(actual {_NUMBER}, expected {_NUMBER}\)")
#: The notice `bad-frame` of `decode`.
_LENGTH_WORD: Final = re.compile(rf"length word {_NUMBER}")
#: Generated client and server code: `too many remote domains: 20000 > 16384`, `… '20000' for limit '16384'`.
_LIMIT: Final = re.compile(rf"(?:for limit|, max(?:imum)?(?: is)?|[0-9]'? >=?) '?{_NUMBER}", re.IGNORECASE)
_LIMITS: Final = ("constant", "former value")
#: Fields of a header or an error, in log lines, error messages, JSON: `prog=536903814`, `"proc": 66`.
_FIELD: Final = re.compile(
    r"\b(prog|program|proc|procedure|message type|type|message status|status|code|domain|level)\b"
    r"[\"']?\s{0,3}[:=]?\s{0,3}" + _NUMBER,
    re.IGNORECASE,
)
_FIELDS: Final = {"program": "prog", "procedure": "proc"}
#: The enums of these fields. `type` and `status` are those of a header only next to a program or procedure.
_ENUMS: Final = {
    "message type": "virNetMessageType",
    "message status": "virNetMessageStatus",
    "code": "virErrorNumber",
    "domain": "virErrorDomain",
    "level": "virErrorLevel",
}
#: Names that cannot be mistaken for other words.
_NAME: Final = re.compile(
    r"\b(?:vir[A-Z]\w{2,80}|(?:remote|qemu|lxc|admin)Dispatch\w{2,80}|(?:VIR|REMOTE|QEMU|LXC|ADMIN)_[A-Z0-9_]{3,100}|[a-z]+_[a-z_]+_(?:args|ret|msg)"
    r"|org\.libvirt\.api\.[a-z-]+\.[a-z-]+|[a-z_]{3,20}:[a-z_]{3,40})\b"
)


def of(registry: Registry, text: str) -> list[Description]:
    """Return the meanings of what a message or log line quotes: the known messages of libvirt's RPC, fields
    of a header or an error, and names. Each meaning appears once."""
    found = message(registry, text)
    for name in dict.fromkeys(_NAME.findall(text)):
        found += [each for each in meanings.of(registry, name) if each not in found]
    return found


def message(registry: Registry, text: str) -> list[Description]:
    """Return the meanings of a message's numbers, not of its names."""
    found = [*_packets(registry, text), *_unknown(registry, text)] or list(_fields(registry, text))
    for match in _LIMIT.finditer(text):
        limits = meanings.with_number(registry, _value(match[1]))
        found += (each for each in limits if each["kind"] in _LIMITS and each not in found)
    return found


def _packets(registry: Registry, text: str) -> Iterator[Description]:
    """Yield the explanation of a length word that was rejected, and the limit that the message quotes."""
    from ..rpc.wronglength import LIMIT, explain, explain_error

    found = explain_error(text, registry.programs())
    if found is None and (word := _LENGTH_WORD.search(text)) is not None:
        found = explain(_value(word[1]), registry.programs())
    if found is None:
        return
    yield descriptions.wrong_length(found)
    if (limit := LIMIT.search(text)) is not None:
        for each in meanings.with_number(registry, int(limit[1])):
            if each["name"] == "VIR_NET_MESSAGE_MAX":
                yield each


def _unknown(registry: Registry, text: str) -> Iterator[Description]:
    """Yield what a daemon did not know."""
    for match in _UNKNOWN_PROCEDURE.finditer(text):
        wanted = _value(match[1])
        for program in registry.programs():
            if (procedure := program.by_number.get(wanted)) is not None:
                facts = descriptions.with_history(registry, descriptions.procedure(program, procedure))
                yield {**facts, "means": f"the daemon is older than {program.name}.{procedure.name}"}
    programs = [match[1] for match in _UNKNOWN_PROGRAM.finditer(text)]
    programs += (word for match in _MISMATCH.finditer(text) for word in match.groups())
    for word in programs:
        yield from (each for each in meanings.of(registry, word) if each["kind"] == "program")


def _fields(registry: Registry, text: str) -> Iterator[Description]:
    """Yield the meanings of the fields of headers and errors, in the order of the text."""
    fields: dict[str, int] = {}
    for match in _FIELD.finditer(text):
        name = _FIELDS.get(match[1].lower(), match[1].lower())
        fields.setdefault(name, _value(match[2]))
    prog, proc = fields.get("prog"), fields.get("proc")
    for program in registry.programs():
        if proc is None and prog == program.number:
            yield descriptions.with_history(registry, descriptions.program(program))
        elif proc is not None and prog in (None, program.number) and proc in program.by_number:
            procedure = descriptions.procedure(program, program.by_number[proc])
            yield descriptions.with_history(registry, procedure)
    if prog is not None or proc is not None:
        fields |= {f"message {name}": fields[name] for name in ("type", "status") if name in fields}
    for field, enum in _ENUMS.items():
        if field in fields:
            yield from meanings.of(registry, f"{enum}.{fields[field]}")


def _value(text: str) -> int:
    value = number(text)
    return int(text, 10) if value is None else value
