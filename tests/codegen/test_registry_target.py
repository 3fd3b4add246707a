"""registry.json: a decoder that knows nothing else agrees with ours, and its facts are those of `lookup`."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from libvirt_proto import registry
from libvirt_proto.cli.main import main
from libvirt_proto.codec.history import Event, Span, since_text
from libvirt_proto.codec.secretfields import kind as secret_kind
from libvirt_proto.events import Chunk
from libvirt_proto.jsonlines.encode import encoder
from libvirt_proto.names.public import enums, fields_of
from libvirt_proto.rpc.message import Header, payload_of
from libvirt_proto.rpc.wire import TYPES_WITH_FDS
from tests.support.oracles import items
from tests.support.registry_reader import Document
from tests.support.values import seeded_values
from tools import registry_reference

RELEASES = ["0.9.7", "1.2.9", "5.0.0", "10.0.0", "12.9.0"]


def output(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@cache
def document(release: str) -> dict[str, Any]:
    """The document of a release."""
    found: dict[str, Any] = json.loads(output("generate", "registry", "--release", release, "-o", "-"))
    return found


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("registry")
    output("generate", "registry", "-o", folder)
    found: dict[str, Any] = json.loads((folder / "registry.schema.json").read_text())
    assert json.loads((folder / "registry.json").read_text()) == document("12.9.0")
    return found


def types(found: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in found["types"]}


# The schema


def test_schema_is_strict_and_describes_every_key(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    for name, part in [("", schema), *schema["$defs"].items()]:
        assert part["description"], name
        if "properties" in part:
            assert part["additionalProperties"] is False, name
            assert part["required"] == list(part["properties"]), name
            for key, value in part["properties"].items():
                assert value["description"].endswith("."), f"{name}.{key}"


@pytest.mark.parametrize("release", RELEASES)
def test_schema_accepts_every_release(schema: dict[str, Any], release: str) -> None:
    jsonschema.Draft202012Validator(schema).validate(document(release))


@pytest.mark.parametrize("file", ["everything.x", "file.x", "judged.x", "names.x", "numbers.x"])
def test_schema_accepts_custom_definitions(schema: dict[str, Any], root: Path, file: str) -> None:
    text = output("generate", "registry", "--defs", root / "tests" / "definitions" / file, "-o", "-")
    found = json.loads(text)
    jsonschema.Draft202012Validator(schema).validate(found)
    assert found["release"] is found["history"] is found["functions"] is found["protocol"] is None
    assert str(root) not in text


def test_schema_refuses_unknown_and_missing_keys(schema: dict[str, Any]) -> None:
    check = jsonschema.Draft202012Validator(schema)
    found = document("0.9.7")
    assert not check.is_valid({**found, "more": 1})
    assert not check.is_valid({key: value for key, value in found.items() if key != "types"})
    assert not check.is_valid({**found, "modules": [{**found["modules"][0], "path": "/"}]})
    assert not check.is_valid({**found, "constants": [{**found["constants"][0], "value": "1"}]})


def test_output_is_ascii_and_the_same_in_each_run(root: Path) -> None:
    names = root / "tests" / "definitions" / "names.x"
    first, second = (output("generate", "registry", "--defs", names, "-o", "-") for _ in range(2))
    assert first == second
    assert first.isascii()


# A decoder that knows only the document


@pytest.mark.parametrize("capture", ["virsh-domname.pcap", "tour.pcap", "stream-events-keepalive.pcap"])
def test_document_suffices_to_decode_captures(captures: Path, capture: str) -> None:
    streams: dict[tuple[str, str | None], bytes] = defaultdict(bytes)
    for item in items((captures / capture).read_bytes()) or ():
        if isinstance(item, Chunk):
            assert not item.lost
            assert not item.cut
            streams[str(item.connection), item.direction] += item.data
    expected: dict[tuple[str, str | None], list[dict[str, Any]]] = defaultdict(list)
    for line in map(json.loads, output("decode", "--format", "jsonl", captures / capture).splitlines()):
        expected[line["conn"], line["dir"]].append(line)
    reader = Document(document("12.9.0"))
    for (conn, direction), lines in expected.items():
        sender = {"c2s": "client", "s2c": "server", None: None}[direction]
        found = reader.messages(streams[conn, direction], sender)
        for line, message in zip(lines, found, strict=True):
            assert message.header["serial"] == line["serial"]
            assert message.payload == line["payload"]
            assert message.data == base64.b64decode(line["data"] or "")


def test_payload_of_each_message_is_that_of_decode() -> None:
    definitions = registry.default()
    others = {"error": definitions.error, "stream_hole": definitions.stream_hole}
    for message in document("12.9.0")["protocol"]["messages"]:
        direction = {"client": "c2s", "server": "s2c", None: None}[message["sender"]]
        # remote.domain_get_state, and an event
        proc, expected = 212, {"args": "remote_domain_get_state_args", "ret": "remote_domain_get_state_ret"}
        if message["payload"] == "msg":
            proc, expected = 318, {"msg": "remote_domain_event_callback_lifecycle_msg"}
        header = Header(0x20008086, 1, proc, message["type"]["value"], 0, message["status"]["value"])
        found, is_defined = payload_of(header, message["payload"] == "data", direction, definitions)
        expected |= {name: type_.name for name, type_ in others.items() if type_}
        assert (found and found.name) == expected.get(message["payload"])
        assert is_defined == (message["payload"] != "data")
        assert message["descriptors"] == (message["type"]["value"] in TYPES_WITH_FDS)


@pytest.mark.parametrize("release", ["0.9.7", "5.0.0", "12.9.0"])
def test_document_suffices_to_decode_every_type(release: str) -> None:
    check_types(Document(document(release)), registry.release(release))


@pytest.mark.parametrize("file", ["everything.x", "names.x", "numbers.x"])
def test_document_suffices_to_decode_custom_types(root: Path, file: str) -> None:
    path = root / "tests" / "definitions" / file
    reader = Document(json.loads(output("generate", "registry", "--defs", path, "-o", "-")))
    check_types(reader, registry.load(path))


def check_types(reader: Document, definitions: registry.Registry) -> None:
    seen = set()
    for module in definitions.modules():
        for type_ in module.types.values():
            convert = encoder(type_.types, True).function(type_.reference)
            reference = {"kind": "reference", "module": module.name, "name": type_.name}
            for value in seeded_values(type_, 4):
                data = type_.to_bytes(value)
                found, end = reader.decode(reference, data)
                expected = json.loads(json.dumps(convert(value), default=vars))
                assert (found, end) == (expected, len(data)), type_.name
                assert reader.encode(reference, found) == data, type_.name
            seen.add((module.name, type_.name))
    assert seen == set(reader.types)


# The facts of lookup


@pytest.mark.parametrize("release", ["0.9.7", "5.0.0", "12.9.0"])
def test_facts_are_those_of_lookup(release: str) -> None:
    found = document(release)
    names = [each["name"] for key in ("types", "constants") for each in found[key]]
    names += [each["symbol"] for program in found["programs"] for each in (program, *program["procedures"])]
    names += [member["name"] for each in found["types"] for member in each.get("members", ())]
    answers = {}
    for answer in json.loads(output("lookup", "--release", release, "--format", "json", *names)):
        symbol = answer.get("symbol")
        answers[answer["kind"], symbol or answer["name"]] = answer
    for program in found["programs"]:
        answer = answers["program", program["symbol"]]
        assert [answer[key] for key in ("number", "name", "version")] == [
            program[key] for key in ("number", "name", "version")
        ]
        assert answer["procedures"] == len(program["procedures"])
        assert_history(answer, program["history"])
        for procedure in program["procedures"]:
            assert_procedure(answers["procedure", procedure["symbol"]], program, procedure)
    files = {each["name"]: each["file"] for each in found["modules"]}
    for type_ in found["types"]:
        answer = answers[type_["kind"], type_["name"]]
        assert [answer[key] for key in ("min_size", "max_size", "file")] == [
            type_["min_size"],
            type_["max_size"],
            files[type_["module"]],
        ]
        assert answer["text"] == type_["xdr"]
        assert_type_history(answer, type_)
    programs = {each["symbol"]: each for each in found["programs"]}
    versions = {each["version_symbol"]: each for each in found["programs"]}
    for constant in found["constants"]:
        name = constant["name"]
        if name in programs:
            assert constant["value"] == programs[name]["number"]
            assert constant["history"] == programs[name]["history"]
            continue
        answer = answers["constant", name]
        assert answer["number"] == constant["value"]
        if name in versions:
            assert constant["history"] == versions[name]["history"]
        elif not constant["external"]:
            assert_history(answer, constant["history"])


def assert_procedure(answer: dict[str, Any], program: dict[str, Any], procedure: dict[str, Any]) -> None:
    assert answer["name"] == f"{program['name']}.{procedure['name']}"
    assert answer["number"] == procedure["number"]
    for part in ("args", "ret", "msg"):
        assert answer[part] == (procedure[part] and procedure[part]["name"])
    for key in ("generate", "priority", "readstream", "writestream", "sparseflag"):
        assert answer.get(key) == procedure[key]
    for key in ("acl", "aclfilter"):
        rules = procedure[key]
        assert answer.get(key, [] if rules is not None else None) == (
            None if rules is None else list(map(written, rules))
        )
    assert_history(answer, procedure["history"])


def written(rule: dict[str, str | None]) -> str:
    """A rule as in the .x."""
    parts = [rule["object"], rule["permission"]]
    if rule["flags"] is not None or rule["parameter"] is not None:
        parts.append(rule["flags"] or "")
    if rule["parameter"] is not None:
        parts += [rule["parameter"], rule["value"]]
    return ":".join(map(str, parts))


def assert_history(answer: dict[str, Any], history: dict[str, Any]) -> None:
    assert answer["since"] in since_texts(history)
    assert answer.get("function") == history["function"]
    assert [each["text"] for each in answer.get("history", ())] == list(change_texts(history))


def assert_type_history(answer: dict[str, Any], type_: dict[str, Any]) -> None:
    parts = [
        *type_.get("fields", ()),
        *type_.get("arms", ()),
        *([type_["default"]] if type_.get("default") else []),
        *([type_["discriminant"]] if type_["kind"] == "union" else []),
    ]
    members = [] if re.search("procedure", type_["name"], re.IGNORECASE) else type_.get("members", [])
    texts = {("", text) for text in change_texts(type_["history"])}
    for part in [*parts, *members]:
        history = part["history"]
        if history is not None:
            name = part["name"] or (f"case {part['labels'][0]['value']}" if part["labels"] else "default")
            renamed = any(each["kind"] == "renamed" for each in history["changes"])
            if history["since"] != type_["history"]["since"]:
                texts.add((name, f"since {since_texts(history)[0]}"))
            # lookup uses the newest name.
            texts |= {("" if renamed else name, text) for text in change_texts(history)}
    theirs = set()
    for each in answer.get("history", ()):
        name = each.get("part", "")
        renamed = any(
            other["event"] == "renamed" and other.get("part") == name for other in answer["history"]
        )
        theirs.add(("" if renamed else name, each["text"].removeprefix(f"{name}: ")))
    # lookup also reports parts that only newer releases have.
    names = {"", *(part["name"] for part in [*parts, *members])}
    assert texts <= theirs
    assert {(name, text) for name, text in theirs - texts if name in names} == set(), type_["name"]


def since_texts(history: dict[str, Any]) -> tuple[str, str]:
    """When something came, in two wordings of lookup."""
    span = Span(**history["since"])
    function = history["function"]
    return since_text(span, function and tuple(function.values()), tuple(history["also"])), str(span)


def change_texts(history: dict[str, Any]) -> Iterator[str]:
    for change in history["changes"]:
        yield str(Event(**{**change, "when": Span(**change["when"]), "also": tuple(change["also"])}))


# Other facts


def test_meanings_are_those_of_lookup() -> None:
    """Every field that `lookup` lists at an enum of the public API refers to the enum, and no other does."""
    found = defaultdict(set)
    for type_ in document("12.9.0")["types"]:
        for part in [*type_.get("fields", ()), *([type_["discriminant"]] if "discriminant" in type_ else [])]:
            meaning = part["meaning"] or {"enums": []}
            used = meaning.get("enums", [meaning.get("enum")])
            for enum in used.values() if isinstance(used, dict) else used:
                found[enum].add(f"{type_['name']}.{part['name']}")
    names = {type_["name"] for type_ in document("12.9.0")["types"]}
    expected = {
        enum: {field for field in fields_of(enum) if field.partition(".")[0] in names} for enum in enums()
    }
    assert found == {enum: held for enum, held in expected.items() if held}
    assert found["virErrorNumber"] >= {"virNetMessageError.code", "remote_error.code"}


def test_public_enums_and_functions_are_those_of_lookup() -> None:
    found = document("12.9.0")
    names = [each["name"] for each in found["public_enums"]] + [each["name"] for each in found["functions"]]
    answers = {
        (each["kind"], each["name"]): each
        for each in json.loads(output("lookup", "--format", "json", *names))
    }
    programs = {
        (program["number"], each["number"]): f"{program['name']}.{each['name']}"
        for program in found["programs"]
        for each in program["procedures"]
    }
    for function in found["functions"]:
        answer = answers["API function", function["name"]]
        calls = [programs[call["program"], call["procedure"]] for call in function["calls"]]
        assert answer["calls"] == [*calls, *["stream"] * function["stream"]]
        assert answer["since"] == function["since"]
    for enum in found["public_enums"]:
        assert answers["API enum", enum["name"]]["kind"] == "API enum"
        members = {each["name"]: each["value"] for each in enum["members"]}
        assert members == enums()[enum["name"]].names


def test_secrets_are_those_of_the_list() -> None:
    count = 0
    for type_ in document("12.9.0")["types"]:
        for part in type_.get("fields", ()):
            kind = secret_kind(f"{type_['name']}.{part['name']}")
            assert (part["secret"] or {"kind": None})["kind"] == (None if kind == "public" else kind)
            count += part["secret"] is not None
    assert count > 50


def test_facts_of_some_entries() -> None:
    """Expected values are from libvirt's sources."""
    found = document("12.9.0")
    remote = next(each for each in found["programs"] if each["name"] == "remote")
    assert (remote["number"], remote["version"], remote["version_symbol"]) == (
        0x20008086,
        1,
        "REMOTE_PROTOCOL_VERSION",
    )
    procedures = {each["name"]: each for each in remote["procedures"]}
    assert procedures["domain_open_console"]["stream"] == "s2c"
    assert procedures["domain_migrate_prepare_tunnel3_params"]["stream"] == "c2s"
    assert procedures["storage_vol_upload"]["sparseflag"] == "VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM"
    assert procedures["domain_get_state"]["function"] == "virDomainGetState"
    assert procedures["domain_event_callback_lifecycle"]["kind"] == "event"
    assert procedures["domain_event_callback_lifecycle"]["event"] == {
        "name": "VIR_DOMAIN_EVENT_ID_LIFECYCLE",
        "since": "0.8.0",
    }
    by_name = types(found)
    assert by_name["remote_nonnull_string"]["type"] == {
        "kind": "string",
        "limit": {"value": 4194304, "name": "REMOTE_STRING_MAX"},
    }
    labels = [label for arm in by_name["remote_typed_param_value"]["arms"] for label in arm["labels"]]
    names = ["INT", "UINT", "LLONG", "ULLONG", "DOUBLE", "BOOLEAN", "STRING"]
    assert labels == [
        {"value": value, "name": f"VIR_TYPED_PARAM_{name}"} for value, name in enumerate(names, 1)
    ]
    assert by_name["remote_secret_set_value_args"]["fields"][1]["secret"]["kind"] == "secret"
    keepalive = next(each for each in found["programs"] if each["name"] == "keepalive")
    assert {each["kind"] for each in keepalive["procedures"]} == {"event"}


def test_constant_has_the_history_of_its_present_name() -> None:
    constants = {each["name"]: each for each in document("1.0.5")["constants"]}
    changes = constants["REMOTE_DOMAIN_NAME_LIST_MAX"]["history"]["changes"]
    assert [(each["kind"], each["when"]["release"]) for each in changes] == [
        ("changed", "0.9.13"),
        ("renamed", "1.1.2"),
    ]


# The command


def test_dash_prints_only_targets_with_one_file() -> None:
    runner = CliRunner()
    for arguments, words in (
        (["structs"], "structs has 8 files; write them to a folder (-o DIR)"),
        (["registry", "systemtap"], "-o - requires exactly one target"),
        (["registry", "--check"], "-o - requires exactly one target, without --check"),
    ):
        result = runner.invoke(main, ["generate", *arguments, "-o", "-"])
        assert result.exit_code == 2
        assert words in result.stderr


def test_replaces_only_generated_files(tmp_path: Path) -> None:
    arguments = ["generate", "registry", "--release", "0.9.7", "-o", str(tmp_path)]
    output(*arguments)
    output(*arguments, "--check")
    text = (tmp_path / "registry.json").read_text()
    (tmp_path / "registry.json").write_text(text.replace('"format": 1', '"format": 0'))
    output(*arguments)
    assert (tmp_path / "registry.json").read_text() == text
    (tmp_path / "registry.schema.json").write_text("{}\n")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "registry.schema.json: not generated by libvirt-proto" in result.stderr


# Its page


def test_reference_on_page_is_current() -> None:
    assert registry_reference.main(["--check"]) == 0


def test_example_on_page_runs(root: Path, tmp_path: Path) -> None:
    text = (root / "docs" / "registry.md").read_text()
    script = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "registry.json").write_text(json.dumps(document("12.9.0")))
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "struct remote_nonnull_domain {\n    remote_nonnull_string name;\n" in found.stdout
    assert (
        "struct virNetMessageHeader {\n    uint32_t prog;\n    uint32_t vers;\n    int32_t proc;\n"
        in found.stdout
    )
