"""The Python target: a package with one module per .x file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from libvirt_proto.codec.providers import declaration_rows

from ...providers.known import known_providers
from ...render import Artefact, banner, render
from ...schema import Module, Schema
from .functions import function_rows
from .history import rows
from .index import IndexView
from .module import ModuleView
from .names import Names
from .plan import PlanView
from .stubs import CallsView


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """The files of the package, see Package."""
    return tuple(Artefact(path, text) for path, text in Package(schema).items())


class Package(Mapping[str, str]):
    """File name → text of the Python package of a Schema. A text is rendered each time it is asked for.

    `__init__.py` is the index, `_plan.py` has all types as data. A module per .x file has classes, a
    decoder and an encoder for each type, enumerations and constants; calls.pyi the types of calls by a
    client. With a history, docstrings show it,
    and history.py has it as data; probes.py has the arguments of static probes in each release, functions.py
    the functions of the public API.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._names = Names(schema)
        self._files: dict[str, Callable[[], str]] = {"__init__.py": self._index, "_plan.py": self._plan}
        self._files |= {f"{module.name}.py": partial(self._module, module) for module in schema.modules}
        if any(module.programs for module in schema.modules):
            self._files["calls.pyi"] = self._calls
        if schema.history is not None:
            self._files["history.py"] = self._history
            self._files["probes.py"] = self._probes
        if schema.functions is not None:
            self._files["functions.py"] = self._functions

    def __getitem__(self, path: str) -> str:
        return self._files[path]()

    def __contains__(self, path: object) -> bool:  # Mapping's looks the text up
        return path in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def _index(self) -> str:
        return render("python", "index.py.j2", IndexView(self._schema, banner(self._schema, "python")))

    def _plan(self) -> str:
        return render("python", "plan.py.j2", PlanView(self._schema, banner(self._schema, "python")))

    def _module(self, module: Module) -> str:
        head = banner(self._schema, "python", module=module)
        return render("python", "module.py.j2", ModuleView(self._names, module, head))

    def _calls(self) -> str:
        return render("python", "calls.pyi.j2", CallsView(self._names, banner(self._schema, "python")))

    def _history(self) -> str:
        history = self._schema.history
        assert history is not None, "the package has this file only with a history"
        view = {
            "banner": banner(self._schema, "python"),
            "first": repr(history.first),
            "last": repr(history.last),
            "releases": list(map(repr, history.releases)),
            "provenance": [(repr(one), repr(other)) for one, other in history.provenance.items()],
            "rows": rows(history),
        }
        return render("python", "history.py.j2", view)

    def _probes(self) -> str:
        ranges, rows = declaration_rows([each.declaration for each in known_providers()])
        view = {
            "banner": banner(self._schema, "python"),
            "ranges": list(map(repr, ranges)),
            "rows": [(repr(name), repr(runs)) for name, runs in rows.items()],
        }
        return render("python", "probes.py.j2", view)

    def _functions(self) -> str:
        functions = self._schema.functions
        assert functions is not None, "the package has this file only with functions"
        view = {"banner": banner(self._schema, "python"), "rows": function_rows(functions)}
        return render("python", "functions.py.j2", view)
