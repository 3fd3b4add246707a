"""Import Python packages from text in memory, with an importer on `sys.meta_path` and without files.

Tracebacks show the lines of such a module, since `linecache` asks its loader for them.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final, NamedTuple


def import_package(texts: Mapping[str, str], origin: str) -> ModuleType:
    """Import a package from file name → text. `origin` names it in tracebacks.

    A text is looked up when its module is imported, and when a traceback shows it. Packages with the same
    `__init__.py` are identical. Raises the errors of importing `__init__.py`.
    """
    name = f"_libvirt_proto_{hashlib.sha256(texts['__init__.py'].encode()).hexdigest()[:32]}"
    _IMPORTER.packages.setdefault(name, _Package(texts, origin))
    if _IMPORTER not in sys.meta_path:
        sys.meta_path.insert(0, _IMPORTER)  # before the path, so that no file can replace a text
    return import_module(name)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the cycle collector during large allocations that stay, which it would search in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            _make_old()
            gc.enable()


def _make_old() -> None:
    """Move all objects to the oldest generation, unless the caller has frozen some, which must remain so."""
    # Counting frozen objects visits each of them: once is enough.
    _IMPORTER.caller_freezes = _IMPORTER.caller_freezes or gc.get_freeze_count() > 0
    if not _IMPORTER.caller_freezes:
        gc.freeze()
        gc.unfreeze()


class _Package(NamedTuple):
    texts: Mapping[str, str]
    origin: str


class _Importer(ExecutionLoader, MetaPathFinder):
    """Finder and loader of the packages in memory, by name."""

    def __init__(self) -> None:
        self.packages: dict[str, _Package] = {}
        self.caller_freezes = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that has a text, None for any other."""
        package = self.packages.get(fullname.partition(".")[0])
        if package is None or _file(fullname) not in package.texts:
            return None
        is_package = self.is_package(fullname)
        return ModuleSpec(fullname, self, origin=self.get_filename(fullname), is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        """Compile and run a module."""
        with gc_paused():
            super().exec_module(module)

    def is_package(self, fullname: str) -> bool:
        """Return whether a name is that of a package, not of a module in one."""
        return "." not in fullname

    def get_filename(self, fullname: str) -> str:
        """Return the file name in tracebacks. It does not end with `>`: linecache would not ask for the
        lines."""
        return f"<{self.packages[fullname.partition('.')[0]].origin}>/{_file(fullname)}"

    def get_source(self, fullname: str) -> str:
        """Return the text of a module."""
        return self.packages[fullname.partition(".")[0]].texts[_file(fullname)]


def _file(fullname: str) -> str:
    return f"{fullname.partition('.')[2] or '__init__'}.py"


_IMPORTER: Final = _Importer()
