"""Names of the .x → names of Python: keywords, collisions, spelling, in one place."""

from __future__ import annotations

import keyword
from collections.abc import Container

#: Names that generated functions use for themselves: locals of fields keep clear of them, and so does what
#: the functions refer to.
LOCALS = frozenset(
    (
        *("buffer", "pos", "put", "value", "count", "item", "flag", "depth", "result", "number", "_"),
        *("size", "unpack", "zeros", "length", "padding", "items"),
    )
)

#: Fields that would hide something of the generated classes' bases.
_MEMBERS = frozenset(("xdr_name",))

#: What `enum` and Python keep for themselves as names of members.
_ENUM = frozenset(("mro", "name", "value"))


def class_name(name: str) -> str:
    """`remote_nonnull_domain` → `RemoteNonnullDomain`, `virNetMessageError` → `VirNetMessageError`."""
    words = name.replace(".", "_").split("_")
    joined = "".join(word[:1].upper() + word[1:] for word in words if word)
    return joined if joined and not joined[0].isdigit() else f"X{joined}"


def module_name(file: str) -> str:
    """`remote_protocol.x` → `remote`, `virnetprotocol.x` → `virnetprotocol`."""
    stem = file.rsplit("/", 1)[-1].removesuffix(".x")
    stem = stem.removesuffix("_protocol") or stem
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in stem)
    return identifier(name if name[:1].isalpha() else f"x_{name}")


def identifier(name: str, *taken: Container[str]) -> str:
    """The name, with underscores appended while it is a keyword or in one of the containers."""
    while keyword.iskeyword(name) or any(name in names for names in taken):
        name += "_"
    return name


def constant_name(name: str) -> str:
    """A constant of a module: no keyword, no local of the functions, and nothing that Python mangles within a
    class or keeps for itself."""
    if name.startswith("__"):
        name = "x" + name
    return identifier(name, LOCALS)


def field_name(name: str, taken: Container[str] = ()) -> str:
    """The attribute of a field: no keyword, nothing that the class has, no private mangling."""
    if name.startswith("_"):
        name = "x" + name
    return identifier(name, _MEMBERS, taken)


def member_name(name: str, taken: Container[str] = ()) -> str:
    """An enum member: what `enum` would take for its own gets an underscore behind it."""
    if name.startswith("_"):
        name = "x" + name
    return identifier(name, _ENUM, taken)
