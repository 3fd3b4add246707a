"""Arguments of static probes, as far as they are known for a libvirt release.

ELF notes have the number and the places of a probe's arguments. Names and types are in the provider files of
libvirt's sources (`libvirt_probes.d`), and change between releases. A pointer that is read as text shows
memory of the process, so an argument without proof is left out.

Source: the provider files of each libvirt release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, Literal, NamedTuple

from .history import version_key

#: Marks an argument that points to text, in rows of `declaration_rows`.
_TEXT: Final = "*"


class Argument(NamedTuple):
    """An argument of a probe. `is_text` is True if it points to characters; all others are numbers."""

    name: str
    is_text: bool = False


Arguments = tuple[Argument, ...]
#: The names of a provider and of its probe.
ProbeName = tuple[str, str]


class Declaration(NamedTuple):
    """The probes that libvirt's provider files declare, proven for the releases from `first` to `last`."""

    first: str
    last: str
    probes: Mapping[ProbeName, Arguments]

    def __str__(self) -> str:
        """`7.0.0 to 11.3.0`."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


#: The reason for a choice: the version is in the range of a declaration; it is between two; it is before or
#: after all; it is unknown, and these declarations have all probes of the file, or none does; the tapset of
#: the same installation decides; or a user gives the declaration.
Basis = Literal["proven", "between", "outside", "fitting", "unknown", "tapset", "custom"]
#: The numbers of arguments at the places of each probe of a file.
Counts = Mapping[ProbeName, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Choice:
    """The declarations that can apply to a file: with several, only arguments on which they agree are used.

    `version` is that of its libvirt, None if unknown; `known` are all declarations. `source` is the
    folder of a tapset. `fits` is False if a declaration of another release has a probe of the file with
    another number of arguments: then no argument is read as text.
    """

    version: str | None
    basis: Basis
    declarations: tuple[Declaration, ...]
    known: tuple[Declaration, ...] = ()
    source: str = ""
    fits: bool = True

    def arguments(self, probe: ProbeName, count: int | None = None) -> tuple[Argument | None, ...]:
        """Return the known arguments of a probe that has `count` of them in the file, in order, with None for
        each unknown one. Without a count, the declarations give it.

        If no declaration has this number of arguments, only the first one is known: the object that the probe
        is about, in all releases.
        """
        declared = self._declared(probe)
        if count is None:
            count = max(map(len, declared), default=0)
        if self.has(probe, count):
            agreed = _agreed(declared, count)
            return agreed if self.fits else _numbers(agreed)
        everywhere = [each.probes[probe] for each in self.known or self.declarations if probe in each.probes]
        return (*_numbers(_agreed(everywhere, min(count, 1))), *[None] * (count - 1))

    def has(self, probe: ProbeName, count: int) -> bool:
        """Return whether a probe with this number of arguments is declared."""
        return any(len(each) == count for each in self._declared(probe))

    def _declared(self, probe: ProbeName) -> list[Arguments]:
        declared = [each.probes[probe] for each in self.declarations if probe in each.probes]
        if self.basis == "unknown":
            # Other layouts are older ones: the number of arguments must be that of the newest.
            return [each for each in declared if len(each) == len(declared[-1])]
        return declared

    def __str__(self) -> str:
        """`libvirt 9.0.0: arguments of probes as in 7.0.0 to 11.3.0`."""
        name = f"libvirt {self.version}" if self.version else "unknown version of libvirt"
        ranges = list(map(str, self.declarations))
        match self.basis:
            case "tapset":
                return f"{name}: arguments of probes as in {self.source}"
            case "custom":
                return f"{name}: arguments of probes as in the definitions"
            case "outside":
                text = "" if self.fits else "; no text, since others differ"
                return f"{name} is not bundled: arguments of probes as in {ranges[0]}, unproven{text}"
            case "fitting" | "unknown":
                return f"{name}: only arguments of probes on which all bundled releases that fit agree"
        if len(ranges) == 1:
            return f"{name}: arguments of probes as in {ranges[0]}"
        return f"{name}: only arguments of probes on which {' and '.join(ranges)} agree"


def _agreed(declared: Sequence[Arguments], count: int) -> tuple[Argument | None, ...]:
    """Return the first `count` arguments that are the same in all declarations; None for others."""
    columns = list(zip_longest(*declared))[:count]
    agreed = [column[0] if len(set(column)) == 1 else None for column in columns]
    return (*agreed, *[None] * (count - len(agreed)))


def _numbers(arguments: Iterable[Argument | None]) -> tuple[Argument | None, ...]:
    """Return arguments without those that point to text."""
    return tuple(None if each is None or each.is_text else each for each in arguments)


def choose(
    known: Sequence[Declaration], version: str | None, stated: str | None = None, counts: Counts | None = None
) -> Choice:
    """Return the declarations that apply to a version of libvirt; if it is None, those that have all probes
    of a file, with as many arguments (`counts`).

    `known` are in the order of their releases. `stated` is the release that a user selects: it counts if the
    version is unknown; if the version proves nothing, the declarations of both must agree.
    """
    found = _choose(known, version, counts or {})
    if stated is None or found.basis == "proven":
        return found
    own = _choose(known, stated, counts or {})
    more = [each for each in own.declarations if each not in found.declarations]
    if version is None or not more:
        return found if version else own
    return Choice(
        version, "between", (*more, *found.declarations), tuple(known), fits=own.fits and found.fits
    )


def _choose(known: Sequence[Declaration], version: str | None, counts: Counts) -> Choice:
    if version is None:
        fitting = tuple(each for each in known if _has_all(each, counts))
        return Choice(None, "fitting" if fitting else "unknown", fitting or tuple(known), tuple(known))
    key = version_key(version)
    before = [each for each in known if version_key(each.first) <= key][-1:]
    after = [each for each in known if version_key(each.first) > key][:1]
    if before and key <= version_key(before[0].last):
        return Choice(version, "proven", (before[0],), tuple(known))
    if before and after:
        return Choice(version, "between", (*before, *after), tuple(known))
    (nearest,) = (*before, *after)
    return Choice(version, "outside", (nearest,), tuple(known), fits=_fits(nearest, counts))


def _fits(declaration: Declaration, counts: Counts) -> bool:
    """Return whether probes that a declaration and a file have in common have as many arguments."""
    common = counts.keys() & declaration.probes.keys()
    return all(counts[probe] == {len(declaration.probes[probe])} for probe in common)


def _has_all(declaration: Declaration, counts: Counts) -> bool:
    """Return whether a declaration has all probes of its providers in a file, with as many arguments."""
    providers = {provider for provider, _ in declaration.probes}
    own = {probe for probe in counts if probe[0] in providers}
    return own <= declaration.probes.keys() and _fits(declaration, counts)


#: The first and the last release of each declaration.
Ranges = tuple[tuple[str, str], ...]
#: Probe → the indexes of the first and the last declaration with these arguments:
#: `"libvirt.rpc_socket_send_fd": ((0, 8, "sock fd"),)`.
Rows = Mapping[str, tuple[tuple[int, int, str], ...]]


def declaration_rows(known: Sequence[Declaration]) -> tuple[Ranges, Rows]:
    """Return declarations as plain data, from which `read_declarations` returns the same."""
    found: dict[ProbeName, list[tuple[int, int, str]]] = {}
    for index, declaration in enumerate(known):
        for probe, arguments in declaration.probes.items():
            text = " ".join(_TEXT * each.is_text + each.name for each in arguments)
            runs = found.setdefault(probe, [])
            if runs and runs[-1][1:] == (index - 1, text):
                runs[-1] = runs[-1][0], index, text
            else:
                runs.append((index, index, text))
    ranges = tuple((each.first, each.last) for each in known)
    return ranges, {".".join(probe): tuple(runs) for probe, runs in sorted(found.items())}


def read_declarations(ranges: Ranges, rows: Rows) -> tuple[Declaration, ...]:
    """Return the declarations of rows."""
    found: list[dict[ProbeName, Arguments]] = [{} for _ in ranges]
    for name, runs in rows.items():
        provider, _, probe = name.partition(".")
        for first, last, text in runs:
            words = text.split()
            arguments = tuple(Argument(word.removeprefix(_TEXT), word.startswith(_TEXT)) for word in words)
            for index in range(first, last + 1):
                found[index][provider, probe] = arguments
    return tuple(Declaration(*range_, each) for range_, each in zip(ranges, found, strict=True))
