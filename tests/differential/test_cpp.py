"""Our preprocessor and the C preprocessor give the same tokens."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.preprocess import preprocess
from libvirt_proto_codegen.source import Source
from tests.support.examples import examples

pytestmark = pytest.mark.system("cpp")

_TOKEN = re.compile(r'"[^"]*"|-?\w+|[^\s\w]')

names = st.sampled_from(["A", "B", "C", "D", "F", "G", "x", "y"])
numbers = st.sampled_from(["0", "1", "2", "7", "010", "0x1F", "3L"])
operators = st.sampled_from(
    ["+", "-", "*", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "&", "|", "^", "<<"]
)
#: Macros of other text than numbers: those stay names here.
bodies = st.lists(names | st.sampled_from(["{", "}", ";", "unsigned", '"s"', "( x )"]), max_size=4).map(
    " ".join
)
parts = st.lists(names | st.sampled_from(["x", "y", "x", "{", "}", ";"]), max_size=5).map(" ".join)
texts = st.lists(
    names | st.sampled_from(["F(A,B)", "G ( C )", "F(G(A), (B,C))", ";", "{", "}"]), max_size=6
).map(" ".join)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """An expression of `#if` that has a value."""
    if depth == 0 or draw(st.booleans()):
        leaf = draw(st.sampled_from(["number", "defined", "name", "not"]))
        inner = draw(numbers)
        found = {"number": inner, "defined": f"defined({draw(names)})", "name": "UNKNOWN", "not": f"!{inner}"}
        return found[leaf]
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    if draw(st.integers(0, 4)) == 0:
        return f"({left} ? {right} : {draw(numbers)})"
    return f"({left}) {draw(operators)} ({right})"


@st.composite
def lines(draw: st.DrawFn, depth: int = 3) -> list[str]:
    """Lines with balanced conditions."""
    found: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["text", "define", "call", "undef", "if", "ifdef", "comment"]))
        if kind in ("if", "ifdef") and depth:
            found.append(f"#if {draw(expressions())}" if kind == "if" else f"# ifdef {draw(names)} // x")
            found += draw(lines(depth - 1))
            for _ in range(draw(st.integers(0, 2))):
                found += [f"#elif {draw(expressions())}", *draw(lines(depth - 1))]
            if draw(st.booleans()):
                found += ["#else /* y */", *draw(lines(depth - 1))]
            found.append("#endif")
        elif kind == "define":
            found.append(f"#define {draw(st.sampled_from(['A', 'B', 'C', 'D']))} {draw(bodies)}")
        elif kind == "call":
            macro = draw(st.sampled_from(["F(x, y)", "G(x)"]))
            body = draw(parts)
            found += [f"#undef {macro[0]}", f"#define {macro} {body}"]
        elif kind == "undef":
            found.append(f"#undef {draw(names)}")
        elif kind == "comment":
            found += ["/*", "#if 0", "*/ done // #endif"]
        else:
            found.append(draw(texts))
    return found


def ours(text: str) -> list[str]:
    return [token.text for token in preprocess(Source("a.x", text)).tokens]


def theirs(text: str) -> list[str] | None:
    """The tokens of cpp's output, None for an error."""
    done = subprocess.run(
        ["cpp", "-P", "-undef", "-DRPC_HDR", "-w"], input=text.encode(), capture_output=True, check=False
    )
    return None if done.returncode else _TOKEN.findall(done.stdout.decode())


@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(lines())
def test_same_tokens(text: list[str]) -> None:
    whole = "\n".join(["#define F(x, y) y x", "#define G(x) x", *text, ""])
    expected = theirs(whole)
    if expected is None:  # a missing argument
        with pytest.raises(DefinitionError):
            preprocess(Source("a.x", whole))
    else:
        assert ours(whole) == expected


@pytest.mark.parametrize("name", ["everything.x", "names.x", "judged.x"])
def test_same_tokens_of_definitions(root: Path, name: str) -> None:
    text = (root / "tests" / "definitions" / name).read_text()
    plain = re.sub(r"^%.*", "", text, flags=re.MULTILINE)
    assert ours(plain) == theirs(plain)
