"""The recordings that have a merged message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..text import printable

if TYPE_CHECKING:
    from ..events import Sighting


def sighted(sightings: Sequence[Sighting]) -> str:
    """Return the recordings that have a message, in order of time, with the delay of the second:
    `client.pcap, server.pcap +0.000042`."""
    if len(sightings) < 2 or any(sighting.time_ns is None for sighting in sightings):
        return ", ".join(printable(sighting.recording) for sighting in sightings)
    first, second = sorted(sightings, key=lambda sighting: sighting.time_ns or 0)
    later = ((second.time_ns or 0) - (first.time_ns or 0)) / 1e9
    return f"{printable(first.recording)}, {printable(second.recording)} +{later:.6f}"
