"""All definitions as one JSON document with its JSON Schema, for generators in other languages."""

from __future__ import annotations

import json

from ...render import API_VERSION, MARK, Artefact, render
from ...schema import Schema
from .document import document

#: The banner. JSON has no comments, and no file of it lists inputs: the document does.
_COMMENT = f"{MARK} (API {API_VERSION}): do not edit."


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """Return `registry.json`, the document, and `registry.schema.json`, which describes its keys."""
    text = json.dumps({"$comment": _COMMENT, **document(schema)}, indent=1)
    return (
        Artefact("registry.json", text.replace("\n ", "", 1) + "\n"),  # the banner is in the first line
        Artefact("registry.schema.json", render("registry", "registry.schema.json.j2", _COMMENT)),
    )
