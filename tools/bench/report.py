"""The table of a run, with the machine and the versions, and its insertion into the document."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from libvirt_proto import native

from .rows import Row

if TYPE_CHECKING:
    from .suite import Settings


def goals(rows: list[Row], settings: Settings) -> str:
    """Return the rows as a table, with the machine and the versions."""
    return "\n".join([*_circumstances(settings), "", *_table(rows)])


def replace(document: Path, mark: str, text: str) -> None:
    """Replace the text between `<!-- mark -->` and `<!-- end of mark -->`. Raises ValueError if they are
    missing."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    head, found, rest = document.read_text().partition(begin)
    _, ended, tail = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{document}: missing {begin.strip()} or {end.strip()} for {mark}")
    document.write_text(f"{head}{begin}{text}\n{end}{tail}")


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| work | against | goal | measured | | of pairs | by elapsed time | ours | theirs |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        figures = (row.measured, row.verdict, row.spread, row.elapsed, row.ours, row.theirs)
        yield f"| {' | '.join((row.work, row.against, row.goal, *figures))} |"


def _circumstances(settings: Settings) -> Iterator[str]:
    capture = settings.capture
    yield f"- Machine: {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    yield f"- Load at the end: {os.getloadavg()[0]:.1f} (one process at a time is measured)"
    yield f"- Versions: {', '.join(_versions())}"
    yield f"- Capture: {capture.messages:,} messages, {capture.megabytes:.1f} MB, {capture.origin}"
    yield f"- Native core: {native.state()}"
    yield f"- Rounds: {settings.rounds} (startup five times as many, payloads two more, the largest capture a"
    yield "  third), in turn; medians"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or "unknown processor"


def _versions() -> Iterator[str]:
    yield f"Python {platform.python_version()}"
    revision = subprocess.run(("git", "describe", "--always", "--dirty"), capture_output=True, text=True)
    yield f"revision {revision.stdout.strip() or 'unknown'}"
    for name in ("libvirt-proto", "msgspec", "standard-xdrlib", "construct"):
        yield f"{name} {version(name)}"
    for tool in ("tshark", "libvirtd"):
        if shutil.which(tool):
            said = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
            yield f"{tool} {(re.findall(r'[0-9][0-9.]+', said) or ['?'])[0]}"
