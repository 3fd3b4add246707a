"""ANNOTATION and ACCESS: comments of procedures that control libvirt's code generator (gendispatch.pl)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from libvirt_proto.codec.annotations import Annotations

from ..schema import Procedure
from ..schema_index import Placed
from .index import Hit, LintIndex


def generate_missing(index: LintIndex) -> Iterator[Hit]:
    """Yield procedures without @generate. A program without any annotations does not use the generator."""
    effect = "the generator does not know for which sides to generate code"
    yield from _without(
        index, "@generate", lambda said: said.generate is None, lambda said: said != Annotations(), effect
    )


def acl_missing(index: LintIndex) -> Iterator[Hit]:
    """Yield procedures without @acl. Only libvirt's public programs have access control: admin has none."""
    effect = "the required permission is unknown"
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
    """Yield procedures without an annotation that others of their program have."""
    for placed, _ in index.dialect_programs:
        procedures = placed.program.procedures
        if any(in_use(procedure.annotations) for procedure in procedures):
            for procedure in procedures:
                if missing(procedure.annotations):
                    yield _hit(placed, procedure, f"{procedure.name} has no {word}", effect)


def acl_none(index: LintIndex) -> Iterator[Hit]:
    """Yield calls without a permission, in programs that have permissions."""
    for placed, _ in index.dialect_programs:
        procedures = placed.program.procedures
        if any(procedure.annotations.acl for procedure in procedures):
            for procedure in procedures:
                if procedure.msg is None and procedure.annotations.acl == ():
                    message = f"{procedure.name} needs no permission (@acl: none)"
                    yield _hit(
                        placed, procedure, message, "no access driver is consulted: every client may call it"
                    )


def acl_argument(index: LintIndex) -> Iterator[Hit]:
    """Yield @acl rules that use missing arguments."""
    for placed, procedure in index.procedures():
        arguments = index.arguments(procedure)
        for rule in procedure.annotations.acl or ():
            wanted = [*(["flags"] if rule.flags else []), *([rule.parameter] if rule.parameter else [])]
            for name in wanted:
                if name not in arguments:
                    message = f"@acl: {rule} uses the argument {name}, which {procedure.name} lacks"
                    yield _hit(placed, procedure, message, "the generated check does not compile")


def stream_place(index: LintIndex) -> Iterator[Hit]:
    """Yield streams with an invalid position among the parameters of the public function: these are the
    call's, preceded by the connection unless the first of them is an object."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        most = len(index.arguments(procedure)) + 1
        for word, place in (("readstream", said.readstream), ("writestream", said.writestream)):
            if place is not None and not 1 <= place <= most:
                message = f"expected @{word} of {procedure.name} between 1 and {most}, got {place}"
                yield _hit(placed, procedure, message, "the stream has no position among the parameters")


def stream_twice(index: LintIndex) -> Iterator[Hit]:
    """Yield procedures with a stream in both directions."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        if said.readstream is not None and said.writestream is not None:
            message = f"{procedure.name} has both @readstream and @writestream"
            yield _hit(placed, procedure, message, "a call opens one stream: keep the direction of its data")


def sparse_flag(index: LintIndex) -> Iterator[Hit]:
    """Yield @sparseflag without the stream or the flags that it applies to."""
    for placed, procedure in index.procedures():
        said = procedure.annotations
        if said.sparseflag is None:
            continue
        if said.readstream is None and said.writestream is None:
            lacks = "a stream"
        elif "flags" not in index.arguments(procedure):
            lacks = "a flags argument"
        else:
            continue
        message = f"@sparseflag: {said.sparseflag}, but {procedure.name} lacks {lacks}"
        yield _hit(placed, procedure, message, "no client can ask for a sparse stream")


def event_annotated(index: LintIndex) -> Iterator[Hit]:
    """Yield events with annotations for calls."""
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
                    placed,
                    procedure,
                    message,
                    "the annotation is ignored: clients are checked when they register",
                )


def _hit(placed: Placed, procedure: Procedure, message: str, effect: str) -> Hit:
    return Hit(placed.procedure_symbol(procedure), procedure.span, message, effect)
