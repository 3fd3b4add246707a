"""rpcgen's C, with libtirpc, as a process that decodes and encodes any type of a set of definitions.

The process is a filter. A question is (number of a type, length, bytes); an answer is (verdict, bytes
consumed by the decoder, length, encoding of the value). It runs with a memory limit, because C allocates the
size that a count claims before it checks the input.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

#: Includes in libvirt's files that their types do not need.
HEADERS = (
    "internal.h",
    "libvirt.h",
    "libvirt-admin.h",
    "lock_driver_lockd.h",
    "virsocket.h",
    "virxdrdefs.h",
)
#: libtirpc's headers, on Debian and elsewhere.
TIRPC = Path("/usr/include/tirpc")
REFUSED, ACCEPTED, NOT_ENCODED = range(3)
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
        self._numbers = {name: number for number, name in enumerate(types)}

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


def build(files: Sequence[Path], types: Sequence[str], folder: Path) -> Judge:
    """Compile definition files, which may include each other, into a Judge in an empty folder.

    Constants of C headers come from an externals.toml in the same folder.
    """
    for header in HEADERS:
        (folder / header).write_text("")
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
        for what, suffix in (("-h", ".h"), ("-c", ".c")):
            made = file.with_suffix(suffix).name
            _run(["rpcgen", what, "-o", made, file.name], folder)
    includes = "\n".join(f'#include "{file.with_suffix(".h").name}"' for file in files)
    rows = "\n".join(f"    {{ (xdrproc_t) xdr_{name}, sizeof({name}) }}," for name in types)
    (folder / "filter.c").write_text(_FILTER % {"includes": includes, "types": rows})
    sources = ["filter.c", *(file.with_suffix(".c").name for file in files)]
    # The ABI defines plain char: signed on x86, where most libvirt peers run.
    options = ["-w", "-O1", "-fsigned-char", "-I.", f"-I{TIRPC}", "-include", "stdint.h", *_defines(files)]
    _run(["gcc", *options, "-o", "filter", *sources, "-ltirpc"], folder)
    return Judge(folder, types)


def _defines(files: Sequence[Path]) -> list[str]:
    constants: Mapping[str, dict[str, int]] = {}
    for externals in {file.with_name("externals.toml") for file in files}:
        if externals.exists():
            constants = {**constants, **tomllib.loads(externals.read_text(encoding="utf-8"))}
    return [f"-D{name}={entry['value']}" for name, entry in constants.items()]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
