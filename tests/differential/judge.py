"""C functions that decode and encode types, as a process.

The process is a filter. A question is (number of a type, length, bytes); an answer is (verdict, bytes
consumed by the decoder, length, encoding of the value). It runs with a memory limit, because C allocates the
size that a count claims before it checks the input.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from tests.differential.installation import MACHINE, Installation

REFUSED, ACCEPTED, NOT_ENCODED = range(3)
_QUESTION, _ANSWER = Struct("=II"), Struct("=III")

#: `{types}` declares a table of functions and sizes, and the function that fills it.
_FILTER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
{types}

static void *memory(size_t size) {
    void *p = calloc(1, size + 64);
    if (!p) abort();
    return p;
}

int main(void) {
    struct rlimit limit = { 1u << 30, 1u << 30 };
    uint32_t question[2];
    load();
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
    """A compiled filter for types by name; `folder` has its C. It runs in an installation's root."""

    def __init__(self, folder: Path, types: Sequence[str], installation: Installation = MACHINE) -> None:
        self.folder = folder
        self._command = installation.command(str(folder / "filter"))
        self.types = tuple(types)
        self._numbers = {name: number for number, name in enumerate(types)}

    def also(self, name: str, in_c: str) -> None:
        """Give a type of C a second name."""
        self._numbers[name] = self._numbers[in_c]
        self.types += (name,)

    def answers(self, questions: Sequence[tuple[str, bytes]]) -> list[Answer]:
        """Answer each (name of a type, bytes). Raises AssertionError with the case that crashes C."""
        asked = b"".join(_QUESTION.pack(self._numbers[name], len(data)) + data for name, data in questions)
        done = subprocess.run(self._command, input=asked, capture_output=True)
        answers = list(_parts(done.stdout))
        if done.returncode or len(answers) != len(questions):
            name, data = questions[len(answers)]
            said = done.stderr.decode(errors="replace")
            raise AssertionError(f"C ended with {done.returncode} at {name} {data.hex()}: {said}")
        return answers


def _parts(data: bytes) -> Iterable[Answer]:
    pos = 0
    while pos < len(data):
        verdict, taken, size = _ANSWER.unpack_from(data, pos)
        pos += _ANSWER.size
        yield Answer(verdict, taken, data[pos : pos + size])
        pos += size


def write_filter(folder: Path, types: str) -> None:
    """Write filter.c. `types` is C: a table `types` of functions and sizes, and `load()`, which fills it."""
    (folder / "filter.c").write_text(_FILTER.replace("{types}", types))


def run(command: list[str], folder: Path) -> None:
    """Run a command of a compiler."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
