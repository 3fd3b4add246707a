"""Search for libvirt messages and headers in any bytes, such as a dump or a core file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from mmap import mmap
from typing import Final

import msgspec
from msgspec.structs import replace

from ..codec.values import XdrStruct, XdrUnion
from ..codec.xdrtype import type_of
from ..registry import Registry
from ..rpc.message import Header, Message, decode_message
from ..rpc.wire import (
    HEADER,
    HEADER_SIZE,
    MAX_FRAME,
    MAX_PROCEDURE,
    MAX_STATUS,
    MAX_TYPE,
    MIN_FRAME,
    TYPES_WITH_FDS,
    WORD,
    WORD_SIZE,
)
from .evidence import background, weigh, word_bits

_header, _word = HEADER.unpack_from, WORD.unpack_from
#: Maximum distance after a header without a length word that its payload may reach.
_HEADLESS: Final = 1 << 20
#: Number of bytes of a message that are decoded after too many wrong lengths.
_GLANCE: Final = 256
#: Number of messages of a run that are kept; the others are counted.
KEPT: Final = 20
#: Evidence against a payload that is truncated, or that other bytes follow.
_BROKEN, _SPARE = 30.0, 10.0


class Found(msgspec.Struct, frozen=True):
    """A header at `offset`, the position of its length word, or of the header itself if there is none
    (`headless`). `message` is the decoded part; its `missing` is the number of bytes after the end of the
    input. `size` is the number of bytes of the input that it occupies."""

    offset: int
    size: int
    bits: float
    message: Message
    headless: bool = False


class Run(msgspec.Struct, frozen=True):
    """Consecutive messages. `messages` are the first of them, `count` is their number."""

    offset: int
    size: int
    count: int
    bits: float
    messages: tuple[Found, ...]


class Search:
    """Finds the messages of a registry's programs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._programs = registry.programs()
        heads = [p.number.to_bytes(4) + p.version.to_bytes(4) for p in self._programs]
        self._pattern = re.compile(b"|".join(map(re.escape, heads)) or b"(?!)")

    def runs(self, data: bytes | mmap) -> Iterator[Run]:
        """Yield everything found, in order of position; in linear time for any bytes."""
        messages: list[Found] = []
        count, start, end, bits, whole = 0, 0, 0, 0.0, False
        for found in self._found(data):
            if whole and found.offset == end and not found.headless:
                count += 1
            else:
                if count:
                    yield Run(start, end - start, count, bits, tuple(messages))
                messages, count, start, bits = [], 1, found.offset, 0.0
            if len(messages) < KEPT:
                messages.append(found)
            bits += found.bits
            end = found.offset + found.size
            whole = _whole(found)
        if count:
            yield Run(start, end - start, count, bits, tuple(messages))

    def _found(self, data: bytes | mmap) -> Iterator[Found]:
        size, pos = len(data), 0
        # Wrong lengths could cause the same bytes to be decoded again and again.
        budget = 4 * size + (1 << 20)
        while match := self._pattern.search(data, pos):
            at = match.start()
            pos = at + 4
            if size - at < HEADER_SIZE:
                return
            header = Header(*_header(data, at))
            if not _plausible(header):
                continue
            length = _word(data, at - 4)[0] if at >= 4 else 0
            headless = not MIN_FRAME <= length <= MAX_FRAME
            start = at if headless else at - 4
            there = self._until(data, at) if headless else min(length, size - start)
            if there > budget:
                there = min(there, _GLANCE)
            budget -= there
            found = self._read(data, start, there, length, headless)
            yield found
            if _whole(found):
                pos = found.offset + found.size - len(found.message.spare)

    def _until(self, data: bytes | mmap, at: int) -> int:
        """Return the maximum length of a message with its header at `at` and an unknown length."""
        most = min(len(data), at + _HEADLESS)
        match = self._pattern.search(data, at + HEADER_SIZE, most)
        end = max(at + HEADER_SIZE, match.start() - 4) if match else most
        return end - at + 4

    def _read(self, data: bytes | mmap, start: int, there: int, length: int, headless: bool) -> Found:
        if headless:
            frame = there.to_bytes(4) + data[start : start + there - 4]
            message = decode_message(frame, registry=self._registry)
            if message.spare:  # bytes of something else
                there -= len(message.spare)
                frame, message = frame[:there], replace(message, length=there, spare=b"")
        else:
            frame = data[start : start + there]
            message = decode_message(frame, missing=length - there, registry=self._registry)
            if message.missing and message.payload is not None and message.error is None:
                # The message is complete: the bytes before the header are not a length word.
                return self._read(data, start + 4, there, length, True)
        bits = self._header_bits(message.header) + self._payload_bits(frame, message)
        if not headless:
            bits += word_bits(length) - (0 if start + there == len(data) else 8)
        return Found(start, there - 4 if headless else there, bits, message, headless)

    def _header_bits(self, header: Header) -> float:
        """Return the evidence of a plausible header."""
        program = self._registry.find(header.prog, header.vers)
        known = program is not None and header.proc in program.by_number
        procedure = math.log2(len(program.procedures)) + 0.1 if program and known else 14 + 4
        mine = math.log2(len(self._programs)) + procedure + math.log2(7) + math.log2(3)
        words = (header.prog, header.vers, header.proc, header.type, header.status)
        return sum(map(word_bits, words)) - mine

    @staticmethod
    def _payload_bits(frame: bytes, message: Message) -> float:
        """Return the evidence of the bytes after the header."""
        if message.malformed:
            return -_BROKEN
        spare = _SPARE if message.spare else 0.0
        if not isinstance(message.payload, XdrStruct | XdrUnion) or message.missing or message.remarks:
            return -spare
        begin = MIN_FRAME + (WORD_SIZE if message.header.type in TYPES_WITH_FDS else 0)
        body = frame[begin : len(frame) - len(message.spare)]
        return background(body)[-1] - weigh(type_of(message.payload), message.payload).bits - spare


def _whole(found: Found) -> bool:
    """Return whether a message is correct, so that its length can be trusted."""
    message = found.message
    return not found.headless and not message.missing and message.error is None


def _plausible(header: Header) -> bool:
    return (
        0 <= header.type <= MAX_TYPE and 0 <= header.status <= MAX_STATUS and 0 < header.proc <= MAX_PROCEDURE
    )
