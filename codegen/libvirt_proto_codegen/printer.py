"""Specification to canonical XDR: upstream's names, numbers, limits and annotations, without its comments.

The output parses to an equal Specification.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from textwrap import indent

from libvirt_proto.codec.annotations import Annotations

from .model import (
    Argument,
    Builtin,
    Case,
    ConstDef,
    Declaration,
    Definition,
    EnumBody,
    EnumDef,
    EnumMember,
    Literal,
    ProcedureDef,
    ProgramDef,
    Shape,
    Specification,
    StructBody,
    StructDef,
    Text,
    TypedefDef,
    TypeName,
    TypeSpecifier,
    UnionBody,
    UnionDef,
    Value,
    VersionDef,
)


def print_specification(specification: Specification, head: str | None = None) -> str:
    """Return the text of a .x file; `head` is the text of a comment on its first line."""
    blocks = []
    if head:
        blocks.append(f"/* {head.replace('*/', '* /')} */\n")
    if specification.includes:
        blocks.append("".join(f'%#include "{header}"\n' for header in specification.includes))
    for constants, definitions in groupby(specification.definitions, lambda each: isinstance(each, ConstDef)):
        printed = [print_definition(definition, annotations=True) + "\n" for definition in definitions]
        blocks += ["".join(printed)] if constants else printed
    return "\n".join(blocks)


def print_definition(definition: Definition, annotations: bool) -> str:
    """Return the text of a definition, without a line end; `annotations` includes those, and `insert@N`."""
    name = definition.name
    match definition:
        case ConstDef():
            return f"const {name} = {_value(definition.value)};"
        case TypedefDef():
            return f"typedef {_declaration(definition.declaration, annotations)}"
        case EnumDef():
            return f"enum {name} {_enum_body(definition.body, annotations)};"
        case StructDef():
            number = definition.insert if annotations else None
            return f"struct {name} {_struct_body(definition.body, annotations, number)};"
        case UnionDef():
            return f"union {name} {_union_body(definition.body, annotations)};"
        case ProgramDef():
            versions = [_version_def(version) for version in definition.versions]
            return f"program {name} {_block(versions)} = {_value(definition.number)};"


def print_declaration(declaration: Declaration) -> str:
    """Return the text of a field, an arm or a typedef's declaration, without annotations: `unsigned int
    flags;`."""
    return _declaration(declaration, annotations=False)


def _block(lines: Iterable[str], behind_brace: str = "") -> str:
    return "{" + behind_brace + "\n" + indent("\n".join(lines), "    ") + "\n}"


def _value(value: Value | Text) -> str:
    return value.text if isinstance(value, Literal | Text) else value.name


def _declaration(declaration: Declaration, annotations: bool) -> str:
    kind = _type_specifier(declaration.type, annotations)
    size = "" if declaration.size is None else _value(declaration.size)
    suffix = {Shape.PLAIN: "", Shape.OPTIONAL: "", Shape.FIXED: f"[{size}]", Shape.VARIABLE: f"<{size}>"}
    star = "*" if declaration.shape is Shape.OPTIONAL else ""
    return f"{kind} {star}{declaration.name}{suffix[declaration.shape]};"


def _type_specifier(kind: TypeSpecifier, annotations: bool) -> str:
    match kind:
        case Builtin():
            return kind.value
        case TypeName():
            return f"{kind.keyword} {kind.name}" if kind.keyword else kind.name
        case EnumBody():
            return f"enum {_enum_body(kind, annotations)}"
        case StructBody():
            return f"struct {_struct_body(kind, annotations)}"
        case UnionBody():
            return f"union {_union_body(kind, annotations)}"


def _enum_body(body: EnumBody, annotations: bool) -> str:
    last = len(body.members) - 1
    members = [
        _enum_member(member, annotations) + ("" if index == last else ",")
        for index, member in enumerate(body.members)
    ]
    apart = annotations and any(member.annotations for member in body.members)
    return _block(["\n\n".join(members)] if apart else members)


def _enum_member(member: EnumMember, annotations: bool) -> str:
    value = "" if member.value is None else f" = {_value(member.value)}"
    said = _annotations(member.annotations) if annotations and member.annotations else ""
    return f"{said}{member.name}{value}"


def _annotations(annotations: Annotations) -> str:
    """Return the comment before a member, in the style of libvirt since 1.0.5; empty without annotations."""
    words = [
        ("generate", annotations.generate),
        ("readstream", annotations.readstream),
        ("writestream", annotations.writestream),
        ("sparseflag", annotations.sparseflag),
        ("priority", annotations.priority),
        *(("acl", rule) for rule in annotations.acl or ()),
        ("acl", "none" if annotations.acl == () else None),
        *(("aclfilter", rule) for rule in annotations.aclfilter),
    ]
    lines = [f" * @{word}: {argument}\n" for word, argument in words if argument is not None]
    return "".join(["/**\n", *lines, " */\n"]) if lines else ""


def _struct_body(body: StructBody, annotations: bool, insert: int | None = None) -> str:
    fields = [
        _declaration(field, annotations) + (_insert(field.insert) if annotations else "")
        for field in body.fields
    ]
    return _block(fields or ["void;"], _insert(insert))


def _insert(number: int | None) -> str:
    return "" if number is None else f" /* insert@{number} */"


def _union_body(body: UnionBody, annotations: bool) -> str:
    discriminant = _declaration(body.discriminant, annotations).removesuffix(";")
    cases = [
        "".join(f"case {_value(label)}:\n" for label in case.labels) + _arm(case, annotations)
        for case in body.cases
    ]
    if body.default:
        cases.append("default:\n" + _arm(body.default, annotations))
    return f"switch ({discriminant}) {_block(cases)}"


def _arm(case: Case, annotations: bool) -> str:
    return indent("void;" if case.arm is None else _declaration(case.arm, annotations), "    ")


def _version_def(version: VersionDef) -> str:
    procedures = [_procedure_def(procedure) for procedure in version.procedures]
    return f"version {version.name} {_block(procedures)} = {_value(version.number)};"


def _procedure_def(procedure: ProcedureDef) -> str:
    result = _type_specifier(procedure.result, annotations=True) if procedure.result else "void"
    arguments = ", ".join(map(_argument, procedure.arguments)) or "void"
    return f"{result} {procedure.name}({arguments}) = {_value(procedure.number)};"


def _argument(argument: Argument) -> str:
    name = f" {argument.name}" if argument.name else ""
    size = "" if argument.size is None else f"<{_value(argument.size)}>"
    star = " *" if argument.shape is Shape.OPTIONAL else ""
    return f"{_type_specifier(argument.type, annotations=True)}{star}{name}{size}"
