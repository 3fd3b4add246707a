"""Schema → what `index.py.j2` shows: the package's `__init__.py`."""

from __future__ import annotations

from collections.abc import Iterable

from ...model import AccessRule, Annotations
from ...render import API_VERSION
from ...schema import Enumeration, External, Module, Procedure, Program, Schema
from .history import procedure_line


class IndexView:
    """What is where, and all that can be said without types."""

    def __init__(self, schema: Schema, banner: str) -> None:
        self.banner = banner
        self.api = API_VERSION
        self.schema = schema
        self._used = {"Program"}
        self.programs = {
            module.name: [
                (
                    program,
                    [
                        (each, self._since(program, each), self._arguments(each))
                        for each in program.procedures
                    ],
                )
                for program in module.programs
            ]
            for module in schema.modules
        }

    @property
    def from_program(self) -> list[str]:
        """Imports from libvirt_proto.program."""
        return sorted(self._used)

    def members(self, module: Module) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
        """Enumerations with their members and numbers."""
        return [
            (type_.name, tuple((member.name, member.value) for member in type_.node.members))
            for type_ in module.types
            if isinstance(type_.node, Enumeration)
        ]

    def header(self, external: External) -> str:
        """The header of a constant from elsewhere, as a literal."""
        return _quoted(external.header) if external.header else "None"

    def _since(self, program: Program, procedure: Procedure) -> str:
        """When a procedure came, as a comment; empty without a history."""
        return procedure_line(self.schema.history, program, procedure) if self.schema.history else ""

    def _arguments(self, procedure: Procedure) -> list[str]:
        """The keyword arguments of a procedure that has more than numbers and names."""
        types = (("args", procedure.args), ("ret", procedure.ret), ("msg", procedure.msg))
        words = [f'{name}_place="{type_.module}.{type_.name}"' for name, type_ in types if type_]
        annotations = self._annotations(procedure.annotations)
        if annotations:
            words.append(f"annotations={annotations}")
        self._used |= {"Procedure", "loader"}
        return words

    def _annotations(self, annotations: Annotations) -> str:
        """The constructor call of a procedure's annotations, empty where there are none."""
        words = _keywords(annotations, ("generate", "priority", "readstream", "writestream", "sparseflag"))
        if annotations.acl is not None:
            words.append(f"acl={self._rules(annotations.acl)}")
        if annotations.aclfilter:
            words.append(f"aclfilter={self._rules(annotations.aclfilter)}")
        if not words:
            return ""
        self._used.add("Annotations")
        return f"Annotations({', '.join(words)})"

    def _rules(self, rules: tuple[AccessRule, ...]) -> str:
        if rules:
            self._used.add("AccessRule")
        calls = [
            "AccessRule("
            + ", ".join(
                [
                    _quoted(rule.object),
                    _quoted(rule.permission),
                    *_keywords(rule, ("flags", "parameter", "value")),
                ]
            )
            + ")"
            for rule in rules
        ]
        return f"({', '.join(calls)}{',' if len(calls) == 1 else ''})"


def _quoted(text: str) -> str:
    """A Python string literal in double quotes; comments of a .x reach the output through here."""
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


def _keywords(values: object, names: Iterable[str]) -> list[str]:
    """`name=literal` for each attribute that is not None."""
    found = ((name, getattr(values, name)) for name in names)
    return [
        f"{name}={_quoted(value) if isinstance(value, str) else value}"
        for name, value in found
        if value is not None
    ]
