"""Fixtures for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from libvirt_proto.definitions import compiled

ROOT = Path(__file__).resolve().parent.parent

# No test is about seconds; a busy machine is no failure.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def captures() -> Path:
    """The captures that are kept with the tests."""
    return ROOT / "tests" / "captures"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared data (definitions of 133 versions, captures), where it is there."""
    path = Path(os.environ.get("LIBVIRT_PROTO_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip("the shared data folder is not beside the repository")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing that was compiled by another version of the generator is taken from the user's cache, nor from
    that of tests that ran in this process before."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    compiled._cache_folder.cache_clear()


#: Set in CI, where every tool is there: a system test that would be skipped fails.
REQUIRE_SYSTEM = os.environ.get("LIBVIRT_PROTO_REQUIRE_SYSTEM") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `system("tshark")` run where the tool is and say why where it is not."""
    for item in items:
        for mark in item.iter_markers("system"):
            missing = [tool for tool in mark.args if not shutil.which(tool)]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"system test: {', '.join(missing)} not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A system test that was skipped, for whatever reason, has failed where all tools must be there."""
    report = yield
    if REQUIRE_SYSTEM and report.skipped and item.get_closest_marker("system"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: a system test must not be skipped here: {reason}"
    return report
