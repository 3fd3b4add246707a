"""ANNOTATION and ACCESS: what comments of procedures say to libvirt's code generator (gendispatch.pl)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..model import Annotations
from ..schema import Procedure
from ..schema_index import Placed
from .index import Hit, LintIndex


def generate_missing(index: LintIndex) -> Iterator[Hit]:
    """Procedures without @generate. A program that has no annotations at all is none of the generator's."""
    effect = "the generator cannot know for which side it is to write code"
    yield from _without(
        index, "@generate", lambda said: said.generate is None, lambda said: said != Annotations(), effect
    )


def acl_missing(index: LintIndex) -> Iterator[Hit]:
    """Procedures without @acl. Only libvirt's public programs have access control: admin has none."""
    effect = "nothing says which permission it needs"
    yield from _without(
        index, "@acl", lambda said: said.acl is None, lambda said: said.acl is not None, effect
    )


def _without(
    index: LintIndex,
    word: str,
    missing: Callable[[Annotations], bool],
    in_use: Callable[[Annotations], bool],
    effect: str,
) -> Iterator[Hit]:
    """Procedures without an annotation that others of their program have."""
    for placed, _ in index.dialect_programs:
        procedures = placed.program.procedures
        if any(in_use(procedure.annotations) for procedure in procedures):
            for procedure in procedures:
                if missing(procedure.annotations):
                    yield _hit(placed, procedure, f"{procedure.name} has no {word}", effect)


def acl_none(index: LintIndex) -> Iterator[Hit]:
    """Calls without a permission, in programs that have permissions."""
    for placed, _ in index.dialect_programs:
        procedures = placed.program.procedures
        if any(procedure.annotations.acl for procedure in procedures):
            for procedure in procedures:
                if procedure.msg is None and procedure.annotations.acl == ():
                    message = f"{procedure.name} needs no permission (@acl: none)"
                    yield _hit(
                        placed, procedure, message, "no access driver is asked: every client may call it"
                    )


def acl_argument(index: LintIndex) -> Iterator[Hit]:
    """@acl rules that look at arguments which are not there."""
    for placed, procedure in index.procedures():
        arguments = index.arguments(procedure)
        for rule in procedure.annotations.acl or ():
            wanted = [*(["flags"] if rule.flags else []), *([rule.parameter] if rule.parameter else [])]
            for name in wanted:
                if name not in arguments:
                    message = f"@acl: {rule} looks at the argument {name}, which {procedure.name} lacks"
                    yield _hit(placed, procedure, message, "the check that is generated does not compile")


def stream_place(index: LintIndex) -> Iterator[Hit]:
    """Streams that stand nowhere among the parameters of the public function: it has those of the call, and
    before them the connection, unless the first of them is an object."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        most = len(index.arguments(procedure)) + 1
        for word, place in (("readstream", said.readstream), ("writestream", said.writestream)):
            if place is not None and not 1 <= place <= most:
                message = f"@{word} of {procedure.name} is {place}: it may be from 1 to {most}"
                yield _hit(placed, procedure, message, "the stream has no place among the parameters")


def stream_twice(index: LintIndex) -> Iterator[Hit]:
    """Procedures with a stream in either direction."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        if said.readstream is not None and said.writestream is not None:
            message = f"{procedure.name} has both @readstream and @writestream"
            yield _hit(placed, procedure, message, "a call opens one stream: say which way its data goes")


def sparse_flag(index: LintIndex) -> Iterator[Hit]:
    """@sparseflag without what it is about."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        if said.sparseflag is None:
            continue
        if said.readstream is None and said.writestream is None:
            lacks = "a stream"
        elif "flags" not in index.arguments(procedure):
            lacks = "an argument flags"
        else:
            continue
        message = f"@sparseflag: {said.sparseflag}, but {procedure.name} lacks {lacks}"
        yield _hit(placed, procedure, message, "nobody can ask for a sparse stream")


def event_annotated(index: LintIndex) -> Iterator[Hit]:
    """Events with annotations that are about calls."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        if procedure.msg is None:
            continue
        given = {
            "@priority": said.priority is not None,
            "@acl other than none": bool(said.acl),
            "@aclfilter": bool(said.aclfilter),
            "@readstream": said.readstream is not None,
            "@writestream": said.writestream is not None,
        }
        for word, is_given in given.items():
            if is_given:
                message = f"{procedure.name} is an event and has {word}, which is for calls"
                yield _hit(
                    placed, procedure, message, "nothing looks at it: clients are checked as they register"
                )


def _hit(placed: Placed, procedure: Procedure, message: str, effect: str) -> Hit:
    return Hit(placed.procedure_symbol(procedure), procedure.span, message, effect)
