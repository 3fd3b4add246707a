"""Known arguments of probes for a version of libvirt."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes.provider import DECLARATIONS
from libvirt_proto.codec.history import version_key
from libvirt_proto.codec.libvirt_version import common_version, version_of_name
from libvirt_proto.codec.providers import (
    Argument,
    Arguments,
    Choice,
    Declaration,
    choose,
    declaration_rows,
    read_declarations,
)

REF, CONTEXT, GONE, NEW = ("p", "object_ref"), ("p", "context_new"), ("p", "gone"), ("p", "new")


def spelled(text: str) -> Arguments:
    return tuple(Argument(word.removeprefix("*"), word.startswith("*")) for word in text.split())


#: What happened between 11.3.0 and 12.8.0, in small.
OLD = Declaration(
    "7.0.0",
    "11.3.0",
    {REF: spelled("obj"), CONTEXT: spelled("ctxt *ca *cert *key server"), GONE: spelled("n *text")},
)
LATE = Declaration(
    "12.8.0",
    "12.9.0",
    {REF: spelled("obj *class refs"), CONTEXT: spelled("ctxt *ca cert keys server"), NEW: spelled("a")},
)
KNOWN = (OLD, LATE)


def known(choice: Choice, probe: tuple[str, str], count: int) -> str:
    """The arguments as in `spelled`, with ? for each unknown one."""
    found = choice.arguments(probe, count)
    return " ".join("?" if each is None else "*" * each.is_text + each.name for each in found)


@pytest.mark.parametrize(
    ("version", "basis", "context", "ref", "sentence"),
    [
        ("7.0.0", "proven", "ctxt *ca *cert *key server", "obj", "as in 7.0.0 to 11.3.0"),
        ("9.10.0", "proven", "ctxt *ca *cert *key server", "obj", "as in 7.0.0 to 11.3.0"),
        ("11.3.0", "proven", "ctxt *ca *cert *key server", "obj", "as in 7.0.0 to 11.3.0"),
        (
            "11.4.0",
            "between",
            "ctxt *ca ? ? server",
            "obj",
            "7.0.0 to 11.3.0 and 12.8.0 to 12.9.0 agree",
        ),
        (
            "12.7.0",
            "between",
            "ctxt *ca ? ? server",
            "obj",
            "7.0.0 to 11.3.0 and 12.8.0 to 12.9.0 agree",
        ),
        ("12.8.0", "proven", "ctxt *ca cert keys server", "obj", "as in 12.8.0 to 12.9.0"),
        ("12.9.0", "proven", "ctxt *ca cert keys server", "obj", "as in 12.8.0 to 12.9.0"),
        (
            "13.0.0",
            "outside",
            "ctxt *ca cert keys server",
            "obj",
            "not bundled: arguments of probes as in 12.8.0",
        ),
        (
            "6.9.0",
            "outside",
            "ctxt *ca *cert *key server",
            "obj",
            "not bundled: arguments of probes as in 7.0.0",
        ),
    ],
)
def test_version_decides(version: str, basis: str, context: str, ref: str, sentence: str) -> None:
    choice = choose(KNOWN, version)
    assert (choice.version, choice.basis) == (version, basis)
    assert known(choice, CONTEXT, 5) == context
    assert known(choice, REF, 1) == ref
    assert str(choice).startswith(f"libvirt {version}")
    assert sentence in str(choice)


@pytest.mark.parametrize("version", ["9.0.0", "11.9.0", "12.9.0", "13.0.0", None])
@pytest.mark.parametrize("count", [2, 4, 9])
def test_unknown_layout_keeps_only_the_object(version: str | None, count: int) -> None:
    choice = choose(KNOWN, version)
    assert known(choice, REF, count) == " ".join(["obj", *["?"] * (count - 1)])
    assert not choice.has(REF, count)
    assert known(choice, ("p", "never_seen"), count) == " ".join(["?"] * count)


def test_layout_between_two_releases_needs_both() -> None:
    choice = choose(KNOWN, "11.9.0")
    assert known(choice, REF, 3) == "obj ? ?"
    assert known(choice, GONE, 2) == "n *text"
    assert known(choice, NEW, 1) == "a"


def test_first_argument_that_is_text_is_unknown_in_an_unknown_layout() -> None:
    only = Declaration("1.0.0", "1.0.0", {GONE: spelled("*interface member")})
    assert known(choose([only], "1.0.0"), GONE, 3) == "? ? ?"


def test_newer_release_with_other_probes_shows_no_text() -> None:
    """12.9.0 with the definitions of 12.6.0 had two pointers as text, in a probe with as many arguments."""
    old = (OLD,)
    same = {REF: frozenset({1}), CONTEXT: frozenset({5})}
    assert known(choose(old, "12.9.0", counts=same), CONTEXT, 5) == "ctxt *ca *cert *key server"
    other = {**same, REF: frozenset({3})}
    choice = choose(old, "12.9.0", counts=other)
    assert known(choice, CONTEXT, 5) == "ctxt ? ? ? server"
    assert str(choice).endswith("unproven; no text, since others differ")
    unknown_probe = {**same, ("p", "added"): frozenset({2})}
    assert known(choose(old, "12.9.0", counts=unknown_probe), CONTEXT, 5) == "ctxt *ca *cert *key server"


def test_without_version_the_probes_of_the_file_decide() -> None:
    def choice(**counts: int) -> Choice:
        return choose(KNOWN, None, counts={("p", name): frozenset({count}) for name, count in counts.items()})

    assert known(choice(object_ref=3, context_new=5), CONTEXT, 5) == "ctxt *ca cert keys server"
    assert known(choice(object_ref=1, context_new=5), CONTEXT, 5) == "ctxt *ca *cert *key server"
    assert known(choice(context_new=5), CONTEXT, 5) == "ctxt *ca ? ? server"
    assert known(choice(object_ref=7, context_new=5), CONTEXT, 5) == "ctxt *ca ? ? server"
    both = choice(gone=2, new=1)  # which no release has
    assert (both.basis, known(both, CONTEXT, 5)) == ("unknown", "ctxt *ca ? ? server")
    assert known(both, REF, 1) == "obj"


def test_release_that_a_user_selects_counts_where_the_version_proves_nothing() -> None:
    assert choose(KNOWN, "12.9.0", "9.0.0") == choose(KNOWN, "12.9.0")
    assert choose(KNOWN, "9.0.0", "12.9.0") == choose(KNOWN, "9.0.0")
    assert choose(KNOWN, None, "9.0.0") == choose(KNOWN, "9.0.0")
    assert known(choose(KNOWN, "13.0.0", "9.0.0"), CONTEXT, 5) == "ctxt *ca ? ? server"
    assert choose(KNOWN, "13.0.0", "12.9.0") == choose(KNOWN, "13.0.0")
    assert known(choose(KNOWN, "11.9.0", "9.0.0"), CONTEXT, 5) == "ctxt *ca ? ? server"


VERSIONS = st.builds("{}.{}.0".format, st.integers(5, 14), st.integers(0, 10))
ARGUMENT = st.builds(Argument, st.sampled_from("abc"), st.booleans())


@st.composite
def declarations(draw: st.DrawFn) -> tuple[Declaration, ...]:
    ends = sorted(draw(st.lists(VERSIONS, min_size=2, max_size=8, unique=True)), key=version_key)
    arguments = st.lists(ARGUMENT, max_size=4).map(tuple)
    probes = st.dictionaries(st.sampled_from([REF, NEW]), arguments, min_size=1)
    return tuple(Declaration(*each, draw(probes)) for each in zip(ends[::2], ends[1::2], strict=False))


@given(declarations(), st.none() | VERSIONS, st.integers(0, 5), st.sampled_from([REF, NEW]))
def test_text_is_text_in_every_declaration_that_applies(
    states: Sequence[Declaration], version: str | None, count: int, probe: tuple[str, str]
) -> None:
    choice = choose(states, version, counts={probe: frozenset({count})})
    found = choice.arguments(probe, count)
    assert len(found) == count
    applied = [each.probes[probe] for each in choice.declarations if probe in each.probes]
    for index, argument in enumerate(found):
        if argument is not None and argument.is_text:
            assert all(each[index : index + 1] == (argument,) for each in applied if len(each) == count)
            assert any(len(each) == count for each in applied)


@given(declarations())
def test_rows_give_the_same_declarations(states: tuple[Declaration, ...]) -> None:
    assert read_declarations(*declaration_rows(states)) == states


def test_bundled_declarations_are_ordered() -> None:
    ends = [version_key(end) for each in DECLARATIONS for end in (each.first, each.last)]
    assert ends == sorted(ends)
    assert (DECLARATIONS[0].first, len(DECLARATIONS) > 5) == ("0.9.7", True)
    first = {arguments[0].name for each in DECLARATIONS for arguments in each.probes.values()}
    assert first >= {"obj", "client", "sock", "ka", "ctxt", "sess", "mon", "watch", "timer"}


def test_old_layouts_have_their_arguments() -> None:
    """0.10.0 took `refs` out of the middle."""
    new = ("libvirt", "rpc_client_new")
    assert known(choose(DECLARATIONS, "0.9.13"), new, 3) == "client refs sock"
    assert known(choose(DECLARATIONS, "0.10.0"), new, 2) == "client sock"
    assert known(choose(DECLARATIONS, "0.10.0"), new, 3) == "client ? ?"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("libvirt.so.0.12009.0", "12.9.0"),
        ("libvirt.so.0.9000.0", "9.0.0"),
        ("libvirt.so.0.1002.9", "1.2.9"),
        ("libvirt.so.0.9.13", "0.9.13"),
        ("libvirt.so.0", None),
        ("libvirt-qemu.so.0.9000.0", None),
        ("libvirt.so.0.9000.0.old", None),
        ("libvirt.so.0.90000000000000000000.0", None),
    ],
)
def test_version_in_a_file_name(name: str, version: str | None) -> None:
    assert version_of_name(name) == version


def test_common_version() -> None:
    assert common_version(["9.0.0", None, "9.0.0"]) == "9.0.0"
    assert common_version(["9.0.0", "9.1.0"]) is None
    assert common_version([]) is None
