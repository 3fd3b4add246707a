"""Binaries of libvirt: the versions of their symbols, the types that they encode, and their probes.

libvirt.so.0 defines private symbols in a version with its own release (`LIBVIRT_PRIVATE_9.0.0`), which the
daemons and drivers need; public functions are in the version of the release that added them. rpcgen writes a
function for each type (`xdr_remote_domain_get_info_args`, and from libvirt 9.7.0 on one to free it).

Source: libvirt's meson.build, libvirt_private.syms and libvirt_public.syms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from libvirt_proto.codec.elf import ElfError, ElfFile
from libvirt_proto.codec.elfnotes import Site, notes_of
from libvirt_proto.codec.elfsymbols import Symbols, symbols_of
from libvirt_proto.codec.identification import Evidence, Identification, Range

from ..errors import DefinitionError, Problem
from ..providers.known import KnownProviders
from ..releases.version import version_key
from . import facts
from .known import Facts, Known, Match, compare, conclude
from .providers import compare_probes

#: The evidence of types, among others.
TYPES: Final = "types"

_PRIVATE: Final = re.compile(r"LIBVIRT_(?:[A-Z]+_)?PRIVATE_([0-9]{1,4}(?:\.[0-9]{1,4}){2,3})")
_PUBLIC: Final = re.compile(r"LIBVIRT_(?:(?:QEMU|LXC|ADMIN)_)?([0-9]{1,4}(?:\.[0-9]{1,4}){2,3})")
_XDR: Final = "xdr_"
_CLEAR: Final = "_clear"


def identify(file: BinaryIO, name: str) -> Identification:
    """Identify an ELF file by its symbols and its probes.

    Raises DefinitionError for a damaged file and for one that is not libvirt's, OSError if reading fails.
    """
    try:
        elf = ElfFile(file)
        symbols, notes = symbols_of(elf), notes_of(elf)
    except ElfError as error:
        raise DefinitionError([Problem("bad-elf", None, f"{name}: {error}")]) from None
    found = [*_versions(symbols), *_types(symbols), *_probes(notes.sites)]
    if not found:
        message = f"{name}: expected a library or a program of libvirt, got an ELF file without its symbols"
        raise DefinitionError([Problem("no-definitions", None, message)])
    return conclude("library", found)


def _versions(symbols: Symbols) -> Iterator[Match]:
    private = sorted({match[1] for each in symbols.versions if (match := _PRIVATE.fullmatch(each))})
    if private:
        ranges = tuple(Range(each, each) for each in private)
        why = f"LIBVIRT_PRIVATE_{private[-1]}"
        yield Match(Evidence("version of private symbols", ranges, why))
    public = [match[1] for each in symbols.versions if (match := _PUBLIC.fullmatch(each))]
    if public:
        newest = max(public, key=version_key)
        why = f"the newest is LIBVIRT_{newest}"
        yield Match(Evidence("versions of public functions", (Range(newest),), why))


def _types(symbols: Symbols) -> Iterator[Match]:
    names = {each.removeprefix(_XDR) for each in symbols.exported if each.startswith(_XDR)}
    own = frozenset(
        each for each in names if each.removesuffix(_CLEAR) == each or each[: -len(_CLEAR)] not in names
    )
    if not own:
        return

    def types_of(each: Known) -> Facts:
        of_files = map(facts.types, each.texts(".x"))
        return frozenset(name for types in of_files if types & own for name in types)

    yield compare(TYPES, own, types_of, why=f"{len(own):,} xdr_ functions")


def _probes(sites: tuple[Site, ...]) -> Iterator[Match]:
    own = frozenset((each.name, len(each.operands)) for each in sites if each.provider == "libvirt")
    if not own:
        return

    def probes_of(state: KnownProviders) -> Facts:
        declared = (probe for each in state.providers for probe in facts.declared_probes(each))
        return frozenset((probe.name, len(probe.arguments)) for probe in declared)

    what = "numbers of arguments of probes"
    yield compare_probes(what, own, probes_of, why=f"{len(own):,} probes", partial=True)
