"""The Python target: a package with one module per .x file."""

from __future__ import annotations

from ...render import Artefact, banner, render
from ...schema import Module, Schema
from .history import rows
from .index import IndexView
from .module import ModuleView
from .names import Names
from .plan import PlanView


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """The files of a package.

    `__init__.py` is the index, `_plan.py` has all types as data. A module per .x file has classes, a
    decoder and an encoder for each type, enumerations and constants. With a history, docstrings show it,
    and history.py has it as data.
    """
    names = Names(schema)
    index = IndexView(schema, banner(schema, "python"))
    return (
        Artefact("__init__.py", render("python", "index.py.j2", index)),
        Artefact("_plan.py", render("python", "plan.py.j2", PlanView(schema, banner(schema, "python")))),
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
