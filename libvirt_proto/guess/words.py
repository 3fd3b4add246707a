"""What was guessed, in words: why a type fits, how sure that is, what a message is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ..jsonlines.encode import uuid_text
from ..rpc.names import STATUSES, TYPES, Names
from ..text import amount, printable, quoted
from .payloads import Payload
from .search import Found, Run

#: Evidence in bits from which on it is called so; random bytes reach the last.
STRENGTHS: Final = ((30.0, "strong"), (15.0, "fair"), (10.0, "weak"))
#: Guesses that lie no further apart than this are equally likely.
CLOSE: Final = 3.0
_TEXT: Final = 30


def strength(bits: float) -> str:
    """How much evidence that is: strong, fair, weak or none."""
    return next((word for least, word in STRENGTHS if bits >= least), "none")


def reasons(payload: Payload) -> Iterator[str]:
    """What the evidence for a payload rests on, and what counts against it."""
    weight = payload.weight
    if payload.left:
        yield f"{payload.used} bytes used, {payload.left} left over"
    else:
        yield f"all {payload.used} bytes used"
    yield from _named("text", weight.text_count, [quoted(_cut(text)) for text in weight.texts])
    yield from _named("uuid", weight.uuid_count, list(map(uuid_text, weight.uuids)))
    yield from _named("enum", weight.name_count, list(map(printable, weight.names)))
    if weight.arms:
        yield amount(weight.arms, "discriminant that has an arm", "discriminants that have an arm")
    if weight.lengths:
        yield amount(weight.lengths, "length or count that fits", "lengths and counts that fit")
    if weight.booleans:
        yield amount(
            weight.booleans, "word that must be 0 or 1, and is", "words that must be 0 or 1, and are"
        )
    if weight.padding:
        yield amount(weight.padding, "byte of padding that is 0", "bytes of padding that are 0")
    if weight.integers:
        yield amount(weight.integers, "integer that may be any", "integers that may be any")


def ambiguity(payloads: Sequence[Payload]) -> str | None:
    """A sentence where the best guess is not the only one, or says little; None where it stands alone."""
    best = payloads[0]
    if strength(best.bits) == "none":
        return "these bytes say little: much else could look like this"
    close = [p for p in payloads if p.left == best.left and best.bits - p.bits <= CLOSE]
    types = sum(len(payload.types) for payload in close)
    if types == 1:
        return None
    layouts = "one layout" if len(close) == 1 else f"{len(close)} layouts that are about as likely"
    return f"the bytes alone cannot tell which: {types} types, of {layouts}"


def message(found: Found, names: Names) -> str:
    """`remote.domain_get_info reply ok, serial 6, 56 bytes`."""
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
        parts.append(f"{it.length:,} bytes, of which only {it.length - it.missing:,} are here")
    else:
        parts.append(f"{it.length:,} bytes, whole")
    if it.malformed and it.error is not None:
        where = f"{it.error.path}: " if it.error.path else ""
        parts.append(f"but its payload breaks off: {printable(where + it.error.reason)}")
    elif it.payload_type is not None:
        parts.append(f"with {it.payload_type}")
    if it.spare:
        parts.append(f"{amount(len(it.spare), 'byte')} behind it")
    return ", ".join(parts)


def run(run_: Run) -> str:
    """`3 messages, one behind the other`, or that it is one."""
    return "1 message" if run_.count == 1 else f"{run_.count:,} messages, one behind the other"


def _named(what: str, count: int, some: list[str]) -> Iterator[str]:
    if count:
        more = f" and {count - len(some)} more" if count > len(some) else ""
        yield f"{what} {', '.join(some)}{more}"


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else text[:_TEXT] + "…"
