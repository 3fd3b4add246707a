"""SystemTap scripts that show libvirt's activity from its probes: RPC, event loop, QEMU's monitor, locks.

They use the aliases and functions of the tapsets (libvirt's or generated ones) of any release: where probes
were renamed between releases, SystemTap uses those that exist. They need nothing from the definitions, but
are generated only for libvirt's.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..render import Artefact, banner, render
from ..schema import Schema

#: The types from which the functions used by the scripts are generated.
_NEEDED = ("virNetMessageType", "virNetMessageStatus")
#: The messages of `virsh domname 1` in the order in which its side sees them: True if the client sends it,
#: length, procedure's name and number, type's name and number, serial.
_EXAMPLE = (
    (True, 28, "auth_list", 66, "call", 0, 0),
    (False, 36, "auth_list", 66, "reply", 1, 0),
    (True, 32, "connect_supports_feature", 60, "call", 0, 1),
    (False, 32, "connect_supports_feature", 60, "reply", 1, 1),
)


@dataclass(frozen=True, slots=True)
class _Script:
    """A script's file name and banner."""

    name: str
    banner: str


@dataclass(frozen=True, slots=True)
class _MessageScript(_Script):
    """A script that prints one side's messages, with numbers (`raw`) or names, and example lines."""

    side: str
    raw: bool
    example: tuple[tuple[str, int, str, int, str, int, int], ...]


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """Return all scripts, none for definitions that are not libvirt's."""
    if any(all(name not in module.by_name for module in schema.modules) for name in _NEEDED):
        return ()
    head = banner(schema, "scripts")
    names = ("rpc-monitor", "events", "qemu-monitor", "lock", "stacks")
    views = [(f"{name}.stp", _Script(f"{name}.stp", head)) for name in names]
    for side in ("client", "server"):
        example = tuple(("T" if (side == "client") == sent else "R", *rest) for sent, *rest in _EXAMPLE)
        for raw in (False, True):
            name = f"{side}-messages{'-raw' if raw else ''}.stp"
            views.append(("messages.stp", _MessageScript(name, head, side, raw, example)))  # type: ignore[arg-type]
    return tuple(Artefact(view.name, render("scripts", f"{template}.j2", view)) for template, view in views)
