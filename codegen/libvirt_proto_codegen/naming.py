"""Python names for the names of a .x file: keywords, collisions and spelling, in one place."""

from __future__ import annotations

import keyword
from collections.abc import Container

#: Names that generated functions use internally. Locals made from fields, and names that the functions refer
#: to, avoid them.
LOCALS = frozenset(("buffer", "pos", "put", "value", "arm", "depth"))

#: Fields that would hide attributes of the generated classes' bases.
_MEMBERS = frozenset(("xdr_name",))

#: Member names that `enum` and Python reserve.
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
    """Return the name, with underscores appended while it is a keyword or in one of the containers."""
    while keyword.iskeyword(name) or any(name in names for names in taken):
        name += "_"
    return name


def constant_name(name: str) -> str:
    """Return the name of a module constant: not a keyword, not a local of the generated functions, and
    neither name-mangled in a class nor reserved by Python."""
    if name.startswith("__"):
        name = "x" + name
    return identifier(name, LOCALS)


def field_name(name: str, taken: Container[str] = ()) -> str:
    """Return the attribute name of a field: not a keyword, not an attribute of the class, not
    name-mangled."""
    if name.startswith("_"):
        name = "x" + name
    return identifier(name, _MEMBERS, taken)


def member_name(name: str, taken: Container[str] = ()) -> str:
    """Return the name of an enum member, with an underscore appended to names that `enum` reserves."""
    if name.startswith("_"):
        name = "x" + name
    return identifier(name, _ENUM, taken)
