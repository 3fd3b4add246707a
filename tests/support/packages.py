"""Generated packages that are imported from memory, without files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from libvirt_proto.codec.type_table import type_table
from libvirt_proto.jsonlines.decode import decoder
from libvirt_proto.jsonlines.encode import encoder
from libvirt_proto.names.meanings import meanings_of
from libvirt_proto_codegen import pipeline


def python_texts(stem: str, definitions: str) -> dict[str, str]:
    """Return the generated package (path → text) of a .x file's text."""
    with TemporaryDirectory() as folder:
        file = Path(folder, f"{stem}.x")
        file.write_text(definitions, encoding="utf-8")
        return pipeline.compile_python([file])


def import_package(name: str, texts: Mapping[str, str]) -> ModuleType:
    """Import a package of generated files (path → text) under a name, with all its modules."""
    package = _module(name, texts["__init__.py"])
    for path, text in sorted(texts.items()):  # the plan comes first
        if path != "__init__.py" and path.endswith(".py"):
            stem = path.removesuffix(".py")
            setattr(package, stem, _module(f"{name}.{stem}", text))
    return package


def _module(name: str, text: str) -> ModuleType:
    module = sys.modules[name] = ModuleType(name)
    module.__dict__["__path__"] = []
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return module


def drop_package(name: str) -> None:
    """Forget a package and what the caches hold of its types."""
    for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[each]
    for cached in (type_table, encoder, decoder, meanings_of):
        cached.cache_clear()


@contextmanager
def imported(name: str, texts: Mapping[str, str]) -> Iterator[ModuleType]:
    """Import a package for the duration of a block."""
    try:
        yield import_package(name, texts)
    finally:
        drop_package(name)
