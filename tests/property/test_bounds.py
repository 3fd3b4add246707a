"""For any input, decoding takes linear work and holds a fixed multiple of its size.

Messages, frames, and streams of them; test_bounds_captures.py covers files. Work is counted, not timed
(tests/support/work.py). docs/architecture.md, rule 1, states the bounds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from libvirt_proto import OverLimit, ProtocolError, decode_message, registry
from libvirt_proto.capture.stream import messages
from libvirt_proto.codec import interpreter
from libvirt_proto.codec.limits import MAX_DEPTH, MAX_REMARKS
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.events import Chunk, Connection, Item
from libvirt_proto.rpc.frame import FrameDecoder
from libvirt_proto.rpc.wire import MAX_FRAME
from tests.support.frames import REMOTE, frame, text, word
from tests.support.work import MORE, MULTIPLE, assert_linear, assert_within, grown, work

# Payloads

REGISTRY = registry.default()
SNAKE = "\U0001f40d".encode()
EVERY_TYPE = [type_ for module in REGISTRY.modules() for type_ in module.types.values()]


def reply(procedure: str, payload: bytes) -> bytes:
    number = REGISTRY.program("remote").procedure(procedure).number
    return frame(payload, proc=number, type_=1)


def stats(count: int, *, said: int | None = None, end: bytes = b"") -> bytes:
    """connect_get_all_domain_stats: records with a domain and parameters."""
    one = text(b"ab") + bytes(16) + word(7) + word(2)
    one += text(b"cd") + word(1) + word(0x12345) + text(b"ef") + word(7) + text(b"gh")
    return reply("connect_get_all_domain_stats", word(count if said is None else said) + one * count + end)


def interfaces(count: int, flag: int, padding: bytes = b"\0\0") -> bytes:
    """domain_interface_addresses: interfaces with an optional address each."""
    one = word(2) + b"ab" + padding + word(flag) + text(b"c") + word(0)
    return reply("domain_interface_addresses", word(count) + one * count)


def disk_errors(count: int) -> bytes:
    """domain_get_disk_errors with a truncated element: strings and numbers that are large in Python."""
    one = text(b"ab") + word(0x10203040)
    return reply("domain_get_disk_errors", word(count) + one * (count - 1) + word(1) * 2)


PAYLOADS: dict[str, Callable[[int], bytes]] = {
    "records": stats,
    "a count that is one too large": lambda n: stats(n, said=n + 1),
    "a record that breaks off": lambda n: stats(n, said=n + 1, end=text(b"ab") + bytes(11)),
    "small strings, then an element that breaks off": disk_errors,
    "a flag of 2 in each element": lambda n: interfaces(n, 2),
    "padding in each element": lambda n: interfaces(n, 1, b"\1\1"),
    "padding, then the end": lambda n: interfaces(n, 1, b"\1\1")[: 28 + 4 + 20 * n - 4],
    "spare bytes": lambda n: reply("connect_get_hostname", text(b"a") + bytes(100 * n)),
    "a string": lambda n: reply("connect_get_hostname", text(b"a" * 100 * n)),
    "a string of wide characters": lambda n: reply("connect_get_hostname", text(b"a" * 96 * n + SNAKE)),
    "a string that is not UTF-8": lambda n: reply("connect_get_hostname", text(b"a" * 100 * n + b"\xff")),
    "stream data": lambda n: frame(bytes(100 * n), type_=3, status=2),
    "an unknown program": lambda n: frame(bytes(100 * n), prog=5),
}  # fmt: skip


@pytest.mark.parametrize("name", PAYLOADS)
def test_messages_take_linear_work(name: str) -> None:
    payload = PAYLOADS[name]

    def act(count: int) -> Callable[[], object]:
        data = payload(count)
        data = word(len(data)) + data[4:]
        return lambda: decode_message(data)

    small, large = grown(act, 50)
    assert_linear(small, large)
    assert_within(small, len(payload(50)))
    assert_within(large, len(payload(200)))


def test_truncated_value_is_held_once() -> None:
    """The fast decoder's values are released before the interpreter starts, and an error holds no stack."""
    payload = word(4001) + text(SNAKE) * 4000
    data = reply("connect_list_all_node_devices", payload + word(1))
    assert_within(work(partial(decode_message, data)), len(data))
    error = decode_message(data).error
    assert error is not None
    assert (error.path, error.__traceback__, error.__context__) == ("devices[4000].name", None, None)


def test_strings_at_their_limit() -> None:
    """4 MiB, with one character for which Python needs four bytes per character."""
    for content in (b"a" * 4194304, b"a" * 4194300 + SNAKE, b"a" * 4194303 + b"\xff"):
        data = reply("connect_get_hostname", text(content))
        done = work(partial(decode_message, data))
        assert_within(done, len(data), 8)
        assert done.calls < 200
    data = reply("connect_get_hostname", text(b"a" * 4194305))
    message = decode_message(data)
    assert isinstance(message.error, OverLimit)


def test_maximum_count_in_any_word_of_any_type() -> None:
    """Each count, length and flag is some word of the shortest value; none is trusted."""
    for type_ in EVERY_TYPE:
        data = bytes(max(type_.min_size, 4)) + bytes(64)
        for at in range(0, min(type_.min_size, 400), 4):
            for number in (0xFFFFFFFF, 0x80000000):
                hostile = data[:at] + word(number) + data[at + 4 :]
                done = work(partial(_read, type_, hostile))
                assert_within(done, len(hostile))
                assert done.calls < 100 * len(hostile)


def _read(type_: XdrType, data: bytes) -> None:
    assert type_.read(data).next <= len(data)


def test_lists_of_the_smallest_elements_in_any_type() -> None:
    """As many elements as the bytes have room for, with the fast decoder and with the interpreter."""
    checked = 0
    rng = random.Random(1)
    for type_ in EVERY_TYPE:
        words = b"".join(word(rng.choice((0, 1, 2, 3, 0x1234567))) for _ in range(200))
        for data in (word(200) + bytes(800), words):
            done = work(lambda: (type_.read(data), interpreter.read(type_.types, type_.reference, data)))  # noqa: B023
            assert_within(done, len(data), 2 * MULTIPLE)
            checked += done.calls > 1000
    assert checked > 20


def test_remarks_are_counted_when_there_are_many() -> None:
    message = decode_message(interfaces(3 * MAX_REMARKS, 2, b"\1\1"[:2]))
    assert len(message.remarks) == MAX_REMARKS + 1
    assert message.remarks[-1] == f"not canonical in {5 * MAX_REMARKS:,} more places"
    assert message.remarks[0] == "at byte 38, ifaces[0].name: padding 0101 is not zero"
    assert message.error is None
    assert len(message.payload.ifaces) == 3 * MAX_REMARKS


# Recursive types

NESTED = """
struct item { int value; item *next; };
struct node { link links<>; };
typedef node *link;
union tree switch (int kind) { case 1: subtree more<2>; default: void; };
typedef tree *subtree;
struct far { w9 deep<>; };
typedef far *w0;
""" + "".join(f"typedef w{n - 1} w{n}<3>;\n" for n in range(1, 10))


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, XdrType]:
    path = tmp_path_factory.mktemp("nested") / "nested.x"
    path.write_text(NESTED)
    return registry.load(path).module("nested").types


LEVELS = {"item": word(7) + word(1), "node": word(1) * 2, "tree": word(1) * 3, "far": word(1) * 11}
ENDS = {"item": word(7) + word(0), "node": word(0), "tree": word(0), "far": word(0)}


@pytest.mark.parametrize("name", ["item", "node", "tree"])
def test_nesting_within_the_limit_round_trips(nested: dict[str, XdrType], name: str) -> None:
    type_ = nested[name]
    data = LEVELS[name] * (MAX_DEPTH - 1) + ENDS[name]
    reading = type_.read(data)
    assert (reading.error, reading.next) == (None, len(data))
    assert interpreter.read(type_.types, type_.reference, data).value == reading.value
    assert (
        type_.to_bytes(reading.value)
        == interpreter.write(type_.types, type_.reference, reading.value)
        == data
    )
    data = LEVELS[name] * MAX_DEPTH + ENDS[name]
    reading = type_.read(data)
    assert isinstance(reading.error, OverLimit)
    assert (reading.error.what, reading.error.limit) == ("depth", MAX_DEPTH)


def called_from(depth: int, action: Callable[[], object]) -> object:
    """Return the result of an action that is called from `depth` functions."""
    return action() if depth == 0 else called_from(depth - 1, action)


@pytest.mark.parametrize("name", ["item", "node", "tree"])
def test_nesting_within_the_limit_needs_half_of_the_stack(nested: dict[str, XdrType], name: str) -> None:
    """The default is 1,000 frames, and a caller has used some."""
    type_ = nested[name]
    data = LEVELS[name] * (MAX_DEPTH - 1) + ENDS[name]
    value = type_.from_bytes(data)
    read = called_from(300, lambda: interpreter.read(type_.types, type_.reference, data))
    assert isinstance(read, interpreter.Reading)
    assert read.value == value
    assert called_from(300, lambda: interpreter.write(type_.types, type_.reference, value)) == data


@pytest.mark.parametrize("name", LEVELS)
def test_rejects_nesting_at_the_limit(nested: dict[str, XdrType], name: str) -> None:
    type_ = nested[name]
    few, many = (LEVELS[name] * count + ENDS[name] for count in (1000, 100_000))
    some, all_ = (work(partial(type_.read, data)) for data in (few, many))
    assert type_.read(many).error is not None
    assert all_.calls <= some.calls + 10
    assert all_.peak <= some.peak + MORE


def test_deep_recursion_through_many_types_is_an_error(nested: dict[str, XdrType]) -> None:
    """`far` contains itself through ten lists: a limit on its levels does not protect the stack."""
    type_ = nested["far"]
    data = LEVELS["far"] * (MAX_DEPTH - 1) + ENDS["far"]
    error = type_.read(data).error
    assert str(error).endswith("nests deeper than Python's stack")
    value = type_.from_bytes(ENDS["far"])
    for _ in range(MAX_DEPTH - 1):
        inner = value
        for _ in range(9):
            inner = [inner]
        value = type(value)([inner])
    with pytest.raises(ProtocolError, match="nests deeper"):
        interpreter.write(type_.types, type_.reference, value)


# Frames and streams

CONNECTION = Connection(1, "c", "s")

HOSTILE_LENGTHS = [*range(28), MAX_FRAME + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def fed(data: bytes, piece: int) -> Callable[[], object]:
    def act() -> int:
        decoder = FrameDecoder()
        frames = sum(len(decoder.feed(data[at : at + piece])) for at in range(0, len(data), piece))
        return frames + bool(decoder.pending)

    return act


@pytest.mark.parametrize("piece", [1, 7, 4096])
@pytest.mark.parametrize("size", [0, 1000, 1 << 20])
def test_frames_take_linear_work_in_pieces_of_any_size(piece: int, size: int) -> None:
    """`size` is the payload size of a message; the largest is never complete."""
    data = b"".join([frame(bytes(size))] * 400)
    small, large = grown(lambda total: fed(data[:total], piece), 1500)
    assert_linear(small, large)
    assert_within(large, 6000, 8)


@pytest.mark.parametrize("length", HOSTILE_LENGTHS)
def test_hostile_length_words(length: int) -> None:
    """No length is waited for or allocated."""
    data = word(length) + frame()[4:]
    decoder = FrameDecoder()
    done = work(lambda: decoder.feed(data))
    assert decoder.error is not None
    assert_within(done, len(data))
    with pytest.raises(ProtocolError):
        decode_message(data)


def test_largest_length_word_allocates_nothing() -> None:
    decoder = FrameDecoder()
    done = work(lambda: decoder.feed(word(MAX_FRAME) + frame()[4:]))
    assert (decoder.error, done.peak < 4096) == (None, True)


GOOD = frame(serial=1)
STREAMS: dict[str, Callable[[int], bytes]] = {
    "messages": lambda n: GOOD * n,
    "hostile length words": lambda n: b"".join(GOOD + word(x) for x in (HOSTILE_LENGTHS * n)[:n]),
    "good and bad by turns": lambda n: (GOOD + GOOD[:16] + word(99) * 3) * n,
    "heads alone": lambda n: GOOD[:12] * n,
    "headers that nothing follows": lambda n: (word(60) + GOOD[4:] + b"\xff" * 32) * n,
    "headers of far ends": lambda n: (word(MAX_FRAME) + GOOD[4:]) * n,
    "no header at all": lambda n: GOOD + b"\0\0\0\1" * 7 * n,
    "zeros": lambda n: GOOD + bytes(28 * n),
    "message of the largest size": lambda n: GOOD + word(MAX_FRAME) + GOOD[4:] + bytes(28 * n),
}


@pytest.mark.parametrize("piece", [1, 1 << 18])
@pytest.mark.parametrize("name", STREAMS)
def test_streams_take_linear_work(name: str, piece: int) -> None:
    def act(count: int) -> Callable[[], object]:
        data = STREAMS[name](count)

        def chunks() -> Iterator[Item]:
            for at in range(0, len(data), piece):
                yield Chunk(CONNECTION, "c2s", None, data[at : at + piece])

        return lambda: sum(1 for _ in messages(chunks(), decode_message, programs=frozenset({REMOTE})))

    size = 30 if piece == 1 else 200  # a search continues in pieces of 4096 bytes
    small, large = grown(act, size)
    assert_linear(small, large)
    assert_within(large, len(STREAMS[name](4 * size)))
