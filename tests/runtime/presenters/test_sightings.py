"""Observers and delays as text for people."""

from __future__ import annotations

import pytest

from libvirt_proto.events import Sighting
from libvirt_proto.presenters.sightings import sighted


@pytest.mark.parametrize(
    ("sightings", "words"),
    [
        ([("a.pcap", 5)], "a.pcap"),
        ([("a.pcap", 5), ("b.pcap", None)], "a.pcap, b.pcap"),
        ([("a.pcap", 1_000_000), ("b.pcap", 1_042_000)], "a.pcap, b.pcap +0.000042"),
        ([("a.pcap", 3_000_000_000), ("b.pcap", 1_000_000_000)], "b.pcap, a.pcap +2.000000"),
        ([("a\x1b", 0), ("b", 0)], r"a\x1b, b +0.000000"),
    ],
)
def test_shows_observers_and_delay(sightings: list[tuple[str, int | None]], words: str) -> None:
    assert sighted([Sighting(*one) for one in sightings]) == words
