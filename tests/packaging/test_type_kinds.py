"""Kinds of types are matched in libvirt_proto/codec and in a few modules more, each for a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, get_args

import pytest

from libvirt_proto.codec import types

#: The names of the kinds.
KINDS: Final = frozenset(kind.__name__ for kind in get_args(types.Node))
#: A module that matches fewer kinds asks a question about a type; it does not traverse it.
TRAVERSAL: Final = 3
#: Modules outside codec/ that match more kinds, and why neither a Visitor nor `children` nor `walk` serves.
#: (A Visitor needs the runtime's TypeTable, which the generator does not have.)
EXCEPTIONS: Final[Mapping[str, str]] = {
    "libvirt_proto/jsonlines/schema.py": "its Visitor also asks where a reference leads",
    "libvirt_proto/rpc/objects.py": "asks at which indices a type's values always have something",
    "codegen/libvirt_proto_codegen/compare/nodes.py": "compares two types at once",
    "codegen/libvirt_proto_codegen/compare/types.py": "compares two definitions at once",
    "codegen/libvirt_proto_codegen/lint/secrets.py": "asks whether a declaration holds text",
    "codegen/libvirt_proto_codegen/resolve_types.py": "builds the types, checks labels",
    "codegen/libvirt_proto_codegen/sizes.py": "measures size, depth and recursion in one pass",
    "codegen/libvirt_proto_codegen/targets/python/calls.py": "generates code that calls typedefs",
    "codegen/libvirt_proto_codegen/targets/python/scope.py": "generates annotations",
    "codegen/libvirt_proto_codegen/targets/python/types.py": "generates classes of definitions",
    "codegen/libvirt_proto_codegen/targets/registry/types.py": "describes types, does not traverse them",
    "codegen/libvirt_proto_codegen/targets/structs.py": "prints C declarations, which nest inside out",
}  # fmt: skip


def kinds_matched(source: str) -> set[str]:
    """The kinds that a module matches, asks for with isinstance, or compares with."""
    tree = ast.parse(source)
    names = {alias.asname or alias.name: alias.name for alias in _imported(tree, "codec.types")}
    modules = {alias.asname or alias.name for alias in _imported(tree, "codec") if alias.name == "types"}
    found: set[str] = set()
    for each in (each for node in ast.walk(tree) for each in _asked(node)):
        match each:
            case ast.Name(name) if name in names:
                found.add(names[name])
            case ast.Attribute(ast.Name(module), name) if module in modules:
                found.add(name)
    return found & KINDS


def _imported(tree: ast.AST, module: str) -> Iterator[ast.alias]:
    """Names that are imported from a module, or from a package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f".{node.module or ''}".endswith(f".{module}"):
            yield from node.names


def _asked(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.MatchClass(cls):
            yield cls
        case ast.Call(ast.Name("isinstance"), [_, classes]):
            yield from ast.walk(classes)
        case ast.Compare():
            yield from ast.walk(node)


def modules(root: Path) -> dict[str, str]:
    """Product modules outside codec/ and the generated packages: path → text."""
    paths = [*(root / "libvirt_proto").rglob("*.py"), *(root / "codegen").rglob("*.py")]
    named = {path.relative_to(root).as_posix(): path for path in paths}
    apart = ("libvirt_proto/codec/", "libvirt_proto/generated/")
    return {name: path.read_text() for name, path in named.items() if not name.startswith(apart)}


def test_kinds_are_matched_in_the_codec_and_in_exceptions(root: Path) -> None:
    traversing = {
        name: sorted(kinds)
        for name, text in modules(root).items()
        if len(kinds := kinds_matched(text)) >= TRAVERSAL
    }
    assert traversing.keys() - EXCEPTIONS.keys() == set(), traversing
    assert EXCEPTIONS.keys() - traversing.keys() == set(), "an exception is no longer needed"


def test_types_are_imported_from_their_package(root: Path) -> None:
    """Else the module's kinds escape the test above."""
    for name, text in modules(root).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert "libvirt_proto.codec.types" not in [alias.name for alias in node.names], name


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("match x:\n case Array(String() as y): pass", {"Array", "String"}),
        ("isinstance(x, Array | Renamed)", {"Array", "Opaque"}),
        ("isinstance(x, (Array, String))", {"Array", "String"}),
        ("x == Array(y, None)", {"Array"}),
        ("type(x) is not Array", {"Array"}),
        ("Array(x, None)", set()),
        ("match x:\n case Bound(): pass", set()),
        ("match x:\n case xdr.Array(xdr.String() as y): pass", {"Array", "String"}),
        ("isinstance(x, xdr.Array | xdr.Bound)", {"Array"}),
        ("type(x) is not xdr.Array", {"Array"}),
        ("xdr.Array(x, None)", set()),
        ("match x:\n case other.Array(): pass", set()),
    ],
)
def test_each_way_to_ask_is_seen(text: str, kinds: set[str]) -> None:
    imports = (
        "from ..codec.types import Array, Bound, Opaque as Renamed, String\n"
        "from ..codec import other, types as xdr\n"
    )
    assert kinds_matched(imports + text) == kinds
