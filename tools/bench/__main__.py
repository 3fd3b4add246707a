"""Benchmarks of libvirt-proto and its peers, in turn: `make bench`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from . import captures, growth, report, shares
from .rows import Row
from .suite import SUITE, Settings
from .timing import in_child, say

DOCUMENT = Path("docs/performance.md")
#: Number of messages in the large capture.
WANTED, WANTED_QUICK = 200_000, 20_000


#: Measurements with a table of their own.
TABLES: dict[str, Callable[[Settings], Iterator[str]]] = {
    "growth": lambda settings: growth.table(list(growth.measure(settings.capture.path, settings.folder))),
    "shares": lambda settings: shares.table(shares.measure(settings.capture.path)),
}


@click.command()
@click.option(
    "--quick", is_flag=True, help="Use a tenth of the messages and fewer rounds; do not write the document."
)
@click.option("--rounds", type=click.IntRange(1), help="Runs of each benchmark; default 5, quick 3.")
@click.option(
    "--only",
    type=click.Choice([*SUITE, *TABLES]),
    multiple=True,
    help="Run only this; do not write the document.",
)
@click.option("--capture", type=click.Path(exists=True, path_type=Path), help="Use this capture.")
def main(quick: bool, rounds: int | None, only: tuple[str, ...], capture: Path | None) -> None:
    """Run peers and libvirt-proto in turn on a large capture, print tables of medians and ratios, and write
    them to docs/performance.md.

    \b
    Examples:
      make bench
      make bench ARGS=--quick
      make bench ARGS='--only messages --only growth --rounds 3'
    """
    began = time.monotonic()
    definitions = Path(os.environ.get("LIBVIRT_PROTO_SHARED", "../shared"))
    with TemporaryDirectory(prefix="libvirt-proto-bench-") as name:
        folder = Path(name)
        say("capture")
        if capture is None:
            made = in_child(captures.large, folder, WANTED_QUICK if quick else WANTED)
        else:
            made = captures.Capture(capture, in_child(captures.count, capture), str(capture))
        say(f"  {made.messages:,} messages, {made.megabytes:.0f} MB: {made.origin}")
        settings = Settings(
            capture=made,
            folder=folder,
            rounds=rounds or (3 if quick else 5),
            payloads=2_000 if quick else 20_000,
            copies=3 if quick else 10,
            shared=definitions if definitions.is_dir() and not quick else None,
        )
        rows: list[Row] = []
        tables: dict[str, str] = {}
        for title in only or (SUITE if quick else (*SUITE, *TABLES)):
            say(title)
            if title in SUITE:
                rows += SUITE[title](settings)
            else:
                tables[title] = "\n".join(TABLES[title](settings))
        if rows:
            tables["goals"] = report.goals(rows, settings)
    for text in tables.values():
        print(text, end="\n\n")
    if not (quick or only or capture):
        for title, text in tables.items():
            report.replace(DOCUMENT, title, text)
        say(f"written to {DOCUMENT}")
    say(f"{time.monotonic() - began:.0f} s in total")


if __name__ == "__main__":
    main()
