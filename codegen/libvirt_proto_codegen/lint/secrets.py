"""SECRET: fields that may hold secrets and that `--redact` does not know."""

from __future__ import annotations

from collections.abc import Iterator

from libvirt_proto.codec.secretfields import field_looks_secret, kind
from libvirt_proto.codec.types import Array, FixedArray, Integer, Opaque, Optional, String

from .index import Declared, Hit, LintIndex


def secret_unlisted(index: LintIndex) -> Iterator[Hit]:
    """Yield text and opaque data with secret-looking names that are missing from the list of secret
    fields."""
    for declared in index.declarations():
        if declared.symbol.kind == "type" or not _holds_text(index, declared):
            continue
        if field_looks_secret(declared.name) and kind(declared.name) is None:
            message = f"{declared.name} looks secret, but is not in the list of secret fields"
            effect = "`decode --redact` searches it for secrets, but does not blank it"
            yield Hit(declared.symbol, declared.span, message, effect, declared.holder)


def _holds_text(index: LintIndex, declared: Declared) -> bool:
    """Return True for a string or opaque data, and for an array of strings, opaque data or numbers."""
    node, in_array = index.schema.resolved(declared.node), False
    while isinstance(node, Array | FixedArray | Optional):
        in_array = in_array or not isinstance(node, Optional)
        node = index.schema.resolved(node.element)
    return isinstance(node, String | Opaque) or (in_array and isinstance(node, Integer))
