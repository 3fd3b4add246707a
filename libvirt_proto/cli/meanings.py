"""Meanings of words: numbers, names and permissions, as descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ..names import public as publicnames
from ..text import numbers
from . import descriptions
from .descriptions import Description

if TYPE_CHECKING:
    from ..codec.annotations import AccessRule
    from ..definitions.program import Procedure, Program
    from ..registry import Module, Registry

#: A permission as in the .x (`storage_pool:search_storage_vols`), or its polkit action
#: (`org.libvirt.api.storage-pool.search-storage-vols`).
_PERMISSION: Final = r"([a-z_-]+):([a-z_-]+)|org\.libvirt\.api\.([a-z-]+)\.([a-z-]+)"
#: The function of a daemon that serves a procedure (`remoteDispatchDomainGetInfo`), in its log and in errors
#: about locks; gendispatch.pl builds its name from those of the program and the procedure.
_DISPATCHER: Final = r"(?:vir)?(\w{2,30}?)(?:Protocol)?Dispatch(\w{2,80}?)(?:Helper)?"
_BITS: Final = 1 << 32


class Entry(NamedTuple):
    """Something with names, of which the first is the most specific, and optionally a number. `facts` returns
    its description; a type's module is loaded only then."""

    names: tuple[str, ...]
    number: int | None
    facts: Callable[[], Description]


def of(registry: Registry, word: str) -> list[Description]:
    """Return everything that a word can mean: a number in any base, a name, a function of the public API or
    of a daemon, a permission, a name of an older release. Case counts only if that leaves anything."""
    for value in numbers(word):
        if found := _numbered(registry, value):
            return found
    named = [entry for entry in everything(registry) if word in entry.names]
    if not named:
        folded = word.lower()
        named = [entry for entry in everything(registry) if folded in map(str.lower, entry.names)]
    found = [_with_more(registry, entry.facts()) for entry in named]
    found += _function(registry, word)
    for other in (_dispatched, _permission, descriptions.former):
        found = found or list(other(registry, word))
    return found


def everything(registry: Registry) -> Iterator[Entry]:
    """Yield everything with a name in the definitions and in the enums of the public API."""
    yield from _of_the_wire(registry)
    for module in registry.modules():
        yield from _types(module)
        yield from _constants(module)
    externals = {name: place for module in registry.modules() for name, place in module.externals.items()}
    for name, (value, header) in externals.items():
        facts = partial(descriptions.constant, header or "given with --define", name, value)
        yield Entry((name,), None, facts)
    for name, enum in publicnames.enums().items():
        yield Entry((name,), None, partial(descriptions.public_enum, name, enum.source, enum.names))
    yield from _members_of_the_api()


def similar_to(registry: Registry, word: str) -> str:
    """Return ` Did you mean …?` for an unknown word, or "": functions of the API and permissions for words
    that look like one, otherwise names of the definitions and enums."""
    from ..similar import did_you_mean

    if word[:3].lower() == "vir" and "_" not in word:
        from ..definitions import functions

        enums = publicnames.enums()
        return did_you_mean(word, [*functions.names(), *enums])
    known = permissions(registry) if ":" in word else (entry.names[0] for entry in everything(registry))
    return did_you_mean(word, known)


def permissions(registry: Registry) -> dict[str, None]:
    """Return all permissions that some procedure needs, as in the .x (`domain:read`)."""
    return dict.fromkeys(
        permission
        for program in registry.programs()
        for procedure in program.procedures
        for permission in needed(procedure)
    )


def needed(procedure: Procedure) -> list[str]:
    """Return the permissions that the caller of a procedure needs, or needs to see all of its reply."""
    annotations = procedure.annotations
    return [_permission_of(rule) for rule in (*(annotations.acl or ()), *annotations.aclfilter)]


def permission(word: str) -> str | None:
    """Return a permission as written in the .x; None for a word that is not a permission."""
    match = re.fullmatch(_PERMISSION, word, re.IGNORECASE)
    if match is None:
        return None
    return f"{match[1] or match[3]}:{match[2] or match[4]}".lower().replace("-", "_")


def with_number(registry: Registry, number: int) -> list[Description]:
    """Return everything with this number: programs, procedures, members of enums, constants now and in older
    releases."""
    found = [entry.facts() for entry in _of_the_wire(registry, number)]
    for module in registry.modules():
        found += [entry.facts() for entry in _constants(module, number)]
    found = [_with_more(registry, facts) for facts in found]
    found += descriptions.former_values(registry, number)
    members = [entry.facts() for entry in _members_of_the_api(number)]
    members = [_with_more(registry, facts) for facts in members]
    # Numbers of one thing tell more than bits.
    return found + sorted(
        members, key=lambda facts: not facts["fields"] or facts["fields"][0].endswith(".flags")
    )


def _numbered(registry: Registry, number: int) -> list[Description]:
    """Return everything with this number, or with its low 32 bits in the other sign."""
    for value in (number, *_other_signs(number)):
        if found := with_number(registry, value):
            return found
    return list(_wrong_length(registry, number))


def _other_signs(number: int) -> Iterator[int]:
    """Yield the other readings of 32 bits, which may have been printed as signed, or sign-extended to 64."""
    if -_BITS // 2 <= number < 0:
        yield number + _BITS
    elif _BITS // 2 <= number < _BITS:
        yield number - _BITS
    elif 2**64 - _BITS // 2 <= number < 2**64:
        yield from (number - 2**64, number - 2**64 + _BITS)


def _wrong_length(registry: Registry, number: int) -> Iterator[Description]:
    """Yield the explanation of a number that libvirt printed as a size or as a length word."""
    from ..rpc.wire import MAX_FRAME, WORD_SIZE
    from ..rpc.wronglength import explain

    if not -_BITS // 2 <= number < _BITS or 0 <= number <= MAX_FRAME:
        return
    both = [explain(word, registry.programs()) for word in (number + WORD_SIZE, number)]
    for kinds in (("foreign", "step"), ("text",)):
        for found in both:
            if found.kind in kinds:
                yield descriptions.wrong_length(found)
                return


def _with_more(registry: Registry, facts: Description) -> Description:
    """Add the history, or the fields that hold a number of the public API."""
    if facts["kind"] in descriptions.API_KINDS:
        return descriptions.with_fields(registry, facts)
    return descriptions.with_history(registry, facts)


def _function(registry: Registry, word: str) -> Iterator[Description]:
    """Yield a function of the public API, and the procedures that it calls."""
    if not word.lower().startswith("vir"):
        return
    from ..definitions import functions

    found = functions.find(word)
    if found is None:
        return
    called: dict[str, Description | None] = {
        f"{program:#010x}.{number}": None for program, number in found.procedures
    }
    for program in registry.programs():
        for procedure in program.procedures:
            key = f"{program.number:#010x}.{procedure.number}"
            if key in called:
                called[key] = descriptions.with_history(registry, descriptions.procedure(program, procedure))
    yield descriptions.function(
        found, [key if facts is None else facts["name"] for key, facts in called.items()]
    )
    yield from (facts for facts in called.values() if facts is not None)


def _dispatched(registry: Registry, word: str) -> Iterator[Description]:
    """Yield the procedure that a function of a daemon serves."""
    match = re.fullmatch(_DISPATCHER, word) if "Dispatch" in word else None
    if match is None:
        return
    wanted = match[1].lower(), match[2].lower()
    for program in registry.programs():
        for procedure in program.procedures:
            if wanted == (program.name.replace("_", ""), procedure.name.replace("_", "")):
                yield descriptions.with_history(registry, descriptions.procedure(program, procedure))


def _permission(registry: Registry, word: str) -> Iterator[Description]:
    wanted = permission(word)
    if wanted is None:
        return
    callers, filtered = [], []
    for program in registry.programs():
        for procedure in program.procedures:
            annotations, name = procedure.annotations, f"{program.name}.{procedure.name}"
            if any(_permission_of(rule) == wanted for rule in annotations.acl or ()):
                callers.append(name)
            if any(_permission_of(rule) == wanted for rule in annotations.aclfilter):
                filtered.append(name)
    if callers or filtered:
        yield descriptions.permission(wanted, callers, filtered)


def _permission_of(rule: AccessRule) -> str:
    return f"{rule.object}:{rule.permission}"


# The functions below yield only entries with `number`, unless it is None.


def _of_the_wire(registry: Registry, number: int | None = None) -> Iterator[Entry]:
    """Yield programs, procedures, and members of enums that are not procedures."""
    for program in registry.programs():
        if number in (None, program.number):
            yield Entry(
                (program.name, program.symbol), program.number, partial(descriptions.program, program)
            )
    for program in registry.programs():
        for procedure in program.procedures:
            if number in (None, procedure.number):
                yield _procedure(program, procedure)
    for module in registry.modules():
        procedures = {procedure.symbol for program in module.programs for procedure in program.procedures}
        for enum, members in module.members.items():
            for name, value in members.items():
                if number in (None, value) and name not in procedures:
                    facts = partial(descriptions.member, module, enum, name, value)
                    yield Entry((name, f"{enum}.{value}"), value, facts)
    for name in descriptions.NUMBERS:
        yield from _members(name, number)


def _procedure(program: Program, procedure: Procedure) -> Entry:
    full, by_number = f"{program.name}.{procedure.name}", f"{program.name}.{procedure.number}"
    names = (full, procedure.name, procedure.symbol, by_number)
    return Entry(names, procedure.number, partial(descriptions.procedure, program, procedure))


def _members_of_the_api(number: int | None = None) -> Iterator[Entry]:
    """Yield the members of the public enums that `_of_the_wire` leaves out: those of nearly every enum have
    small numbers."""
    for name in publicnames.enums():
        if name not in descriptions.NUMBERS:
            yield from _members(name, number)


def _members(enum: str, number: int | None = None) -> Iterator[Entry]:
    found = publicnames.enums()[enum]
    for member, value in found.names.items():
        if number not in (None, value):
            continue
        facts = partial(descriptions.public_name, enum, found.source, member, value)
        yield Entry((member, f"{enum}.{value}"), value, facts)


def _types(module: Module) -> Iterator[Entry]:
    for name in module.type_names:
        yield Entry((name,), None, partial(_type, module, name))


def _constants(module: Module, number: int | None = None) -> Iterator[Entry]:
    """Yield a module's constants other than the numbers of programs."""
    programs = {program.symbol for program in module.programs}
    for name, value in module.constants.items():
        if number in (None, value) and name not in programs:
            yield Entry((name,), value, partial(descriptions.constant, module.file, name, value))


def _type(module: Module, name: str) -> Description:
    return descriptions.type_(module.file, module.types[name])
