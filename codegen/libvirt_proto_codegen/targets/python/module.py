"""Module → what `module.py.j2` shows."""

from __future__ import annotations

from collections.abc import Iterable

from ...render import API_VERSION
from ...schema import Module
from .names import VALUES, XDR, Names
from .scope import Scope
from .types import TypedefView, Types, TypeView


class ModuleView:
    """A whole module; building it first gathers all that its head must import."""

    def __init__(self, names: Names, module: Module, banner: str) -> None:
        scope = Scope(names, module)
        scope.use("require_api", "Final")
        self.banner = banner
        self.api = API_VERSION
        self.module = module
        self._scope = scope
        types = Types(scope)
        self.types: list[TypeView] = [types.of(definition) for definition in module.types]
        if any(definition.recursive for definition in module.types):
            # Annotations of classes wait until they are asked for, aliases do not.
            self.types.sort(key=lambda view: isinstance(view, TypedefView))
        if self.types:
            scope.use("Put")

    @property
    def used(self) -> set[str]:
        """Names of the runtime and of Python that the text uses."""
        return self._scope.used

    @property
    def from_values(self) -> list[str]:
        """Imports from libvirt_proto.codec.values."""
        return self._imports(VALUES)

    @property
    def from_xdr(self) -> list[str]:
        """Imports from libvirt_proto.codec.primitives."""
        return self._imports(XDR)

    @property
    def from_typing(self) -> list[str]:
        """Imports from typing."""
        return self._imports(("Any", "Final"))

    @property
    def from_modules(self) -> list[tuple[str, list[str]]]:
        """(module, names) of the imports from other modules of the package."""
        return [(name, sorted(found)) for name, found in sorted(self._scope.foreign.items())]

    @property
    def constants(self) -> list[tuple[str, str, str]]:
        """(Python name, literal, comment); a number keeps the spelling of the .x, a string its escapes."""
        names = self._scope.names.constants[self.module.name]
        rows = [(names[e.name], str(e.value), e.header or "") for e in self.module.externals]
        for constant in self.module.constants:
            is_literal = constant.text.lower().startswith("0x") or constant.text == str(constant.value)
            literal = constant.text if is_literal else str(constant.value)
            rows.append((names[constant.name], literal, "" if is_literal else constant.text))
        rows += [(names[text.name], repr(text.text), "") for text in self.module.texts]
        return rows

    def _imports(self, group: Iterable[str]) -> list[str]:
        return sorted(self._scope.used.intersection(group), key=lambda name: (name.upper() != name, name))
