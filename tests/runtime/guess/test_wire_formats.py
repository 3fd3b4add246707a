"""Types that are equal on the wire."""

from __future__ import annotations

from itertools import combinations

import pytest

from libvirt_proto import registry
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.guess.wire_formats import WireFormat, WireFormats
from tests.support.doubling import LEVELS, NAMES, counted_visits, doubling_types
from tests.support.packages import imported, python_texts

DEFAULT = registry.default()


def formats(*types: XdrType, maximum: int = 65_536) -> list[WireFormat]:
    all_ = WireFormats(maximum)
    return [all_.of(type_) for type_ in types]


def of_definitions(definitions: str, *names: str, maximum: int = 65_536) -> list[WireFormat]:
    with imported("_formats", python_texts("formats", definitions)) as package:
        return formats(*(package.formats.TYPES[name] for name in names), maximum=maximum)


def test_names_and_the_start_of_a_struct_are_invisible() -> None:
    by_name, domain, network = formats(
        DEFAULT.type("remote_domain_lookup_by_name_ret"),
        DEFAULT.type("remote_nonnull_domain"),
        DEFAULT.type("remote_nonnull_network"),
    )
    assert by_name == domain != network


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("struct one { int a; unsigned int b; };", "struct other { unsigned int c; int d; };"),
        ("typedef unsigned hyper one;", "typedef hyper other;"),
        ("typedef string one<3>;", "typedef string other<>;"),
        ("enum one { A = 1, B = 2 };", "enum other { C = 2, D = 1 };"),
        ("struct one { pair p; int c; };", "struct other { int a; pair p; };"),
        ("struct one { int a; one *b; };", "struct other { int a; other *b; };"),
        (
            "union one switch (int k) { case 1: int a; default: void; };",
            "union other switch (int k) { case 1: unsigned int b; default: void; };",
        ),
    ],
)
def test_equal_on_the_wire(one: str, other: str) -> None:
    text = f"struct pair {{ int a; int b; }};\n{one}\n{other}"
    first, second = of_definitions(text, "one", "other")
    assert first == second


def test_different_on_the_wire() -> None:
    text = """
        typedef int a; typedef hyper b; typedef float c; typedef double d; typedef bool e;
        enum f { F = 1 }; enum g { G = 2 }; typedef opaque h[4]; typedef opaque i[8]; typedef opaque j<>;
        typedef string k<>; typedef int l[2]; typedef int m<>; typedef int *n; typedef a o[3];
        typedef opaque p_uuid[16]; typedef opaque q[16];
        union r switch (int k) { case 1: int a; default: void; };
        union s switch (int k) { case 1: int a; };
        union t switch (int k) { case 2: int a; };
        struct u { int a; u *b; }; struct v { u *a; v *b; }; struct w { u *a; u *b; };
    """
    names = [*"abcdefghijklmno", "p_uuid", *"qrstuvw"]
    found = dict(zip(names, of_definitions(text, *names), strict=True))
    assert [pair for pair in combinations(names, 2) if found[pair[0]] == found[pair[1]]] == []


def test_large_types_are_equal_by_name() -> None:
    text = "struct in { int a[5]; };\nstruct one { in x; };\nstruct other { in x; };"
    one, other = of_definitions(text, "one", "other", maximum=20)
    assert one == other
    one, other = of_definitions(text, "one", "other", maximum=19)
    assert one != other


@pytest.mark.parametrize("name", NAMES)
def test_types_within_types_are_visited_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    type_ = doubling_types()[f"{name}{LEVELS - 1}"]
    visits = counted_visits(monkeypatch)
    (found,) = formats(type_)
    assert len(found) <= 65_536 // 4
    assert visits() < 8 * LEVELS
