"""`compare` on random definitions and edits of them: each edit gives one correct finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from libvirt_proto_codegen.compare import compare
from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.source import Source
from tests.support.examples import examples

QUICK = settings(max_examples=examples(60))


PLAIN, LIST, ARRAY, OPTIONAL = (
    "{base} {name};",
    "{base} {name}<{limit}>;",
    "{base} {name}[{limit}];",
    "{base} *{name};",
)


@dataclass(frozen=True)
class Field:
    name: str
    base: str
    form: str = PLAIN
    limit: int = 0

    def __str__(self) -> str:
        return self.form.format(base=self.base, name=self.name, limit=self.limit)


@dataclass(frozen=True)
class Struct:
    name: str
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return f"struct {self.name} {{ {' '.join(map(str, self.fields))} }};"


#: Structs, the last of which are the payloads of three procedures.
Model = tuple[Struct, ...]
PAYLOADS = {"demo_one_args": "demo.one", "demo_two_ret": "demo.two", "demo_event_msg": "demo.event"}
HEAD = """
const DEMO_PROGRAM = 7;
const DEMO_PROTOCOL_VERSION = 1;
enum demo_procedure { DEMO_PROC_ONE = 1, DEMO_PROC_TWO = 2, DEMO_PROC_EVENT = 3 };
"""

BUILTINS = ["int", "unsigned int", "hyper", "double", "bool"]


@st.composite
def fields(draw: st.DrawFn, name: str, known: Sequence[str]) -> Field:
    limit = draw(st.integers(1, 99))
    base = draw(st.sampled_from([*BUILTINS, *known, *known]))
    form = draw(st.sampled_from([PLAIN, PLAIN, LIST, ARRAY, OPTIONAL, "string", "opaque"]))
    if form in ("string", "opaque"):
        return Field(name, form, LIST, limit)
    return Field(name, base, form, limit)


@st.composite
def models(draw: st.DrawFn) -> Model:
    structs: list[Struct] = []
    names = [f"t{number}" for number in range(draw(st.integers(1, 4)))]
    for name in [*names, *PAYLOADS]:
        known = [struct.name for struct in structs]
        count = draw(st.integers(1, 4))
        structs.append(Struct(name, tuple(draw(fields(f"f{at}", known)) for at in range(count))))
    return tuple(structs)


def found(old: Model, new: Model) -> tuple[Finding, ...]:
    before, after = (
        resolve(
            [read_specification(Source("demo_protocol.x", HEAD + "\n".join(map(str, model))))],
            externals={},
            release=None,
            inputs=(),
        )
        for model in (old, new)
    )
    return compare(before, after)


def reached(model: Model, name: str) -> tuple[str, ...]:
    """The procedures whose payload contains a struct."""
    structs = {struct.name: struct for struct in model}

    def contains(outer: str) -> bool:
        inside = [field.base for field in structs[outer].fields if field.base in structs]
        return outer == name or any(contains(each) for each in inside)

    return tuple(procedure for payload, procedure in PAYLOADS.items() if contains(payload))


def with_fields(model: Model, at: int, new: Sequence[Field]) -> Model:
    return (*model[:at], replace(model[at], fields=tuple(new)), *model[at + 1 :])


def check(findings: tuple[Finding, ...], rule: str, category: str, reaches: tuple[str, ...]) -> Finding:
    assert [finding.rule for finding in findings] == [rule]
    [finding] = findings
    assert (finding.category, finding.reaches) == (category, reaches)
    return finding


@QUICK
@given(models())
def test_equal_definitions_have_no_findings(model: Model) -> None:
    assert found(model, model) == ()


@QUICK
@given(models(), st.data())
def test_renamed_field(model: Model, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(model) - 1))
    place = data.draw(st.integers(0, len(model[at].fields) - 1))
    new = list(model[at].fields)
    new[place] = replace(new[place], name="renamed")
    findings = found(model, with_fields(model, at, new))
    finding = check(findings, "FIELD_RENAMED", "SOURCE", reached(model, model[at].name))
    assert finding.symbol
    assert finding.old_symbol
    assert (finding.old_symbol.name, finding.symbol.name) == (model[at].fields[place].name, "renamed")


@QUICK
@given(models(), st.integers(1, 99), st.data())
def test_changed_limit_or_length(model: Model, limit: int, data: st.DataObject) -> None:
    places = [
        (at, place)
        for at, struct in enumerate(model)
        for place, field in enumerate(struct.fields)
        if "{limit}" in field.form
    ]
    assume(places)
    at, place = data.draw(st.sampled_from(places))
    new = list(model[at].fields)
    old = new[place]
    assume(old.limit != limit)
    new[place] = replace(old, limit=limit)
    rule, category = ("LIMIT_RAISED", "LIMIT") if limit > old.limit else ("LIMIT_LOWERED", "WIRE")
    if old.form == ARRAY:
        rule, category = "FIXED_SIZE_CHANGED", "WIRE"
    findings = found(model, with_fields(model, at, new))
    finding = check(findings, rule, category, reached(model, model[at].name))
    assert (finding.before, finding.after) == (old.limit, limit)


@QUICK
@given(models(), st.data())
def test_added_or_removed_field(model: Model, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(model) - 1))
    place = data.draw(st.integers(0, len(model[at].fields)))
    new = [*model[at].fields[:place], Field("added", "hyper"), *model[at].fields[place:]]
    longer = with_fields(model, at, new)
    reaches = reached(model, model[at].name)
    check(found(model, longer), "FIELD_ADDED", "WIRE", reaches)
    finding = check(found(longer, model), "FIELD_REMOVED", "WIRE", reaches)
    assert finding.name == f"{model[at].name}.added"


@QUICK
@given(models(), st.data())
def test_reordered_fields(model: Model, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(model) - 1))
    new = data.draw(st.permutations(model[at].fields))
    assume(tuple(new) != model[at].fields)
    check(
        found(model, with_fields(model, at, new)),
        "FIELD_ORDER_CHANGED",
        "WIRE",
        reached(model, model[at].name),
    )


@QUICK
@given(models(), st.data())
def test_changed_field_type(model: Model, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(model) - 1))
    place = data.draw(st.integers(0, len(model[at].fields) - 1))
    new = list(model[at].fields)
    base = data.draw(st.sampled_from([*BUILTINS, "opaque"]).filter(lambda base: base != new[place].base))
    new[place] = Field(new[place].name, base, ARRAY if base == "opaque" else PLAIN, 8)
    findings = found(model, with_fields(model, at, new))
    check(findings, "FIELD_TYPE_CHANGED", "WIRE", reached(model, model[at].name))


@QUICK
@given(models(), st.data())
def test_renamed_type(model: Model, data: st.DataObject) -> None:
    """Only in a payload; elsewhere nothing shows that it is the same type."""
    name = data.draw(st.sampled_from([struct.name for struct in model if struct.name not in PAYLOADS]))
    new = tuple(
        Struct(
            "renamed" if struct.name == name else struct.name,
            tuple(replace(f, base="renamed") if f.base == name else f for f in struct.fields),
        )
        for struct in model
    )
    findings = found(model, new)
    if reaches := reached(model, name):
        check(findings, "TYPE_RENAMED", "SOURCE", reaches)
    elif any(f.base == name for struct in model for f in struct.fields):
        assert {finding.category for finding in findings} <= {"SOURCE", "ADDED"}
    else:
        assert [finding.rule for finding in findings] == ["TYPE_REMOVED", "TYPE_ADDED"]


#: The reverse of each rule.
BACKWARDS = {"LIMIT_RAISED": "LIMIT_LOWERED", "LIMIT_LOWERED": "LIMIT_RAISED"}


def backwards(rule: str) -> str:
    left, came = rule.replace("_REMOVED", "_ADDED"), rule.replace("_ADDED", "_REMOVED")
    return BACKWARDS.get(rule, left if left != rule else came)


@QUICK
@given(models(), models())
def test_reversed_comparison_has_reversed_findings(one: Model, other: Model) -> None:
    there, back = found(one, other), found(other, one)
    assert Counter((backwards(f.rule), f.reaches) for f in there) == Counter(
        (f.rule, f.reaches) for f in back
    )
