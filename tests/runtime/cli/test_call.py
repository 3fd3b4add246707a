"""`call` without a daemon: arguments, templates and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto import registry
from libvirt_proto.cli.main import main
from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.skeleton import skeleton

NOWHERE = "test+tcp://127.0.0.1:1/default"


def call(*arguments: str, status: int = 2) -> Result:
    done = CliRunner().invoke(main, ["call", *arguments], env={"LIBVIRT_DEFAULT_URI": None})
    assert done.exit_code == status, done.output
    return done


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("connect_get_uri",), "LIBVIRT_DEFAULT_URI"),
        (("-c", NOWHERE, "connect_get_urx"), "Did you mean 'connect_get_uri'"),
        (("-c", NOWHERE, "remot.connect_get_uri"), "unknown program"),
        (("-c", NOWHERE, "domain_event_lifecycle"), "only a daemon sends"),
        (("-c", NOWHERE, "connect_get_uri", "--count", "1"), "--count requires --follow"),
        (("-c", NOWHERE, "connect_get_uri", "{"), "expected a JSON object"),
        (("-c", NOWHERE, "connect_get_uri", "[]"), "expected a JSON object"),
        (("-c", NOWHERE, "connect_get_uri", "@/none"), "/none: no such file or directory"),
        (("-c", NOWHERE, "connect_get_uri", '{"a": 1}'), "connect_get_uri has no arguments"),
        (("-c", NOWHERE, "domain_lookup_by_name", '{"nam": 1}'), "name: is missing"),
        (("-c", NOWHERE, "domain_lookup_by_name", '{"name": 1}'), "name: expected a string"),
    ],
)
def test_checks_before_it_connects(arguments: tuple[str, ...], problem: str) -> None:
    assert problem in call(*arguments).stderr


def test_reports_a_refused_connection() -> None:
    assert call("-c", NOWHERE, "connect_get_uri", status=1).stderr == (
        "libvirt-proto: error: cannot connect to 127.0.0.1: connection refused\n"
    )


def test_password_file_needs_a_user(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    done = call("-c", NOWHERE, "connect_get_uri", "--password-file", str(tmp_path / "password"))
    assert "user@host" in done.stderr


def test_every_template_is_valid() -> None:
    """The JSON of every skeleton is accepted as the arguments of its call."""
    checked = 0
    for program in registry.default().programs():
        for procedure in program.procedures:
            if procedure.args is not None:
                plain = json.loads(json.dumps(skeleton(procedure.args)))
                procedure.args.to_bytes(from_plain(procedure.args, plain))
                checked += 1
    assert checked > 400


def test_template_of_a_call_without_arguments() -> None:
    assert json.loads(call("--template", "connect_get_uri", status=0).stdout) == {}
