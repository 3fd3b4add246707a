"""bpftrace scripts that show libvirt's RPC from the probes of one library, without SystemTap.

`rpc-monitor.bt` prints the lines of the SystemTap script of that name, `rpc-latency.bt` a histogram per
procedure, `rpc-errors.bt` counts of errors. Names of numbers are maps, filled before the first message.

The definitions give the names, the provider the order of a probe's arguments, and the library its path and
the locations of arguments that bpftrace cannot name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libvirt_proto.codec.providers import Choice
from libvirt_proto.codec.types import Enumeration

from ...providers.binaries import Binary
from ...providers.model import Probe, Provider
from ...quoting import bpftrace_string
from ...render import Artefact, head, render
from ...schema import Input, Schema
from .operands import expression

_SCRIPTS: Final = ("rpc-monitor.bt", "rpc-latency.bt", "rpc-errors.bt")
_MESSAGES: Final = tuple(
    f"{side}_msg_{way}" for side in ("client", "server_client") for way in ("tx_queue", "rx")
)
#: Probes that every release also has: creation, and file descriptors.
_OTHERS: Final = ("socket_new", "socket_send_fd", "socket_recv_fd", "client_new", "server_client_new")
#: Probes of disposal; their names depend on the release, and some releases have none.
_ENDS: Final = tuple(
    f"{what}_{end}" for what in ("socket", "client", "server_client") for end in ("dispose", "free")
)
#: Architecture → the number of a probe's arguments that bpftrace can name.
_NAMED: Final = {"x86_64": 6, "aarch64": 8}
#: Paths that bpftrace takes literally in a probe.
_PLAIN: Final = re.compile(r"[\w./+@~-]+", re.ASCII)
#: Maximum length of a string: bpftrace's have 64 bytes, including the final zero.
_LONGEST: Final = 63


class NoScripts(Exception):
    """Scripts cannot be generated for this library; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class _Value:
    """The location of an argument: the same at each site of the probe (one entry, None), or by the last
    twelve bits of a site's address, which do not depend on where the library is loaded."""

    places: Sequence[tuple[int | None, str]]


@dataclass(frozen=True, slots=True)
class _Point:
    """A probe to attach to, and the locations of its arguments."""

    spec: str
    arguments: Mapping[str, _Value]


@dataclass(frozen=True, slots=True)
class _Script:
    """`points` are probes by their name without `rpc_`; `procedures` has (program, version, number, name)."""

    name: str
    banner: str
    library: str
    points: Mapping[str, _Point]
    programs: Mapping[int, str]
    procedures: Sequence[tuple[int, int, int, str]]
    types: Mapping[int, str]
    statuses: Mapping[int, str]
    calls: Sequence[int]
    replies: Sequence[int]
    error: int


def generate(
    schema: Schema, provider: Provider, binary: Binary, choice: Choice, inputs: Sequence[Input], command: str
) -> tuple[Artefact, ...]:
    """Return the scripts for a library; raises NoScripts.

    `choice` has the arguments of the library's probes. `inputs` are the files of the definitions and of the
    provider; `command` is the part after `generate`.
    """
    types, statuses = _members(schema, "virNetMessageType"), _members(schema, "virNetMessageStatus")
    programs = [program for module in schema.modules for program in module.programs]
    calls = [number for number, name in types.items() if name.startswith("call")]
    replies = [number for number, name in types.items() if name.startswith("reply")]
    error = next((number for number, name in statuses.items() if name == "error"), None)
    if not (calls and replies and any(program.procedures for program in programs)) or error is None:
        raise NoScripts(
            "expected libvirt's definitions for bpftrace scripts: virnetprotocol.x and at least one program"
        )
    points = dict(_points(provider, binary, choice))
    if missing := [f"rpc_{name}" for name in (*_MESSAGES, *_OTHERS) if name not in points]:
        raise NoScripts(f"{binary.path} has no probe {missing[0]}: expected a libvirt.so.0 built with probes")
    views = (
        _Script(
            name=script,
            banner=head(command, inputs, "// "),
            library=binary.path,
            points=points,
            programs={program.number & 0xFFFFFFFF: _name(program.short) for program in programs},
            procedures=[
                (
                    program.number & 0xFFFFFFFF,
                    program.version & 0xFFFFFFFF,
                    each.number & 0xFFFFFFFF,
                    _name(each.short),
                )
                for program in programs
                for each in program.procedures
            ],
            types={number: _name(name) for number, name in types.items()},
            statuses={number: _name(name) for number, name in statuses.items()},
            calls=calls,
            replies=replies,
            error=error,
        )
        for script in _SCRIPTS
    )
    return tuple(Artefact(view.name, render("bpftrace", f"{view.name}.j2", view)) for view in views)


def _members(schema: Schema, name: str) -> dict[int, str]:
    """Return the short, lower-case names of an enumeration's numbers."""
    for module in schema.modules:
        definition = module.by_name.get(name)
        if definition and isinstance(definition.node, Enumeration):
            return {
                each.value: each.name.removeprefix("VIR_NET_").lower() for each in definition.node.members
            }
    return {}


def _name(text: str) -> str:
    return bpftrace_string(text[:_LONGEST])


def _points(provider: Provider, binary: Binary, choice: Choice) -> Iterator[tuple[str, _Point]]:
    """Yield the provider's RPC probes that are in the library."""
    if not _PLAIN.fullmatch(binary.path):
        raise NoScripts(
            f"unsupported path for bpftrace: {binary.path!r} (use only letters, digits and . _ / + @ ~ -)"
        )
    if binary.machine not in _NAMED:
        raise NoScripts(f"{binary.path}: expected code for x86-64 or AArch64, got {binary.machine}")
    wanted = {f"rpc_{name}": name for name in (*_MESSAGES, *_OTHERS, *_ENDS)}
    for _, probe in provider.probes:
        if probe.name in wanted and (provider.name, probe.name) in binary.sites:
            name = provider.name, probe.name
            (known, *others) = {choice.arguments(name, count) for count in sorted(binary.probes[name])}
            if others or len(known) != len(probe.arguments):
                has = " or ".join(map(str, sorted(binary.probes[name])))
                raise NoScripts(
                    f"{probe.name} has {len(probe.arguments)} arguments in the definitions, {has} in "
                    f"{binary.path}: pass --release if that is another libvirt"
                )
            if None in known:
                raise NoScripts(
                    f"the arguments of {probe.name} are unknown in {binary.path} ({choice}): use a release of"
                    " this tool that has its libvirt"
                )
            arguments = {
                each.name: _value(provider, probe, binary, n) for n, each in enumerate(known) if each
            }
            yield wanted[probe.name], _Point(f"usdt:{binary.path}:{provider.name}:{probe.name}", arguments)


def _value(provider: Provider, probe: Probe, binary: Binary, number: int) -> _Value:
    """Return the location of an argument, counted from 0."""
    if number < _NAMED[binary.machine]:
        return _Value([(None, f"arg{number}")])
    places: dict[int, str] = {}
    for site in binary.sites[provider.name, probe.name]:
        operand = site.operands[number]
        found = expression(operand)
        if found is None:
            raise NoScripts(
                f"{binary.path}: bpftrace cannot read an argument of {probe.name} from {operand!r}"
            )
        if places.setdefault(site.address & 0xFFF, found) != found:
            raise NoScripts(f"{binary.path}: two sites of {probe.name} are indistinguishable")
    if len(set(places.values())) == 1:
        return _Value([(None, next(iter(places.values())))])
    return _Value(sorted(places.items()))
