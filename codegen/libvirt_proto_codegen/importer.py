"""`libvirt-proto import`: a libvirt source tree becomes `protocol-defs/<release>/` in canonical form."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from .definitions import EXTERNALS, MANIFEST
from .errors import DefinitionError, Problem
from .externals import toml_string, write_externals
from .front import read_specification, source_of
from .headers import HeaderConstants
from .model import Specification
from .printer import print_specification
from .providers.model import Provider
from .providers.parse import read_provider
from .providers.printer import print_provider
from .resolve import resolve
from .schema import External, Input, Schema
from .source import Source
from .source_tree import SourceTree, read_tree

#: What the newest releases have; older ones lack some.
PROTOCOL_FILES: Final = (
    "admin_protocol.x",
    "lock_protocol.x",
    "log_protocol.x",
    "lxc_monitor_protocol.x",
    "lxc_protocol.x",
    "qemu_protocol.x",
    "remote_protocol.x",
    "virkeepaliveprotocol.x",
    "virnetprotocol.x",
)

_RELEASE = re.compile(r"[0-9]+(?:\.[0-9]+)+(?:-?rc[0-9]+)?")
_NAMED_RELEASE = re.compile(
    rf"libvirt[-_]v?(?P<named>{_RELEASE.pattern})|^v?(?P<alone>{_RELEASE.pattern})(?:\.(?:tar|t[gx]z|zip).*)?$"
)
_SAFE_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
#: Folders that hold copies.
_COPIES: Final = ("test", "build", "_build", "dist")


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A definition file: where it was in the source, and the SHA-256 of what was read and written."""

    name: str
    path: str
    read_sha256: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as it would be written; `kind` is missing, extra or differs."""

    path: Path
    kind: str


@dataclass(frozen=True)
class ImportReport:
    """What was found in a source tree, and what was written or, with `check`, differs."""

    release: str
    folder: Path
    files: tuple[ImportedFile, ...]
    #: Files of PROTOCOL_FILES that the source does not have.
    missing: tuple[str, ...]
    schema: Schema
    providers: tuple[Provider, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def externals(self) -> tuple[External, ...]:
        """The external constants that the files use, by name."""
        used = {external.name: external for module in self.schema.modules for external in module.externals}
        return tuple(used[name] for name in sorted(used))


def guess_release(source: Path) -> str | None:
    """The release that a folder or archive is named after: `libvirt-12.6.0.tar.xz`, `12.6.0`."""
    match = _NAMED_RELEASE.search(source.resolve().name)
    return match["named"] or match["alone"] if match else None


def import_release(
    source: Path,
    release: str,
    out: Path,
    *,
    defines: Mapping[str, int] | None = None,
    check: bool = False,
) -> ImportReport:
    """Reads the definitions and probe providers in a source tree, a release archive or a folder of
    .x and .d files, and writes them to `out/<release>`; with `check` it only compares.

    External constants come from `defines`, else from the tree's headers, else from what is known of
    libvirt's. Raises DefinitionError for everything that is wrong with the source or the folder.
    """
    if not _SAFE_RELEASE.fullmatch(release):
        raise _failure("bad-release", f"{release!r} is no name of a release, such as 12.6.0")
    tree = read_tree(source)
    chosen = _choose(tree, source)
    specifications, providers = _parse(chosen, tree)
    numbers = tuple(int(part) for part in re.findall(r"[0-9]+", release))
    schema = resolve(
        specifications,
        externals=HeaderConstants(tree.headers, defines or {}, numbers),
        release=release,
        inputs=tuple(
            Input(path.name, _sha256(tree.definitions[path])) for path in chosen if path.suffix == ".x"
        ),
    )
    texts = {specification.file: _canonical(specification) for specification in specifications}
    texts |= {provider.file: _canonical_provider(provider) for provider in providers}
    report = ImportReport(
        release,
        out / release,
        tuple(_imported(path, tree.definitions[path], texts[path.name]) for path in chosen),
        tuple(name for name in PROTOCOL_FILES if name not in texts),
        schema,
        tuple(providers),
    )
    texts[MANIFEST] = _manifest(report)
    texts[EXTERNALS] = write_externals(report.externals)
    if check:
        return replace(report, differences=_differences(report.folder, texts))
    _write(report.folder, texts)
    return report


def _imported(path: PurePosixPath, read: bytes, text: str) -> ImportedFile:
    return ImportedFile(path.name, str(path), _sha256(read), _sha256(text.encode()))


def _failure(rule: str, message: str) -> DefinitionError:
    return DefinitionError([Problem(rule, None, message)])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _choose(tree: SourceTree, source: Path) -> list[PurePosixPath]:
    """One path for each file name, sorted by name."""
    by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in tree.definitions:
        by_name[path.name].append(path)
    if not any(name.endswith(".x") for name in by_name):
        raise _failure("no-definitions", f"there is no *protocol.x in {source}")
    problems: list[Problem] = []
    chosen: list[PurePosixPath] = []
    for _, paths in sorted(by_name.items()):
        originals = [path for path in paths if not _is_copy(path)] or paths
        originals.sort(key=lambda path: (len(path.parts), path))
        if len({tree.definitions[path] for path in originals}) > 1:
            places = ", ".join(map(str, originals[:3])) + (", …" if len(originals) > 3 else "")
            message = f"{len(originals)} files are called {originals[0].name}, and differ: {places}"
            hint = "name the folder of one release"
            problems.append(Problem("ambiguous-file", None, message, hint))
        chosen.append(originals[0])
    if problems:
        raise DefinitionError(problems)
    return chosen


def _is_copy(path: PurePosixPath) -> bool:
    return any(part.lower().startswith(_COPIES) for part in path.parts[:-1])


def _parse(chosen: Sequence[PurePosixPath], tree: SourceTree) -> tuple[list[Specification], list[Provider]]:
    specifications: list[Specification] = []
    providers: list[Provider] = []
    problems: list[Problem] = []
    for path in chosen:
        try:
            source = source_of(str(path), tree.definitions[path])
            if path.suffix == ".x":
                specifications.append(read_specification(source))
            else:
                providers.append(read_provider(source))
        except DefinitionError as error:
            problems += error.problems
    if problems:
        raise DefinitionError(problems)
    return specifications, providers


def _canonical(specification: Specification) -> str:
    """The text of a definition in our own form, which is certain to say the same."""
    text = print_specification(specification)
    again = read_specification(Source(specification.file, text))
    if again != specification:
        raise _not_equal(specification.file)  # pragma: no cover - a guard against mistakes of our own
    return text


def _canonical_provider(provider: Provider) -> str:
    """The text of a probe provider in our own form, which is certain to say the same."""
    text = print_provider(provider)
    if read_provider(Source(provider.file, text)) != provider:
        raise _not_equal(provider.file)  # pragma: no cover - a guard against mistakes of our own
    return text


def _not_equal(file: str) -> DefinitionError:  # pragma: no cover - as above
    return _failure("not-equal", f"{file}: printed and parsed again it says something else")


def _manifest(report: ImportReport) -> str:
    lines = [
        "# Written by `libvirt-proto import`: the SHA-256 of what was read, and of what was made of it.",
        f"release = {toml_string(report.release)}",
    ]
    for file in report.files:
        lines += [
            "",
            "[[file]]",
            f"name = {toml_string(file.name)}",
            f'read-sha256 = "{file.read_sha256}"',
            f'sha256 = "{file.sha256}"',
        ]
    return "\n".join(lines) + "\n"


def _differences(folder: Path, texts: Mapping[str, str]) -> tuple[Difference, ...]:
    found = []
    for name, text in sorted(texts.items()):
        path = folder / name
        if not path.is_file():
            found.append(Difference(path, "missing"))
        elif path.read_bytes() != text.encode():
            found.append(Difference(path, "differs"))
    extra = [path for path in folder.iterdir() if path.name not in texts] if folder.is_dir() else []
    return tuple(found + [Difference(path, "extra") for path in sorted(extra)])


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """All files or none: they are written beside the folder, which then takes its place."""
    beside: Path | None = None
    try:
        if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
            message = f"{folder} is there already and has no {MANIFEST}: it is left alone"
            raise _failure("not-ours", message)
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        new, old = beside / "new", beside / "old"
        new.mkdir()
        for name, text in texts.items():
            (new / name).write_bytes(text.encode())
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise _failure("unwritable", f"cannot write {folder}: {error.strerror or error}") from None
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
