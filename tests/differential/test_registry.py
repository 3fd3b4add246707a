"""A decoder that knows only registry.json agrees with rpcgen's C on every type, at and above every limit."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from tests.differential import drawing, soak
from tests.differential.judge import ACCEPTED, Answer, Judge
from tests.differential.verdicts import Case, Tally
from tests.support.registry_reader import Document

pytestmark = pytest.mark.system("rpcgen", "gcc")


def document(*options: str | Path) -> Document:
    command = [sys.executable, "-m", "libvirt_proto", "generate", "registry", "-o", "-", *map(str, options)]
    return Document(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def test_c_agrees_on_every_type(judge: Judge) -> None:
    types = soak.all_types()
    readers = [document(), document("--defs", soak.JUDGED)]
    places = {place[1]: (reader, place) for reader in readers for place in reader.types}
    drawn = chain.from_iterable(soak.drawn(type_, 4, 6, "registry") for type_ in types)
    limits = chain.from_iterable(soak.at_limits(type_, drawing.limits(type_, 70_000)) for type_ in types)
    cases = [*drawn, *limits]
    answers = judge.answers([(case.type.name, case.data) for case in cases])
    compared, accepted, refused = set(), 0, 0
    for case, answer in zip(cases, answers, strict=True):
        if is_explained(case, answer):
            continue
        compared.add(case.type.name)
        reader, (module, name) = places[case.type.name]
        type_ = {"kind": "reference", "module": module, "name": name}
        try:
            value, taken = reader.decode(type_, case.data)
        except ValueError:
            assert answer.verdict != ACCEPTED, (name, case.data.hex())
            refused += 1
        else:
            assert (answer.verdict, answer.taken) == (ACCEPTED, taken), (name, case.data.hex())
            assert reader.encode(type_, value) == answer.again, (name, case.data.hex())
            accepted += 1
    assert compared == set(places)
    assert accepted > 3000
    assert refused > 500


def is_explained(case: Case, answer: Answer) -> bool:
    """Return whether C differs from the definitions as docs/disagreements.md explains, or accepts what no
    encoder writes."""
    tally = Tally()
    tally.count(case, answer)
    return bool(tally.explained or tally.remarked)
