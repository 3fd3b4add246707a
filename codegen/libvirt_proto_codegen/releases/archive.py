"""The definitions of many releases in one file, `protocol-defs/releases.weave`.

    release 12.4.0 rebuilt           from other releases, not from its sources
    release 12.6.0 = 12.5.0:12.9.0 rebuilt libvirt_probes.d:unproven
                                     no declaration changed from 12.5.0 to 12.9.0; the file may be another's
    file remote_protocol.x
    @ 0.9.7:                         lines that all releases from 0.9.7 to the newest have
     const REMOTE_STRING_MAX = 4194304;
    @ 0.9.7:1.0.4 1.0.6              … from 0.9.7 to 1.0.4, and 1.0.6
     const REMOTE_AUTH_SASL_DATA_MAX = 65536;

A line of a definition follows a blank; an empty line has none. From top to bottom, the lines of a release are
its file in canonical form. A new release adds its own lines and closes the ranges of lines that it lacks; all
else is unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, takewhile
from typing import Final

from libvirt_proto.errors import Error

from .provenance import GENUINE, Origins, read_provenance
from .version import SAFE, is_maintenance, version_key
from .weave import Run, unweave, weave

#: Number of releases that an error lists in full.
_MAX_SHOWN: Final = 5
#: The archive's name, in the folder that also holds the folders of releases.
ARCHIVE: Final = "releases.weave"

_HEAD: Final = """\
# libvirt's protocol definitions, release by release, written by `libvirt-proto import`. Each line of a file
# appears once, below the releases that have it: `A:B` from A to B, `A:` from A to the newest.
"""
_FILE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9]+", re.ASCII)


class ArchiveError(ValueError):
    """An invalid archive; the message gives the reason and the line number."""


class UnknownRelease(Error, LookupError):
    """A release without bundled definitions; the message names the closest ones."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release with known definitions. No declaration changed from `first` to `last`; annotations and probe
    providers may have."""

    name: str
    first: str
    last: str
    origins: Origins = GENUINE

    @property
    def covers_others(self) -> bool:
        """True if the definitions are those of several releases."""
        return self.first != self.last

    def covers(self, name: str) -> bool:
        """Return True for a full name (`9.9.0`, not `9.9`) in the range."""
        inside = version_key(self.first) <= version_key(name) <= version_key(self.last)
        return inside and name.count(".") > 1


@dataclass(frozen=True)
class Archive:
    """Releases in version order, and for each file the weave of its texts."""

    releases: tuple[Release, ...] = ()
    files: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the releases."""
        return tuple(release.name for release in self.releases)

    def find(self, name: str) -> Release:
        """Return the release that has the definitions of the release `name`; raises UnknownRelease.

        Of several that cover it, this is the first one after it, else the last one before it."""
        covering = [release for release in self.releases if name == release.name or release.covers(name)]
        if not covering:
            raise UnknownRelease(f"libvirt {name} is not bundled ({self._closest(name)})")
        after = [each for each in covering if version_key(each.name) >= version_key(name)]
        return after[0] if after else covering[-1]

    def _closest(self, name: str) -> str:
        """Return `10.x: 10.0.0, 10.1.0, 10.2.0` for a part of a name, else `closest: ` and the neighbours."""
        inside = [each for each in self.names if each.startswith(f"{name}.")]
        if inside:
            main = [each for each in inside if not is_maintenance(each)] or inside
            shown = main if len(main) <= _MAX_SHOWN else [main[0], "…", main[-1]]
            return f"{name}.x: {', '.join(shown)}"
        key = version_key(name)
        before = [release.last for release in self.releases if version_key(release.last) < key][-1:]
        after = [release.first for release in self.releases if version_key(release.first) > key][:1]
        neighbours = ", ".join(before + after)
        if before and after:
            return f"closest: {neighbours}"
        return f"{'newest' if before else 'oldest'}: {neighbours}" if neighbours else "no release is"

    def texts(self, name: str) -> dict[str, str]:
        """Return file → text of a release in `names`; raises ValueError for another."""
        index = self.names.index(name)
        texts = ((file, unweave(runs, index)) for file, runs in self.files.items())
        return {file: text for file, text in texts if text is not None}


def make_archive(
    releases: Iterable[Release], texts: Mapping[str, Mapping[str, str]], old: Archive | None = None
) -> Archive:
    """Build the archive of releases, in any order; `texts` has file → text for each of their names.

    The weave of the oldest releases is reused from an old archive, as far as it has the same ones."""
    ordered = sorted(releases, key=lambda release: version_key(release.name))
    files = sorted({file for release in ordered for file in texts[release.name]})
    old = old or Archive()
    same = (
        release.name == name and texts[name] == old.texts(name)
        for release, name in zip(ordered, old.names, strict=False)
    )
    known = sum(takewhile(bool, same))
    later = [texts[release.name] for release in ordered[known:]]
    return Archive(
        tuple(ordered),
        {file: weave((each.get(file) for each in later), old.files.get(file, ()), known) for file in files},
    )


def write_archive(archive: Archive) -> str:
    """Return the text of the archive's file."""
    lines = [_HEAD]
    for release in archive.releases:
        others = f" = {release.first}:{release.last}" if release.covers_others else ""
        lines.append(f"release {release.name}{others}{_spell_origins(release.origins)}\n")
    for file, runs in archive.files.items():
        lines.append(f"file {file}\n")
        for run in runs:
            lines.append(f"@ {_spell(run.versions, archive.names)}\n")
            lines += [f" {line}\n" if line else "\n" for line in run.lines]
    return "".join(lines)


def _spell_origins(origins: Origins) -> str:
    """` rebuilt libvirt_probes.d:unproven`; nothing for a genuine release."""
    words: list[str] = [origins.release] if origins != GENUINE else []
    words += [f"{file}:{provenance}" for file, provenance in sorted(origins.files.items())]
    return "".join(f" {word}" for word in words)


def _spell(versions: int, names: Sequence[str]) -> str:
    """`0.9.7:1.0.4 1.0.6`."""
    words = []
    indexes = (index for index in range(len(names)) if versions >> index & 1)
    for _, group in groupby(enumerate(indexes), lambda pair: pair[1] - pair[0]):
        run = [version for _, version in group]
        first, last = run[0], run[-1]
        if last == len(names) - 1:
            words.append(f"{names[first]}:")
        else:
            words.append(names[first] if first == last else f"{names[first]}:{names[last]}")
    return " ".join(words)


def read_archive(text: str) -> Archive:
    """Parse the output of `write_archive`; raises ArchiveError for anything else."""
    reader = _Reader()
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        try:
            reader.take(line)
        except (ValueError, KeyError) as error:
            raise ArchiveError(f"line {number}: {error.args[0]}") from None
    return reader.archive()


class _Reader:
    """Parses an archive line by line; raises ValueError with a message."""

    def __init__(self) -> None:
        self._releases: dict[str, Release] = {}
        self._indexes: dict[str, int] = {}
        self._files: dict[str, list[tuple[int, list[str]]]] = {}
        self._runs: list[tuple[int, list[str]]] | None = None
        self._known: dict[str, int] = {}

    def archive(self) -> Archive:
        files = {
            file: tuple(Run(versions, tuple(lines)) for versions, lines in runs)
            for file, runs in self._files.items()
        }
        return Archive(tuple(self._releases.values()), files)

    def take(self, line: str) -> None:
        if line.startswith(" ") or not line:
            if not self._runs:
                raise ValueError("expected `file` and `@` before a line of a file")
            self._runs[-1][1].append(line[1:])
        elif line.startswith("@ "):
            if self._runs is None:
                raise ValueError("expected `file` before `@`")
            self._runs.append((self._versions(line[2:]), []))
        elif line.startswith("file "):
            self._file(line[5:])
        elif line.startswith("release "):
            self._release(line[8:])
        elif not line.startswith("#"):
            raise ValueError("expected `release`, `file`, `@` or a line of a file")

    def _release(self, words: str) -> None:
        name, *rest = words.split(" ")
        first = last = name
        if rest[:1] == ["="]:
            first, _, last = "".join(rest[1:2]).partition(":")
            rest = rest[2:]
        for each in (name, first, last):
            if not SAFE.fullmatch(each):
                raise ValueError(f"expected the name of a release, got {each!r}")
        ordered = [version_key(each) for each in (*list(self._releases)[-1:], name)]
        if self._files or name in self._releases or ordered != sorted(ordered):
            raise ValueError("expected releases before files, in version order")
        self._indexes[name] = len(self._releases)
        self._releases[name] = Release(name, first, last, self._origins(rest))

    def _origins(self, words: Sequence[str]) -> Origins:
        if not words:
            return GENUINE
        files = {}
        for word in words[1:]:
            file, _, provenance = word.partition(":")
            if not _FILE.fullmatch(file):
                raise ValueError(f"expected FILE:PROVENANCE, got {word!r}")
            files[file] = read_provenance(provenance)
        return Origins(read_provenance(words[0]), files)

    def _file(self, name: str) -> None:
        if not _FILE.fullmatch(name) or name in self._files:
            raise ValueError(f"expected the unused name of a file, got {name!r}")
        self._runs = self._files[name] = []

    def _versions(self, words: str) -> int:
        if words not in self._known:
            found = 0
            for word in words.split(" "):
                first, colon, last = word.partition(":")
                start = self._index(first)
                stop = self._index(last) if last else len(self._releases) - 1 if colon else start
                found |= (1 << max(stop + 1, start)) - (1 << start)
            self._known[words] = found
        return self._known[words]

    def _index(self, name: str) -> int:
        if name not in self._indexes:
            raise ValueError(f"expected one of the releases above, got {name!r}")
        return self._indexes[name]
