"""Compare our decoding and encoding with rpcgen's C for any definition files.

    python -m tests.differential.definition_files /usr/include/rpcsvc/*.x
    python -m tests.differential.definition_files --values 100 --seed 7 nfs.x

For each file all targets are generated, and random values and damaged bytes of every type for which rpcgen
writes a function are compared. Constants and types that a file takes from elsewhere are in its folder: an
externals.toml, or the `.x` file of a header that it includes. Exit status 1: some file is refused, or C
disagrees.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from libvirt_proto import registry
from libvirt_proto.codec.types import Structure, UnionType
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto_codegen import pipeline
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.schema import Schema
from tests.support.values import NARROW

from . import soak
from .rpcgen import build, missing, on_one_line
from .verdicts import Tally

#: Targets of definitions without probes and scripts of libvirt.
TARGETS = ("python", "systemtap", "structs")


def compare(path: Path, values: int, seed: str) -> tuple[Tally, list[str]]:
    """Compare `values` values, and as many damaged ones, of each type of a file and its included files.

    Also returns the names of the types that C does not have: typedefs of C's headers, nested types, and those
    of procedures. Raises DefinitionError, and AssertionError if rpcgen or the compiler refuses the file.
    """
    schema = load_schema([path], known=True)
    for target in TARGETS:
        assert all(artefact.text for artefact in pipeline.generate(schema, target))
    types: dict[str, XdrType] = {}
    for module in registry.load(path).modules():
        types.update(module.types)
    for type_ in types.values():
        for case in soak.drawn(type_, values, 0, seed):
            assert type_.to_bytes(type_.from_bytes(case.data)) == case.data
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for other in path.parent.glob("*.x"):  # included as text
            (folder / other.name).write_bytes(on_one_line(other.read_bytes()))
        judge = build([path.parent / module.file for module in schema.modules], None, folder)
        for ours, in_c in _arguments(schema).items():
            judge.also(ours, in_c)
        judged = [types[each] for each in judge.types if each in types]
        cases = chain.from_iterable(
            soak.drawn(type_, values, 0 if _is_cut(type_) else values, seed) for type_ in judged
        )
        for _ in soak.compare(judge, cases, tally):
            pass
    return tally, sorted(types.keys() - set(judge.types))


def _arguments(schema: Schema) -> dict[str, str]:
    """Return our names and C's (rpcgen -N) of the structs of procedures with several arguments."""
    return {
        procedure.args.name: f"{procedure.name.lower()}_{program.version}_argument"
        for module in schema.modules
        for program in module.programs
        for procedure in program.procedures
        if procedure.args and isinstance(schema.definition(procedure.args).node, Structure)
        if procedure.args.name.endswith(".args")
    }


def _is_cut(type_: XdrType) -> bool:
    """Return True for a union whose discriminant C cuts to one or two bytes before it chooses the case."""
    node = type_.node
    return isinstance(node, UnionType) and getattr(node.discriminant.node, "spelling", "") in NARROW


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.x")
    parser.add_argument("--values", type=int, default=30, help="values and damaged values of each type (30)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="seed of the cases")
    options = parser.parse_args(arguments)
    if lack := missing():
        parser.error(lack)
    print(f"seed {options.seed}")
    failed = False
    for path in options.files:
        try:
            tally, others = compare(path, options.values, options.seed)
        except (DefinitionError, AssertionError) as error:
            failed = True
            print(f"{path}: refused\n{error}")
            continue
        explained = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.explained.items()))
        print(
            f"{path}: {len(tally.types)} types, {tally.accepted} accepted by both, "
            f"{tally.refused} refused by both, explained: {explained or 'none'}, "
            f"not explained: {len(tally.unexplained)}; {len(others)} not in C"
        )
        for sentence in tally.unexplained[:5]:
            print(f"  {sentence}")
        failed = failed or bool(tally.unexplained)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
