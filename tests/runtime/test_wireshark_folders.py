"""Wireshark's folders, in the lists that tshark prints. tests/differential has tests with tshark."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto.wireshark_folders import NoFoldersError, extcap_folder, lua_folder

#: Wireshark 4.0, and later ones.
OLD = """\
Temp:                \t/tmp
Personal configuration:\t/srv/a b/.config/wireshark
Personal Lua Plugins:\t/srv/a b/.local/lib/wireshark/plugins
Extcap path:         \t/usr/lib/wireshark/extcap
MaxMind database path:\t/usr/share/GeoIP
MaxMind database path:\t/var/lib/GeoIP
"""
NEW = OLD.replace("Extcap path", "Global Extcap path") + "Personal Extcap path:\t/srv/a b/.local/lib/extcap\n"


def listing(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a program that prints such a list."""
    (folder / "text").write_text(text)
    (folder / "tshark").write_text(f"#!/bin/sh\n[ \"$*\" = '-G folders' ] && /bin/cat {folder}/text\n")
    (folder / "tshark").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("text", "extcap"), [(OLD, "/srv/a b/.config/wireshark/extcap"), (NEW, "/srv/a b/.local/lib/extcap")]
)
def test_folders(text: str, extcap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing(text, tmp_path, monkeypatch)
    assert str(extcap_folder()) == extcap
    assert str(lua_folder()) == "/srv/a b/.local/lib/wireshark/plugins"


@pytest.mark.parametrize("text", ["", "Personal Extcap path:\t\nPersonal Lua Plugins: relative\n"])
def test_lists_without_folders(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing(text, tmp_path, monkeypatch)
    with pytest.raises(NoFoldersError, match="folder of extcap"):
        extcap_folder()
    with pytest.raises(NoFoldersError, match="it has no Lua"):
        lua_folder()


def test_without_tshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoFoldersError, match="apt install tshark"):
        lua_folder()
    (tmp_path / "tshark").write_text("no program")
    (tmp_path / "tshark").chmod(0o755)
    with pytest.raises(NoFoldersError, match="cannot be run"):
        lua_folder()
