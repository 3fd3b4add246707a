"""SystemTap: aliases for libvirt's static probes, like those of the tapsets that libvirt ships.

Each provider file becomes a tapset with its name: `libvirt_probes.d` gives `libvirt_probes.stp`. In it,

    probe rpc_socket_send_fd(void *sock, int fd);      with the prefix rpc

is the alias `libvirt.rpc.socket_send_fd` with the variables `sock` and `fd`. An argument that points to
characters is the string itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..providers.model import Argument, Probe, Section
from ..providers.placement import Placement
from ..quoting import systemtap_string
from ..render import Artefact, head, render
from ..schema import Input

#: SystemTap's keywords: variables for arguments with such a name get an underscore appended.
_KEYWORDS = frozenset(
    {"probe", "global", "private", "function", "if", "else", "for", "foreach", "in", "limit", "return"}
    | {"delete", "while", "break", "continue", "next", "string", "long", "try", "catch"}
)


@dataclass(frozen=True, slots=True)
class _Alias:
    """A probe: its alias, the quoted paths and name of its marks, and (variable, value) pairs."""

    name: str
    paths: Sequence[str]
    mark: str
    variables: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Group:
    """The aliases of the probes of one source file, if the provider names it."""

    file: str | None
    aliases: Sequence[_Alias]


@dataclass(frozen=True, slots=True)
class _ProbeTapset:
    banner: str
    groups: Sequence[_Group]
    left_out: Sequence[str]


def generate(placements: Sequence[Placement], inputs: Sequence[Input], command: str) -> tuple[Artefact, ...]:
    """Return a tapset for each provider. `inputs` has their files; `command` is the part after `generate`."""
    return tuple(_tapset(placement, inputs, command) for placement in placements)


def _tapset(placement: Placement, inputs: Sequence[Input], command: str) -> Artefact:
    groups = [_Group(section.file, _aliases(placement, section)) for section in placement.provider.sections]
    view = _ProbeTapset(
        banner=head(command, [each for each in inputs if each.file == placement.provider.file]),
        groups=[group for group in groups if group.aliases],
        left_out=[each.probe.name for each in placement.left_out],
    )
    return Artefact(placement.provider.tapset, render("systemtap", "probes.stp.j2", view))


def _aliases(placement: Placement, section: Section) -> list[_Alias]:
    return [
        _Alias(
            name=placement.provider.alias(section, probe),
            paths=[systemtap_string(path) for path in placement.paths[probe.name]],
            mark=systemtap_string(probe.name),
            variables=_variables(probe),
        )
        for probe in section.probes
        if probe.name in placement.paths
    ]


def _variables(probe: Probe) -> list[tuple[str, str]]:
    taken = {argument.name for argument in probe.arguments}
    return [
        (_variable(argument, taken), f"user_string($arg{number})" if argument.is_string else f"$arg{number}")
        for number, argument in enumerate(probe.arguments, 1)
    ]


def _variable(argument: Argument, taken: set[str]) -> str:
    name = argument.name
    while name in _KEYWORDS or (name != argument.name and name in taken):
        name += "_"
    return name
