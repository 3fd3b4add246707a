"""One module while it is written: which names it uses, and how its types are annotated."""

from __future__ import annotations

from libvirt_proto.codec import types as xdr

from ... import naming
from ...schema import Module, Schema
from .names import Names


class Scope:
    """The names that a module's text refers to. `used` are names from the runtime, `foreign` are names from
    other modules of the package."""

    def __init__(self, names: Names, module: Module) -> None:
        self.names = names
        self.schema: Schema = names.schema
        self.module = module
        self.used: set[str] = set()
        self.foreign: dict[str, set[str]] = {}

    @property
    def globals(self) -> set[str]:
        """Every name that means something at module level."""
        return self.names.globals[self.module.name]

    def use(self, *names: str) -> None:
        """Note names that the head of the module must import."""
        self.used.update(names)

    def class_of(self, reference: xdr.Named) -> str:
        """The class, or the alias, of a type."""
        return self._foreign(reference, self.names.classes[reference])

    def function_of(self, verb: str, reference: xdr.Named) -> str:
        """A type's function: `decode_x` or `encode_x`."""
        return self._foreign(reference, f"{verb}_{self.names.functions[reference]}")

    def _foreign(self, reference: xdr.Named, name: str) -> str:
        if reference.module != self.module.name:
            self.foreign.setdefault(reference.module, set()).add(name)
        return name

    def bound(self, bound: xdr.Bound | None) -> str:
        """A length or bound: by its name where the module has it, else as a number."""
        if bound is None:
            self.use("UNBOUNDED")
            return "UNBOUNDED"
        return self.names.constants[self.module.name].get(bound.name or "", str(bound.value))

    def local(self, name: str, taken: set[str]) -> str:
        """Return the name of a local of a generated function, given out once."""
        name = naming.identifier(name, naming.LOCALS, self.globals, taken)
        taken.add(name)
        return name

    def hint(self, node: xdr.Node) -> str:
        """Return the annotation for a node's values."""
        return " | ".join(self.hints(node))

    def hints(self, node: xdr.Node) -> tuple[str, ...]:
        """Return the alternatives in the annotation for a node's values."""
        match node:
            case xdr.Void():
                return ("None",)
            case xdr.Integer():
                return ("int",)
            case xdr.Floating(bits):
                return ("bytes" if bits == 128 else "float",)
            case xdr.Boolean():
                return ("bool",)
            case xdr.FixedOpaque() | xdr.Opaque():
                return ("bytes",)
            case xdr.String():
                return "str", "bytes"
            case xdr.FixedArray(element) | xdr.Array(element):
                return (f"list[{self.hint(element)}]",)
            case xdr.Optional(element):
                return *self.hints(element), "None"
            case xdr.Named() if isinstance(self.schema.definition(node).node, xdr.Enumeration):
                return self.class_of(node), "int"
            case xdr.Named():
                return (self.class_of(node),)
            case _:
                raise AssertionError(f"expected a type without a body, got {node!r}")
