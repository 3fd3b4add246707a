"""The traced probes by subject, with the meanings of their arguments.

The kind of an event is the name of its probe; RPC probes have the prefix `rpc_`, which libvirt's log leaves
out. Source: the provider files of all releases (generated/probes.py), and the PROBE macros.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from ...codec import providers
from ...codec.providers import Choice, Declaration, read_declarations
from ...generated import probes as data

PROVIDER: Final = "libvirt"

#: The subject of a trace: messages, the event loop, or the monitors of virtual machines.
Subject = Literal["rpc", "events", "qemu-monitor"]

#: The address of an object; a number of 32 significant bits, signed or unsigned; short text in memory; or
#: text of any length, a line of the monitor.
Meaning = Literal["object", "signed", "unsigned", "text", "line"]
_MEANINGS: Final[dict[str, Meaning]] = {
    **dict.fromkeys(("fd", "errfd", "pid", "interval", "coundToDeath"), "signed"),
    **dict.fromkeys(("proc", "type", "status"), "signed"),
    **dict.fromkeys(("watch", "events", "timer", "frequency", "nfds", "timeout"), "signed"),
    **dict.fromkeys(
        ("len", "prog", "vers", "serial", "authtype", "idle", "count", "refs", "all"), "unsigned"
    ),
    **dict.fromkeys(("sanityCheckCert", "requireValidCert", "isServer"), "unsigned"),
}
#: Text that is a line of the monitor.
_LINES: Final = frozenset({"msg", "reply", "event"})
#: Ends of the names of probes about references, and about the end of a removal, which are not traced.
_NOT_TRACED: Final = ("_ref", "_unref", "_free", "_idle")
_QEMU_MONITOR: Final = frozenset(
    {"qemu_monitor_send_msg", "qemu_monitor_recv_reply", "qemu_monitor_recv_event"}
)


class Argument(NamedTuple):
    """An argument of a probe."""

    name: str
    meaning: Meaning


#: What libvirt's releases declare.
DECLARATIONS: Final[tuple[Declaration, ...]] = read_declarations(data.RANGES, data.PROBES)


def _argument(argument: providers.Argument) -> Argument:
    """Return an argument with its meaning. A number with an unknown meaning may be an address."""
    if argument.is_text:
        return Argument(argument.name, "line" if argument.name in _LINES else "text")
    return Argument(argument.name, _MEANINGS.get(argument.name, "object"))


def _subject(probe: str) -> Subject | None:
    if probe in _QEMU_MONITOR:
        return "qemu-monitor"
    if probe.endswith(_NOT_TRACED):
        return None
    return "rpc" if probe.startswith("rpc_") else "events" if probe.startswith("event_") else None


def _layouts() -> Iterator[tuple[str, tuple[Argument, ...]]]:
    """Yield the arguments of each traced probe, those of older releases first."""
    for declaration in DECLARATIONS:
        for (provider, probe), arguments in declaration.probes.items():
            if provider == PROVIDER and _subject(probe):
                yield probe, tuple(map(_argument, arguments))


#: Subject and kind of events, by name of the probe.
KINDS: Final[dict[str, tuple[Subject, str]]] = {
    probe: (subject, probe.removeprefix("rpc_")) for probe, _ in _layouts() if (subject := _subject(probe))
}
#: Arguments of the probe in the newest release that has it, by kind of event.
PROBES: Final = {KINDS[probe][1]: arguments for probe, arguments in _layouts()}


def _common() -> dict[str, tuple[Argument, ...]]:
    common = dict(PROBES)
    for probe, arguments in _layouts():
        names = {argument.name for argument in arguments}
        kind = KINDS[probe][1]
        common[kind] = tuple(argument for argument in common[kind] if argument.name in names)
    return common


#: Those of them that all releases with the probe have, by name.
COMMON: Final = _common()


def known_arguments(choice: Choice, probe: str, count: int) -> tuple[Argument | None, ...]:
    """Return the `count` arguments that a traced probe has in a file, None for each unknown one."""
    found = choice.arguments((PROVIDER, probe), count)
    return tuple(None if argument is None else _argument(argument) for argument in found)
