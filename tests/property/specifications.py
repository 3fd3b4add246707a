"""Strategies for Specifications: everything that RFC 4506, RFC 5531 and libvirt's dialect can express."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from libvirt_proto.codec.annotations import AccessRule, Annotations
from libvirt_proto_codegen.model import (
    Argument,
    Builtin,
    Case,
    ConstDef,
    Declaration,
    EnumBody,
    EnumDef,
    EnumMember,
    Literal,
    ProcedureDef,
    ProgramDef,
    Reference,
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
from libvirt_proto_codegen.source import Source, Span

#: Spans do not affect equality.
AT = Span(Source("", ""), 0, 0)

#: RFC 4506 §6.4, and char, short and long; program, version, namespace and pragma may be names.
KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "bool case char const default double enum float hyper int long opaque quadruple short string struct "
        "switch typedef union unsigned void",
    )
)

names = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
    st.sampled_from(
        [
            "program",
            "version",
            "namespace",
            "pragma",
            "type",
            "from",
            "TRUE",
            "autogen",
            "insert",
            "intx",
            "voidx",
        ]
    ),
).filter(lambda name: name not in KEYWORDS)


@st.composite
def literals(draw: st.DrawFn) -> Literal:
    """Every number in each of its spellings."""
    value = draw(st.integers(-(2**63), 2**64 - 1) | st.integers(-20, 20))
    sign, size = ("-", -value) if value < 0 else ("", value)
    spelling = draw(st.sampled_from(["{}", "0{:o}", "0x{:x}", "0x{:X}", "0X{:x}", "0x{:08x}"]))
    return Literal(value, sign + spelling.format(size), span=AT)


references = st.builds(Reference, names, span=st.just(AT))
characters = st.builds(Literal, st.just(65), st.just("'A'"), span=st.just(AT))
values: st.SearchStrategy[Value] = literals() | references | characters
texts = st.builds(Text, st.from_regex(r'"[ !#-\[\]-~]{0,9}"', fullmatch=True), span=st.just(AT))

type_names = st.builds(TypeName, names, st.sampled_from([None, "enum", "struct", "union"]), span=st.just(AT))
plain_types = st.sampled_from([each for each in Builtin if each not in (Builtin.OPAQUE, Builtin.STRING)])

flags = st.lists(st.builds(str.__add__, st.sampled_from(["", "!"]), names), min_size=1, max_size=3).map(
    "|".join
)
none = st.none()
short_rules = st.builds(AccessRule, names, names, none, none, none)
access_rules = st.one_of(
    short_rules,
    st.builds(AccessRule, names, names, flags, none, none),
    st.builds(AccessRule, names, names, none | flags, names, names),
)
annotations = st.builds(
    Annotations,
    generate=st.sampled_from([None, "none", "client", "server", "both"]),
    priority=st.sampled_from([None, "low", "high"]),
    readstream=st.none() | st.integers(0, 99),
    writestream=st.none() | st.integers(0, 99),
    sparseflag=st.none() | names,
    acl=st.none() | st.lists(access_rules, max_size=3).map(tuple),
    aclfilter=st.lists(short_rules, max_size=2).map(tuple),
).filter(lambda said: said != Annotations())

enum_bodies = st.builds(
    EnumBody,
    st.lists(
        st.builds(EnumMember, names, st.none() | values, st.none() | annotations, span=st.just(AT)),
        min_size=1,
        max_size=4,
    ).map(tuple),
    span=st.just(AT),
)


@st.composite
def declarations(
    draw: st.DrawFn, types: st.SearchStrategy[TypeSpecifier], *, plain: bool = False, inserted: bool = False
) -> Declaration:
    """A declaration that RFC 4506 §6.3 allows; only fields have an `insert@N`."""
    shapes = [Shape.PLAIN] if plain else list(Shape)
    kinds = types if plain else types | st.sampled_from([Builtin.OPAQUE, Builtin.STRING])
    kind = draw(kinds)
    if kind is Builtin.OPAQUE:
        shapes = [Shape.FIXED, Shape.VARIABLE]
    elif kind is Builtin.STRING:
        shapes = [Shape.VARIABLE]
    shape = draw(st.sampled_from(shapes))
    size = None
    if shape is Shape.FIXED:
        size = draw(values)
    elif shape is Shape.VARIABLE:
        size = draw(st.none() | values)
    insert = draw(st.none() | st.integers(0, 99)) if inserted else None
    return Declaration(draw(names), kind, shape, size, insert, span=AT)


def struct_bodies(types: st.SearchStrategy[TypeSpecifier]) -> st.SearchStrategy[StructBody]:
    fields = st.lists(declarations(types, inserted=True), max_size=4).map(tuple)
    return st.builds(StructBody, fields, span=st.just(AT))


def union_bodies(types: st.SearchStrategy[TypeSpecifier]) -> st.SearchStrategy[UnionBody]:
    arms = st.none() | declarations(types)
    labels = st.lists(values, min_size=1, max_size=3).map(tuple)
    cases = st.lists(st.builds(Case, labels, arms, span=st.just(AT)), min_size=1, max_size=3).map(tuple)
    default = st.none() | st.builds(Case, st.just(()), arms, span=st.just(AT))
    return st.builds(UnionBody, declarations(types, plain=True), cases, default, span=st.just(AT))


types: st.SearchStrategy[TypeSpecifier] = st.recursive(
    plain_types | type_names | enum_bodies,
    lambda inner: struct_bodies(inner) | union_bodies(inner),
    max_leaves=4,
)

argument_names = st.none() | names
arguments = st.one_of(
    st.builds(
        Argument,
        plain_types | type_names,
        argument_names,
        st.sampled_from([Shape.PLAIN, Shape.OPTIONAL]),
        span=st.just(AT),
    ),
    st.builds(
        Argument,
        st.just(Builtin.STRING),
        argument_names,
        st.just(Shape.VARIABLE),
        st.none() | values,
        span=st.just(AT),
    ),
)
procedures = st.builds(
    ProcedureDef,
    names,
    st.none() | plain_types | type_names | st.just(Builtin.STRING),
    st.lists(arguments, max_size=3).map(tuple),
    values,
    span=st.just(AT),
)
versions = st.builds(
    VersionDef, names, st.lists(procedures, min_size=1, max_size=3).map(tuple), values, span=st.just(AT)
)
definitions = st.one_of(
    st.builds(ConstDef, names, values | texts, span=st.just(AT)),
    st.builds(TypedefDef, declarations(types), span=st.just(AT)),
    st.builds(EnumDef, names, enum_bodies, span=st.just(AT)),
    st.builds(StructDef, names, struct_bodies(types), st.none() | st.integers(0, 99), span=st.just(AT)),
    st.builds(UnionDef, names, union_bodies(types), span=st.just(AT)),
    st.builds(
        ProgramDef, names, st.lists(versions, min_size=1, max_size=2).map(tuple), values, span=st.just(AT)
    ),
)

specifications = st.builds(
    Specification,
    st.from_regex(re.compile(r"[a-z][a-z0-9_]{0,9}\.x", re.ASCII), fullmatch=True),
    st.lists(definitions, max_size=6).map(tuple),
    st.lists(
        st.from_regex(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+-]{0,9}\.h", re.ASCII), fullmatch=True), max_size=3
    ).map(tuple),
    span=st.just(AT),
)


@st.composite
def dialect_specifications(draw: st.DrawFn) -> Specification:
    """One program by libvirt's conventions, more or less strictly, that resolves: names are distinct, and
    types contain only earlier types by value."""
    limits: list[Value | None] = [None, Literal(7, "7", span=AT), Reference("DEMO_MAX", span=AT)]
    count = draw(st.integers(1, 4))
    held = [f"demo_type{number}" for number in range(count)]

    def declaration(name: str, before: int) -> Declaration:
        shape = draw(st.sampled_from(Shape))
        kinds: list[TypeSpecifier] = [Builtin.INT, Builtin.UNSIGNED_HYPER, Builtin.DOUBLE]
        by_value = shape in (Shape.PLAIN, Shape.FIXED)
        kinds += [TypeName(each, span=AT) for each in (held[:before] if by_value else held)]
        if shape in (Shape.FIXED, Shape.VARIABLE):
            kinds.append(Builtin.OPAQUE)
        if shape is Shape.VARIABLE:
            kinds.append(Builtin.STRING)
        sizes = {Shape.FIXED: limits[1:], Shape.VARIABLE: limits}.get(shape, [None])
        return Declaration(name, draw(st.sampled_from(kinds)), shape, draw(st.sampled_from(sizes)), span=AT)

    def struct(name: str, before: int) -> StructDef:
        fields = [declaration(each, before) for each in draw(st.permutations(["flags", "a", "b"]))]
        return StructDef(name, StructBody(tuple(fields[: draw(st.integers(1, 3))]), span=AT), span=AT)

    def union(name: str, before: int) -> UnionDef:
        arms = [None, declaration("a", before), declaration("b", before)]
        cases = [Case((Literal(at, str(at), span=AT),), arm, span=AT) for at, arm in enumerate(arms)]
        discriminant = Declaration("kind", Builtin.INT, span=AT)
        return UnionDef(name, UnionBody(discriminant, tuple(cases), None, span=AT), span=AT)

    defined: list[ConstDef | StructDef | UnionDef | EnumDef] = [
        ConstDef(name, Literal(value, str(value), span=AT), span=AT)
        for name, value in (("DEMO_MAX", 2**26), ("DEMO_PROGRAM", 9), ("DEMO_PROTOCOL_VERSION", 1))
    ]
    defined += [draw(st.sampled_from([struct, union]))(name, before) for before, name in enumerate(held)]
    numbers = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True))
    members = []
    for number in numbers:
        prefix, stem = draw(st.sampled_from(["DEMO_PROC_", "OTHER_PROC_", ""])), f"P{number}_EVENT"
        name = prefix + draw(st.sampled_from([stem, stem.removesuffix("_EVENT")]))
        type_ = name.replace("PROC_", "").lower()
        value = Literal(number, str(number), span=AT)
        members.append(EnumMember(name, value, draw(st.none() | annotations), span=AT))
        for part in draw(st.lists(st.sampled_from(["args", "ret", "msg"]), unique=True)):
            capitals = type_.title().replace("_", "") + part.title()
            other = type_.replace("_", "", 1) + f"_{part}"
            spelt = draw(st.sampled_from([f"{type_}_{part}", capitals, other]))
            defined.append(struct(spelt, count))
    defined.append(EnumDef("demo_procedure", EnumBody(tuple(members), span=AT), span=AT))
    return Specification("demo_protocol.x", tuple(defined), span=AT)
