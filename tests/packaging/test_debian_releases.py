"""`make test-releases` without its prerequisites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import debian, releases

ABSENT = releases.Release("99.0.0", ("bookworm",), ("libvirt-daemon",))


@pytest.fixture(autouse=True)
def _absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release that is not installed, and no tools to install it."""
    monkeypatch.setattr(releases, "RELEASES", (ABSENT,))
    monkeypatch.setattr(releases, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))


def test_missing_tool_leaves_release_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(releases, "REQUIRED", False)
    with pytest.raises(SystemExit) as stopped:
        releases.main()
    assert stopped.value.code == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("make test-releases: libvirt 99.0.0 is not tested: ")
    assert "root is required" in line or "debootstrap is not installed" in line


def test_missing_tool_is_an_error_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "REQUIRED", True)
    with pytest.raises(SystemExit) as stopped:
        releases.main()
    assert str(stopped.value.code).startswith("make test-releases: error: libvirt 99.0.0: ")


def test_installed_release_is_used_again(tmp_path: Path) -> None:
    root = tmp_path / "cache" / ABSENT.version
    root.mkdir(parents=True)
    (root / "installed-packages").write_text("libvirt-daemon\n")
    assert releases._root(ABSENT) == root


def test_release_without_a_new_package_is_installed_again(tmp_path: Path) -> None:
    root = tmp_path / "cache" / ABSENT.version
    root.mkdir(parents=True)
    (root / "installed-packages").write_text("libvirt-daemon\n")
    with pytest.raises(debian.DebianError, match=r"root is required|debootstrap is not installed"):
        releases._root(ABSENT._replace(packages=("libvirt-daemon", "tshark")))


def test_mirror_that_fails_leaves_release_out_in_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise debian.DebianError("E: Failed to fetch")

    monkeypatch.setattr(releases, "REQUIRED", True)
    monkeypatch.setattr(debian, "check_prerequisites", lambda *_: None)
    monkeypatch.setattr(debian, "archive", lambda: ("http://localhost:1", "bookworm"))
    monkeypatch.setattr(debian, "bootstrap", fail)
    with pytest.raises(SystemExit) as stopped:
        releases.main()
    assert stopped.value.code == 0
    assert "libvirt 99.0.0 is not tested: E: Failed to fetch" in capsys.readouterr().out
