"""A limit: rpcgen's C decoders over the same payloads, in one process and without output."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory
from typing import Final

from libvirt_proto_codegen import releases
from tests.differential import rpcgen

from .timing import say

_CASE: Final = Struct("=II")
#: Reads (number of a type, length, bytes) from standard input, and decodes all of them in each round.
_PROGRAM: Final = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
{types}

int main(int count, char **arguments) {
    size_t size = atol(arguments[1]);
    char *data = malloc(size);
    if (fread(data, size, 1, stdin) != 1) abort();
    for (int round = 0; round < atoi(arguments[2]); round++) {
        struct timespec from, to;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        for (size_t at = 0; at < size;) {
            uint32_t *head = (uint32_t *) (data + at);
            void *value = calloc(1, types[head[0]].size);
            XDR xdr;
            xdrmem_create(&xdr, data + at + 8, head[1], XDR_DECODE);
            if (!types[head[0]].proc(&xdr, value)) abort();
            xdr_free(types[head[0]].proc, value);
            free(value);
            at += 8 + head[1];
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        printf("%.9f\n", to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9);
    }
    return 0;
}
"""


def measure(payloads: Sequence[tuple[str, bytes]], rounds: int) -> list[float]:
    """Return the CPU seconds of each round; [] without rpcgen."""
    if lack := rpcgen.missing():
        say(f"  left out: rpcgen's decoders ({lack})")
        return []
    names = sorted({name for name, _ in payloads})
    numbers = {name: number for number, name in enumerate(names)}
    data = b"".join(_CASE.pack(numbers[name], len(payload)) + payload for name, payload in payloads)
    with TemporaryDirectory(prefix="libvirt-proto-bench-") as folder:
        files = sorted((releases.root() / releases.newest()).glob("*.x"))
        program = rpcgen.compiled(files, names, Path(folder), _PROGRAM, optimise="-O2")
        command = [str(program), str(len(data)), str(rounds)]
        done = subprocess.run(command, input=data, capture_output=True, check=True)
    return [float(line) for line in done.stdout.split()]
