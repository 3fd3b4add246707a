"""How close values come to their limits: every place with a limit, and the closest message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.types import Array, Opaque, String
from libvirt_proto.codec.visitor import walk
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.events import Captured
from libvirt_proto.figures.limit_usage import LimitUsage
from libvirt_proto.figures.results import Closeness, Where
from libvirt_proto.rpc.message import Header, Message, decode_message
from tests.support.frames import captured, error_payload, frame, text, word
from tests.support.values import values


def where(captured: Captured) -> Where:
    return Where("f", captured.n, 0, "c", 1, "remote", 1, 1, "p", 0)


def nearest(*messages: bytes | Message, count: int = 99) -> list[Closeness]:
    limits = LimitUsage(registry.default(), where)
    for n, message in enumerate(messages, 1):
        limits.add(captured(message, n))
    return limits.nearest(count)


def test_a_list_and_the_strings_in_it() -> None:
    """remote_domain_send_key_args: keycodes<16>; the domain's name may have 4 MiB."""
    domain = text(b"test") + bytes(16) + word(1)
    keys = word(3) + word(1) * 3
    (list_, message, name) = nearest(frame(domain + word(0) * 2 + keys + word(0), proc=226))
    assert (list_.what, list_.path) == ("list", "remote_domain_send_key_args.keycodes")
    assert (list_.longest, list_.limit, list_.fraction) == (3, 16, 3 / 16)
    assert (name.what, name.path) == ("string", "remote_domain_send_key_args.dom.name")
    assert (name.longest, name.limit) == (4, 4194304)
    assert (message.what, message.longest, message.limit) == ("message", 84, 33554436)


def test_strings_count_in_bytes() -> None:
    found = {c.path: c.longest for c in nearest(frame(text("grüße".encode()), proc=23))}
    assert found["remote_domain_lookup_by_name_args.name"] == 7
    found = {c.path: c.longest for c in nearest(frame(text(b"\xff\xfe\xff"), proc=23))}
    assert found["remote_domain_lookup_by_name_args.name"] == 3


def test_the_first_message_with_the_longest_value_counts() -> None:
    names = [b"a", b"abcde", b"abcde", b"ab"]
    found = {c.path: c for c in nearest(*(frame(text(name), proc=23) for name in names))}
    assert found["remote_domain_lookup_by_name_args.name"].where.n == 2


def test_what_is_over_the_limit() -> None:
    """The daemon refuses the call; here it comes out on top."""
    domain = text(b"test") + bytes(16) + word(1)
    found = nearest(frame(domain + word(0) * 2 + word(40) + word(1) * 40 + word(0), proc=226), count=1)
    assert [(c.path, c.longest, c.limit, c.fraction) for c in found] == [
        ("remote_domain_send_key_args.keycodes", 40, 16, 2.5)
    ]


def test_descriptors_and_messages_without_a_payload() -> None:
    found = nearest(frame(word(8), type_=4, proc=2), frame(proc=2))
    assert [(c.what, c.longest, c.limit) for c in found] == [
        ("descriptors", 8, 32),
        ("message", 32, 33554436),
    ]
    assert found[0].where.n == 1


def test_errors_have_limits_too() -> None:
    found = nearest(frame(error_payload(1, 2, b"words"), type_=1, status=1))
    assert "virNetMessageError.message" in {c.path for c in found}


def test_a_limit_of_another_release() -> None:
    limits = LimitUsage(registry.release("0.9.7"), where)
    limits.add(captured(frame(proc=2)))
    assert [(c.what, c.limit) for c in limits.nearest(9)] == [("message", 262148)]


def lengths(type_: XdrType, value: Any) -> dict[str, tuple[int, int]]:
    """The longest value of each place that has a limit, by walking all of a value."""
    found: dict[str, tuple[int, int]] = {}
    for path, node, part in walk(type_.types, type_.reference, value, type_.name):
        if isinstance(node, String | Opaque | Array) and node.limit is not None:
            length = len(part.encode() if isinstance(part, str) else part)
            found[path] = max(found.get(path, (0, 0)), (length, node.limit.value))
    return {path: pair for path, pair in found.items() if pair[0]}


@given(st.data())
def test_nothing_in_any_value_is_missed(data: st.DataObject) -> None:
    modules = [module for module in registry.default().modules() if module.programs]
    module = data.draw(st.sampled_from(modules))
    type_ = data.draw(st.sampled_from(list(module.types.values())))
    value = data.draw(values(type_))
    message = Message(Header(1, 1, 1, 0, 0, 0), 28, payload_type=type_.name, payload=value)
    found = {c.path: (c.longest, c.limit) for c in nearest(message) if c.what != "message"}
    assert found == (lengths(type_, value) if value is not None else {})


def test_a_type_within_itself_is_walked_to_its_end(tmp_path: Path) -> None:
    """Its paths begin with its own name, or there would be no end of them."""
    file = tmp_path / "chain.x"
    file.write_text(
        "struct link { string name<8>; link *next; };\n"
        "struct chain_hang_args { link first; };\n"
        "const CHAIN_PROGRAM = 0x20009999;\n"
        "const CHAIN_PROTOCOL_VERSION = 1;\n"
        "enum chain_procedure { CHAIN_PROC_HANG = 1 };\n"
    )
    known = registry.load(file)
    links = text(b"abc") + word(1) + text(b"abcdef") + word(1) + text(b"") + word(0)
    limits = LimitUsage(known, where)
    limits.add(captured(decode_message(frame(links, prog=0x20009999, proc=1), registry=known)))
    assert [(c.path, c.longest, c.limit) for c in limits.nearest(1)] == [("link.name", 6, 8)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_how_many(count: int) -> None:
    assert len(nearest(frame(text(b"x"), proc=23), count=count)) == count
