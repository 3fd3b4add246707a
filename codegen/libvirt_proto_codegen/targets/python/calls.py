"""The calls that read and write a value of each type, a statement per field."""

from __future__ import annotations

from dataclasses import dataclass, field

from libvirt_proto.codec import types as xdr
from libvirt_proto.codec.sizes import minimum_size

from .scope import Scope

#: (bits, signed) → the words of §4.1, §4.2 and §4.5 as part of a function's name.
_INTEGERS = {
    (32, True): "int",
    (32, False): "unsigned_int",
    (64, True): "hyper",
    (64, False): "unsigned_hyper",
}
_FLOATS = {32: "float", 64: "double"}


@dataclass(frozen=True, slots=True)
class _Function:
    """A function that reads or writes a type, and its arguments after the first two: name → expression."""

    name: str
    arguments: dict[str, str] = field(default_factory=dict)


class Calls:
    """Node → the call that reads it from `buffer` at `pos`, and the call that writes it with `put`.

    `recursive` is for code of a type that contains itself.
    """

    def __init__(self, scope: Scope, recursive: bool) -> None:
        self._scope = scope
        self._recursive = recursive

    def read(self, node: xdr.Node) -> str:
        """Return the expression for the value and the next position."""
        return self._call(self._function("read", node), "buffer", "pos")

    def write(self, source: str, node: xdr.Node) -> str:
        """Return the statement that writes the value of an expression."""
        return self._call(self._function("write", node), source, "put")

    def _call(self, function: _Function, *first: str) -> str:
        arguments = (
            f"{name}={value}" if name == "min_size" else value for name, value in function.arguments.items()
        )
        return f"{function.name}({', '.join((*first, *arguments))})"

    def _element(self, verb: str, node: xdr.Node) -> str:
        """The expression for a function with the first two arguments only."""
        function = self._function(verb, node)
        if not function.arguments:
            return function.name
        self._scope.use("partial")
        arguments = (f"{name}={value}" for name, value in function.arguments.items())
        return f"partial({', '.join((function.name, *arguments))})"

    def _function(self, verb: str, node: xdr.Node) -> _Function:
        scope = self._scope
        match node:
            case xdr.Named():
                name = scope.function_of("decode" if verb == "read" else "encode", node)
                deeper = self._recursive and scope.schema.definition(node).recursive
                return _Function(name, {"depth": "depth"} if deeper else {})
            case xdr.Optional(element):
                name, arguments = "optional", {"element": self._element(verb, element)}
            case xdr.FixedArray(element, size):
                name, arguments = "fixed_array", self._elements(verb, element, size=scope.bound(size))
            case xdr.Array(element, limit):
                name, arguments = "array", self._elements(verb, element, limit=scope.bound(limit))
            case _:
                name, arguments = self._primitive(node)
        name = f"{verb}_{name}"
        scope.use(name)
        return _Function(name, arguments)

    def _elements(self, verb: str, element: xdr.Node, **arguments: str) -> dict[str, str]:
        arguments["element"] = self._element(verb, element)
        if verb == "read":
            arguments["min_size"] = str(minimum_size(element, self._scope.schema))
        return arguments

    def _primitive(self, node: xdr.Node) -> tuple[str, dict[str, str]]:
        match node:
            case xdr.Void():
                return "void", {}
            case xdr.Integer(bits, signed):
                return _INTEGERS[bits, signed], {}
            case xdr.Boolean():
                return "bool", {}
            case xdr.Floating(128):
                return "fixed_opaque", {"size": "16"}
            case xdr.Floating(bits):
                return _FLOATS[bits], {}
            case xdr.FixedOpaque(size):
                return "fixed_opaque", {"size": self._scope.bound(size)}
            case xdr.Opaque(limit):
                return "opaque", {"limit": self._scope.bound(limit)}
            case xdr.String(limit):
                return "string", {"limit": self._scope.bound(limit)}
            case _:
                raise AssertionError(f"expected the type of a declaration, got {node!r}")
