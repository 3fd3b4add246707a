"""The releases of libvirt that an input fits: values, and their wording."""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """Releases from `first` to `last`, both included, and older than `before`; None: no such bound."""

    first: str | None = None
    last: str | None = None
    before: str | None = None

    def __str__(self) -> str:
        """`9.0.0`, `8.6.0 to 9.6.0`, `5.5.0 or later`, `5.5.0 or later, before 6.0.0`."""
        if self.first is not None and self.first == self.last:
            return self.first
        if self.first is not None and self.last is not None:
            return f"{self.first} to {self.last}"
        words = [f"{self.first} or later"] if self.first else [f"{self.last} or earlier"] if self.last else []
        words += [f"before {self.before}"] if self.before else []
        return ", ".join(words) or "any release"


def spell(ranges: tuple[Range, ...]) -> str:
    """`1.1.3 to 1.2.0, 1.2.2`; `none` without any."""
    return ", ".join(map(str, ranges)) or "none"


class Evidence(NamedTuple):
    """Releases that fit a part of an input, and the reason.

    If no release fits, `closest` are those with the fewest differences, of which there are `differences`.
    """

    what: str
    ranges: tuple[Range, ...] = ()
    why: str = ""
    closest: tuple[Range, ...] = ()
    differences: int = 0


class Identification(NamedTuple):
    """The releases that fit an input, and the evidence, the part that narrows most first.

    `kind` is definitions, tapset, library or capture. `ranges` fit all evidence; there are none if one part
    fits no known release, or the parts are of different releases.
    """

    kind: str
    ranges: tuple[Range, ...]
    evidence: tuple[Evidence, ...]
