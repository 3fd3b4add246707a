"""rpcgen's C, with libtirpc, as a process that decodes and encodes any type of a set of definitions.

The process is a filter. A question is (number of a type, length, bytes); an answer is (verdict, bytes
consumed by the decoder, length, encoding of the value). It runs with a memory limit, because C allocates the
size that a count claims before it checks the input.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from libvirt_proto_codegen.externals import read_externals

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
REFUSED, ACCEPTED, NOT_ENCODED = range(3)
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
_QUESTION, _ANSWER = Struct("=II"), Struct("=III")

_FILTER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
%(includes)s

static const struct { xdrproc_t proc; size_t size; } types[] = {
%(types)s
};

static void *memory(size_t size) {
    void *p = calloc(1, size + 64);
    if (!p) abort();
    return p;
}

int main(void) {
    struct rlimit limit = { 1u << 30, 1u << 30 };
    uint32_t question[2];
    if (setrlimit(RLIMIT_AS, &limit)) abort();
    while (fread(question, sizeof question, 1, stdin) == 1) {
        xdrproc_t proc = types[question[0]].proc;
        uint32_t length = question[1], answer[3] = { 0, 0, 0 };
        char *data = memory(length), *value = memory(types[question[0]].size), *again = memory(length);
        XDR xdr;
        if (length && fread(data, length, 1, stdin) != 1) abort();
        xdrmem_create(&xdr, data, length, XDR_DECODE);
        if (proc(&xdr, value)) {
            answer[1] = xdr_getpos(&xdr);
            xdrmem_create(&xdr, again, length + 64, XDR_ENCODE);
            answer[0] = proc(&xdr, value) ? 1 : 2;
            answer[2] = answer[0] == 1 ? xdr_getpos(&xdr) : 0;
        }
        xdr_free(proc, value);
        fwrite(answer, sizeof answer, 1, stdout);
        fwrite(again, 1, answer[2], stdout);
        fflush(stdout);
        free(data), free(value), free(again);
    }
    return 0;
}
"""


class Answer(NamedTuple):
    """The C verdict on some bytes: REFUSED, ACCEPTED, or NOT_ENCODED (only decoded)."""

    verdict: int
    taken: int
    again: bytes


class Judge:
    """A compiled filter for types by name; `folder` has rpcgen's C and the program."""

    def __init__(self, folder: Path, types: Sequence[str]) -> None:
        self.folder = folder
        self.types = tuple(types)
        self._numbers = {name: number for number, name in enumerate(types)}

    def also(self, name: str, in_c: str) -> None:
        """Give a type of C a second name."""
        self._numbers[name] = self._numbers[in_c]
        self.types += (name,)

    def answers(self, questions: Sequence[tuple[str, bytes]]) -> list[Answer]:
        """Answer each (name of a type, bytes). Raises AssertionError with the case that crashes C."""
        asked = b"".join(_QUESTION.pack(self._numbers[name], len(data)) + data for name, data in questions)
        done = subprocess.run([self.folder / "filter"], input=asked, capture_output=True)
        answers = list(_parts(done.stdout))
        if done.returncode or len(answers) != len(questions):
            name, data = questions[len(answers)]
            raise AssertionError(f"C ended with {done.returncode} at {name} {data.hex()}")
        return answers


def _parts(data: bytes) -> Iterable[Answer]:
    pos = 0
    while pos < len(data):
        verdict, taken, size = _ANSWER.unpack_from(data, pos)
        pos += _ANSWER.size
        yield Answer(verdict, taken, data[pos : pos + size])
        pos += size


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
    for file in files:
        (folder / file.name).write_bytes(on_one_line(file.read_bytes()))
    for file in files:
        for what, suffix in (("-h", ".h"), ("-c", ".c")):
            made = file.with_suffix(suffix).name
            _run(["rpcgen", "-N", what, "-o", made, file.name], folder)
    sources = [folder / file.with_suffix(".c").name for file in files]
    for source in sources:
        _supply_headers(source.read_text(encoding="latin-1"), folder)
        _supply_headers(source.with_suffix(".h").read_text(encoding="latin-1"), folder)
    names = types
    if names is None:
        texts = (source.with_suffix(".h").read_text(encoding="latin-1") for source in sources)
        names = list(dict.fromkeys(name for text in texts for name in _FUNCTION.findall(text)))
    includes = "\n".join(f'#include "{source.with_suffix(".h").name}"' for source in sources)
    rows = "\n".join(f"    {{ (xdrproc_t) xdr_{name}, sizeof({name}) }}," for name in names)
    (folder / "filter.c").write_text(_FILTER % {"includes": includes, "types": rows})
    # The ABI defines plain char: signed on x86, where most libvirt peers run.
    options = [
        "-w",
        "-O1",
        "-fsigned-char",
        "-I.",
        f"-I{TIRPC}",
        "-include",
        "stdint.h",
        *_OPTIONS,
        *_defines(files),
    ]
    command = ["gcc", *options, "-o", "filter", "filter.c", *(source.name for source in sources), "-ltirpc"]
    if types is None and subprocess.run(command, cwd=folder, capture_output=True).returncode:
        (folder / "rpc").mkdir(exist_ok=True)
        (folder / "rpc" / "rpc.h").write_text(_SMALL_RPC_H)
    _run(command, folder)
    return Judge(folder, names)


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


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
