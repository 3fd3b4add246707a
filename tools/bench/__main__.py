"""Measures us and peers in turn: `make bench`."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from . import captures
from .report import write
from .suite import SUITE, Settings
from .timing import in_child, say

DOCUMENT = Path("docs/performance.md")
#: Messages of the large capture.
WANTED, WANTED_QUICK = 200_000, 20_000


@click.command()
@click.option(
    "--quick", is_flag=True, help="A tenth of the messages and fewer rounds; no document is written."
)
@click.option("--rounds", type=click.IntRange(1), help="How often each is run; default 5, quick 3.")
@click.option(
    "--only", type=click.Choice(list(SUITE)), multiple=True, help="Only this; no document is written."
)
@click.option("--capture", type=click.Path(exists=True, path_type=Path), help="Measure this capture.")
def main(quick: bool, rounds: int | None, only: tuple[str, ...], capture: Path | None) -> None:
    """Run peers and libvirt-proto in turn on a large capture, print a table of medians and ratios, and write
    it to docs/performance.md.

    \b
    Examples:
      make bench
      make bench ARGS=--quick
      make bench ARGS='--only messages --rounds 3'
    """
    beside = Path(os.environ.get("LIBVIRT_PROTO_SHARED", "../shared"))
    with TemporaryDirectory(prefix="libvirt-proto-bench-") as name:
        folder = Path(name)
        if capture is None:
            say("capture")
            made = in_child(captures.large, folder, WANTED_QUICK if quick else WANTED)
        else:
            made = captures.Capture(capture, in_child(captures.count, capture), str(capture))
        say(f"  {made.messages:,} messages, {made.megabytes:.0f} MB: {made.origin}")
        settings = Settings(
            made,
            folder,
            rounds or (3 if quick else 5),
            2_000 if quick else 20_000,
            3 if quick else 10,
            beside if beside.is_dir() and not quick else None,
        )
        rows = []
        for title in only or SUITE:
            say(title)
            rows += SUITE[title](settings)
        write(rows, settings, None if quick or only or capture else DOCUMENT)


if __name__ == "__main__":
    main()
