"""Named types of generated modules: made on demand, with their definition and their class."""

from __future__ import annotations

import pytest

from libvirt_proto import registry
from libvirt_proto.codec.types import Named
from libvirt_proto.codec.xdrtype import TypeBindings, XdrType, type_of
from tests.support.handmade import TYPES, Domain, Flag, Point, type_named

BINDINGS = TYPES
assert isinstance(BINDINGS, TypeBindings)


def test_a_type_is_made_when_it_is_asked_for() -> None:
    bindings = TypeBindings("_handmade.handmade", BINDINGS._bindings)
    assert (len(bindings), list(bindings)) == (len(BINDINGS), list(BINDINGS))
    assert "point" in bindings
    assert bindings._types.keys() <= {"point"}
    point = bindings["point"]
    assert bindings["point"] is point
    assert bindings._types == {"point": point}
    assert "definition" not in vars(point)
    assert point.definition.name == "point"
    with pytest.raises(KeyError):
        bindings["no_such_type"]


def test_a_type_has_its_definition_and_its_class() -> None:
    domain = type_named("nonnull_domain")
    assert (domain.name, domain.python_class, repr(domain)) == (
        "nonnull_domain",
        Domain,
        "<XdrType nonnull_domain>",
    )
    assert (domain.min_size, domain.max_size) == (4 + 16 + 4, 4 + 4194304 + 16 + 4)
    assert (
        domain.text
        == "struct nonnull_domain {\n    nonnull_string name;\n    remote_uuid uuid;\n    int id;\n};"
    )


def test_a_typedef_has_no_class() -> None:
    uuid = type_named("remote_uuid")
    assert (uuid.python_class, uuid.text) == (None, "typedef opaque remote_uuid[16];")
    with pytest.raises(AssertionError, match="remote_uuid is a typedef"):
        BINDINGS.python_class("remote_uuid")


def test_the_type_of_a_value() -> None:
    assert type_of(Point(1, 2)) is type_named("point")
    assert type_of(Flag(False, None)) is type_named("flag")


def test_every_bundled_class_has_its_type() -> None:
    count = 0
    for module in registry.default().modules():
        for name, type_ in module.types.items():
            assert isinstance(type_, XdrType)
            assert type_.reference == Named(module.name, name)
            if type_.python_class is not None and name not in module.enums:
                assert type_.python_class.xdr_name == name
                assert type_.types.python_class(type_.reference) is type_.python_class
                count += 1
    assert count > 600


def test_enumerations_are_enums() -> None:
    assert {name: [member.name for member in enum] for name, enum in BINDINGS.enums.items()} == {
        "colour": ["RED", "GREEN", "BLUE"]
    }
