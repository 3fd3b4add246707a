"""Limits of a plan: probe sites per file and per trace, and offsets in the file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from libvirt_proto.capture.probes.loaded import Binary
from libvirt_proto.capture.probes.notes import Notes, Site
from libvirt_proto.capture.probes.plan import plan, probes


def sites(number: int, subject: str = "rpc_socket_dispose") -> Notes:
    return Notes("x86_64", tuple(Site("libvirt", subject, at, None, "8@%rax") for at in range(number)), ())


def test_number_of_sites_is_limited(tmp_path: Path) -> None:
    """Per file and in total; one subject does not use up another's limit."""
    content = tmp_path / "content"
    content.write_bytes(bytes(1000))
    with content.open("rb") as file:
        many = [Binary(file, name, name, sites(200)) for name in "abcdef"]
        loop = Binary(file, "x", "x", sites(3, "event_poll_remove_timeout"))
        found = probes([*many, loop])
        used = Counter(probe.binary.name for probe in found if not probe.problem)
        assert used == {"a": 128, "b": 128, "c": 128, "d": 128, "x": 3}
        assert {probe.problem for probe in found if probe.problem} == {
            "the limit is 128 places of probes in a file",
            "the limit is 512 places of probes in a trace",
        }
        assert [len(events) for _, events in plan("g", found, 64).files] == [128] * 4


def test_sites_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(bytes(100))
    with content.open("rb") as file:
        places = [(99, None), (100, None), (-1 % 2**64, None), (0, 100), (0, 2**64)]
        notes = tuple(Site("libvirt", "rpc_socket_dispose", at, s, "8@%rax") for at, s in places)
        found = probes([Binary(file, "a", "a", Notes("x86_64", notes, ()))])
    assert [bool(probe.problem) for probe in found] == [False, True, True, True, True]
