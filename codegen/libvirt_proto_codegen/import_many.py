"""`libvirt-proto import` of many releases at once, into an archive and its history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .importer import Difference, Parser, file_differences, read_release, write_files
from .releases.archive import ARCHIVE, Archive, read_archive
from .releases.facts import HISTORY, History, read_history
from .releases.provenance import OriginRules
from .releases.update import Progress, check_plan, updated
from .source_tree import SourceTree


@dataclass(frozen=True, slots=True)
class ManyReport:
    """The result of importing many releases: those read, all in the archive, and their history."""

    read: tuple[str, ...]
    archive: Archive
    history: History
    #: Sizes of the two files in bytes, by name.
    sizes: Mapping[str, int]
    differences: tuple[Difference, ...] = ()


def import_releases(
    trees: Mapping[str, SourceTree],
    source: Path,
    out: Path,
    *,
    defines: Mapping[str, int] | None = None,
    same: Sequence[tuple[str, str]] = (),
    rules: OriginRules | None = None,
    check: bool = False,
    progress: Progress | None = None,
) -> ManyReport:
    """Write the archive of releases and their history to `out`; `check` only compares.

    `trees` has each release's part of `source`. Other releases in the archive are kept.
    `defines`, `same`, `rules` and errors are as for `import_release`.
    """
    parser = Parser()
    news = {}
    check_plan(out, trees, same)
    for number, (release, tree) in enumerate(trees.items(), 1):
        if progress is not None:
            progress("Reading", release, number, len(trees))
        news[release] = read_release(tree, release, source, defines=defines, parser=parser).texts
    origins = {} if rules is None else {release: rules.origins(texts) for release, texts in news.items()}
    texts = updated(out, news, origins=origins, same=same, progress=progress)
    differences = file_differences(out, texts) if check else ()
    if not check:
        write_files(out, texts)
    return ManyReport(
        tuple(trees),
        read_archive(texts[ARCHIVE]),
        read_history(texts[HISTORY]),
        {name: len(text.encode()) for name, text in texts.items()},
        differences,
    )
