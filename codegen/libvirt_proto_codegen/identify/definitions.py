"""Definitions: `.x` files and probe providers, of which each declaration is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from libvirt_proto.codec.identification import Identification

from ..importer import Parser, choose
from ..source_tree import SourceTree, read_tree
from . import facts
from .known import Facts, FactsOf, Match, Texts, compare, conclude, known


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
    kind = facts.declarations if file.endswith(".x") else facts.probes
    home = _home(file, kind(text), kind)
    declared = compare(file, kind(text), _facts_of(home, kind))
    yield declared
    if not declared.releases or kind is facts.probes:
        return
    what = f"{file}, annotations"
    annotated = compare(
        what, facts.annotated_declarations(text), _facts_of(home, facts.annotated_declarations)
    )
    if annotated.releases != declared.releases:
        # Annotations do not matter on the wire: others do not exclude a release.
        yield annotated if annotated.releases else annotated._replace(releases=None)


def _home(file: str, own: Facts, kind: Callable[[str], Facts]) -> str:
    """Return libvirt's name of a file: its own, else that of the file with most of its facts."""
    suffix = PurePosixPath(file).suffix
    common: dict[str, int] = {}
    for _, files in known():
        if file in files:
            return file
        for name, text in files.items():
            if name.endswith(suffix):
                common[name] = max(common.get(name, 0), len(own & kind(text)))
    return max(common, key=lambda name: common[name], default=file)


def _facts_of(file: str, kind: Callable[[str], Facts]) -> FactsOf:
    def facts_of(files: Texts) -> Facts | None:
        return kind(files[file]) if file in files else None

    return facts_of
