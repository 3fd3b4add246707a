"""Layout files, which libvirt keeps next to its sources to lock its ABI (`remote_protocol-structs`).

Upstream makes them from compiled code: rpcgen's C types, as pdwtags prints them from debugging information,
without comments. A file generated here is identical to the byte, but needs only the .x:

- A struct or union of the .x is a struct of C, in the order of the definitions; an enum is an enum. Typedefs
and
  constants are omitted: their names appear in the fields, their numbers as sizes of arrays.
- Names of fields are aligned in one column, 35 at any depth. A longer type is followed by one space.
- A file begins with the types of other files that its own use, directly or not (qemu's and lxc's with
  `remote_nonnull_domain`).
- Upstream prints only types whose names begin like those of its programs, which excludes the log manager's.
So
  `log_protocol.x` has no file, unless it is the only definition file.

One thing in the old files is in no .x: the anonymous enum of VIR_TYPED_PARAM_* at the start of remote and
admin. The compiler keeps it because case labels of unions are its members, so it is derived from these
labels. Known: 0.9.7, 2.0.0 and a state of 5.x before 5.5.0 have it; 6.2.0 and later lack it, since upstream's
script drops anonymous enums (compilers and pdwtags still show it). Assumed: all releases up to 5.4.0 have it,
and none since 5.5.0. No release has to be given: definitions since 5.5.0 are recognised by a type that was
added then.

For definitions unrelated to libvirt every type is printed. An anonymous body, which rpcgen does not accept,
is printed in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from libvirt_proto.codec.types import (
    Arm,
    Array,
    Boolean,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Member,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    TypeDefinition,
    UnionType,
    Void,
)

from ..render import Artefact, render
from ..schema import Module, Schema
from ..sizes import references

#: The first line of every layout file, by which a replaceable one is recognised.
HEAD: Final = "/* -*- c -*- */"

#: The words of the .x → rpcgen's C types; 64-bit types are those that libvirt's build substitutes for quad_t
#: and u_quad_t.
_INTEGERS: Final = {
    "int": "int",
    "unsigned int": "u_int",
    "hyper": "int64_t",
    "unsigned hyper": "uint64_t",
    "char": "char",
    "unsigned char": "u_char",
    "short": "short int",
    "unsigned short": "u_short",
    "long": "long int",
    "unsigned long": "u_long",
}
_FLOATS: Final = {32: "float", 64: "double", 128: "quadruple"}

#: The keyword that a .x may write before the name of a type (libvirt's do, until 1.2.17) → C's.
_KEYWORDS: Final = {"struct": "struct ", "union": "struct ", "enum": "enum "}

#: The file without a layout file upstream.
_NOT_KEPT: Final = "log_protocol.x"
#: A type of every release of libvirt, and one added in 5.5.0.
_ALWAYS: Final = "remote_nonnull_domain"
_SINCE_5_5: Final = "remote_nonnull_network_port"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field: its type as C prints it (`char *`), and its name with its suffix (`model[32]`)."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class _Group:
    """A struct, union or enum. `head` is the text before the brace (`struct remote_error`, `union`), `name`
    the text after it: empty for a definition."""

    head: str
    entries: tuple[_Entry | _Group, ...] = ()
    members: tuple[Member, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class _LayoutFile:
    head: str
    definitions: tuple[_Group, ...]


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """Return a layout file for each module of a Schema (`remote_protocol-structs`) except the log manager."""
    return tuple(
        Artefact(f"{module.file.removesuffix('.x')}-structs", _text(schema, module), replaces=HEAD)
        for module in schema.modules
        if module.file != _NOT_KEPT or len(schema.modules) == 1
    )


def _text(schema: Schema, module: Module) -> str:
    layout = _Layout(schema)
    used = [layout.definition(type_) for type_ in _used_of_others(schema, module)]
    own = [layout.definition(type_) for type_ in module.types if not type_.anonymous]
    definitions = (*_case_labels(schema, module), *used, *own)
    view = _LayoutFile(HEAD, tuple(group for group in definitions if group))
    return render("structs", "structs.j2", view)


def _case_labels(schema: Schema, module: Module) -> Iterator[_Group]:
    """Yield the anonymous enum from libvirt's headers at the start of old files: its members are case
    labels."""
    types = {type_.name for each in schema.modules for type_ in each.types}
    if _ALWAYS not in types or _SINCE_5_5 in types:
        return
    outside = {external.name for external in module.externals}
    labels = {
        label.name: label.value
        for type_ in module.types
        if isinstance(type_.node, UnionType)
        for arm in type_.node.arms
        for label in arm.labels
        if label.name in outside
    }
    if labels:
        members = sorted(labels.items(), key=lambda label: label[1])
        yield _Group("enum", members=tuple(Member(name, value) for name, value in members if name))


def _used_of_others(schema: Schema, module: Module) -> list[TypeDefinition]:
    """Return the types of other modules that this one needs, each after the types that it needs."""
    found: dict[Named, None] = {}
    queue = [type_.node for type_ in module.types]
    for node in queue:
        for reference, _ in references(node):
            if reference.module != module.name and reference not in found:
                found[reference] = None
                queue.append(schema.definition(reference).node)
    return [
        type_
        for other in _needed_first(schema, module)
        for type_ in other.types
        if Named(other.name, type_.name) in found and not type_.anonymous
    ]


def _needed_first(schema: Schema, module: Module) -> Iterable[Module]:
    """Return the modules that a module imports, directly or not, each after its own imports."""
    found: dict[str, Module] = {}

    def visit(name: str) -> None:
        for other in schema.by_name[name].imports:
            if other not in found:
                visit(other)
                found.setdefault(other, schema.by_name[other])

    visit(module.name)
    return found.values()


class _Layout:
    """C layouts of types."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def definition(self, type_: TypeDefinition) -> _Group | None:
        """Return the layout of a definition; None for a typedef, which has none unless it contains a body."""
        if isinstance(type_.node, Structure | UnionType | Enumeration):
            return self._body(type_, type_.name, tag=f" {type_.name}")
        if any(self._schema.definition(to).anonymous for to, _ in references(type_.node)):
            field = self._field(type_.node, type_.name, type_, type_.xdr)
            return replace(field, head=f"typedef {field.head}") if isinstance(field, _Group) else None
        return None

    def _body(self, type_: TypeDefinition, owner: str, *, tag: str = "", name: str = "") -> _Group:
        """Return the layout of a body. `owner` gives the union in it its name."""
        match type_.node:
            case Enumeration(members):
                return _Group(f"enum{tag}", members=members, name=name)
            case Structure(fields):
                entries = [self._field(field.node, field.name, type_, field.xdr) for field in fields]
                return _Group(f"struct{tag}", tuple(entries), name=name)
            case UnionType(discriminant) as node:
                kind = self._field(discriminant.node, discriminant.name, type_, discriminant.xdr)
                union = _Group("union", tuple(self._arms(node.every_arm, type_)), name=f"{owner}_u")
                return _Group(f"struct{tag}", (kind, union), name=name)
        raise AssertionError(f"{type_.name} is a typedef")

    def _arms(self, arms: Iterable[Arm], type_: TypeDefinition) -> Iterator[_Entry | _Group]:
        for arm in arms:
            if arm.name:
                yield self._field(arm.node, arm.name, type_, arm.xdr)

    def _field(self, node: Node, name: str, inside: TypeDefinition, xdr: str) -> _Entry | _Group:
        """Return a field as rpcgen declares it in the struct of `inside`."""
        match node:
            case FixedOpaque(size):
                return _Entry("char", f"{name}[{size.value}]")
            case String():
                return _Entry("char *", name)
            case Opaque():
                return self._counted(_Entry("char *", f"{name}_val"), name)
            case FixedArray(element, size):
                return self._element(element, "", f"{name}[{size.value}]", inside, xdr)
            case Array(element):
                return self._counted(self._element(element, " *", f"{name}_val", inside, xdr), name)
            case Optional(element):
                return self._element(element, " *", name, inside, xdr)
            case _:
                return self._element(node, "", name, inside, xdr)

    def _counted(self, values: _Entry | _Group, name: str) -> _Group:
        return _Group("struct", (_Entry("u_int", f"{name}_len"), values), name=name)

    def _element(
        self, node: Node, pointer: str, name: str, inside: TypeDefinition, xdr: str
    ) -> _Entry | _Group:
        if not isinstance(node, Named):
            return _Entry(f"{_scalar(node)}{pointer}", name)
        type_ = self._schema.definition(node)
        if type_.anonymous:
            return self._body(type_, type_.name.rpartition(".")[2], name=f"{pointer} {name}".lstrip())
        # Inside its own body a struct is not yet a typedef; elsewhere C has a keyword where the .x has it.
        written = _KEYWORDS.get(xdr.partition(" ")[0], "")
        keyword = "struct " if type_ is inside else written
        return _Entry(f"{keyword}{node.name}{pointer}", name)


def _scalar(node: Node) -> str:
    match node:
        case Integer(spelling=spelling):
            return _INTEGERS[spelling]
        case Floating(bits):
            return _FLOATS[bits]
        case Boolean():
            return "bool_t"
        case Void():
            return "void"
    raise AssertionError(f"expected a scalar, got {node}")
