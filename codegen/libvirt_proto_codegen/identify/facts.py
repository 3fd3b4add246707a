"""Facts in the canonical text of a release's files: declarations, names of numbers, names of types.

The printer writes this text, so its form is known, and `.x` files need not be parsed, which would take a
minute for all releases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from ..providers.model import Provider
from ..providers.parse import read_provider
from ..source import Source
from .known import Facts

_COMMENT: Final = re.compile(r"[ \t]*/\*.*?\*/\n?", re.DOTALL)
_PROGRAM: Final = re.compile(r"^const (\w+)_PROGRAM = (\w+);$", re.MULTILINE)
_MEMBER: Final = re.compile(r"^    (\w+) = (\d+),?$", re.MULTILINE)
_ENUM: Final = re.compile(r"^enum (\w+) \{\n(.*?)^\};$", re.MULTILINE | re.DOTALL)
_BODY: Final = re.compile(r"^(?:enum|struct|union) (\w+)\b", re.MULTILINE)
_TYPEDEF: Final = re.compile(r"^typedef .*?(\w+)(?:<[^>\n]*>|\[[^\]\n]*\])?;$", re.MULTILINE)
_PROC: Final = "_PROC_"


@cache
def declarations(text: str) -> Facts:
    """Return the declarations of a file, each as text without annotations."""
    return frozenset(_declarations(_COMMENT.sub("", text)))


@cache
def annotated_declarations(text: str) -> Facts:
    """Return the declarations of a file with their annotations."""
    return frozenset(_blocks(text))


def _declarations(text: str) -> Iterator[str]:
    """Yield constants and members of enums line by line: the printer separates only members with
    annotations."""
    for block in _blocks(text):
        if block.startswith(("enum ", "const ", " ")):
            yield from (line.strip(" ,") for line in block.splitlines())
        else:
            yield block


def _blocks(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text; the last one of an enum ends it."""
    for block in text.split("\n\n"):
        if not block.startswith("%"):
            yield block.rstrip("\n").removesuffix("\n};").rstrip(",")


class Name(NamedTuple):
    """The name of a number in a tapset: of a procedure, with its program, or of a member of an enum."""

    group: int | str
    number: int
    name: str


#: Enum → the prefix of its members, and the tapset's function for it (libvirt_rpc_FUNCTION_name).
ENUMS: Final[Mapping[str, tuple[str, str]]] = {
    "remote_auth_type": ("REMOTE_AUTH_", "auth"),
    "virNetMessageType": ("VIR_NET_", "type"),
    "virNetMessageStatus": ("VIR_NET_", "status"),
}


@cache
def names(text: str) -> frozenset[Name]:
    """Return the names of the numbers in a file that a tapset has."""
    programs = {prefix: int(number, 0) for prefix, number in _PROGRAM.findall(text)}
    found: set[Name] = set()
    for enum, body in _ENUM.findall(text):
        prefix, function = ENUMS.get(enum, ("", ""))
        for member, number in _MEMBER.findall(body):
            program, _, short = member.partition(_PROC)
            if program in programs and short:
                found.add(Name(programs[program], int(number), short.lower()))
            elif prefix and member.startswith(prefix):
                found.add(Name(function, int(number), member.removeprefix(prefix).lower()))
    return frozenset(found)


@cache
def types(text: str) -> frozenset[str]:
    """Return the names of a file's types."""
    return frozenset((*_BODY.findall(text), *_TYPEDEF.findall(text)))


class Probe(NamedTuple):
    """A probe: its name, and the name of each argument, with `*` before one that points to text."""

    name: str
    arguments: tuple[str, ...]


@cache
def probes(text: str) -> frozenset[Probe]:
    """Return the probes that a provider file declares."""
    return declared_probes(read_provider(Source("probes.d", text)))


def declared_probes(provider: Provider) -> frozenset[Probe]:
    """Return the probes of a provider."""
    return frozenset(
        Probe(probe.name, tuple(plain(f"{'*' * each.is_string}{each.name}") for each in probe.arguments))
        for _, probe in provider.probes
    )


def plain(name: str) -> str:
    """Return the name of an argument without the underscore that SystemTap's keywords get in a tapset."""
    return name.rstrip("_")
