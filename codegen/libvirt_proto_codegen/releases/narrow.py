"""Narrowing of a history with the releases that added the functions of the public API."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from libvirt_proto.codec.history import Span

from ..schema import Schema
from .facts import Facts, History
from .functions import Functions
from .symbols import procedure_key
from .version import version_key

#: The release that added the remote protocol; older functions became procedures later.
_FIRST_PROTOCOL: Final = "0.3.0"


def narrowed(history: History, functions: Functions, schema: Schema) -> History:
    """Return the history, with functions where they are more precise: for procedures added in a span of
    releases, and for the payloads added with them."""
    facts = dict(history.facts)
    for module in schema.modules:
        for program in module.programs:
            for procedure in program.procedures:
                key = procedure_key(program.number, procedure.number)
                span, function = history.since(key), functions.by_procedure.get(key)
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
