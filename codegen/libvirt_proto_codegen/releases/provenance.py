"""The provenance of definitions: upstream's files, or conclusions from those of other releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, get_args

from libvirt_proto.codec.history import Provenance as Provenance

#: All values, the most reliable one first.
PROVENANCES: Final[tuple[Provenance, ...]] = get_args(Provenance)


def read_provenance(word: str) -> Provenance:
    """Return the provenance with this name; raises ValueError."""
    for provenance in PROVENANCES:
        if word == provenance:
            return provenance
    raise ValueError(f"expected {', '.join(PROVENANCES[:-1])} or {PROVENANCES[-1]}, got {word!r}")


@dataclass(frozen=True, slots=True)
class Origins:
    """The provenance of a release's definitions; `files` has that of the files for which it differs."""

    release: Provenance = "genuine"
    files: Mapping[str, Provenance] = field(default_factory=dict)

    def of(self, file: str) -> Provenance:
        """Return the provenance of a file."""
        return self.files.get(file, self.release)

    def only(self, files: Iterable[str]) -> Origins:
        """Return the same without other files and redundant entries."""
        kept = {name: self.files[name] for name in sorted(files) if self.of(name) != self.release}
        return Origins(self.release, kept)


GENUINE: Final = Origins()


@dataclass(frozen=True, slots=True)
class OriginRules:
    """The provenance of a release, and pattern → provenance of files that differ (`*.d` → `unproven`)."""

    release: Provenance = "genuine"
    files: Mapping[str, Provenance] = field(default_factory=dict)

    def origins(self, names: Iterable[str]) -> Origins:
        """Return the provenance of the files with these names; the last matching pattern decides."""
        found = {
            name: provenance
            for name in names
            for pattern, provenance in self.files.items()
            if fnmatchcase(name, pattern)
        }
        return Origins(self.release, found).only(found)
