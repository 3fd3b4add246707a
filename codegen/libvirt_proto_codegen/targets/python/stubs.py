"""Schema → what `calls.pyi.j2` shows: the types of a client's calls, for editors and type checkers."""

from __future__ import annotations

from dataclasses import dataclass

from libvirt_proto.codec.types import Named, Structure

from ... import naming
from ...schema import Module, Procedure
from .names import Names
from .scope import Scope
from .types import attributes


@dataclass(frozen=True, slots=True)
class CallView:
    """A procedure: its keyword arguments with their types, and the type of its reply."""

    name: str
    arguments: tuple[tuple[str, str], ...]
    result: str


@dataclass(frozen=True, slots=True)
class ProgramView:
    """A program: the class of its calls."""

    cls: str
    file: str
    calls: tuple[CallView, ...]


class CallsView:
    """All programs; of several versions of one, the newest."""

    def __init__(self, names: Names, banner: str) -> None:
        self.banner = banner
        self.programs: list[ProgramView] = []
        #: The modules of the types in the text.
        self.modules: set[str] = set()
        for module in names.schema.modules:
            scope = _Qualified(names, module, self.modules)
            newest = {
                program.short: program
                for program in sorted(module.programs, key=lambda program: program.version)
            }
            for name, program in newest.items():
                calls = tuple(_call(scope, each) for each in program.procedures if each.msg is None)
                if calls:
                    self.programs.append(ProgramView(naming.class_name(name), module.file, calls))


class _Qualified(Scope):
    """A Scope in which every type has its module before it."""

    def __init__(self, names: Names, module: Module, modules: set[str]) -> None:
        super().__init__(names, module)
        self._modules = modules

    def class_of(self, reference: Named) -> str:
        """The class, or the alias, of a type."""
        self._modules.add(reference.module)
        return f"{reference.module}.{super().class_of(reference)}"


def _call(scope: Scope, procedure: Procedure) -> CallView:
    arguments: tuple[tuple[str, str], ...] = ()
    if procedure.args is not None:
        node = scope.schema.definition(procedure.args).node
        if isinstance(node, Structure):
            hints = [scope.hint(field.node) for field in node.fields]
            arguments = tuple(zip(attributes(node), hints, strict=True))
    result = "None" if procedure.ret is None else scope.class_of(procedure.ret)
    return CallView(naming.identifier(procedure.short), arguments, result)
