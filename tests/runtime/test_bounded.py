"""The bounded mapping, and its use for all state of limited size."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from libvirt_proto.bounded import BoundedDict


def test_put_returns_the_evicted_entry() -> None:
    known: BoundedDict[str, int] = BoundedDict(2)
    assert known.put("a", 1) is None
    assert known.put("b", 2) is None
    assert known.put("c", 3) == ("a", 1)
    assert list(known.items()) == [("b", 2), ("c", 3)]
    assert known.oldest == "b"


def test_replaced_entry_keeps_its_position() -> None:
    known: BoundedDict[str, int] = BoundedDict(2, [("a", 1), ("b", 2)])
    assert known.put("a", 7) is None
    assert known.put("c", 3) == ("a", 7)


def test_moved_entry_is_evicted_later() -> None:
    known: BoundedDict[str, int] = BoundedDict(2, [("a", 1), ("b", 2)])
    known.move_to_end("a")
    assert known.put("c", 3) == ("b", 2)


def test_copy_keeps_limit_and_has_separate_entries() -> None:
    known: BoundedDict[str, int] = BoundedDict(2, [("a", 1)])
    copy = known.copy()
    copy.put("b", 2)
    assert copy.put("c", 3) == ("a", 1)
    assert list(known) == ["a"]


def _first_entries(tree: ast.AST) -> list[int]:
    """Lines that access the first entry of something: `next(iter(x))`, `list(x)[0]`, `min(x, key=x.get)`, and
    loops that return or break in their first iteration."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="next"), args=[ast.Call(func=ast.Name(id="iter")), *_]):
                lines.append(node.lineno)
            case ast.Subscript(value=ast.Call(func=ast.Name(id="list")), slice=ast.Constant(value=0)):
                lines.append(node.lineno)
            case ast.Call(func=ast.Name(id="min"), keywords=[ast.keyword(arg="key", value=ast.Attribute())]):
                lines.append(node.lineno)
            case ast.For(body=[*_, ast.Return() | ast.Break()]):
                lines.append(node.lineno)
            case _:
                pass
    return lines


@pytest.mark.parametrize(
    "code",
    [
        "del known[next(iter(known))]",
        "close(list(known)[0])",
        "known.pop(min(known, key=known.get))",
        "for one in known:\n    del known[one]\n    break",
    ],
)
def test_finds_idioms_that_scan_removed_entries(code: str) -> None:
    assert _first_entries(ast.parse(code)) == [1]


def test_readers_evict_only_from_bounded_dicts(root: Path) -> None:
    """A dict finds its first entry by scanning the slots of all entries removed before it."""
    package = root / "libvirt_proto"
    paths = [*package.rglob("capture/**/*.py"), *package.rglob("figures/*.py"), package / "session.py"]
    found = {
        f"{path.relative_to(package)}:{line}"
        for path in paths
        for line in _first_entries(ast.parse(path.read_text()))
    }
    assert found == set()
