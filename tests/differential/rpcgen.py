"""rpcgen's C, with libtirpc, for any type of a set of definitions."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from libvirt_proto_codegen.externals import read_externals
from tests.differential.judge import Judge, run, write_filter

#: libtirpc's headers, on Debian and elsewhere.
TIRPC = Path("/usr/include/tirpc")
#: Names that glibc and libtirpc lack, and other systems have.
_OPTIONS = [
    *("-Dlonglong_t=quad_t", "-Du_longlong_t=u_quad_t", "-Dxdr_bool_t=xdr_bool"),
    *("-Dxdr_rpcprog_t=xdr_u_int", "-Dxdr_rpcvers_t=xdr_u_int", "-Dxdr_rpcproc_t=xdr_u_int"),
]
SYSTEM = (TIRPC, Path("/usr/include"))
_INCLUDE = re.compile(r'^#[ \t]*include[ \t]*[<"]([\w./+-]+)[>"]', re.MULTILINE)
_FUNCTION = re.compile(r"^extern  bool_t xdr_(\w+) \(XDR", re.MULTILINE)
#: GCC's cpp breaks such a line where it continues, and rpcgen then reads the rest as definitions.
_CONTINUED = re.compile(rb"(?m)^(%[^\n]*)\\[ \t]*\r?\n")
#: In place of rpc/rpc.h, for definitions that define libtirpc types again.
_SMALL_RPC_H = """
#include <stdbool.h>
#include <rpc/types.h>
#include <rpc/xdr.h>
enum { AUTH_NONE = 0, AUTH_SYS = 1, AUTH_SHORT = 2 };
typedef struct CLIENT CLIENT;
typedef struct SVCXPRT SVCXPRT;
struct svc_req;
"""
_TYPES = """\
{includes}
static const struct {{ xdrproc_t proc; size_t size; }} types[] = {{
{rows}
}};
static void load(void) {{}}
"""


def missing() -> str:
    """The missing prerequisites of a Judge, as a sentence; empty if there are none."""
    lacks = [tool for tool in ("rpcgen", "gcc") if not shutil.which(tool)]
    lacks += [] if (TIRPC / "rpc" / "rpc.h").exists() else ["libtirpc's headers"]
    packages = "rpcsvc-proto gcc libc6-dev libtirpc-dev"
    return f"missing: {', '.join(lacks)} (Debian: apt-get install {packages})" if lacks else ""


def build(files: Sequence[Path], types: Sequence[str] | None, folder: Path) -> Judge:
    """Compile definition files, which may include each other, into a Judge in an empty folder.

    Constants of C headers come from an externals.toml in the same folder. The files' other headers, which
    their types do not need, are empty. Without `types`, the Judge has all that rpcgen writes functions for.
    """
    names = _write_sources(files, types, folder)
    write_filter(folder, _table(files, names))
    _compile(files, folder, "filter", "-O1", small=types is None)
    return Judge(folder, names)


def compiled(files: Sequence[Path], types: Sequence[str], folder: Path, program: str, optimise: str) -> Path:
    """Compile a program with the functions of types in an empty folder, and return its path.

    `{types}` in its text becomes a table `types` of functions and sizes.
    """
    _write_sources(files, types, folder)
    (folder / "program.c").write_text(program.replace("{types}", _table(files, types)))
    _compile(files, folder, "program", optimise)
    return folder / "program"


def _write_sources(files: Sequence[Path], types: Sequence[str] | None, folder: Path) -> Sequence[str]:
    """Write rpcgen's C, and return the names of the types."""
    for file in files:
        (folder / file.name).write_bytes(on_one_line(file.read_bytes()))
    for file in files:
        for what, suffix in (("-h", ".h"), ("-c", ".c")):
            made = file.with_suffix(suffix).name
            run(["rpcgen", "-N", what, "-o", made, file.name], folder)
    sources = [folder / file.with_suffix(".c").name for file in files]
    for source in sources:
        _supply_headers(source.read_text(encoding="latin-1"), folder)
        _supply_headers(source.with_suffix(".h").read_text(encoding="latin-1"), folder)
    if types is not None:
        return types
    texts = (source.with_suffix(".h").read_text(encoding="latin-1") for source in sources)
    return list(dict.fromkeys(name for text in texts for name in _FUNCTION.findall(text)))


def _table(files: Sequence[Path], names: Sequence[str]) -> str:
    includes = "\n".join(f'#include "{file.with_suffix(".h").name}"' for file in files)
    rows = "\n".join(f"    {{ (xdrproc_t) xdr_{name}, sizeof({name}) }}," for name in names)
    return _TYPES.format(includes=includes, rows=rows)


def _compile(files: Sequence[Path], folder: Path, stem: str, optimise: str, *, small: bool = False) -> None:
    """Compile a program; with `small`, definitions may declare libtirpc's types again."""
    # The ABI defines plain char: signed on x86, where most libvirt peers run.
    options = ["-w", optimise, "-fsigned-char", "-I.", f"-I{TIRPC}", "-include", "stdint.h"]
    options += [*_OPTIONS, *_defines(files)]
    sources = [f"{stem}.c", *(file.with_suffix(".c").name for file in files)]
    command = ["gcc", *options, "-o", stem, *sources, "-ltirpc"]
    if small and subprocess.run(command, cwd=folder, capture_output=True).returncode:
        (folder / "rpc").mkdir(exist_ok=True)
        (folder / "rpc" / "rpc.h").write_text(_SMALL_RPC_H)
    run(command, folder)


def on_one_line(data: bytes) -> bytes:
    """Return definitions with each `%` line on one line."""
    while (joined := _CONTINUED.sub(rb"\1 ", data)) != data:
        data = joined
    return data


def _supply_headers(text: str, folder: Path) -> None:
    """Write the headers that C includes: those of rpcgen under the names in use, others empty."""
    for name in _INCLUDE.findall(text):
        header = folder / name
        is_ours = (folder / header.name).exists()
        if header.exists() or (not is_ours and any((place / name).exists() for place in SYSTEM)):
            continue
        header.parent.mkdir(parents=True, exist_ok=True)
        header.write_text(f'#include "{folder / header.name}"\n' if is_ours else "")


def _defines(files: Sequence[Path]) -> list[str]:
    found: dict[str, int] = {}
    for externals in {file.with_name("externals.toml") for file in files}:
        if externals.exists():
            constants = read_externals(externals.read_text(encoding="utf-8"))
            found |= {constant.name: constant.value for constant in constants.values()}
    return [f"-D{name}={value}" for name, value in found.items()]
