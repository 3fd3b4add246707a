"""rpcgen's C and our code agree on every type of the newest release; `make soak` compares a million cases."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from itertools import chain

import pytest

from libvirt_proto.codec.xdrtype import XdrType
from tests.differential import drawing, soak
from tests.differential.judge import ACCEPTED, NOT_ENCODED, REFUSED, Answer, Judge
from tests.differential.verdicts import Case, Origin, Tally

pytestmark = pytest.mark.system("rpcgen", "gcc")


@pytest.fixture(scope="module")
def types() -> list[XdrType]:
    return soak.all_types()


def compared(judge: Judge, cases: Iterable[Case]) -> Tally:
    tally = Tally()
    for _ in soak.compare(judge, cases, tally):
        pass
    return tally


def test_c_agrees_on_every_case(judge: Judge, types: list[XdrType]) -> None:
    seed = secrets.token_hex(4)
    tally = compared(judge, chain.from_iterable(soak.drawn(type_, 4, 6, seed) for type_ in types))
    assert not tally.unexplained, f"make soak ARGS='--seed {seed} …'\n" + "\n".join(tally.unexplained[:5])
    assert len(tally.types) == len(types)
    # The test needs many cases of both outcomes.
    assert tally.accepted > 1000
    assert tally.refused > 1000
    assert tally.remarked > 100


def test_lengths_at_and_above_limit(judge: Judge, types: list[XdrType]) -> None:
    """`make soak` covers the larger limits, of some megabytes each."""
    tally = compared(
        judge, chain.from_iterable(soak.at_limits(type_, drawing.limits(type_, 70_000)) for type_ in types)
    )
    assert not tally.unexplained, "\n".join(tally.unexplained[:5])
    assert tally.accepted == tally.refused == tally.origins[Origin.AT_LIMIT] > 100


def test_judge_covers_every_rpcgen_type(judge: Judge, types: list[XdrType]) -> None:
    made = {
        name
        for source in judge.folder.glob("*.c")
        for name in re.findall(r"^xdr_(\w+) \(", source.read_text(), re.MULTILINE)
    }
    assert made == {type_.name for type_ in types}


def test_seed_reproduces_cases(types: list[XdrType]) -> None:
    for type_ in types[::50]:
        assert list(soak.drawn(type_, 3, 3, "1")) == list(soak.drawn(type_, 3, 3, "1"))
        assert list(soak.drawn(type_, 3, 3, "1")) != list(soak.drawn(type_, 3, 3, "2")) or type_.max_size == 4


@pytest.mark.parametrize(
    "answer",
    [
        Answer(REFUSED, 0, b""),
        Answer(NOT_ENCODED, 8, b""),
        Answer(ACCEPTED, 4, b"\0\0\0\1a\0\0\0"),
        Answer(ACCEPTED, 8, b"\0\0\0\1b\0\0\0"),
        Answer(ACCEPTED, 8, b"\0\0\0\0"),
    ],
)
def test_wrong_answer_counts_as_disagreement(types: list[XdrType], answer: Answer) -> None:
    string = next(type_ for type_ in types if type_.name == "remote_nonnull_string")
    case = Case(string, b"\0\0\0\1a\0\0\0", Origin.MUTATED)
    good, bad = Tally(), Tally()
    good.count(case, Answer(ACCEPTED, 8, case.data))
    bad.count(case, answer)
    assert (good.accepted, good.unexplained) == (1, [])
    assert (bad.accepted, len(bad.unexplained)) == (0, 1)


def test_bytes_accepted_only_by_c_are_a_disagreement(types: list[XdrType]) -> None:
    string = next(type_ for type_ in types if type_.name == "remote_nonnull_string")
    tally = Tally()
    tally.count(Case(string, b"\0\0\0\2a", Origin.MUTATED), Answer(ACCEPTED, 5, b""))
    assert "needs 4 bytes, 1 left" in tally.unexplained[0]


def test_command_reports_disagreements(capsys: pytest.CaptureFixture[str]) -> None:
    options = "--values 30 --mutated 20 --limit 1000 --seed 7 --type remote_string --type lengths"
    assert soak.main(options.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 7"
    figures = dict(line.strip().rsplit(maxsplit=1) for line in lines[2:])
    assert figures["types"] == "2"
    assert figures["values, encoded by us"] == "30"
    assert figures["mutated byte strings"] == "20"
    assert figures["lengths at their limit"] == figures["lengths one above it"] == "4"
    assert figures["not explained"] == "0"
    with pytest.raises(SystemExit) as stopped:
        soak.main(["--type", "no_such_type"])
    assert stopped.value.code == 2
    assert "no type is called no_such_type" in capsys.readouterr().err
