"""The exceptions of the package: one root, data, texts and reprs."""

from __future__ import annotations

import copy
import pickle

import pytest

import libvirt_proto
from libvirt_proto import decode_message, errors, registry
from libvirt_proto.capture.address import AddressError
from libvirt_proto.capture.probes.errors import TraceError
from libvirt_proto.errors import (
    BadValue,
    Error,
    FrameError,
    NotCanonical,
    OverLimit,
    ProtocolError,
    SourceError,
    Truncated,
    UnknownName,
)
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.releases.archive import UnknownRelease

ERRORS = [
    (
        Truncated(16, 3, offset=30, path="dom.uuid"),
        "Truncated(offset=30, path='dom.uuid', needed=16, available=3)",
    ),
    (OverLimit(256, 300, path="names"), "OverLimit(path='names', limit=256, actual=300, what='length')"),
    (BadValue("no arm", offset=0), "BadValue(offset=0, problem='no arm')"),
    (NotCanonical("padding", b"x" * 999, 8, offset=4), "NotCanonical(offset=4, problem='padding')"),
    (FrameError(5, 64, offset=0), "FrameError(offset=0, length=5, limit=64)"),
    (ProtocolError(), "ProtocolError()"),
]


@pytest.mark.parametrize(("error", "text"), ERRORS)
def test_repr_has_the_figures_of_the_error(error: ProtocolError, text: str) -> None:
    assert repr(error) == text


@pytest.mark.parametrize(("error", "text"), ERRORS)
def test_protocol_errors_can_be_copied_and_pickled(error: ProtocolError, text: str) -> None:
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert (repr(again), str(again), again.as_dict()) == (text, str(error), error.as_dict())


def test_every_error_has_the_same_root() -> None:
    ours = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert len(ours) > 10
    for kind in (*ours, AddressError, DefinitionError, TraceError, UnknownRelease):
        assert issubclass(kind, Error), kind
    assert libvirt_proto.Error is Error
    for kind, builtin in (
        (ProtocolError, ValueError),
        (UnknownName, KeyError),
        (UnknownRelease, LookupError),
    ):
        assert issubclass(kind, builtin)


def test_errors_of_decoding_are_caught_by_the_root() -> None:
    with pytest.raises(Error):
        decode_message(b"")
    with pytest.raises(ValueError, match="needs 28 bytes"):
        decode_message(b"")


@pytest.mark.parametrize(
    ("look_up", "kind", "name", "suggestions", "text"),
    [
        (
            lambda: registry.program("remot"),
            "program",
            "remot",
            ("remote",),
            "unknown program 'remot'. Did you mean 'remote'?",
        ),
        (lambda: registry.program(1), "program", 1, (), "no program has the number 1"),
        (
            lambda: registry.program("remote").procedure("auth_lst"),
            "procedure of remote",
            "auth_lst",
            ("auth_list",),
            "unknown procedure of remote 'auth_lst'. Did you mean 'auth_list'",
        ),
        (
            lambda: registry.program("remote").procedure(9999),
            "procedure of remote",
            9999,
            (),
            "no procedure of remote has the number 9999",
        ),
        (
            lambda: registry.default().type("remote_uid"),
            "type",
            "remote_uid",
            ("remote_uuid",),
            "unknown type 'remote_uid'. Did you mean 'remote_uuid'",
        ),
        (
            lambda: registry.default().module("remot"),
            "module",
            "remot",
            ("remote",),
            "unknown module 'remot'. Did you mean 'remote'?",
        ),
        (
            lambda: registry.default().history("remote.domain_get_inf"),
            "definition",
            "remote.domain_get_inf",
            ("remote.domain_get_info",),
            "unknown definition 'remote.domain_get_inf'. Did you mean 'remote.domain_get_info'",
        ),
    ],
)
def test_unknown_names_have_suggestions(
    look_up: object, kind: str, name: str | int, suggestions: tuple[str, ...], text: str
) -> None:
    with pytest.raises(UnknownName) as caught:
        look_up()  # type: ignore[operator]
    error = caught.value
    assert (error.kind, error.name) == (kind, name)
    assert error.suggestions[: len(suggestions)] == suggestions
    assert str(error).startswith(text)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.suggestions) == (str(error), error.suggestions)
    assert repr(name) in repr(error)


def test_input_errors_are_not_protocol_errors() -> None:
    assert not issubclass(SourceError, ProtocolError)
