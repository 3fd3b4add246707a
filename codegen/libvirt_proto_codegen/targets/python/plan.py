"""Schema → the rows that `plan.py.j2` shows."""

from __future__ import annotations

from libvirt_proto.codec.plan import build_plan

from ...render import API_VERSION
from ...schema import Schema
from .index import literal


class PlanView:
    """The plan of all modules."""

    def __init__(self, schema: Schema, banner: str) -> None:
        self.banner = banner
        self.api = API_VERSION
        self.plan = build_plan(((module.name, module.types) for module in schema.modules), schema)

    @staticmethod
    def literal(row: object) -> str:
        """A row in Python."""
        return literal(row)
