"""The Python names of a Schema, each given out once."""

from __future__ import annotations

from graphlib import TopologicalSorter

from libvirt_proto.codec.types import Named

from ... import naming
from ...schema import Schema

#: What the head of a module imports from the runtime, when the module uses it.
VALUES = frozenset(("XdrStruct", "XdrUnion"))
XDR = frozenset(
    (
        *("UNBOUNDED", "Put", "deeper", "no_arm", "require_api", "read_enum", "write_void"),
        *(
            f"{verb}_{name}"
            for verb in ("read", "write")
            for name in (
                *("int", "unsigned_int", "hyper", "unsigned_hyper", "float", "double", "bool"),
                *("fixed_opaque", "opaque", "string", "fixed_array", "array", "optional"),
            )
        ),
    )
)
OTHER = frozenset(
    (
        *("Final", "IntEnum", "annotations", "partial"),
        *("TYPES", "ENUMS", "TypeBindings", "Any"),
        *("bool", "bytes", "float", "int", "list", "str", "tuple", "type"),
    )
)


class Names:
    """The Python names of every type of a Schema, given out once, module by module."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.classes: dict[Named, str] = {}
        self.functions: dict[Named, str] = {}
        self.constants: dict[str, dict[str, str]] = {}
        self.globals: dict[str, set[str]] = {}
        order = TopologicalSorter({module.name: module.imports for module in schema.modules})
        for module in map(schema.by_name.__getitem__, order.static_order()):
            taken = set(VALUES | XDR | OTHER)
            imported = [key for key in self.classes if key.module in module.imports]
            taken.update(self.classes[key] for key in imported)
            for definition in module.types:
                key = Named(module.name, definition.name)
                self.classes[key] = self._give(naming.class_name(definition.name), taken)
                self.functions[key] = self._give_function(definition.name.replace(".", "_"), taken)
            constants = [external.name for external in module.externals]
            constants += [constant.name for constant in module.constants]
            constants += [text.name for text in module.texts]
            self.constants[module.name] = {
                name: self._give(naming.constant_name(name), taken) for name in constants
            }
            self.globals[module.name] = taken

    @staticmethod
    def _give(name: str, taken: set[str]) -> str:
        name = naming.identifier(name, taken)
        taken.add(name)
        return name

    @staticmethod
    def _give_function(name: str, taken: set[str]) -> str:
        while f"decode_{name}" in taken:  # encode_ goes with it
            name += "_"
        taken.update((f"decode_{name}", f"encode_{name}"))
        return name
