"""What the public API's description adds to a history: `functions.json` has the function of each procedure,
and the release that brought the function."""

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

#: The file's name beside the history.
FUNCTIONS: Final = "functions.json"

#: The release that brought the remote protocol: older functions were served by it later than they came.
_FIRST_PROTOCOL: Final = "0.3.0"

#: Procedure → function and release.
Functions = Mapping[Key, tuple[str, str]]


def read_functions(text: str) -> Functions:
    """The file's content; raises ValueError for anything else."""
    try:
        plain = json.loads(text)["functions"]
        return {tuple(key.split(" ")): (str(name), str(release)) for key, (name, release) in plain.items()}
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"this has no functions: {error}") from None


def narrowed(history: History, functions: Functions, schema: Schema) -> History:
    """The history, with functions where they tell more than it does: of procedures that came in a span of
    releases, and of the payloads that came with them."""
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
    """Whether a release says more than the span that it lies in."""
    if span.by is None or version_key(release) > version_key(span.by):
        return False
    return version_key(span.after or _FIRST_PROTOCOL) < version_key(release)
