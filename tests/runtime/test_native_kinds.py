"""Messages whose payloads are JSON: as Python decodes and presents them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from libvirt_proto import open as open_capture
from libvirt_proto import registry
from libvirt_proto.errors import ProtocolError
from libvirt_proto.events import Captured, Connection
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.native_kinds import JsonDecoder
from libvirt_proto.presenters.monitor import MonitorPresenter
from libvirt_proto.rpc.message import MessageDecoder, encode_message
from tests.differential.drawing import damaged

pytestmark = pytest.mark.native

CONNECTION = Connection(1, "a:1", "b:2")


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    """The messages of a capture, with errors, streams and events."""
    with open_capture(Path(__file__).parent.parent / "captures" / "tour.pcap") as capture:
        found = [encode_message(message.message) for message in capture]
    assert len(found) > 500
    return found


def lines(decoder: MessageDecoder, frame: bytes, *, explained: bool) -> tuple[bytes, bool] | str:
    """The line of a frame and whether its payload is JSON, or the error of one that cannot be read."""
    try:
        message = decoder.decode(frame)
    except ProtocolError as error:
        return repr(error)
    captured = Captured(1, 0, CONNECTION, None, message)
    presenter = (MonitorPresenter if explained else JsonLinesPresenter)(registry.default())
    return presenter(captured), isinstance(message.payload, msgspec.Raw)


@pytest.mark.parametrize("explained", [False, True])
def test_lines_are_those_of_values(frames: list[bytes], explained: bool) -> None:
    """Also of damaged messages, which Python has to explain."""
    rng = Random(16)
    values, json = MessageDecoder(), JsonDecoder(registry.default(), explained=explained)
    counts: Counter[str] = Counter()
    for frame in frames:
        for data in (frame, damaged(frame, rng), frame[:28] + damaged(frame[28:], rng)):
            expected, found = (lines(each, data, explained=explained) for each in (values, json))
            if isinstance(found, str):
                counts["unreadable"] += 1
                assert found == expected
                continue
            counts["json" if found[1] else "value"] += 1
            assert found[0] == expected[0], data.hex()
    assert counts["json"] > 1000, counts
    assert min(counts["value"], counts["unreadable"]) > 10, counts


def test_errors_are_values_where_they_are_explained(frames: list[bytes]) -> None:
    failed = [frame for frame in frames if MessageDecoder().decode(frame).header.status == 1]
    assert failed
    for explained in (False, True):
        decoder = JsonDecoder(registry.default(), explained=explained)
        payloads = [decoder.decode(frame).payload for frame in failed]
        assert all(isinstance(payload, msgspec.Raw) is not explained for payload in payloads)


def test_kinds_are_bounded(frames: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libvirt_proto.native_kinds._MAX_KINDS", 3)
    decoder = JsonDecoder(registry.default(), explained=False)
    for frame in frames:
        decoder.decode(frame)
    assert len(decoder._kinds) == 3
