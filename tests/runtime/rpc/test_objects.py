"""Objects of messages: in structs, look-ups and descriptions."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.registry import Registry
from libvirt_proto.rpc.message import Header, Message, MessageDecoder
from libvirt_proto.rpc.objects import NamedObject, ObjectFinder
from libvirt_proto.rpc.xml_description import name_and_uuid
from libvirt_proto.text import uuid_text, wire_text
from libvirt_proto_codegen.releases import folders
from tests.support.frames import error_payload, frame, text, word
from tests.support.values import random_value

DEFINITIONS = registry.default()
REMOTE = DEFINITIONS.program("remote")
FINDER = ObjectFinder(DEFINITIONS)
UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
PLAIN = UUID.replace("-", "")
CALL, REPLY, ERROR = 0, 1, 1


def message(procedure: str, payload: bytes, **header: int) -> Message:
    number = REMOTE.procedure(procedure).number
    return MessageDecoder(DEFINITIONS).decode(frame(payload, proc=number, **header))


FAILED = {"type_": REPLY, "status": ERROR}


@pytest.mark.parametrize(
    ("procedure", "xml", "expected"),
    [
        (
            "domain_define_xml_flags",
            f"<?xml version='1.0'?>\n<!-- <name>no</name> --><domain><name>vm1</name><uuid>{UUID}</uuid>",
            NamedObject("domain", "vm1", UUID),
        ),
        (
            "domain_create_xml",
            "<domain><os><name>no</name></os><name>a &lt; b</name>",
            ("domain", "a < b", None),
        ),
        ("domain_define_xml", "<domain><name><![CDATA[vm1]]></name><os></domain>", ("domain", "vm1", None)),
        ("domain_define_xml", f"<domain><uuid>{PLAIN.upper()}</uuid><name/>", ("domain", "", UUID)),
        (
            "network_define_xml",
            f"<network><uuid> {PLAIN} </uuid><name>net</name></network>",
            ("network", "net", UUID),
        ),
        ("interface_define_xml", "<interface type='bridge' name='br0'/>", ("interface", "br0", None)),
        ("nwfilter_define_xml", "<filter name='clean'><rule/></filter>", ("nwfilter", "clean", None)),
        ("secret_define_xml", f"<secret><uuid>{UUID}</uuid></secret>", ("secret", None, UUID)),
        ("node_device_create_xml", "<device><name>scsi1</name></device>", ("node_device", "scsi1", None)),
        ("storage_pool_create_xml", "<pool><name>p</name>", ("storage_pool", "p", None)),
        ("domain_define_xml", "<domain><uuid>no</uuid></domain>", None),
        ("domain_define_xml", "no XML", None),
        ("domain_define_xml", "", None),
        ("domain_define_xml", "<!DOCTYPE d [<!ENTITY e 'vm1'>]><domain><name>&e;</name></domain>", None),
    ],
)
def test_object_of_a_failed_definition(
    procedure: str, xml: str, expected: NamedObject | tuple[str, str | None, str | None] | None
) -> None:
    words = 0 if procedure in ("domain_define_xml", "network_define_xml", "nwfilter_define_xml") else 1
    call = message(procedure, text(xml.encode()) + bytes(4 * words))
    assert call.error is None
    found = NamedObject(*expected) if isinstance(expected, tuple) else expected
    reply = message(procedure, error_payload(27, 10, b"no"), **FAILED)
    assert FINDER.subject(call, reply) == FINDER.subject(call, None) == found
    assert FINDER.objects(call) == ([] if found is None else [found])


def test_reply_of_a_definition_has_its_object() -> None:
    call = message("domain_define_xml", text(b"<domain><name>vm1</name></domain>"))
    reply = message("domain_define_xml", text(b"vm1") + bytes.fromhex(PLAIN) + word(1), type_=REPLY)
    assert FINDER.subject(call, reply) == NamedObject("domain", "vm1", UUID)


def test_object_of_a_call_precedes_what_it_describes() -> None:
    payload = text(b"vm1") + bytes(16) + word(1) + text(b"<domainsnapshot><name>before</name>") + word(0)
    call = message("domain_snapshot_create_xml", payload)
    assert str(FINDER.subject(call, None)) == "vm1"
    assert [each.kind for each in FINDER.objects(call)] == ["domain", "domain_snapshot"]


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_text_has_a_name_or_none(xml: str | bytes) -> None:
    name, uuid = name_and_uuid(xml)
    assert name is None or len(name) <= len(xml)
    assert uuid is None or len(uuid) == 36


def test_only_the_beginning_of_a_description_is_searched() -> None:
    assert name_and_uuid("<domain>" + " " * 70_000 + "<name>vm1</name></domain>") == (None, None)
    assert name_and_uuid("<domain>" + "<a>" * 20_000) == (None, None)


def _at(value: Any, path: tuple[int, ...]) -> Any:
    return reduce(lambda held, field: getattr(held, held.__struct_fields__[field]), path, value)


def _made(type_: XdrType | None, header: Header, rng: Random) -> Message:
    if type_ is None:
        return Message(header, 28)
    return Message(header, 28, None, type_.name, random_value(type_, rng))


@pytest.mark.parametrize("definitions", ["newest", folders()[0]])
def test_fixed_place_has_the_subject(definitions: str) -> None:
    """For all procedures: the name and the UUID at the place are those of the subject."""
    known: Registry = registry.default() if definitions == "newest" else registry.release(definitions)
    finder, counts = ObjectFinder(known), Counter[str]()
    for program in known.programs():
        for procedure in program.procedures:
            rng = Random(f"{program.name}/{procedure.name}")
            for _ in range(3):
                header = Header(program.number, 1, procedure.number, 0, 1, 0)
                call, reply = (_made(type_, header, rng) for type_ in (procedure.args, procedure.ret))
                is_fixed, place = finder.fixed_subject(call, reply)
                expected = finder.subject(call, reply)
                if not is_fixed:
                    counts["open"] += 1
                    assert place is None
                elif place is None:
                    counts["none"] += 1
                    assert expected is None
                else:
                    counts["fixed"] += 1
                    message_, type_, (kind, name, uuid) = place
                    assert type_.name == message_.payload_type
                    names = None if name is None else wire_text(_at(message_.payload, name))
                    uuids = None if uuid is None else uuid_text(_at(message_.payload, uuid))
                    assert expected == NamedObject(kind, names, uuids)
    assert counts["fixed"] > counts["none"] > counts["open"]
