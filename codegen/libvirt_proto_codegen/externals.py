"""Constants that definitions take from C headers: `externals.toml`, and libvirt's own, which we know.

    [VIR_UUID_BUFLEN]
    value = 16
    header = "include/libvirt/libvirt-host.h"

`NAME = 16` is the short form, for a constant whose header does not matter.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Final

from .schema import External

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LOWEST, _HIGHEST = -(2**63), 2**64 - 1


class ExternalsError(Exception):
    """An externals.toml that cannot be used; says why in one line."""


def read_externals(text: str) -> dict[str, External]:
    """The external constants of an externals.toml, by name. Raises ExternalsError."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ExternalsError(f"not TOML: {error}") from None
    return {name: _external(name, entry) for name, entry in table.items()}


def _external(name: str, entry: Any) -> External:
    if not _NAME.fullmatch(name):
        raise ExternalsError(f"{name!r} is no name of a constant")
    value, header, rest = entry, None, ()
    if isinstance(entry, dict):
        value, header = entry.get("value"), entry.get("header")
        rest = tuple(entry.keys() - {"value", "header"})
    if rest:
        raise ExternalsError(f"{name}: {min(rest)!r} is neither value nor header")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExternalsError(f"{name}: its value must be an integer")
    if not _LOWEST <= value <= _HIGHEST:
        raise ExternalsError(f"{name}: its value must be between {_LOWEST} and {_HIGHEST}")
    if header is not None and not isinstance(header, str):
        raise ExternalsError(f"{name}: its header must be a string")
    if header is not None and not header.isprintable():  # it stands in comments, which end with a line
        raise ExternalsError(f"{name}: its header must be one line without control characters")
    return External(name, value, header)


def write_externals(externals: Iterable[External]) -> str:
    """The text of an externals.toml, sorted by name."""
    lines = ["# Constants that the definitions take from libvirt's C headers."]
    for external in sorted(externals, key=lambda external: external.name):
        lines += ["", f"[{external.name}]", f"value = {external.value}"]
        if external.header is not None:
            lines.append(f"header = {toml_string(external.header)}")
    return "\n".join(lines) + "\n"


def toml_string(text: str) -> str:
    """A basic string of TOML."""
    escaped = "".join(f"\\{c}" if c in '\\"' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def _known() -> Mapping[str, External]:
    file = resources.files(__package__) / "known-externals.toml"
    return read_externals(file.read_text(encoding="utf-8"))


#: libvirt's, with the headers of release 10.0.0; the values are those of every release.
KNOWN: Final[Mapping[str, External]] = _known()
#: Until 1.2.9 all of them stood here.
_OLD_HEADER: Final = "include/libvirt/libvirt.h.in"


def known(name: str, release: tuple[int, ...]) -> External | None:
    """A constant of libvirt's headers, with the header that held it in a release."""
    external = KNOWN.get(name)
    if external and release < (1, 2, 10):
        return External(name, external.value, _OLD_HEADER)
    return external
