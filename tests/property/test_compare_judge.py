"""The findings of `compare`, checked by encoding on one side and decoding on the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from libvirt_proto import registry
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.errors import ProtocolError
from libvirt_proto.jsonlines.encode import to_plain
from libvirt_proto_codegen.compare import RULES, compare
from libvirt_proto_codegen.definitions import load_schema
from tests.support.examples import examples
from tests.support.values import values

PAIRS = Path(__file__).resolve().parent.parent / "compare"
QUICK = settings(max_examples=examples(30), suppress_health_check=list(HealthCheck), database=None)
#: A search that finds a value finds it in each run.
SEARCH = settings(QUICK, max_examples=500, phases=[Phase.generate], derandomize=True)
REFUSED = object()


@dataclass(frozen=True)
class Payload:
    """A payload on both sides, and the gravest category of the findings that reach it."""

    old: XdrType
    new: XdrType
    category: str | None


def path(folder: Path, side: str) -> Path:
    return folder / side if (folder / side).is_dir() else folder / f"{side}.x"


def payloads(rule: str) -> Iterator[Payload]:
    """The payloads that procedures of a pair of definitions have on both sides, by program and number."""
    old, new = path(PAIRS / rule, "previous"), path(PAIRS / rule, "current")
    findings = compare(load_schema([old]), load_schema([new]))
    before, after = registry.load(old).programs()[0], registry.load(new).programs()[0]
    numbers = {procedure.number: procedure for procedure in before.procedures}
    for procedure in after.procedures:
        for part in ("args", "ret", "msg"):
            left = getattr(numbers.get(procedure.number), part, None)
            right = getattr(procedure, part)
            if left and right:
                found = {
                    finding.category
                    for finding in findings
                    if right.name in finding.payloads and f"{after.name}.{procedure.name}" in finding.reaches
                }
                gravest = next((category for category in ("WIRE", "LIMIT") if category in found), None)
                yield Payload(left, right, gravest)


def read(type_: XdrType, data: bytes) -> Any:
    try:
        return type_.from_bytes(data)
    except ProtocolError:
        return REFUSED


def reads_the_same(sent: XdrType, received: XdrType) -> None:
    """Report whether one side reads all that the other sends and encodes it equally."""

    @QUICK
    @given(values(sent))
    def holds(value: object) -> None:
        data = sent.to_bytes(value)
        assert received.to_bytes(received.from_bytes(data)) == data

    holds()


def refuses_some(sent: XdrType, received: XdrType) -> bool:
    try:
        find(values(sent), lambda value: read(received, sent.to_bytes(value)) is REFUSED, settings=SEARCH)
    except NoSuchExample:
        return False
    return True


def misreads_some(sent: XdrType, received: XdrType) -> bool:
    def differs(value: object) -> bool:
        there = read(received, sent.to_bytes(value))
        return there is not REFUSED and to_plain(received, there) != to_plain(sent, value)

    try:
        find(values(sent), differs, settings=SEARCH)
    except NoSuchExample:
        return False
    return True


@pytest.mark.parametrize("rule", RULES)
def test_findings_agree_with_codec(rule: str) -> None:
    """Without WIRE or LIMIT findings, both sides read each other. LIMIT: the old side rejects values that the
    new one may send, not vice versa. WIRE: something is rejected or misread."""
    for payload in payloads(rule):
        old, new = payload.old, payload.new
        if payload.category is None:
            reads_the_same(old, new)
            reads_the_same(new, old)
        elif payload.category == "LIMIT":
            reads_the_same(old, new)
            assert refuses_some(new, old)
        else:
            both = ((old, new), (new, old))
            assert any(refuses_some(*sides) or misreads_some(*sides) for sides in both)


def test_most_pairs_have_a_payload() -> None:
    judged = {rule: [payload.category for payload in payloads(rule)] for rule in RULES}
    assert sum(map(len, judged.values())) > len(RULES)
    reached = {rule for rule, categories in judged.items() if "WIRE" in categories}
    wire = {rule.id for rule in RULES.values() if rule.category == "WIRE"}
    assert reached == {rule for rule in wire if not rule.startswith(("PROGRAM_", "PROCEDURE_"))} - {
        "PAYLOAD_ADDED",
        "PAYLOAD_REMOVED",
    }
