"""What a peer sees of a change, in plain words.

The direction counts: clients send arguments, servers send results and events.
"""

from __future__ import annotations

from collections.abc import Collection

from ..schema import Procedure
from .nodes import Contents
from .reach import Payload

SOURCE = "the same bytes on the wire; code that uses the old name must follow"
NOTHING_SENT = "nothing on the wire; code that uses it must follow"
UNBOUND = "nothing that definitions tell; code that counts on the number must follow"
DECLARED = "the same bytes on the wire; generated code has another type"


def refused(by: str, payloads: Collection[Payload], what: str) -> str:
    """That one side (old or new) refuses `what` when the other sends it."""
    parts = {payload.part for payload in payloads}
    sent = _sent(parts - {"args"})
    if "args" not in parts:
        return f"{by} clients refuse {sent} with {what}" if sent else f"{by} peers refuse {what}"
    if sent:
        return f"{by} servers refuse calls, and {by} clients {sent}, with {what}"
    return f"{by} servers refuse calls with {what}"


def misread(payloads: Collection[Payload], where: str = "there") -> str:
    """That the two sides take the same bytes for different things."""
    sent = _sent({payload.part for payload in payloads})
    whose = f"each other's {sent}" if sent else "each other's data"
    return f"old and new peers read {whose} differently from {where} on, or refuse them"


def expected(part: str) -> str:
    """That the two sides expect different payloads."""
    return f"old and new peers expect different data in {_sent([part])}"


def unknown(by: str, payloads: Collection[Payload], number: str) -> str:
    """That one side does not know a number."""
    sent = _sent({payload.part for payload in payloads})
    return f"{by} peers do not know the number {number}" + (f" in {sent}" if sent else "")


def longer(contents: Contents, limit: int) -> str:
    """Data that a limit does not allow."""
    more = f"more than {limit:,} "
    match contents:
        case "list":
            return more + ("element" if limit == 1 else "elements")
        case "string":
            return f"a string of {more}" + ("byte" if limit == 1 else "bytes")
        case "data":
            return more + ("byte of data" if limit == 1 else "bytes of data")


def missing(procedure: Procedure, gone_from: str) -> str:
    """That one side does not have a procedure."""
    if procedure.msg and not (procedure.args or procedure.ret):
        if gone_from == "old":
            return "old clients do not know the event"
        return "old clients wait for an event that new servers do not send"
    return f"{gone_from} servers refuse calls of it"


def _sent(parts: Collection[str]) -> str:
    words = [
        word for part, word in (("args", "calls"), ("ret", "replies"), ("msg", "events")) if part in parts
    ]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)
