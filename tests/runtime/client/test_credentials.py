"""Credentials in libvirt's auth.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto.client.credentials import Credentials, from_file
from libvirt_proto.client.errors import ConnectError

AUTH_CONF = """
# a comment
[auth-libvirt-host.example.com]
credentials=prod

[auth-libvirt-default]
credentials=defgrp

[auth-esx-other]
credentials=esx

[credentials-prod]
authname=admin
password=50% of = all

[credentials-defgrp]
username=me
password=default
"""


@pytest.fixture
def auth_conf(tmp_path: Path) -> str:
    (tmp_path / "auth.conf").write_text(AUTH_CONF)
    return str(tmp_path / "auth.conf")


def test_entry_of_the_host(auth_conf: str) -> None:
    assert from_file("host.example.com", "", auth_conf) == Credentials("admin", "50% of = all")


def test_default_entry(auth_conf: str) -> None:
    assert from_file("other", "", auth_conf) == Credentials("me", "default")


def test_places(auth_conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIBVIRT_AUTH_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("libvirt_proto.client.credentials.SYSTEM_FILE", tmp_path / "none")
    assert from_file("other", "") is None
    (tmp_path / "config" / "libvirt").mkdir(parents=True)
    (tmp_path / "config" / "libvirt" / "auth.conf").write_text(AUTH_CONF.replace("=me", "=you"))
    assert from_file("other", "") == Credentials("you", "default")
    monkeypatch.setenv("LIBVIRT_AUTH_FILE", auth_conf)
    assert from_file("other", "") == Credentials("me", "default")


def test_no_entry(tmp_path: Path) -> None:
    (tmp_path / "auth.conf").write_text("[auth-esx-host]\ncredentials=x\n")
    assert from_file("host", "", str(tmp_path / "auth.conf")) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no section", "no section headers"),
        ("[auth-libvirt-default]\ncredentials=x\n", r"expected authname and password in \[credentials-x\]"),
        ("\xff" * 70000, "expected at most"),
    ],
)
def test_unusable_files(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "auth.conf").write_text(text)
    with pytest.raises(ConnectError, match=problem):
        from_file("host", "", str(tmp_path / "auth.conf"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="no such file"):
        from_file("host", "", str(tmp_path / "none"))


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(Credentials("me", "secret"))
