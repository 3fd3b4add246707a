"""Module → what `module.py.j2` shows."""

from __future__ import annotations

from collections.abc import Iterable

from ...model import AccessRule, Annotations
from ...render import API_VERSION
from ...schema import Module, Named, Procedure, Program
from .history import procedure_line, type_lines
from .names import LAYOUT, PROGRAM, XDR, Names
from .scope import Scope
from .types import Types, TypeView


class ModuleView:
    """A whole module; building it first gathers all that its head must import."""

    def __init__(self, names: Names, module: Module, banner: str) -> None:
        scope = Scope(names, module)
        scope.use("require_api", "Final", "IntEnum", "Program", "XdrType")
        self.banner = banner
        self.api = API_VERSION
        self.module = module
        self._scope = scope
        types = Types(scope)
        recursive = any(definition.recursive for definition in module.types)
        self.types: list[TypeView] = [types.of(definition, recursive) for definition in module.types]
        self._history = names.schema.history
        if self._history is not None:
            for view in self.types:
                view.history = type_lines(self._history, view.definition)
        if recursive:  # annotations of classes wait until they are asked for, aliases do not
            self.types.sort(key=lambda view: view.kind == "typedef")
        if self.types:
            scope.use("Put")
        self.programs: list[tuple[Program, list[tuple[Procedure, str, list[str]]]]] = [
            (
                program,
                [
                    (procedure, self._since(program, procedure), self._arguments(procedure))
                    for procedure in program.procedures
                ],
            )
            for program in module.programs
        ]

    @property
    def used(self) -> set[str]:
        """Names of the runtime and of Python that the text uses."""
        return self._scope.used

    @property
    def layouts(self) -> dict[str, str]:
        """`struct` code → name, in the order of first use."""
        return self._scope.layouts

    @property
    def from_layout(self) -> list[str]:
        """Imports from libvirt_proto.layout."""
        return self._imports(LAYOUT)

    @property
    def from_xdr(self) -> list[str]:
        """Imports from libvirt_proto.xdr."""
        return self._imports(XDR)

    @property
    def from_program(self) -> list[str]:
        """Imports from libvirt_proto.program."""
        return self._imports(PROGRAM)

    @property
    def from_typing(self) -> list[str]:
        """Imports from typing."""
        return self._imports(("Annotated", "Any", "ClassVar", "Final"))

    @property
    def from_modules(self) -> list[tuple[str, list[str]]]:
        """(module, names) of the imports from other modules of the package."""
        return [(name, sorted(found)) for name, found in sorted(self._scope.foreign.items())]

    @property
    def constants(self) -> list[tuple[str, str, str]]:
        """(Python name, literal, comment); a number keeps the spelling of the .x."""
        names = self._scope.names.constants[self.module.name]
        rows = [(names[e.name], str(e.value), e.header or "") for e in self.module.externals]
        for constant in self.module.constants:
            is_literal = constant.text.lower().startswith("0x") or constant.text == str(constant.value)
            literal = constant.text if is_literal else str(constant.value)
            rows.append((names[constant.name], literal, "" if is_literal else constant.text))
        return rows

    @property
    def constant_names(self) -> list[tuple[str, str]]:
        """(name in the .x, Python name) of the file's own constants."""
        names = self._scope.names.constants[self.module.name]
        return [(constant.name, names[constant.name]) for constant in self.module.constants]

    @property
    def external_names(self) -> list[tuple[str, str, str]]:
        """(name in the .x, Python name, header as a literal) of constants from elsewhere."""
        names = self._scope.names.constants[self.module.name]
        return [
            (external.name, names[external.name], quoted(external.header) if external.header else "None")
            for external in self.module.externals
        ]

    def _imports(self, group: Iterable[str]) -> list[str]:
        return sorted(self._scope.used.intersection(group), key=lambda name: (name.upper() != name, name))

    def _since(self, program: Program, procedure: Procedure) -> str:
        """When a procedure came, as a comment; empty without a history."""
        return procedure_line(self._history, program, procedure) if self._history else ""

    def _arguments(self, procedure: Procedure) -> list[str]:
        """The keyword arguments of a procedure that has more than numbers and names."""
        types = (("args", procedure.args), ("ret", procedure.ret), ("msg", procedure.msg))
        words = [f"{name}={self._entry(reference)}" for name, reference in types if reference]
        annotations = self._annotations(procedure.annotations)
        if annotations:
            words.append(f"annotations={annotations}")
        self._scope.use("Procedure")
        return words

    def _entry(self, reference: Named) -> str:
        """The TYPES entry of a procedure's type, which another module may hold."""
        if reference.module == self.module.name:
            return f'TYPES["{reference.name}"]'
        self._scope.foreign.setdefault(reference.module, set()).add(f"TYPES as {reference.module}_TYPES")
        return f'{reference.module}_TYPES["{reference.name}"]'

    def _annotations(self, annotations: Annotations) -> str:
        """The constructor call of a procedure's annotations, empty where there are none."""
        words = _keywords(annotations, ("generate", "priority", "readstream", "writestream", "sparseflag"))
        if annotations.acl is not None:
            words.append(f"acl={self._rules(annotations.acl)}")
        if annotations.aclfilter:
            words.append(f"aclfilter={self._rules(annotations.aclfilter)}")
        if not words:
            return ""
        self._scope.use("Annotations")
        return f"Annotations({', '.join(words)})"

    def _rules(self, rules: tuple[AccessRule, ...]) -> str:
        if rules:
            self._scope.use("AccessRule")
        calls = [
            "AccessRule("
            + ", ".join(
                [
                    quoted(rule.object),
                    quoted(rule.permission),
                    *_keywords(rule, ("flags", "parameter", "value")),
                ]
            )
            + ")"
            for rule in rules
        ]
        return f"({', '.join(calls)}{',' if len(calls) == 1 else ''})"


def quoted(text: str) -> str:
    """A Python string literal in double quotes; comments of a .x reach the output through here."""
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def _keywords(values: object, names: Iterable[str]) -> list[str]:
    """`name=literal` for each attribute that is not None."""
    found = ((name, getattr(values, name)) for name in names)
    return [
        f"{name}={quoted(value) if isinstance(value, str) else value}"
        for name, value in found
        if value is not None
    ]
