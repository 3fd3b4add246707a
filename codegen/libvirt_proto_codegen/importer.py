"""`libvirt-proto import`: writes a libvirt source tree's definitions to `protocol-defs/<release>/`, in
canonical form."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Final

from .definitions import EXTERNALS
from .errors import DefinitionError, Problem, reason
from .externals import toml_string, write_externals
from .headers import HeaderConstants
from .model import Specification
from .output import replace_file, temporary_folder
from .printer import print_specification
from .providers.model import Provider
from .providers.parse import read_provider
from .providers.printer import print_provider
from .reader import read_bytes, read_specification, source_of
from .releases import MANIFEST, archive_of
from .releases.provenance import GENUINE, OriginRules, Origins, read_provenance
from .releases.update import Progress, check_plan, has_archive, updated
from .releases.version import SAFE
from .resolve import resolve
from .schema import External, Input, Schema
from .source import Source
from .source_tree import SourceTree, read_tree

#: The definition files of the newest releases; older releases lack some.
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
#: Maximum number of words in all definitions of a release, which bounds memory; libvirt's have 13,000.
MAX_WORDS: Final = 50_000
_WORD: Final = re.compile(rb"/\*.*?(?:\*/|\Z)|\w+|[^\w\s]", re.DOTALL)
#: Folders that hold copies.
_COPIES: Final = ("test", "build", "_build", "dist")


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """A definition file: its path in the source, and the SHA-256 of its original and of its written text."""

    name: str
    path: str
    read_sha256: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that differs from what would be written; `kind` is missing, extra or differs."""

    path: Path
    kind: str


@dataclass(frozen=True)
class ImportReport:
    """The files found in a source tree, and those written to `folder` or, with `check`, different there."""

    release: str
    folder: Path
    files: tuple[ImportedFile, ...]
    #: Files of PROTOCOL_FILES that the source lacks.
    missing: tuple[str, ...]
    schema: Schema
    providers: tuple[Provider, ...] = ()
    #: File → text in canonical form, including externals.toml.
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Origins = GENUINE
    #: The archive and the history, if they were written as well.
    kept_in: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def externals(self) -> tuple[External, ...]:
        """The external constants that the files use, by name."""
        used = {external.name: external for module in self.schema.modules for external in module.externals}
        return tuple(used[name] for name in sorted(used))


def guess_release(source: Path) -> str | None:
    """Return the release in the name of a folder or archive: `libvirt-12.9.0.tar.xz`, `12.9.0`."""
    match = _NAMED_RELEASE.search(source.resolve().name)
    return match["named"] or match["alone"] if match else None


def import_release(
    source: Path,
    release: str,
    out: Path,
    *,
    tree: SourceTree | None = None,
    defines: Mapping[str, int] | None = None,
    same: Sequence[tuple[str, str]] = (),
    rules: OriginRules | None = None,
    check: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import the definitions and probe providers of a release into `out/<release>`; `check` only compares.

    `source` is a source tree, a release archive or a folder of .x and .d files; `tree` restricts it to a
    part.
    If `out` holds an archive of releases, the archive and its history are updated as well; `same` has ranges
    (first, last) of releases with the same declarations. `rules` give the provenance; None is that in `out`,
    else that in the manifest of an imported `source`, else genuine.

    External constants are taken from `defines`, else from the tree's headers, else from the known constants
    of libvirt. Raises DefinitionError for everything that is wrong with the source or the folder.
    """
    if has_archive(out):
        check_plan(out, [release], same)
    report = read_release(tree or read_tree(source), release, source, defines=defines)
    origins = known_origins(out, release, source) if rules is None else rules.origins(report.texts)
    report = replace(report, folder=out / release, origins=origins.only(report.texts))
    texts = {**report.texts, MANIFEST: _manifest(report)}
    files = {}
    if has_archive(out):
        files = updated(
            out, {release: report.texts}, origins={release: report.origins}, same=same, progress=progress
        )
    if check:
        found = (*_differences(report.folder, texts), *file_differences(out, files))
        return replace(report, differences=found)
    _write(report.folder, texts)
    write_files(out, files)
    return replace(report, kept_in=tuple(files))


def known_origins(folder: Path, release: str, source: Path) -> Origins:
    """Return the provenance of a release in the archive of a folder, else that in the manifest of a source
    that was imported before, else genuine."""
    for each in archive_of(folder).releases:
        if each.name == release:
            return each.origins
    return _manifest_origins(source / MANIFEST) or GENUINE


def _manifest_origins(path: Path) -> Origins | None:
    """Return the provenance that a manifest states, None without one."""
    if not path.is_file():
        return None
    try:
        manifest = tomllib.loads(read_bytes(path).decode())
        files = {str(file["name"]): read_provenance(file["provenance"]) for file in manifest["file"]}
        return Origins(read_provenance(manifest["provenance"]), files)
    except KeyError:
        return None  # written before manifests had it
    except (ValueError, TypeError, RecursionError) as error:
        raise _failure("bad-manifest", f"{path}: {error}") from None


def file_differences(folder: Path, texts: Mapping[str, str]) -> tuple[Difference, ...]:
    """Return the files in a folder whose text differs from these texts."""
    found = []
    for name, text in sorted(texts.items()):
        path = folder / name
        if not path.is_file():
            found.append(Difference(path, "missing"))
        elif path.read_bytes() != text.encode():
            found.append(Difference(path, "differs"))
    return tuple(found)


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files in a folder whose text differs, each atomically."""
    for difference in file_differences(folder, texts):
        try:
            replace_file(difference.path, texts[difference.path.name])
        except OSError as error:
            message = f"cannot write {difference.path}: {reason(error)}"
            raise _failure("unwritable", message) from None


def read_release(
    tree: SourceTree,
    release: str,
    source: Path,
    *,
    defines: Mapping[str, int] | None = None,
    parser: Parser | None = None,
) -> ImportReport:
    """Return a release's definitions in canonical form; `source` is the name used in problems."""
    if not SAFE.fullmatch(release):
        raise _failure("bad-release", f"expected the name of a release, such as 12.9.0, got {release!r}")
    chosen = choose(tree, source)
    specifications, providers, texts = (parser or Parser()).parse(chosen, tree)
    numbers = tuple(int(part) for part in re.findall(r"[0-9]+", release))
    schema = resolve(
        specifications,
        externals=HeaderConstants(tree.headers, defines or {}, numbers),
        release=release,
        inputs=tuple(
            Input(path.name, _sha256(tree.definitions[path])) for path in chosen if path.suffix == ".x"
        ),
    )
    report = ImportReport(
        release,
        Path(release),
        tuple(_imported(path, tree.definitions[path], texts[path.name]) for path in chosen),
        tuple(name for name in PROTOCOL_FILES if name not in texts),
        schema,
        tuple(providers),
    )
    return replace(report, texts={**texts, EXTERNALS: write_externals(report.externals)})


def _imported(path: PurePosixPath, read: bytes, text: str) -> ImportedFile:
    return ImportedFile(path.name, str(path), _sha256(read), _sha256(text.encode()))


def _failure(rule: str, message: str) -> DefinitionError:
    return DefinitionError([Problem(rule, None, message)])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def choose(tree: SourceTree, source: Path) -> list[PurePosixPath]:
    """Return one path per file name, sorted by name; `source` is the name used in problems.

    Raises DefinitionError without a .x file, and for different files of one name."""
    by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
    for path in tree.definitions:
        by_name[path.name].append(path)
    if not any(name.endswith(".x") for name in by_name):
        raise _failure("no-definitions", f"no *protocol.x file in {source}")
    problems: list[Problem] = []
    chosen: list[PurePosixPath] = []
    for _, paths in sorted(by_name.items()):
        originals = [path for path in paths if not _is_copy(path)] or paths
        originals.sort(key=lambda path: (len(path.parts), path))
        if len({tree.definitions[path] for path in originals}) > 1:
            places = ", ".join(map(str, originals[:3])) + (", …" if len(originals) > 3 else "")
            message = f"{len(originals)} different files are named {originals[0].name}: {places}"
            hint = "name the folder of one release"
            problems.append(Problem("ambiguous-file", None, message, hint))
        chosen.append(originals[0])
    if problems:
        raise DefinitionError(problems)
    return chosen


def _is_copy(path: PurePosixPath) -> bool:
    return any(part.lower().startswith(_COPIES) for part in path.parts[:-1])


def _words(data: bytes) -> int:
    """Count the words and punctuation marks of a definition file; a comment counts as one."""
    return sum(1 for _ in _WORD.finditer(data))


class Parser:
    """Parses files and prints them in canonical form. Files shared with the previous release are parsed once;
    older releases are forgotten, since all together are too large."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], tuple[Specification | Provider, str]] = {}
        self._texts: dict[str, str] = {}

    def parse(
        self, chosen: Sequence[PurePosixPath], tree: SourceTree
    ) -> tuple[list[Specification], list[Provider], dict[str, str]]:
        """Return the definitions and providers in some files, and the canonical text of each, by name."""
        specifications: list[Specification] = []
        providers: list[Provider] = []
        texts: dict[str, str] = {}
        problems: list[Problem] = []
        if sum(_words(tree.definitions[path]) for path in chosen) > MAX_WORDS:
            message = f"the definitions of a release have more than {MAX_WORDS:,} words"
            raise _failure("too-large", f"{message}: expected a libvirt release")
        before, self._known = self._known, {}
        for path in chosen:
            key = path.name, tree.definitions[path]
            try:
                parsed, text = self._known[key] = before.get(key) or self._file(path, key[1])
                texts[path.name] = self._texts.setdefault(text, text)
            except DefinitionError as error:
                problems += error.problems
                continue
            if isinstance(parsed, Provider):
                providers.append(parsed)
            else:
                specifications.append(parsed)
        if problems:
            raise DefinitionError(problems)
        return specifications, providers, texts

    def _file(self, path: PurePosixPath, data: bytes) -> tuple[Specification | Provider, str]:
        source = source_of(str(path), data)
        if path.suffix == ".x":
            specification = read_specification(source)
            return specification, _canonical(specification)
        provider = read_provider(source)
        return provider, _canonical_provider(provider)


def _canonical(specification: Specification) -> str:
    """Return a definition's canonical text, verified to parse to an equal Specification."""
    text = print_specification(specification)
    again = read_specification(Source(specification.file, text))
    if again != specification:
        raise _not_equal(specification.file)  # pragma: no cover - a guard against bugs in the printer
    return text


def _canonical_provider(provider: Provider) -> str:
    """Return a probe provider's canonical text, verified to parse to an equal Provider."""
    text = print_provider(provider)
    if read_provider(Source(provider.file, text)) != provider:
        raise _not_equal(provider.file)  # pragma: no cover - a guard against bugs in the printer
    return text


def _not_equal(file: str) -> DefinitionError:  # pragma: no cover - as above
    return _failure("not-equal", f"{file}: the canonical form does not parse to the same definitions")


def _manifest(report: ImportReport) -> str:
    lines = [
        "# Written by `libvirt-proto import`: the SHA-256 of each file as read and as written.",
        f"release = {toml_string(report.release)}",
        f'provenance = "{report.origins.release}"',
    ]
    for file in report.files:
        lines += [
            "",
            "[[file]]",
            f"name = {toml_string(file.name)}",
            f'read-sha256 = "{file.read_sha256}"',
            f'sha256 = "{file.sha256}"',
            f'provenance = "{report.origins.of(file.name)}"',
        ]
    return "\n".join(lines) + "\n"


def _differences(folder: Path, texts: Mapping[str, str]) -> tuple[Difference, ...]:
    extra = [path for path in folder.iterdir() if path.name not in texts] if folder.is_dir() else []
    return (*file_differences(folder, texts), *(Difference(path, "extra") for path in sorted(extra)))


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all files or none: they go to a temporary folder, which then replaces the folder."""
    try:
        if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
            message = f"{folder} exists and has no {MANIFEST}: it is not overwritten"
            raise _failure("not-ours", message)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as temporary:
            new, old = temporary / "new", temporary / "old"
            new.mkdir()
            for name, text in texts.items():
                (new / name).write_bytes(text.encode())
            try:
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
            except BaseException:
                if old.exists() and not folder.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise _failure("unwritable", f"cannot write {folder}: {reason(error)}") from None
