"""SystemTap: aliases for libvirt's static probes, like those of the tapsets that libvirt ships.

Each provider file becomes a tapset with its name: `libvirt_probes.d` gives `libvirt_probes.stp`. In it,

    probe rpc_socket_send_fd(void *sock, int fd);      with the prefix rpc

is the alias `libvirt.rpc.socket_send_fd` with the variables `sock` and `fd`. An argument that points to
characters is the string itself. Arguments that are unknown for a version of libvirt have no variable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libvirt_proto.codec.providers import Argument

from ..providers.model import Section
from ..providers.placement import Arguments, Placement
from ..quoting import printable, systemtap_string
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
    versions: Sequence[str]
    left_out: Sequence[str]
    incomplete: Sequence[str]


def generate(
    placements: Sequence[Placement], inputs: Sequence[Input], versions: Sequence[str], command: str
) -> tuple[Artefact, ...]:
    """Return a tapset for each provider. `inputs` has their files, `versions` a sentence for each version of
    libvirt; `command` is the part after `generate`."""
    return tuple(_tapset(placement, inputs, versions, command) for placement in placements)


def _tapset(placement: Placement, inputs: Sequence[Input], versions: Sequence[str], command: str) -> Artefact:
    groups = [_Group(section.file, _aliases(placement, section)) for section in placement.provider.sections]
    view = _ProbeTapset(
        banner=head(command, [each for each in inputs if each.file == placement.provider.file]),
        groups=[group for group in groups if group.aliases],
        versions=list(map(printable, versions)),
        left_out=placement.left_out,
        incomplete=[name for name, point in placement.points.items() if not point.is_complete],
    )
    return Artefact(placement.provider.tapset, render("systemtap", "probes.stp.j2", view))


def _aliases(placement: Placement, section: Section) -> list[_Alias]:
    return [
        _Alias(
            name=placement.provider.alias(section, probe),
            paths=[systemtap_string(path) for path in placement.points[probe.name].paths],
            mark=systemtap_string(probe.name),
            variables=_variables(placement.points[probe.name].arguments),
        )
        for probe in section.probes
        if probe.name in placement.points
    ]


def _variables(arguments: Arguments) -> list[tuple[str, str]]:
    taken = {argument.name for argument in arguments if argument}
    return [
        (_variable(argument, taken), f"user_string($arg{number})" if argument.is_text else f"$arg{number}")
        for number, argument in enumerate(arguments, 1)
        if argument
    ]


def _variable(argument: Argument, taken: set[str]) -> str:
    name = argument.name
    while name in _KEYWORDS or (name != argument.name and name in taken):
        name += "_"
    return name
