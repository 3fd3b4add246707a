"""calls.pyi: the stubs of calls have the names and arguments that the client accepts."""

from __future__ import annotations

import ast
from pathlib import Path

from libvirt_proto import generated, registry
from libvirt_proto.client.calls import Calls, arguments
from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.skeleton import skeleton
from libvirt_proto_codegen import pipeline

STUBS = Path(generated.__path__[0]) / "calls.pyi"


def stubs(text: str) -> dict[str, dict[str, list[str]]]:
    """Class → procedure → keyword arguments."""
    return {
        each.name: {
            call.name: [argument.arg for argument in call.args.kwonlyargs]
            for call in each.body
            if isinstance(call, ast.AsyncFunctionDef | ast.FunctionDef)
        }
        for each in ast.parse(text).body
        if isinstance(each, ast.ClassDef)
    }


def test_stubs_have_every_call_with_its_arguments() -> None:
    found = stubs(STUBS.read_text(encoding="utf-8"))
    checked = 0
    for program in registry.default().programs():
        calls = [each for each in program.procedures if each.msg_place is None]
        name = "".join(part.capitalize() for part in program.name.split("_"))
        stub = found.get(name, {})
        assert found.get(f"Sync{name}", {}) == stub
        assert list(stub) == [each.name for each in calls]
        assert dir(Calls(None, program)) == sorted(stub)  # type: ignore[arg-type]
        for call in calls:
            if call.args is None:
                assert arguments(call, dict.fromkeys(stub[call.name])) is None
            else:
                value = from_plain(call.args, skeleton(call.args))
                given = {name: getattr(value, name) for name in stub[call.name]}
                assert arguments(call, given) == value
                checked += 1
    assert checked > 400


def test_names_that_python_reserves(tmp_path: Path) -> None:
    (tmp_path / "a.x").write_text(
        "struct pass { int from; int from_; unsigned hyper class<>; };\n"
        "program A { version ONE { void PASS(pass) = 1; } = 1; } = 7;\n"
    )
    texts = pipeline.compile_python([tmp_path / "a.x"])
    calls, _ = stubs(texts["calls.pyi"]).values()
    assert list(calls.values()) == [["from_", "from__", "class_"]]
