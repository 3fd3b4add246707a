"""Compare our decoding and encoding with rpcgen's C, over every type of the newest release's definitions.

    make soak
    make soak ARGS='--values 10000 --mutated 10000'
    make soak ARGS='--seed 7 --type remote_nonnull_domain'

Prints the seed first and a table last. Exit status 1: docs/disagreements.md does not explain some
disagreement; each such case is printed with its type and bytes.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from libvirt_proto import registry
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto_codegen import releases
from tests.support.values import random_value

from . import drawing
from .judge import Judge
from .rpcgen import build, missing
from .verdicts import KINDS, Case, Origin, Tally

#: Additional types, for constructs that rpcgen compiles and libvirt does not use.
JUDGED = Path(__file__).parent.parent / "definitions" / "judged.x"
#: Cases per run of the C filter.
BATCH = 5000
#: Bytes per run of the C filter, for cases at a limit.
BATCH_BYTES = 1 << 25


def all_types() -> list[XdrType]:
    """Every type of the newest release, then those of JUDGED."""
    modules = [*registry.default().modules(), *registry.load(JUDGED).modules()]
    return [type_ for module in modules for type_ in module.types.values()]


def judge_of_all(types: Iterable[XdrType], folder: Path) -> Judge:
    """The C of all these types."""
    files = sorted((releases.root() / releases.newest()).glob("*.x"))
    return build([*files, JUDGED], [type_.name for type_ in types], folder)


def drawn(type_: XdrType, values: int, mutated: int, seed: str) -> Iterator[Case]:
    """Encoded values of a type, and damaged ones; the same for the same seed."""
    rng = Random(f"{seed}/{type_.name}")
    for index in range(max(values, mutated)):
        data = type_.to_bytes(random_value(type_, rng))
        if index < values:
            yield Case(type_, data, Origin.VALUE)
        if index < mutated:
            yield Case(type_, drawing.damaged(data, rng), Origin.MUTATED)


def at_limits(type_: XdrType, limits: Iterable[drawing.AtLimit]) -> Iterator[Case]:
    """Bytes of a type with one length at its limit, and one above it."""
    for one in limits:
        yield Case(type_, one.most, Origin.AT_LIMIT)
        yield Case(type_, one.over, Origin.OVER_LIMIT)


def batches(cases: Iterable[Case]) -> Iterator[list[Case]]:
    """Batches of cases, each for one run of the C filter."""
    batch, size = [], 0
    for case in cases:
        batch.append(case)
        size += len(case.data)
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def compare(judge: Judge, cases: Iterable[Case], tally: Tally) -> Iterator[int]:
    """Compare both verdicts on each case and count the outcomes; yield the number of cases per batch."""
    for batch in batches(cases):
        answers = judge.answers([(case.type.name, case.data) for case in batch])
        for case, answer in zip(batch, answers, strict=True):
            tally.count(case, answer)
        yield len(batch)


def shared_out(total: int, types: list[XdrType]) -> dict[str, int]:
    """Distribute `total` cases evenly over types by name."""
    few, more = divmod(total, len(types))
    return {type_.name: few + (index < more) for index, type_ in enumerate(types)}


def table(tally: Tally) -> Table:
    """The closing table."""
    made = Table("compared", "number", box=None)
    made.columns[1].justify = "right"
    rows = {
        "types": len(tally.types),
        "values, encoded by us": tally.origins[Origin.VALUE],
        "mutated byte strings": tally.origins[Origin.MUTATED],
        "lengths at their limit": tally.origins[Origin.AT_LIMIT],
        "lengths one above it": tally.origins[Origin.OVER_LIMIT],
        "accepted by both, to the same bytes": tally.accepted,
        "  of these not canonical": tally.remarked,
        "refused by both": tally.refused,
        **{f"explained: {kind}": tally.explained[kind] for kind in KINDS},
        "not explained": len(tally.unexplained),
    }
    for name, number in rows.items():
        made.add_row(name, f"{number:,}")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--values", type=int, default=1_000_000, help="values in all (a million)")
    parser.add_argument(
        "--mutated", type=int, default=1_000_000, help="mutated byte strings in all (a million)"
    )
    parser.add_argument("--seed", default=secrets.token_hex(4), help="what the cases are drawn from")
    parser.add_argument("--type", action="append", help="this type alone (can be repeated)")
    parser.add_argument(
        "--limit",
        type=int,
        default=1 << 23,
        help="bytes at most of a length that is tried at its limit (8 MiB)",
    )
    options = parser.parse_args(arguments)
    if lack := missing():
        parser.error(lack)
    types = all_types()
    if unknown := set(options.type or ()) - {type_.name for type_ in types}:
        parser.error(f"no type is called {', '.join(sorted(unknown))}")
    console, tally = Console(), Tally()
    console.print(f"seed {options.seed}", highlight=False)
    chosen = [type_ for type_ in types if not options.type or type_.name in options.type]
    values, mutated = shared_out(options.values, chosen), shared_out(options.mutated, chosen)
    cases = chain(
        chain.from_iterable(drawn(t, values[t.name], mutated[t.name], options.seed) for t in chosen),
        chain.from_iterable(at_limits(t, drawing.limits(t, options.limit)) for t in chosen),
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, disable=not console.is_terminal) as bar,
    ):
        judge = judge_of_all(types, Path(folder))
        edges = sum(2 for t in chosen for _ in drawing.limits(t, options.limit))
        task = bar.add_task("comparing with C", total=options.values + options.mutated + edges)
        for done in compare(judge, cases, tally):
            bar.advance(task, done)
    for sentence in tally.unexplained[:20]:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    console.print(table(tally))
    return 1 if tally.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
