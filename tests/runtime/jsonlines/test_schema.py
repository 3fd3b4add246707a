"""JSON Schema of payloads, judged by the jsonschema package: what decode writes is valid, what encode
refuses is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from libvirt_proto import decode_message, registry
from libvirt_proto.capture.sources import open_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.cli import main as cli
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.events import Captured
from libvirt_proto.jsonlines.encode import to_plain
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.jsonlines.schema import json_schema
from tests.support.examples import examples
from tests.support.handmade import everything, type_named
from tests.support.values import seeded_values, typed_values, values

QUICK = settings(suppress_health_check=list(HealthCheck))
MODULES = registry.default().modules()
TYPES = [type_ for module in MODULES for type_ in module.types.values()]
EVERYTHING = type_named("everything")


def validator(type_: XdrType) -> jsonschema.Draft202012Validator:
    schema = json_schema("x", {"x": type_})
    for part in ({**schema, "$defs": {}}, *schema["$defs"].values()):
        check_schema(json.dumps(part))
    return jsonschema.Draft202012Validator(schema)


@cache
def check_schema(text: str) -> None:
    """Check a schema; the definition of a type is the same in the schemas of many."""
    jsonschema.Draft202012Validator.check_schema(json.loads(text))


OF_EVERYTHING = validator(EVERYTHING)


def lines(capture: Path) -> Iterator[dict[str, Any]]:
    present = JsonLinesPresenter(registry.default())
    for item in messages(open_source(str(capture)), decode_message, programs=registry.default().numbers):
        if isinstance(item, Captured):
            yield json.loads(present(item))


@pytest.mark.parametrize(
    "name", ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap", "hand-made-messages.hex"]
)
def test_every_payload_of_a_capture(captures: Path, name: str) -> None:
    of_type = cache(lambda type_: validator(registry.default().type(type_)))
    seen = 0
    for line in lines(captures / name):
        if line["payload"] is not None and line["error"] is None:
            of_type(line["payload_type"]).validate(line["payload"])
            seen += 1
    assert seen > 3


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_values_of_every_type(module: registry.Module) -> None:
    for type_ in module.types.values():
        of_type = validator(type_)
        for value in seeded_values(type_, 3):
            of_type.validate(to_plain(type_, value))
            of_type.validate(json.loads(json.dumps(to_plain(type_, value, named=True))))


@settings(QUICK, max_examples=examples(400))
@given(typed_values(TYPES))
def test_values_of_any_type(typed: tuple[XdrType, Any]) -> None:
    type_, value = typed
    of_type = validator(type_)
    of_type.validate(to_plain(type_, value))
    of_type.validate(json.loads(json.dumps(to_plain(type_, value, named=True))))


@QUICK
@given(values(EVERYTHING))
def test_every_kind_of_node(value: Any) -> None:
    OF_EVERYTHING.validate(to_plain(EVERYTHING, value))


@pytest.mark.parametrize(
    "edit",
    [
        {"flag": 1},
        {"f": "nan"},
        {"d": None},
        {"q": "00"},
        {"fixed": "00abf"},
        {"fixed": "00abff00"},
        {"rest": "0"},
        {"rest": "xx"},
        {"text": 5},
        {"text": {"base64": "", "more": 1}},
        {"maybe": 5},
        {"c": "PINK"},
        {"c": 2**31},
        {"model": [1, 2, 3]},
        {"model": [1, 2, 3, 4, 5]},
        {"model": [1, 2, 3, 2**31]},
        {"big": [1, 2, 3]},
        {"big": [-1]},
        {"big": [2**64]},
        {"dom": {}},
        {"dom": {"name": "", "uuid": "6695eb01", "id": 1}},
        {"dom": {"name": "", "uuid": "6695eb01f6a4830479aa97f2502e193f", "id": 1, "more": 1}},
        {"params": [{"field": "a", "value": {"type": 2, "i": 1}}]},
        {"params": [{"field": "a", "value": {"type": 9, "i": 1}}]},
        {"params": [{"field": "a", "value": {"type": 1}}]},
        {"s": {"c": "RED", "p": None}},
        {"s": {"c": "RED", "o": ""}},
        {"s": {"c": "GREEN", "o": ""}},
        {"s": {"c": 5, "o": ""}},
        {"s": {"c": 9, "p": {"from": 1, "y": 1}}},
        {"more": 1},
    ],
)
def test_wrong_values_are_not_valid(edit: dict[str, Any]) -> None:
    right = to_plain(EVERYTHING, everything())
    assert OF_EVERYTHING.is_valid(right)
    assert not OF_EVERYTHING.is_valid(right | edit)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (EVERYTHING, to_plain(EVERYTHING, everything(d=float("-inf")))),
        (type_named("flag"), {"on": False}),
        (type_named("link"), {"value": 1, "next": {"value": 2, "next": None}}),
    ],
)
def test_right_values_are_valid(type_: XdrType, value: Any) -> None:
    validator(type_).validate(value)


def test_a_missing_key_is_not_valid() -> None:
    right = to_plain(EVERYTHING, everything())
    for key in right:
        assert not OF_EVERYTHING.is_valid({each: right[each] for each in right if each != key})


def describe(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli.main, ["describe", "--json-schema", *words])
    assert (result.exit_code, result.stderr) == (0, "")
    schema: dict[str, Any] = json.loads(result.stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def test_the_command() -> None:
    schema = describe("remote_domain_lookup_by_id_args")
    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "remote_domain_lookup_by_id_args",
        "$ref": "#/$defs/remote_domain_lookup_by_id_args",
        "$defs": {
            "remote_domain_lookup_by_id_args": {
                "type": "object",
                "properties": {"id": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}},
                "required": ["id"],
                "additionalProperties": False,
            }
        },
    }


def test_the_command_for_a_procedure() -> None:
    """A payload of any of its messages is valid; names next to numbers are optional."""
    check = jsonschema.Draft202012Validator(describe("remote.domain_get_state"))
    call = {"dom": {"name": "x", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "id": 1}, "flags": 0}
    check.validate(call)
    check.validate({"state": 1, "state_name": "VIR_DOMAIN_RUNNING", "reason": 0, "reason_name": None})
    assert not check.is_valid({"state": 1, "state_name": 1, "reason": 0})
    assert not check.is_valid({"state": 1, "reason": 0, "other_name": None})
    assert not check.is_valid(call | {"state": 1, "reason": 0})


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--json-schema", "connect_close"], 1, "connect_close has no payloads"),
        (
            ["--json-schema", "remote_nonnull_domian"],
            1,
            "unknown type or procedure 'remote_nonnull_domian'.",
        ),
        (
            ["--json-schema", "--format", "json", "remote_uuid"],
            2,
            "--format json and --json-schema exclude each other",
        ),
    ],
)
def test_errors_of_the_command(words: list[str], status: int, said: str) -> None:
    result = CliRunner().invoke(cli.main, ["describe", *words])
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr
