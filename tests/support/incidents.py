"""Recordings of incidents, and what `diagnose` must find in them.

`tests/diagnose/recordings/NAME/expected.toml` has a list of rules for each file of the recording, with or
without `.gz`, and for all of them together as `all`; `first` is a part of the first sentence of that
diagnosis. `ports` are the daemon's ports, that without TLS first, if a capture has connections without
libvirt's messages.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from libvirt_proto.diagnose.findings import Finding

RECORDINGS = Path(__file__).parents[1] / "diagnose" / "recordings"
EXPECTED = "expected.toml"
#: Keys of expected.toml that are not files.
OTHER_KEYS = {"all", "first", "ports"}


def expected(name: str) -> dict[str, Any]:
    """Return what must be found in a recording."""
    return tomllib.loads((RECORDINGS / name / EXPECTED).read_text("utf-8"))


def expected_rules(name: str) -> dict[str, list[str]]:
    """Return the rules that must be found in each file of a recording, by its name without `.gz`."""
    found = sorted(expected(name).items())
    return {file.removesuffix(".gz"): rules for file, rules in found if file not in OTHER_KEYS}


def recorded(folder: Path, file: str) -> Path:
    """Return the path of a file in a folder of recordings, where it may be compressed."""
    path = folder / file
    return path if path.exists() else path.with_name(f"{file}.gz")


def rules(found: Iterable[Finding]) -> list[str]:
    """Return the rules of findings, each once."""
    return sorted({finding.rule for finding in found})


def with_ports(text: str, ports: Sequence[int]) -> str:
    """Return the text of an expected.toml for a new recording, whose daemon had other ports."""
    old = tomllib.loads(text).get("ports", ())
    renamed = dict(zip(map(str, old), map(str, ports), strict=False))
    return re.sub(r"\d+", lambda number: renamed.get(number[0], number[0]), text)
