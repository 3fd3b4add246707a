"""Frames: whole, byte by byte, in random pieces, with descriptors' bytes, with bad length words."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import FrameDecoder, FrameError

HEADER = bytes.fromhex("20008086 00000001 00000001 00000000 00000000 00000000")

WITH_FDS = HEADER[:12] + (4).to_bytes(4) + HEADER[16:]


def frame(payload: bytes = b"", header: bytes = HEADER) -> bytes:
    return (28 + len(payload)).to_bytes(4) + header + payload


def with_fds(count: int) -> bytes:
    return frame(count.to_bytes(4), WITH_FDS)


streams = st.lists(st.binary(max_size=40).map(frame), max_size=6)


@given(streams, st.data())
def test_any_pieces_give_equal_frames(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames)
    offsets = [sum(map(len, frames[:index])) for index in range(len(frames))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    for way in ([stream], [stream[i : i + 1] for i in range(len(stream))], pieces):
        decoder = FrameDecoder()
        found = [found for piece in way for found in decoder.feed(piece)]
        assert [f.data for f in found] == frames
        assert [f.offset for f in found] == offsets
        assert decoder.pending == b""
        assert decoder.offset == len(stream)
        assert decoder.error is None


@pytest.mark.parametrize("length", [0, 1, 4, 27, 33554437, 2**31, 2**32 - 1])
def test_rejects_impossible_length_word(length: int) -> None:
    decoder = FrameDecoder()
    found = decoder.feed(frame(b"good") + length.to_bytes(4) + b"rest")
    assert [f.data for f in found] == [frame(b"good")]
    error = decoder.error
    assert isinstance(error, FrameError)
    assert (error.length, error.offset, decoder.offset) == (length, 32, 32)
    assert str(length) in str(error)
    assert decoder.feed(frame(b"next")) == []
    assert decoder.pending == length.to_bytes(4) + b"rest" + frame(b"next")
    found = decoder.resume(8)
    assert [(f.offset, f.data) for f in found] == [(40, frame(b"next"))]
    assert decoder.error is None


def test_accepts_largest_frame() -> None:
    decoder = FrameDecoder()
    assert decoder.feed((33554436).to_bytes(4) + HEADER) == []
    assert decoder.error is None


def test_skips_one_zero_byte_per_descriptor() -> None:
    stream = with_fds(2) + b"\0\0" + frame(b"after") + with_fds(1) + b"\0"
    expected = [with_fds(2), frame(b"after"), with_fds(1)]
    for step in (1, 7, len(stream)):
        decoder = FrameDecoder(fd_bytes=True)
        pieces = [stream[i : i + step] for i in range(0, len(stream), step)]
        assert [f.data for piece in pieces for f in decoder.feed(piece)] == expected
        assert decoder.pending == b""


def test_skips_no_bytes_without_or_with_too_many_descriptors() -> None:
    for first in (frame(b"1234"), with_fds(0), with_fds(33)):
        decoder = FrameDecoder(fd_bytes=True)
        assert [f.data for f in decoder.feed(first + frame(b"after"))] == [first, frame(b"after")]


def test_skips_descriptor_bytes_only_if_enabled() -> None:
    """By default a stream is TCP's: only the length word determines the end of a frame."""
    data = with_fds(1) + frame()
    assert [found.offset for found in FrameDecoder().feed(data)] == [0, 32]
    assert [found.offset for found in FrameDecoder(fd_bytes=True).feed(data[:32] + b"\0" + data[32:])] == [
        0,
        33,
    ]


@pytest.mark.parametrize(("count", "bytes_behind"), [(0, 0), (32, 32), (33, 0)])
def test_number_of_bytes_that_accompany_descriptors(count: int, bytes_behind: int) -> None:
    data = with_fds(count) + bytes(bytes_behind) + frame()
    assert [found.offset for found in FrameDecoder(fd_bytes=True).feed(data)] == [0, 32 + bytes_behind]


def test_frame_without_its_descriptor_count() -> None:
    data = frame(header=WITH_FDS) + frame()
    assert [found.offset for found in FrameDecoder(fd_bytes=True).feed(data)] == [0, 28]


def test_error_does_not_change_as_bytes_arrive() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"\0\0\0\x1b")
    error = decoder.error
    assert error is not None
    assert str(error) == "at byte 0: expected a length word between 28 and 33554436, got 27"
    assert decoder.feed(frame()) == []
    assert decoder.error is error
    assert decoder.pending == b"\0\0\0\x1b" + frame()
    assert [found.offset for found in decoder.resume(4)] == [4]
