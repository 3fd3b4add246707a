"""The provenance of a history's dates, and the functions of the public API that date procedures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from libvirt_proto.codec.history import Provenance, Span

from ..schema import Schema
from .archive import Release
from .facts import Facts, History
from .fold import dated, main_releases
from .functions import Functions
from .provenance import PROVENANCES
from .symbols import procedure_key
from .version import version_key

#: The release that added the remote protocol; older functions became procedures later.
_FIRST_PROTOCOL: Final = "0.3.0"


def with_provenance(history: History, releases: Sequence[Release]) -> History:
    """Return the history with the names of these releases, and the provenance of its dates."""
    found = {
        new.first: provenance
        for old, new, _ in dated(main_releases(releases))
        if (provenance := _weaker(old.origins.release, new.origins.release)) != "genuine"
    }

    def dated_span(span: Span) -> Span:
        return span._replace(provenance=found.get(span.release or "", "genuine"))

    facts = {
        key: replace(
            known,
            since=None if known.since is None else dated_span(known.since),
            events=tuple(event._replace(when=dated_span(event.when)) for event in known.events),
        )
        for key, known in history.facts.items()
    }
    names = tuple(release.name for release in releases)
    return replace(history, facts=facts, releases=names, provenance=found)


def _weaker(one: Provenance, other: Provenance) -> Provenance:
    return max(one, other, key=PROVENANCES.index)


def narrowed(history: History, functions: Functions, schema: Schema) -> History:
    """Return the history, with functions where they are more precise or more reliable: for procedures added
    in a span of releases or in a derived state, and for the payloads added with them. The id of an event
    does the same for its messages, unless they may be older: the first ids name messages that existed."""
    facts = dict(history.facts)
    for module in schema.modules:
        for program in module.programs:
            for procedure in program.procedures:
                key = procedure_key(program.number, procedure.number)
                span, function = history.since(key), functions.by_procedure.get(key)
                if function is None and (span.after or span.release):
                    function = functions.events.get(key)
                if function is None or not narrows(span, function[1]):
                    continue
                payloads = [
                    ("type", part.name)
                    for part in (procedure.args, procedure.ret, procedure.msg)
                    if part and (span.after or span.release)
                ]
                for each in (key, *(payload for payload in payloads if history.since(payload) == span)):
                    facts[each] = replace(facts.get(each, Facts()), function=function)
    return replace(history, facts=facts)


def narrows(span: Span, release: str) -> bool:
    """Return True if a release is more precise than the span that contains it, or confirms it."""
    if span.release is not None:
        return span.release == release and span.provenance != "genuine"
    if span.by is None or version_key(release) > version_key(span.by):
        return False
    return version_key(span.after or _FIRST_PROTOCOL) < version_key(release)
