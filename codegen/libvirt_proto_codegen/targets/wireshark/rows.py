"""The rows of a plan that payloads need, seen through typedefs, which Wireshark does not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from libvirt_proto.codec.plan import Plan, Row
from libvirt_proto.codec.types import Named

#: Number → name.
Names = Mapping[int, str]

#: The target of a typedef for UUIDs, which has no row.
UUID: Final = -1
_UUID_SIZE: Final = 16
#: Kind of a row → kind of Wireshark field; other integers have 32 bits, other kinds have parts.
_FIELD_KINDS: Final[Mapping[str, str]] = {
    "hyper": "int64",
    "unsigned hyper": "uint64",
    "float": "float",
    "double": "double",
    "quadruple": "bytes",
    "bool": "bool",
    "enum": "int32",
    "opaque[]": "bytes",
    "opaque<>": "bytes",
    "string<>": "string",
    "struct": "none",
    "union": "none",
    "void": "none",
}
_CONTAINERS: Final = frozenset(("[]", "<>", "*"))


class Rows:
    """The rows of payloads and of the types in them. `numbers` are in ascending order, and `owners` maps the
    structs and unions among them to their numbers."""

    def __init__(self, plan: Plan, payloads: Iterable[Named]) -> None:
        self._plan = plan
        found: set[int] = set()
        queue = [self.number(each) for each in payloads]
        while queue:
            number = queue.pop()
            if number not in found:
                found.add(number)
                queue += plan.rows[number][5]
        self.numbers = sorted(found)
        self.owners = {
            Named(module, name): number
            for module, types in plan.types.items()
            for name, number in types.items()
            if number in found and plan.rows[number][0] in ("struct", "union")
        }

    def __getitem__(self, number: int) -> Row:
        return self._plan.rows[number]

    def number(self, reference: Named) -> int:
        """Return the number of a definition's row."""
        return self._plan.types[reference.module][reference.name]

    def target(self, number: int) -> int:
        """Return the number of the row that a row stands for, through typedefs; UUID for 16 opaque bytes by a
        typedef whose name ends in `uuid`."""
        uuid = False
        while self[number][0] == "typedef":
            *_, (child,), _, names = self[number]
            uuid = uuid or str(names[0]).lower().endswith("uuid")
            number = child
        kind, limit = self[number][:2]
        return UUID if uuid and (kind, limit) == ("opaque[]", _UUID_SIZE) else number

    def parts(self, number: int) -> Iterator[tuple[int, str | None]]:
        """Yield the type and the name of each field of a struct, or of a union's discriminant and arms; the
        name is None for a void arm."""
        *_, children, _, (_, *names) = self[number]
        return zip(children, names, strict=True)

    def leaf(self, number: int) -> tuple[str, Names | None]:
        """Return the kind of field for a type's values, or for its elements, and an enumeration's names."""
        target = self.target(number)
        if target == UUID:
            return "guid", None
        kind, *_, children, labels, names = self[target]
        if kind in _CONTAINERS:
            return self.leaf(children[0])
        if kind == "enum":
            members = zip(labels, map(str, names[1:]), strict=True)
            return _FIELD_KINDS[kind], dict(reversed([*members]))
        return _FIELD_KINDS.get(kind) or ("uint32" if kind.startswith("unsigned") else "int32"), None
