"""Findings about a procedure's annotations: permissions, priority, generated code and streams.

Source: the comments at REMOTE_PROC_CONNECT_OPEN in libvirt's remote_protocol.x, and gendispatch.pl. Every
@acl line whose condition applies to a call must be permitted, and every @aclfilter line for an item of a
reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from libvirt_proto.codec.annotations import AccessRule, Annotations
from libvirt_proto.codec.history import Span

from ..releases.version import version_key
from ..schema import Procedure, Schema
from .programs import ProgramPair
from .report import Report

#: The sides for which libvirt's generator writes code, by the value of @generate.
_GENERATED = {"none": (), "client": ("client",), "server": ("server",), "both": ("client", "server")}
_SAME_CHECKS = "no check on either side: @acl: none needs no permission"


def compare_annotations(programs: ProgramPair, report: Report, dates: AnnotationDates) -> None:
    """Report changed annotations of the procedures on both sides, except the order of lines, and
    `@priority: low`, which is the default."""
    for old, new in programs.procedures:
        _Comparison(programs, old, new, report, dates).compare()


class AnnotationDates:
    """Releases in which annotations of procedures changed, as far as the two histories have them."""

    def __init__(self, old: Schema, new: Schema) -> None:
        history = new.history or old.history
        self._facts = history.facts if history and old.release and new.release else {}
        self._ends = [version_key(each.release) for each in (old, new) if each.release]

    def uncertain(self, program: int, number: int, aspect: str) -> Span | None:
        """Return when an annotation changed, if that may have been before or after the releases of the two
        sides; None if it was between them, or is unknown."""
        facts = self._facts.get(("procedure", f"{program:#010x}", str(number)))
        for event in facts.events if facts else ():
            when = event.when
            if event.what == aspect and when.after is not None and when.by is not None:
                after, by = version_key(when.after), version_key(when.by)
                if not (min(self._ends) <= after and by <= max(self._ends)):
                    return when
        return None


class _Comparison:
    """The annotations of one procedure on both sides."""

    def __init__(
        self, programs: ProgramPair, old: Procedure, new: Procedure, report: Report, dates: AnnotationDates
    ) -> None:
        self._old_at, self._new_at = programs.old_at(old), programs.new_at(new)
        self._program = programs.new.program.short
        self._name = new.name
        self._old, self._new = old.annotations, new.annotations
        self._report = report
        self._when = partial(dates.uncertain, programs.new.program.number, new.number)

    def compare(self) -> None:
        self._acl()
        self._filter()
        self._priority()
        self._generate()
        self._stream()
        self._sparse_flag()

    def _acl(self) -> None:
        old, new = self._old.acl, self._new.acl
        values = _acl_text(old), _acl_text(new)
        if old is None and new is not None:
            effect = _permitted((), new) if new else _SAME_CHECKS
            self._add("ACL_ADDED", f"needs {_needs(new)}, had no @acl", effect, values, "acl")
        elif old is not None and new is None:
            effect = _permitted(old, ()) if old else _SAME_CHECKS
            self._add("ACL_REMOVED", f"has no @acl, needed {_needs(old)}", effect, values, "acl")
        elif old is not None and new is not None and (change := _change(old, new)):
            message = f"needs {_needs(new)}, needed {_needs(old)}"
            self._add(f"ACL_{change}", message, _permitted(old, new), values, "acl")

    def _filter(self) -> None:
        old, new = self._old.aclfilter, self._new.aclfilter
        if change := _change(old, new):
            does = f"filters objects by {_all(new, 'and')}" if new else "filters no objects"
            did = f"filtered them by {_all(old, 'and')}" if old else "filtered none"
            effect = _effect(
                old,
                new,
                "leave out objects for which the caller lacks",
                "no longer leave out objects for which the caller lacks",
            )
            values = _all(old) or None, _all(new) or None
            self._add(f"ACL_FILTER_{change}", f"{does}, {did}", effect, values, "aclfilter")

    def _priority(self) -> None:
        old, new = (each.priority or "low" for each in (self._old, self._new))
        if old != new:
            when = "even if all ordinary workers are busy" if new == "high" else "only by an ordinary worker"
            effect = f"new servers run it {when}"
            values = self._old.priority, self._new.priority
            message = f"has {new} priority, had {old} priority"
            self._add("PRIORITY_CHANGED", message, effect, values, "priority")

    def _generate(self) -> None:
        old, new = self._old.generate, self._new.generate
        if old != new:
            before, after = _GENERATED[old or "none"], _GENERATED[new or "none"]
            effects = [
                f"{does} the code of the {' and the '.join(sides)}"
                for does, sides in (
                    ("now writes", [side for side in after if side not in before]),
                    ("no longer writes", [side for side in before if side not in after]),
                )
                if sides
            ]
            effect = f"libvirt's generator {', and '.join(effects) or 'writes no code on either side'}"
            self._add("GENERATE_CHANGED", _words("generate", new, old), effect, (old, new))

    def _stream(self) -> None:
        (direction, old), (new_direction, new) = _stream(self._old), _stream(self._new)
        if old == new:
            return
        if direction == new_direction:
            effect = "the same stream; it is another parameter of the C function"
        else:
            effect = "old and new peers expect different stream data after the call"
        message = f"has {f'`@{new}`' if new else 'no stream'}, had {f'`@{old}`' if old else 'no stream'}"
        self._add("STREAM_CHANGED", message, effect, (old, new), "readstream", "writestream")

    def _sparse_flag(self) -> None:
        old, new = self._old.sparseflag, self._new.sparseflag
        if old != new:
            effects = [
                f"{by} peers do not expect holes in its stream after calls with {flag}"
                for by, flag in (("old", new), ("new", old))
                if flag
            ]
            message = _words("sparseflag", new, old)
            self._add("SPARSE_FLAG_CHANGED", message, "; ".join(effects), (old, new), "sparseflag")

    def _add(
        self, rule: str, message: str, effect: str, values: tuple[str | None, str | None], *aspects: str
    ) -> None:
        at = self._new_at
        when = next((found for aspect in aspects if (found := self._when(aspect))), None)
        if when is not None:
            effect = f"{effect}; in which release is unknown: {when}"
        self._report.add(
            rule,
            self._old_at,
            at,
            f"{self._name} {message}",
            effect,
            program=self._program,
            values=values,
            reaches=(at.name,),
        )


def _change(old: Sequence[AccessRule], new: Sequence[AccessRule]) -> str | None:
    """Return TIGHTENED, LOOSENED or CHANGED; REWRITTEN if the same callers pass, None for the same lines."""
    match bool(_not_in(new, old)), bool(_not_in(old, new)):
        case True, True:
            return "CHANGED"
        case True, False:
            return "TIGHTENED"
        case False, True:
            return "LOOSENED"
    return None if set(old) == set(new) else "REWRITTEN"


def _not_in(rules: Sequence[AccessRule], others: Sequence[AccessRule]) -> list[AccessRule]:
    """Return the rules that others do not imply: an equal one does, and one without a condition."""
    known = {str(other) for other in others}
    return [
        rule
        for rule in dict.fromkeys(rules)
        if str(rule) not in known and f"{rule.object}:{rule.permission}" not in known
    ]


def _permitted(old: Sequence[AccessRule], new: Sequence[AccessRule]) -> str:
    return _effect(old, new, "refuse callers that lack", "accept callers that lack")


def _effect(old: Sequence[AccessRule], new: Sequence[AccessRule], added: str, removed: str) -> str:
    parts = ((added, _not_in(new, old)), (removed, _not_in(old, new)))
    effects = [f"{do} {_all(rules, 'or')}" for do, rules in parts if rules]
    return f"new servers {', and '.join(effects)}" if effects else "the same callers pass"


def _needs(rules: Sequence[AccessRule]) -> str:
    return _all(rules, "and") or "no permission"


def _acl_text(rules: Sequence[AccessRule] | None) -> str | None:
    return None if rules is None else _all(rules) or "none"


def _all(rules: Sequence[AccessRule], last: str = "") -> str:
    """`domain:read, domain:write`; with a last word, `domain:read and domain:write`."""
    words = [str(rule) for rule in rules]
    if last and len(words) > 1:
        return f"{', '.join(words[:-1])} {last} {words[-1]}"
    return ", ".join(words)


def _words(annotation: str, new: str | None, old: str | None) -> str:
    has, had = (f"`@{annotation}: {value}`" if value else f"no @{annotation}" for value in (new, old))
    return f"has {has}, had {had}"


def _stream(annotations: Annotations) -> tuple[tuple[str, ...], str | None]:
    """Return the directions of the stream, and its annotations as text, None without a stream."""
    found = {
        word: place
        for word in ("readstream", "writestream")
        if (place := getattr(annotations, word)) is not None
    }
    return tuple(found), " @".join(f"{word}: {place}" for word, place in found.items()) or None
