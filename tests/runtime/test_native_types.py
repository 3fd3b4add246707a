"""Payloads of single messages, by the native core."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from libvirt_proto import BadValue, native, native_types, registry
from libvirt_proto.codec.type_table import type_table
from libvirt_proto.native_plan_builder import build
from libvirt_proto.native_types import NativePayloads, NativeTypes
from libvirt_proto.registry import Registry
from libvirt_proto.rpc import message
from libvirt_proto.rpc.message import MessageDecoder, encode_message
from tests.support.packages import imported, python_texts

pytestmark = pytest.mark.native

OPEN_REPLY = bytes.fromhex("0000001c 20008086 00000001 00000001 00000001 00000000 00000000")
ID_REPLY = bytes.fromhex(
    "00000038 20008086 00000001 00000016 00000001 00000007 00000000"
    "00000004 74657374 6695eb01 4b2b4a9b 8c5f0d2b 00000000 00000001"
)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the native core from the third message on."""
    monkeypatch.setattr(native_types, "WORTH", (2, 2))
    monkeypatch.setattr(message, "_ASKED", 2)
    message._native.cache_clear()
    yield
    message._native.cache_clear()


@pytest.mark.usefixtures("early")
def test_decoder_gives_same_messages_before_and_after_native_core() -> None:
    lookup = ID_REPLY[:12] + (23).to_bytes(4) + ID_REPLY[16:]
    decoder = MessageDecoder()
    found = [decoder.decode(lookup, "s2c") for _ in range(12)]
    assert decoder._native.decoder(registry.default().type("remote_domain_lookup_by_id_ret")) is not None
    assert all(each == found[0] for each in found)
    assert all(type(each.payload) is type(found[0].payload) for each in found)
    assert found[0].payload.dom.name == "test"
    bad = lookup[:-9] + b"\1" + lookup[-8:]
    assert decoder.decode(bad, "s2c") == MessageDecoder().decode(bad, "s2c")
    assert [encode_message(each) for each in found] == [lookup] * 12


@pytest.mark.usefixtures("early")
def test_errors_of_values_are_python_errors() -> None:
    decoded = MessageDecoder().decode(OPEN_REPLY, "s2c")
    type_ = registry.default().type("remote_node_get_cpu_stats")
    assert type_.python_class is not None
    payloads = NativePayloads(registry.default())
    for _ in range(5):
        assert encode_message(decoded) == OPEN_REPLY
        assert payloads.encode(type_, type_.python_class("a", -1)) is None
    wrong = message.Message(decoded.header, 0, None, type_.name, type_.python_class("a", -1))
    with pytest.raises(BadValue) as caught:
        encode_message(wrong)
    assert caught.value.path == "value"


def test_types_of_equal_names_have_their_own_rows(tmp_path: Path) -> None:
    """Two files may each have a type of one name."""
    for stem, field in (("one", "int"), ("two", "hyper")):
        (tmp_path / f"{stem}_protocol.x").write_text(f"struct both {{ {field} value; }};\n")
    loaded = registry.load(tmp_path)
    types = NativeTypes(loaded)
    for module, size in (("one", 4), ("two", 8)):
        row = types.row(loaded.module(module).types["both"])
        assert row is not None
        assert types.plan.check(row, bytes(16)) == size


def test_type_of_another_registry_has_no_row() -> None:
    with imported("_another", python_texts("another", "struct both { int value; };")) as package:
        loaded = Registry(package)
        assert NativeTypes(loaded).row(registry.default().error) is None


def test_types_of_two_tables_have_one_row(tmp_path: Path) -> None:
    """Modules of one registry may have got theirs before and after the cache of tables was cleared."""
    (tmp_path / "one.x").write_text("struct one_pair { int left; int right; };\n")
    (tmp_path / "two.x").write_text(
        '%#include "one.h"\nstruct two_pairs { one_pair first; one_pair second; };\n'
    )
    loaded = registry.load(tmp_path)
    built = []
    for module in loaded.modules():
        built += [type_.types for type_ in module.types.values()]
        type_table.cache_clear()
    made = build(loaded)
    core = native.core()
    assert core is not None
    plan = core.Plan(made.words, made.text, made.resolver(loaded))
    row = made.rows()["two_pairs"]
    assert len({id(each) for each in built}) == 2
    assert plan.decode(row, bytes(16))[1] == 16
