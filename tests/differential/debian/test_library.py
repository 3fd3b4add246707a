"""The XDR functions of a real libvirt agree with our decoding and encoding of every type."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from libvirt_proto import registry
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto_codegen.providers.binaries import LIBRARY
from tests.differential import drawing, soak
from tests.differential.installation import Installation
from tests.differential.judge import Judge, run, write_filter
from tests.differential.rpcgen import TIRPC
from tests.differential.verdicts import Case, Origin, Tally

pytestmark = [pytest.mark.releases, pytest.mark.system("gcc", "libvirtd")]

#: Libraries with XDR functions, next to libvirt.so.0; the plugin may be in a package of its own.
LIBRARIES = (LIBRARY, "libvirt-admin.so.0", "libvirt/lock-driver/lockd.so")
#: Modules with types that only programs have.
INTERNAL = {"admin", "lock", "lxc_monitor"}
#: Bytes for a value of any type in C; the largest takes some hundreds.
SIZE = 1 << 16
#: The largest limit that is tried, in bytes.
LIMIT = 1 << 23
VALUES = 20

TYPES = """\
#include <dlfcn.h>
#include <rpc/rpc.h>
static const char *const libraries[] = {{ {libraries} }};
static const char *const names[] = {{ {names} }};
static struct {{ xdrproc_t proc; size_t size; }} types[sizeof names / sizeof *names];
static void load(void) {{
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        if (!dlopen(libraries[i], RTLD_LAZY | RTLD_GLOBAL)) fputs(dlerror(), stderr), abort();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {{
        types[i].proc = (xdrproc_t) dlsym(RTLD_DEFAULT, names[i]);
        types[i].size = {size};
        if (!types[i].proc) fputs(dlerror(), stderr), abort();
    }}
}}
"""


def exported(library: Path) -> set[str]:
    """The types that a library exports functions for."""
    with library.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym").iter_symbols()
        names = {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"}
    # rpcgen of libvirt 11 also writes functions that free a value's memory.
    found = {name.removeprefix("xdr_") for name in names if name.startswith("xdr_")}
    return {name for name in found if name.removesuffix("_clear") not in found - {name}}


@pytest.fixture(scope="module")
def libraries(installation: Installation) -> list[Path]:
    folder = Path(installation.library).parent
    return [folder / name for name in LIBRARIES if (folder / name).exists()]


@pytest.fixture(scope="module")
def types(installation: Installation, libraries: list[Path]) -> list[XdrType]:
    """The types that the libraries export, and no others."""
    modules = registry.release(installation.version).modules()
    module_of = {name: module.name for module in modules for name in module.types}
    found = set().union(*map(exported, libraries))
    assert found - module_of.keys() == set()
    assert {module_of[name] for name in module_of.keys() - found} <= INTERNAL
    assert len(exported(libraries[0])) > 740
    return [type_ for module in modules for name, type_ in module.types.items() if name in found]


@pytest.fixture(scope="module")
def judge(
    installation: Installation,
    libraries: list[Path],
    types: list[XdrType],
    tmp_path_factory: pytest.TempPathFactory,
) -> Judge:
    folder = tmp_path_factory.mktemp("library")
    inside = [f'"/{path.relative_to(installation.root)}"' for path in libraries]
    names = [f'"xdr_{type_.name}"' for type_ in types]
    write_filter(folder, TYPES.format(libraries=", ".join(inside), names=", ".join(names), size=SIZE))
    run(["gcc", "-O1", f"-I{TIRPC}", "-o", "filter", "filter.c", "-ltirpc", "-ldl"], folder)
    return Judge(folder, [type_.name for type_ in types], installation)


def compared(judge: Judge, cases: Iterable[Case]) -> Tally:
    tally = Tally()
    for _ in soak.compare(judge, cases, tally):
        pass
    assert not tally.unexplained, "\n".join(tally.unexplained[:5])
    return tally


def test_library_reads_and_writes_every_type(judge: Judge, types: list[XdrType]) -> None:
    """Random values, and damaged encodings."""
    seed = secrets.token_hex(4)
    print("seed", seed)
    tally = compared(judge, chain.from_iterable(soak.drawn(type_, VALUES, VALUES, seed) for type_ in types))
    assert tally.types == {type_.name for type_ in types}
    assert tally.origins[Origin.VALUE] == VALUES * len(types)
    assert tally.accepted > VALUES * len(types)
    assert tally.refused > 1000


def test_library_has_every_limit(judge: Judge, types: list[XdrType]) -> None:
    """A length at its limit is accepted, and one above it is refused."""
    tally = compared(
        judge, chain.from_iterable(soak.at_limits(type_, drawing.own_limits(type_, LIMIT)) for type_ in types)
    )
    assert tally.accepted == tally.refused == tally.origins[Origin.AT_LIMIT] > 140
