"""Tapsets of probes, as libvirt installs them (`libvirt_probes.stp`): the arguments of the probes of a file.

Source: `dtrace2systemtap.pl` in libvirt's sources, which writes them from the provider files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from .providers import Argument, Arguments, Choice, Counts, Declaration, ProbeName, choose

#: Size of a tapset in bytes; libvirt's have 10,000.
MAX_TAPSET: Final = 1 << 20
#: Names of libvirt tapsets. Fedora has one for each word size.
_NAMES: Final = tuple(
    f"libvirt_{name}{bits}.stp" for name in ("probes", "qemu_probes") for bits in ("", "-64", "-32")
)
#: Where tapsets are, from the folder that holds lib and sbin.
_FOLDER: Final = Path("share/systemtap/tapset")
_ALIAS: Final = re.compile(
    r"^probe (?P<provider>[A-Za-z]\w*)\.(?P<alias>[\w.]+)\s*="
    r'(?P<points>\s*process\("[^"\n]*"\)\.mark\("\w+"\),?(?:\s*process\("[^"\n]*"\)\.mark\("\w+"\),?)*)'
    r"\s*\{(?P<body>[^{}]*)\}",
    re.MULTILINE | re.ASCII,
)
_POINT: Final = re.compile(r'process\("([^"\n]*)"\)\.mark\("(\w+)"\)', re.ASCII)
_VARIABLE: Final = re.compile(
    r"^[ \t]*(?P<name>[A-Za-z_]\w*) = (?P<text>user_string\()?\$arg(?P<number>[0-9]{1,2})\)?;?$",
    re.MULTILINE | re.ASCII,
)


class Tapset(NamedTuple):
    """The paths of the files that a tapset traces, the arguments of their probes, and the alias of each probe
    without its provider (`rpc.client_new`)."""

    paths: frozenset[str]
    probes: Mapping[ProbeName, Arguments]
    aliases: Mapping[ProbeName, str]


def parse_tapset(text: str) -> Tapset:
    """Return the probes of a tapset. An alias with arguments out of order is left out."""
    paths: set[str] = set()
    probes: dict[ProbeName, Arguments] = {}
    aliases: dict[ProbeName, str] = {}
    for match in _ALIAS.finditer(text):
        variables = list(_VARIABLE.finditer(match["body"]))
        if [int(each["number"]) for each in variables] != list(range(1, len(variables) + 1)):
            continue
        arguments = tuple(Argument(each["name"], each["text"] is not None) for each in variables)
        for path, mark in _POINT.findall(match["points"]):
            paths.add(path)
            probes[match["provider"], mark] = arguments
            aliases[match["provider"], mark] = match["alias"]
    return Tapset(frozenset(paths), probes, aliases)


class ProbeFile(NamedTuple):
    """A file with probes: its path, the libvirt release that it belongs to (None if unknown), and the numbers
    of arguments of each of its probes."""

    path: Path
    version: str | None
    counts: Counts


def choices(
    known: Sequence[Declaration],
    files: Sequence[ProbeFile],
    read: Callable[[Path], bytes],
    stated: str | None = None,
) -> list[Choice]:
    """Return the declarations that apply to each file.

    Where the version proves none, a tapset that is installed with a file does, also for the other files of
    that version. `read` returns the content of a file, MAX_TAPSET bytes at most, or raises OSError; `stated`
    is the release that a user selects.
    """
    found = [choose(known, file.version, stated, file.counts) for file in files]
    if stated is not None:
        return found
    tapsets: dict[str, Choice] = {}
    for index, (file, choice) in enumerate(zip(files, found, strict=True)):
        if (
            choice.basis not in ("proven", "custom")
            and (tapset := _with_tapset(choice, file, read)) is not None
        ):
            found[index] = tapset
            if file.version is not None:
                tapsets.setdefault(file.version, tapset)
    return [
        choice if file.version is None else tapsets.get(file.version, choice)
        for file, choice in zip(files, found, strict=True)
    ]


def _with_tapset(choice: Choice, file: ProbeFile, read: Callable[[Path], bytes]) -> Choice | None:
    """Return the choice of the tapsets that are installed with a file, if one names it and they have the
    number of arguments of each of its probes."""
    for folder in (parent / _FOLDER for parent in file.path.parents):
        tapsets = list(_tapsets(folder, read))
        probes = {probe: each for tapset in tapsets for probe, each in tapset.probes.items()}
        fits = all(file.counts[probe] == {len(probes[probe])} for probe in file.counts.keys() & probes.keys())
        if fits and any(_names(path, folder, file.path) for tapset in tapsets for path in tapset.paths):
            declaration = Declaration("", "", probes)
            return Choice(choice.version, "tapset", (declaration,), choice.known, str(folder))
    return None


def _tapsets(folder: Path, read: Callable[[Path], bytes]) -> Iterator[Tapset]:
    """Yield libvirt's tapsets in a folder. The folder may be that of any user, and is not listed."""
    for name in _NAMES:
        with suppress(OSError):
            yield parse_tapset(read(folder / name).decode("utf-8", "replace"))


def _names(path: str, folder: Path, file: Path) -> bool:
    """Return whether a path in a tapset is that of a file, perhaps without its version (`libvirt.so`). The
    root of its file system is a folder here if that is another system's."""
    named = Path(path)
    if not named.is_absolute() or ".." in named.parts or not file.name.startswith(named.name):
        return False
    return any(_same(file.parent, Path(root, *named.parent.parts[1:])) for root in folder.parents)


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)
    return False
