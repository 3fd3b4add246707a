"""One module while it is written: which names it uses, and how its types are annotated."""

from __future__ import annotations

from typing import Final

from libvirt_proto.codec.types import (
    Array,
    Boolean,
    Bound,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
)

from ...schema import Module, Schema
from .names import Names

#: Of a layout: one with more in it is known by a number.
_LONGEST_NAME: Final = 32


class Scope:
    """The names that a module's text refers to. `used` are names from the runtime, `foreign` are names from
    other modules of the package, `layouts` maps expressions for wire layouts to the module's names for
    them."""

    def __init__(self, names: Names, module: Module) -> None:
        self.names = names
        self.schema: Schema = names.schema
        self.module = module
        self.used: set[str] = set()
        self.foreign: dict[str, set[str]] = {}
        self.layouts: dict[str, str] = {}
        self._taken = set(self.globals)

    @property
    def globals(self) -> set[str]:
        """Every name that means something at module level."""
        return self.names.globals[self.module.name]

    def use(self, *names: str) -> None:
        """Note names that the head of the module must import."""
        self.used.update(names)

    def class_of(self, reference: Named) -> str:
        """The class, or the alias, of a type."""
        return self._foreign(reference, self.names.classes[reference])

    def function_of(self, verb: str, reference: Named) -> str:
        """A type's function: `decode_x`, `encode_x`, `as_x` for enumerations, `list_x` for many."""
        return self._foreign(reference, f"{verb}_{self.names.functions[reference]}")

    def _foreign(self, reference: Named, name: str) -> str:
        if reference.module != self.module.name:
            self.foreign.setdefault(reference.module, set()).add(name)
        return name

    def bound(self, bound: Bound | None) -> str:
        """A length or bound: by its name where the module has it, else as a number."""
        if bound is None:
            self.use("UNBOUNDED")
            return "UNBOUNDED"
        return self.names.constants[self.module.name].get(bound.name or "", str(bound.value))

    def unpacker(self, code: str) -> str:
        """The function that reads a `struct` layout."""
        return self._layout(f"_{code}_from", f'Struct(">{code}").unpack_from')

    def packer(self, code: str) -> str:
        """The function that makes the bytes of a `struct` layout."""
        return self._layout(f"_{code}_to", f'Struct(">{code}").pack')

    def texts(self, code: str, limit: str, *, ahead: bool) -> str:
        """The Texts for a limit and the `struct` layout after them; with `ahead`, the layout ends with the
        length of the next value."""
        name = f"_text_{code}" if code else "_text"
        if ahead:
            return self._layout(f"{name}_ahead", f'Texts("{code}", {limit}, ahead=4)')
        return self._layout(name, f'Texts("{code}", {limit})')

    def _layout(self, name: str, value: str) -> str:
        """The module's name for an expression: this one, unless it is long or something else has it."""
        if value not in self.layouts:
            self.use(value.partition("(")[0])
            number = len(self.layouts)
            if len(name) > _LONGEST_NAME:
                name = f"_layout{number}"
            if name in self._taken:
                name = f"{name}_{number}"
            while name in self._taken:
                name += "_"
            self._taken.add(name)
            self.layouts[value] = name
        return self.layouts[value]

    def hint(self, node: Node) -> str:
        """The Python type of a node's values, in Python."""
        match node:
            case Integer() | Floating() | Boolean():
                return _python(node)
            case Named():
                name = self.class_of(node)
                return f"{name} | int" if isinstance(self.schema.definition(node).node, Enumeration) else name
            case FixedOpaque() | Opaque():
                return "bytes"
            case String():
                return "str | bytes"
            case FixedArray(element) | Array(element):
                return f"list[{self.hint(element)}]"
            case Optional(element):
                return f"{self.hint(element)} | None"
            case _:
                raise AssertionError(f"expected a type without a body, got {node!r}")

    def plain(self, node: Node) -> set[str]:
        """The Python types that a node's values have, for a union's `value`."""
        match node:
            case Named():
                target = self.schema.definition(node).node
                if isinstance(target, Structure | UnionType):
                    return {self.class_of(node)}
                return {"int"} if isinstance(target, Enumeration) else self.plain(target)
            case Integer() | Floating() | Boolean():
                return {_python(node)}
            case FixedOpaque() | Opaque():
                return {"bytes"}
            case String():
                return {"str", "bytes"}
            case FixedArray(element) | Array(element):
                return {f"list[{' | '.join(sorted(self.plain(element)))}]"}
            case Optional(element):
                return {*self.plain(element), "None"}
            case _:
                return {"None"}


def _python(node: Integer | Floating | Boolean) -> str:
    match node:
        case Integer():
            return "int"
        case Floating(bits):
            return "bytes" if bits == 128 else "float"
        case Boolean():
            return "bool"
