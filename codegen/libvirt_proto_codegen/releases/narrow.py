"""Narrowing of a history with the public API: `functions.json` has the function of each procedure, and the
release that added the function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from libvirt_proto.codec.history import Key, Span

from ..schema import Schema
from .facts import Facts, History
from .symbols import procedure_key
from .version import version_key

#: The file's name, in the folder of the history.
FUNCTIONS: Final = "functions.json"

#: The release that added the remote protocol; older functions became procedures later.
_FIRST_PROTOCOL: Final = "0.3.0"

#: Procedure → function and release.
Functions = Mapping[Key, tuple[str, str]]


def read_functions(text: str) -> Functions:
    """Parse the file; raises ValueError for invalid content."""
    try:
        plain = json.loads(text)["functions"]
        return {tuple(key.split(" ")): (str(name), str(release)) for key, (name, release) in plain.items()}
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"invalid functions: {error}") from None


def narrowed(history: History, functions: Functions, schema: Schema) -> History:
    """Return the history, with functions where they are more precise: for procedures added in a span of
    releases, and for the payloads added with them."""
    facts = dict(history.facts)
    for module in schema.modules:
        for program in module.programs:
            for procedure in program.procedures:
                key = procedure_key(program.number, procedure.number)
                span, function = history.since(key), functions.get(key)
                if function is None or not narrows(span, function[1]):
                    continue
                payloads = [
                    ("type", part.name) for part in (procedure.args, procedure.ret) if part and span.after
                ]
                for each in (key, *(payload for payload in payloads if history.since(payload) == span)):
                    facts[each] = replace(facts.get(each, Facts()), function=function)
    return replace(history, facts=facts)


def narrows(span: Span, release: str) -> bool:
    """Return True if a release is more precise than the span that contains it."""
    if span.by is None or version_key(release) > version_key(span.by):
        return False
    return version_key(span.after or _FIRST_PROTOCOL) < version_key(release)
