"""Constants that definitions take from C headers: `externals.toml`, and the known ones of libvirt.

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
    """An invalid externals.toml; the message gives the reason in one line."""


def read_externals(text: str) -> dict[str, External]:
    """Return the external constants of an externals.toml, by name. Raises ExternalsError."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ExternalsError(f"not TOML: {error}") from None
    return {name: _external(name, entry) for name, entry in table.items()}


def _external(name: str, entry: Any) -> External:
    if not _NAME.fullmatch(name):
        raise ExternalsError(f"invalid name of a constant: {name!r}")
    value, header, rest = entry, None, ()
    if isinstance(entry, dict):
        value, header = entry.get("value"), entry.get("header")
        rest = tuple(entry.keys() - {"value", "header"})
    if rest:
        raise ExternalsError(f"{name}: expected value or header, got {min(rest)!r}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExternalsError(f"{name}: expected an integer as the value")
    if not _LOWEST <= value <= _HIGHEST:
        raise ExternalsError(f"{name}: expected a value between {_LOWEST} and {_HIGHEST}")
    if header is not None and not isinstance(header, str):
        raise ExternalsError(f"{name}: expected a string as the header")
    if header is not None and not header.isprintable():  # it appears in comments, which end with a line
        raise ExternalsError(f"{name}: expected a header of one line without control characters")
    return External(name, value, header)


def write_externals(externals: Iterable[External]) -> str:
    """Return the text of an externals.toml, sorted by name."""
    lines = ["# Constants that the definitions take from libvirt's C headers."]
    for external in sorted(externals, key=lambda external: external.name):
        lines += ["", f"[{external.name}]", f"value = {external.value}"]
        if external.header is not None:
            lines.append(f"header = {toml_string(external.header)}")
    return "\n".join(lines) + "\n"


def toml_string(text: str) -> str:
    """Return a basic string of TOML."""
    escaped = "".join(f"\\{c}" if c in '\\"' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'


def _known() -> Mapping[str, External]:
    file = resources.files(__package__) / "known-externals.toml"
    return read_externals(file.read_text(encoding="utf-8"))


#: libvirt's constants, with the headers of release 10.0.0; the values are the same in every release.
KNOWN: Final[Mapping[str, External]] = _known()
#: The header of all of them until 1.2.9.
_OLD_HEADER: Final = "include/libvirt/libvirt.h.in"


def known(name: str, release: tuple[int, ...]) -> External | None:
    """Return a known constant of libvirt, with the header that held it in a release."""
    external = KNOWN.get(name)
    if external and release < (1, 2, 10):
        return External(name, external.value, _OLD_HEADER)
    return external
