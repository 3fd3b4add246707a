"""The Python target: a package with one module per .x file."""

from __future__ import annotations

from ...render import Artefact, banner, render
from ...schema import Module, Schema
from .history import rows
from .index import IndexView
from .module import ModuleView
from .names import Names


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """`__init__.py`, which says what is where, and a module per .x file: types as classes and
    annotations, a decoder and an encoder for each, enumerations, constants, procedures. With a history,
    docstrings show it, and history.py has it as data."""
    names = Names(schema)
    index = IndexView(schema, banner(schema, "python"))
    return (
        Artefact("__init__.py", render("python", "index.py.j2", index)),
        *(
            Artefact(f"{module.name}.py", render("python", "module.py.j2", _view(schema, names, module)))
            for module in schema.modules
        ),
        *_history(schema),
    )


def _history(schema: Schema) -> tuple[Artefact, ...]:
    if schema.history is None:
        return ()
    view = {
        "banner": banner(schema, "python"),
        "first": repr(schema.history.first),
        "last": repr(schema.history.last),
        "rows": rows(schema.history),
    }
    return (Artefact("history.py", render("python", "history.py.j2", view)),)


def _view(schema: Schema, names: Names, module: Module) -> ModuleView:
    return ModuleView(names, module, banner(schema, "python", module=module))
