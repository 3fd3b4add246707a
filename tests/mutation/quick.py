"""Fast tests of the Python target for the mutation run: definitions are read once, not for each mutant.

`libvirt-proto generate --check` (the committed modules are current), tests/codegen/test_python_target.py and
the fuzzer's corpus check the same, but take seconds.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from libvirt_proto.codec import interpreter
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto_codegen import pipeline
from libvirt_proto_codegen.definitions import load_release, load_schema
from tests.fuzz.taker import Taker
from tests.fuzz.targets import CORPUS
from tests.fuzz.writer import Writer
from tests.support.oracles import value_or_error
from tests.support.packages import imported
from tests.support.values import TooLarge, fuzzed_value

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATED = ROOT / "libvirt_proto" / "generated"
RELEASE = load_release()
FILES = sorted((ROOT / "tests" / "definitions").glob("*.x"))
SCHEMAS = {path.stem: load_schema([path]) for path in FILES}
#: Definitions that the fuzzer made, the largest of them.
with TemporaryDirectory() as folder:
    for path in sorted((CORPUS / "generator").iterdir(), key=lambda path: -path.stat().st_size)[:60]:
        taker = Taker(path.read_bytes())
        if not (taker.take(1) and taker.below(2)):
            made = Path(folder, "made.x")
            made.write_text(Writer(taker).text())
            SCHEMAS[path.name] = load_schema([made])


def test_the_committed_modules_are_current() -> None:
    made = {artefact.path: artefact.text for artefact in pipeline.generate(RELEASE, "python")}
    assert set(made) == {path.name for path in GENERATED.glob("*.py")}
    assert all((GENERATED / name).read_text() == text for name, text in made.items())


@pytest.mark.parametrize("name", SCHEMAS)
def test_values_come_back(name: str) -> None:
    made = {artefact.path: artefact.text for artefact in pipeline.generate(SCHEMAS[name], "python")}
    (stem,) = (path.removesuffix(".py") for path in made if path not in ("__init__.py", "_plan.py"))
    with imported("_mutated", made) as package:
        for type_ in getattr(package, stem).TYPES.values():
            for seed in range(2):
                _round_trip(type_, Taker(bytes((seed * 83 + at * 31 + at * at) & 0xFF for at in range(400))))


def _round_trip(type_: XdrType, taker: Taker) -> None:
    try:
        one = fuzzed_value(type_, taker)
    except TooLarge:
        return
    data = type_.to_bytes(one)
    parts: list[bytes] = []
    type_.encode(one, parts.append)  # the fast way has to do it, not the careful one in its stead
    assert b"".join(parts) == data == interpreter.write(type_.types, type_.reference, one)
    assert type_.decode(data, 0) == (one, len(data))
    assert type_.decode(b"!" + data + b"?", 1) == (one, len(data) + 1)
    assert type_.min_size <= len(data)
    assert type_.max_size is None or len(data) <= type_.max_size
    for cut in range(0, len(data), 4 + len(data) // 24 * 4):
        value_or_error(type_, data[:cut])
        value_or_error(type_, data[:cut] + b"\0\0\0\7" + data[cut + 4 :])
