"""Names of a daemon's dispatchers in its log and its errors → procedures.

gendispatch.pl names them after the program and the procedure: `remoteDispatchDomainGetInfo`,
`qemuDispatchDomainMonitorCommand`, `virLogManagerProtocolDispatchDomainOpenLogFile`.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from ..registry import Registry

_DISPATCHER: Final = re.compile(r"(?:vir)?([A-Za-z]{1,40}?)(?:Protocol)?Dispatch([A-Z]\w{0,79}?)(?:Helper)?")
#: Prefixes that names of procedures got in libvirt 1.0.2 (`REMOTE_PROC_OPEN` → `REMOTE_PROC_CONNECT_OPEN`).
_PREFIXES: Final = ("", "connect", "domain")


class Dispatched(NamedTuple):
    """A procedure: the number of its program, its own, and its name."""

    program: int
    number: int
    name: str


class Dispatchers:
    """Looks up dispatchers in a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, dispatcher: str) -> Dispatched | None:
        """Return the procedure of a dispatcher; None for another function, or an unknown procedure.

        CamelCase loses the places of underscores (`ConnectGetCPUModelNames`), so names are compared without
        them.
        """
        match = _DISPATCHER.fullmatch(dispatcher)
        if match is None:
            return None
        program, name = match[1].lower(), match[2].lower()
        found = (self._procedures.get((program, prefix + name)) for prefix in _PREFIXES)
        return next((each for each in found if each is not None), None)

    def name(self, dispatcher: str) -> str:
        """Return the name of its procedure, or the dispatcher's own name."""
        found = self.find(dispatcher)
        return dispatcher if found is None else found.name

    @cached_property
    def _procedures(self) -> dict[tuple[str, str], Dispatched]:
        """Program and procedure, without underscores → the procedure."""
        return {
            (_joined(program.name), _joined(procedure.name)): Dispatched(
                program.number, procedure.number, procedure.name
            )
            for program in self._registry.programs()
            for procedure in program.procedures
        }


def _joined(name: str) -> str:
    return name.replace("_", "")
