"""The list of secret fields, compared with the definitions of every bundled release."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from libvirt_proto.codec.secretfields import entries, field_looks_secret, kind, name_looks_secret, table
from libvirt_proto.codec.types import Opaque
from libvirt_proto.names.public import names
from libvirt_proto_codegen import releases
from libvirt_proto_codegen.definitions import load_release
from libvirt_proto_codegen.lint.index import LintIndex
from libvirt_proto_codegen.lint.secrets import secret_unlisted


def lines(release: str) -> Iterator[tuple[str, str, str]]:
    """Lines that may declare data: the file, the first line of the definition, the line."""
    for file, data in releases.texts(releases.find(release)).items():
        head = ""
        for line in data.decode().splitlines():
            head = line if line[:1].strip() else head
            if head.startswith(("struct", "union", "typedef")):
                yield file, head, line


def distinct_releases() -> Iterator[str]:
    """Releases that together have every declaration of all releases, the newest first."""
    seen: set[tuple[str, str, str]] = set()
    for release in reversed(releases.releases()):
        new = set(lines(release.name)) - seen
        if new:
            seen |= new
            yield release.name


def test_list_matches_every_release() -> None:
    """Each entry names a field of some release. For each release, everything that looks secret and all opaque
    data are listed."""
    declared, unlisted, opaque = set(), set(), set()
    for release in distinct_releases():
        index = LintIndex(load_release(release))
        fields = [each for each in index.declarations() if each.symbol.kind != "type"]
        declared.update(each.name for each in fields)
        unlisted.update(hit.symbol.qualified for hit in secret_unlisted(index))
        opaque.update(
            each.name
            for each in fields
            if isinstance(index.schema.resolved(each.node), Opaque) and kind(each.name) is None
        )
    assert (unlisted, opaque) == (set(), set())
    assert [entry for entry in entries() if not any(map(entry.matches, declared))] == []


def test_every_entry_has_a_reason() -> None:
    def reasons(value: object) -> list[object]:
        if isinstance(value, dict):
            inner = [value["reason"]] if "reason" in value else list(value.values())
            return [reason for one in inner for reason in reasons(one)]
        return [value]

    for name in (
        "fields",
        "errors",
        "words",
        "whole_words",
        "field_words",
        "public_names",
        "elements",
        "keys",
        "public_attributes",
        "parameters",
    ):
        for reason in reasons(table(name)):
            assert isinstance(reason, str)
            assert reason


def test_codes_of_errors_exist() -> None:
    assert set(table("errors")) <= set(names("virErrorNumber").values())


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("remote_secret_set_value_args.value", "secret"),
        ("remote_domain_define_xml_args.xml", "xml"),
        ("remote_auth_sasl_start_args.mech", "public"),
        ("remote_domain_get_info_ret.state", None),
    ],
)
def test_exact_names_precede_patterns(field: str, expected: str | None) -> None:
    assert kind(field) == expected


def test_splits_field_names_into_words() -> None:
    for field in (
        "x_args.userPassword",
        "x_args.apiKey",
        "x_args.key",
        "x_secret_get_ret.blob",
        "x.authToken",
    ):
        assert field_looks_secret(field)
    for field in ("x_args.passthrough", "x_args.keepalive", "x_args.monkey", "x_args.bypass"):
        assert not field_looks_secret(field)


def test_splits_names_into_words() -> None:
    assert name_looks_secret("VNC_Passwd")
    assert not name_looks_secret("passwdValidTo")
    assert not name_looks_secret("key-secret")


def test_imports_only_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import libvirt_proto.codec.secretfields;"
        "print([n for n in set(sys.modules) - before if not n.startswith('libvirt_proto')"
        " and n.partition('.')[0] not in sys.stdlib_module_names])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
