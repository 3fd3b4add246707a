"""Configuration of apt and pip that `make bare` uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import bare, debian


def test_pip_options_become_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment overrides a command's section, which overrides the global one."""
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://index.example/simple\ntimeout = 7\nretries = 3\n"
        f"find-links =\n    {tmp_path}\n    file://{tmp_path}/with%20blank/simple\n[install]\ntimeout = 8\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_RETRIES", "4")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    found = bare._pip_variables()
    assert found["PIP_INDEX_URL"] == "https://index.example/simple"
    assert (found["PIP_TIMEOUT"], found["PIP_RETRIES"]) == ("8", "4")
    assert found["PIP_FIND_LINKS"].split() == [str(tmp_path), f"file://{tmp_path}/with%20blank/simple"]


def test_local_indexes_and_wheels_are_shared(tmp_path: Path) -> None:
    """With a local index, the folder above it is shared, because its links lead there."""
    (tmp_path / "with blank" / "simple").mkdir(parents=True)
    address = f"file://{tmp_path}/with%20blank/simple"
    variables = {
        "PIP_FIND_LINKS": f"{address} {tmp_path} https://index.example/wheels",
        "PIP_CERT": str(tmp_path / "missing"),
    }
    assert bare._local_paths(variables) == [str(tmp_path), str(tmp_path / "with blank")]


@pytest.mark.system("apt-config")
def test_apt_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "apt.conf"
    config.write_text(
        'Acquire::http::Proxy "http://proxy.example:3128/";\nAcquire::https::Proxy "DIRECT";\n'
        'Acquire::http::Proxy::direct.example "DIRECT";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    assert debian.apt_proxies() == {"http_proxy": "http://proxy.example:3128/"}
