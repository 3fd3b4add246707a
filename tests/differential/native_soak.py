"""Compare the native core with Python on damaged payloads of every type of a set of definitions.

    python -m tests.differential.native_soak
    python -m tests.differential.native_soak --mutated 100000 --seed 7

Prints the seed first and the counts last. An AssertionError names the type and the bytes of a difference.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from random import Random

from libvirt_proto import native, registry
from libvirt_proto_codegen.releases import folders
from tests.support.natives import Comparison, refused

DEFINITIONS = Path(__file__).parent.parent / "definitions"
#: Types for constructs that libvirt does not use.
CUSTOM = ("everything.x", "judged.x", "names.x", "numbers.x")
#: Damaged payloads of each value.
MUTANTS = 50


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutated", type=int, default=10_000_000, help="damaged payloads (ten million)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="seed of all cases")
    options = parser.parse_args(arguments)
    if native.core() is None:
        parser.error(f"the native core is not used: {native.state()}")
    print(f"seed {options.seed}", flush=True)
    registries = [
        registry.default(),
        registry.release(folders()[0]),
        *(registry.load(DEFINITIONS / name) for name in CUSTOM),
    ]
    comparisons = [Comparison(each) for each in registries]
    types = sum(len(each.types) for each in comparisons)
    values = -(-options.mutated // (types * MUTANTS))
    for comparison in comparisons:
        for number, (type_, row) in enumerate(comparison.types):
            comparison.values(type_, row, Random(f"{options.seed}/{number}"), values, MUTANTS)
        counts = comparison.counts
        print(f"{dict(counts)}, {refused(counts):.4%} of canonical values left to Python", flush=True)
    print("no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
