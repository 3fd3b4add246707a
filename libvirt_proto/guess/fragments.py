"""Parts of a message: a header without its length word, a payload without its header, a truncated error."""

from __future__ import annotations

from typing import Final, cast

from ..errors import Truncated
from ..registry import Registry
from ..rpc.names import Names
from ..text import amount, quoted
from . import words
from .payloads import MAX_BYTES, Payloads
from .search import Search

#: Fields of virNetMessageError that identify it: code, domain and text.
_CODES: Final = 512
_DOMAINS: Final = 256


def describe(data: bytes, registry: Registry) -> str | None:
    """Return what bytes are that do not begin with a message: a sentence, or None if nothing fits them."""
    run = next(Search(registry).runs(data), None)
    if run is not None and run.messages[0].headless and run.offset == 0:
        return words.message(run.messages[0], Names(registry))
    if (error := truncated_error(data, registry)) is not None:
        return error
    if len(data) > MAX_BYTES:
        return None
    payloads = [payload for payload in Payloads(registry).rank(data) if not payload.left]
    if not payloads or words.strength(payloads[0].bits) == "none":
        return None
    types = payloads[0].types
    more = f" or {amount(len(types) - 1, 'other type')} of its layout" if len(types) > 1 else ""
    return f"a payload without its header: {types[0]}{more}"


def truncated_error(data: bytes, registry: Registry) -> str | None:
    """Return a description of the payload of an error that lacks its end, None if bytes are not one."""
    reading = registry.error.read(data, 0)
    fields: dict[str, object] = getattr(reading.value, "fields", {})
    code, domain, text = fields.get("code"), fields.get("domain"), fields.get("message")
    if not (
        isinstance(cast(object, reading.error), Truncated)
        and isinstance(code, int)
        and isinstance(domain, int)
        and isinstance(text, str)
    ):
        return None
    if not (0 < code < _CODES and 0 < domain < _DOMAINS and text.isprintable()):
        return None
    return f"the payload of an error without its header and its end: code {int(code)}, {quoted(text)}"
