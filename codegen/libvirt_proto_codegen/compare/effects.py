"""The effects of a change on peers, in plain words.

The direction matters: clients send arguments, servers send results and events.
"""

from __future__ import annotations

from collections.abc import Collection

from ..schema import Procedure
from .nodes import Contents
from .reach import Payload

SOURCE = "same bytes on the wire; code that uses the old name must be updated"
NOTHING_SENT = "nothing on the wire; code that uses it must be updated"
UNBOUND = "no effect known from the definitions; code that relies on the number must be updated"
DECLARED = "same bytes on the wire; generated code has another type"


def refused(by: str, payloads: Collection[Payload], what: str) -> str:
    """Describe that one side (old or new) refuses `what` when the other sends it."""
    parts = {payload.part for payload in payloads}
    sent = _sent(parts - {"args"})
    if "args" not in parts:
        return f"{by} clients refuse {sent} with {what}" if sent else f"{by} peers refuse {what}"
    if sent:
        return f"{by} servers refuse calls, and {by} clients {sent}, with {what}"
    return f"{by} servers refuse calls with {what}"


def misread(payloads: Collection[Payload], where: str = "there") -> str:
    """Describe that the two sides interpret the same bytes differently."""
    sent = _sent({payload.part for payload in payloads})
    whose = f"each other's {sent}" if sent else "each other's data"
    return f"old and new peers read {whose} differently from {where} on, or refuse them"


def expected(part: str) -> str:
    """Describe that the two sides expect different payloads."""
    return f"old and new peers expect different data in {_sent([part])}"


def unknown(by: str, payloads: Collection[Payload], number: str) -> str:
    """Describe that one side does not know a number."""
    sent = _sent({payload.part for payload in payloads})
    return f"{by} peers do not know the number {number}" + (f" in {sent}" if sent else "")


def longer(contents: Contents, limit: int) -> str:
    """Describe data that a limit does not allow."""
    more = f"more than {limit:,} "
    match contents:
        case "list":
            return more + ("element" if limit == 1 else "elements")
        case "string":
            return f"a string of {more}" + ("byte" if limit == 1 else "bytes")
        case "data":
            return more + ("byte of data" if limit == 1 else "bytes of data")


def missing(procedure: Procedure, gone_from: str) -> str:
    """Describe that one side lacks a procedure."""
    if procedure.msg and not (procedure.args or procedure.ret):
        if gone_from == "old":
            return "old clients do not know the event"
        return "old clients wait for an event that new servers do not send"
    return f"{gone_from} servers refuse calls to it"


def _sent(parts: Collection[str]) -> str:
    words = [
        word for part, word in (("args", "calls"), ("ret", "replies"), ("msg", "events")) if part in parts
    ]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)
