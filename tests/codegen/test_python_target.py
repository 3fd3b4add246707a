"""The Python target, with custom definitions."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from libvirt_proto import BadValue, ProtocolError, Truncated, registry
from libvirt_proto.codec import interpreter
from libvirt_proto.codec.limits import MAX_DEPTH
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.registry import Registry
from libvirt_proto_codegen import pipeline
from tests.support.examples import examples
from tests.support.values import seeded_values, typed_values

#: RFC 4506 §7: John's file sillyprog, which contains just the data "(quit)".
FILE = bytes.fromhex(
    "00000009 73696c6c 7970726f 67000000 00000002 00000004 6c697370"
    "00000004 6a6f686e 00000006 28717569 74290000"
)


@pytest.fixture(scope="session")
def definitions(root: Path) -> Path:
    return root / "tests" / "definitions"


@pytest.fixture(scope="session")
def everything(definitions: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("everything")
    for name, text in pipeline.compile_python([definitions / "everything.x"]).items():
        (folder / name).write_text(text)
    return registry.load(folder, package=True)


def test_rfc_example_round_trips_without_generator(definitions: Path, tmp_path: Path) -> None:
    """The package runs outside the repository, without the generator and its dependencies."""
    assert len(FILE) == 48
    package = tmp_path / "filedemo"
    package.mkdir()
    for name, text in pipeline.compile_python([definitions / "file.x"]).items():
        (package / name).write_text(text)
    program = f"""
import sys
for name in ("lark", "jinja2", "click", "rich", "libvirt_proto_codegen"):
    sys.modules[name] = None
from filedemo.file import TYPES, File, Filekind, Filetype
data = bytes.fromhex({FILE.hex()!r})
value = File("sillyprog", Filetype(Filekind.EXEC, "lisp"), "john", b"(quit)")
assert TYPES["file"].from_bytes(data) == value, TYPES["file"].from_bytes(data)
assert TYPES["file"].to_bytes(value) == data
print(value.type.kind.name, TYPES["file"].text.splitlines()[0])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert run.stdout == "EXEC struct file {\n"


@pytest.mark.parametrize(("file", "count"), [("everything", 11), ("names", 40), ("file", 3)])
def test_every_type_round_trips(file: str, count: int, definitions: Path) -> None:
    module = registry.load(definitions / f"{file}.x").module(file)
    assert len(module.types) == count
    for type_ in module.types.values():
        for value in seeded_values(type_, 40):
            round_trips(type_, value)

    @settings(max_examples=examples(1000))
    @given(typed_values(list(module.types.values())))
    def any_type_round_trips(typed: tuple[XdrType, Any]) -> None:
        round_trips(*typed)

    any_type_round_trips()


def round_trips(type_: XdrType, value: Any) -> None:
    data = type_.to_bytes(value)
    assert type_.from_bytes(data) == value
    assert interpreter.write(type_.types, type_.reference, value) == data
    assert interpreter.read(type_.types, type_.reference, data).value == value


def test_renames_python_keywords(everything: Registry) -> None:
    code: types.ModuleType = everything.module("everything").code
    assert [member.name for member in code.Color] == ["RED", "GREEN", "None_", "from_"]
    assert [int(member) for member in code.Color] == [2, 3, 7, 9]
    fields = code.Everything.__struct_fields__
    assert fields[fields.index("list") - 3 : fields.index("list") + 1] == (
        "import_",
        "value",
        "buffer",
        "list",
    )
    assert "import" in code.Everything.__struct_encode_fields__


def test_renames_files_with_invalid_module_names(tmp_path: Path) -> None:
    for name in ("class", "my-file", "9", "__init__"):
        (tmp_path / f"{name}.x").write_text(f"typedef int t{len(name)};\n")
    loaded = registry.load(tmp_path)
    assert {module.file: list(module.types) for module in loaded.modules()} == {
        "9.x": ["t1"],
        "__init__.x": ["t8"],
        "class.x": ["t5"],
        "my-file.x": ["t7"],
    }


def test_linked_list_round_trips(everything: Registry) -> None:
    entry = everything.type("stringlist")
    data = bytes.fromhex(
        "00000001 00000002 68690000"  # present, "hi"
        "00000000 00000002 00000003 00000001 00000001"  # no next, RED GREEN, one flag: true
    )
    value = entry.from_bytes(data)
    assert (value.item, value.next, [int(c) for c in value.both], value.flags) == ("hi", None, [2, 3], [True])
    assert entry.to_bytes(value) == data


def test_recursion_is_limited(everything: Registry) -> None:
    link = bytes.fromhex("00000001 00000000")
    rest = bytes.fromhex("00000002 00000002 00000000")
    levels = 5000
    with pytest.raises(ProtocolError) as error:
        everything.type("stringlist").from_bytes(link * levels + bytes(4) + rest * levels)
    assert error.value.code == "over-limit"
    entry = everything.type("stringlist").from_bytes(link * MAX_DEPTH + bytes(4) + rest * MAX_DEPTH)
    assert everything.type("stringlist").to_bytes(entry) == link * MAX_DEPTH + bytes(4) + rest * MAX_DEPTH
    deeper = entry
    for _ in range(3):
        deeper = type(entry)("", deeper, list(entry.both), [])
    with pytest.raises(ProtocolError, match=f"depth {MAX_DEPTH + 1} is over the limit of {MAX_DEPTH}"):
        everything.type("stringlist").to_bytes(deeper)


def test_program_of_rfc_5531(everything: Registry) -> None:
    program = everything.program(0x20000099)
    assert (program.symbol, program.version) == ("DEMO_PROG", 1)
    assert [(p.number, p.symbol, p.args is None, p.ret is None) for p in program.procedures] == [
        (0, "DEMO_NULL", True, True),
        (1, "DEMO_ECHO", False, False),
        (2, "DEMO_ADD", False, False),
    ]
    add = program.procedure(2)
    assert add.args is not None
    assert add.ret is not None
    arguments = add.args.from_bytes(bytes.fromhex("00000005 ffffffffffffffff"))
    assert tuple(getattr(arguments, name) for name in arguments.__struct_fields__) == (5, -1)
    assert add.ret.from_bytes(bytes.fromhex("00000004")) == 4


def test_invalid_values_report_their_path(everything: Registry) -> None:
    code = everything.module("everything").code
    tree = code.Tree(False, code.TreeNode(None, code.Tree(True, 2**31), 1.0, bytes(16)))
    with pytest.raises(BadValue) as error:
        everything.type("tree").to_bytes(tree)
    assert error.value.path == "node.right.value"
    with pytest.raises(BadValue, match=r"node: expected TreeNode, got "):
        everything.type("tree").to_bytes(code.Tree(False, 7))
    with pytest.raises(BadValue, match="expected 16 bytes, got 15"):
        everything.type("remote_uuid").to_bytes(bytes(15))


def test_rejects_discriminant_without_arm(everything: Registry, definitions: Path) -> None:
    file = registry.load(definitions / "file.x").type("filetype")
    with pytest.raises(BadValue) as error:
        file.from_bytes(bytes.fromhex("00000003 00000000"))
    assert (error.value.offset, error.value.path) == (0, "kind")
    assert "no arm for discriminant 3" in str(error.value)


def test_what_is_cut_off_keeps_its_good_part(everything: Registry) -> None:
    reading = everything.type("stringlist").read(bytes.fromhex("00000001 00000002 68690000 0000"))
    assert isinstance(reading.error, Truncated)
    assert (reading.error.offset, reading.error.path) == (12, "next")
    assert (reading.error.needed, reading.error.available) == (4, 2)
    assert reading.value.fields == {"item": "hi"}
