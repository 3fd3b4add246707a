"""Definitions: `.x` files and probe providers, of which each declaration is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from libvirt_proto.codec.identification import Identification

from ..importer import Parser, choose
from ..source_tree import SourceTree, read_tree
from . import facts
from .known import Facts, Known, Match, Unknown, compare, conclude, known
from .providers import compare_probes, of_file


def identify_tree(path: Path) -> Identification:
    """Identify the files in a folder or an archive. Raises DefinitionError."""
    tree = read_tree(path)
    return _identified(tree, choose(tree, path))


def identify_file(name: str, data: bytes) -> Identification:
    """Identify a file. Raises DefinitionError."""
    path = PurePosixPath(name)
    return _identified(SourceTree({path: data}, {}), [path])


def _identified(tree: SourceTree, chosen: Sequence[PurePosixPath]) -> Identification:
    """Compare files with those of all releases; constants of C headers need no value."""
    _, _, texts = Parser().parse(chosen, tree)
    return conclude("definitions", [match for file, text in texts.items() for match in _matches(file, text)])


def _matches(file: str, text: str) -> Iterator[Match]:
    if file.endswith(".d"):
        probes = facts.probes(text)
        yield compare_probes(file, probes, lambda state: of_file(state, probes, file))
        return
    own = facts.declarations(text)
    home = _home(file, own)
    declared = compare(file, own, lambda each: _file(each, home, facts.declarations))
    yield declared
    if declared.fitting:
        annotated = compare(
            f"{file}, annotations",
            facts.annotated_declarations(text),
            lambda each: _annotated(each, home),
            by_name=True,
        )
        if annotated.fitting != declared.fitting - annotated.unknown:
            # Annotations do not matter on the wire: others do not exclude a release.
            yield annotated if annotated.fitting else annotated._replace(fitting=None)


def _home(file: str, own: Facts) -> str:
    """Return libvirt's name of a .x file: its own, else that of the file with most of its facts."""
    common: dict[str, int] = {}
    for each in known():
        if file in each.files:
            return file
        for name, text in each.files.items():
            if name.endswith(".x"):
                common[name] = max(common.get(name, 0), len(own & facts.declarations(text)))
    return max(common, key=lambda name: common[name], default=file)


def _file(each: Known, file: str, kind: Callable[[str], Facts]) -> Facts | None:
    return kind(each.files[file]) if file in each.files else None


def _annotated(each: Known, file: str) -> Facts | type[Unknown] | None:
    """Return a file's declarations with annotations; unknown for a derived release."""
    if each.release.origins.of(file) == "derived":
        return Unknown
    return _file(each, file, facts.annotated_declarations)
