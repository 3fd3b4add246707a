"""Guesses in words: the reasons for a type, the strength of the evidence, a summary of a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..rpc.names import STATUSES, TYPES, Names
from ..text import amount, printable, quoted, uuid_text
from .payloads import Payload
from .search import Found, Run

#: Minimum evidence in bits for each word; random bytes reach the last.
STRENGTHS: Final = ((30.0, "strong"), (15.0, "fair"), (10.0, "weak"))
#: Guesses whose evidence differs by less than this are equally likely.
CLOSE: Final = 3.0
_TEXT: Final = 30


def strength(bits: float) -> str:
    """Return the strength of evidence: strong, fair, weak or none."""
    return next((word for least, word in STRENGTHS if bits >= least), "none")


def reasons(payload: Payload) -> Iterator[str]:
    """Return the evidence for a payload, and the evidence against it."""
    weight = payload.weight
    if payload.left:
        yield f"{payload.used} bytes used, {payload.left} left over"
    else:
        yield f"all {payload.used} bytes used"
    yield from _named("text", weight.text_count, [quoted(_cut(text)) for text in weight.texts])
    yield from _named("uuid", weight.uuid_count, list(map(uuid_text, weight.uuids)))
    yield from _named("enum", weight.name_count, list(map(printable, weight.names)))
    if weight.arms:
        yield amount(weight.arms, "discriminant with an arm", "discriminants with an arm")
    if weight.lengths:
        yield amount(weight.lengths, "valid length or count", "valid lengths and counts")
    if weight.booleans:
        yield amount(
            weight.booleans, "word that is 0 or 1, as required", "words that are 0 or 1, as required"
        )
    if weight.padding:
        yield amount(weight.padding, "zero byte of padding", "zero bytes of padding")
    if weight.integers:
        yield amount(weight.integers, "arbitrary integer", "arbitrary integers")


def ambiguity(payloads: Sequence[Payload]) -> str | None:
    """Return a sentence if the best guess is not the only one, or is weak; otherwise None."""
    best = payloads[0]
    if strength(best.bits) == "none":
        return "these bytes are weak evidence: many other bytes could look like this"
    close = [p for p in payloads if p.left == best.left and best.bits - p.bits <= CLOSE]
    types = sum(len(payload.types) for payload in close)
    if types == 1:
        return None
    layouts = "one layout" if len(close) == 1 else f"{len(close)} about equally likely layouts"
    return f"the bytes cannot distinguish {types} types, of {layouts}"


def message(found: Found, names: Names, event: str | None = None) -> str:
    """Return `remote.domain_get_info reply ok, serial 6, 56 bytes`. `event` is what
    the spare bytes are (see `mistyped`)."""
    header, it = found.message.header, found.message
    program, procedure = names.of(header)
    parts = [
        f"{program or f'{header.prog:#010x}'}.{procedure or header.proc}"
        f" {TYPES.get(header.type, header.type)} {STATUSES.get(header.status, header.status)}",
        f"serial {header.serial}",
    ]
    if found.headless:
        parts.append("a header without its length word")
    elif it.missing:
        parts.append(f"{it.length:,} bytes, of which {it.length - it.missing:,} are available")
    else:
        parts.append(f"{it.length:,} bytes, complete")
    if it.malformed and it.error is not None:
        where = f"{it.error.path}: " if it.error.path else ""
        parts.append(f"but its payload is malformed: {printable(where + it.error.reason)}")
    elif it.payload_type is not None:
        parts.append(f"with {it.payload_type}")
    if it.spare:
        fits = f", which fit {event}" if event else ""
        parts.append(f"{amount(len(it.spare), 'byte')} after it{fits}")
    return ", ".join(parts)


def run(run_: Run) -> str:
    """Return `3 consecutive messages`, or a summary of the only one."""
    return "1 message" if run_.count == 1 else f"{run_.count:,} consecutive messages"


def _named(what: str, count: int, some: list[str]) -> Iterator[str]:
    if count:
        more = f" and {count - len(some)} more" if count > len(some) else ""
        yield f"{what} {', '.join(some)}{more}"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + "…"
