"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from libvirt_proto import native
from tests.support.examples import PROFILES

ROOT = Path(__file__).resolve().parent.parent

# readline, which pytest imports, sets these for child processes such as pytest-xdist's workers. Commands fit
# their tables to COLUMNS.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# `make check` and CI select `full`. No test depends on elapsed time; a busy machine must not fail one.
for _profile, _examples in PROFILES.items():
    settings.register_profile(
        _profile,
        max_examples=_examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=_profile != "random",
    )
settings.load_profile("quick")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def captures() -> Path:
    """The captures that are kept with the tests."""
    return ROOT / "tests" / "captures"


#: The reason of a skipped test that reads the shared data folder, which a checkout may lack.
NO_SHARED = "the shared data folder is missing"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's shared data (definitions of 162 versions, captures), or skip the test."""
    path = Path(os.environ.get("LIBVIRT_PROTO_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(NO_SHARED)
    return path


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without the garbage collector, and make its full passes rare and cheap afterwards.

    Each would visit the hundreds of thousands of objects that live until the end, for a fifth of the CPU time
    of tests that allocate much. The younger generations are collected as usual.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], 100)
        gc.enable()


#: The reason of a skipped test of the native core.
NO_CORE = "no native core"
#: Set in CI, where every tool is installed: a skipped system test fails.
REQUIRE_SYSTEM = os.environ.get("LIBVIRT_PROTO_REQUIRE_SYSTEM") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `system("tshark")` where the tool is missing, and those marked `native` without the
    native core, with a reason."""
    for item in items:
        if item.get_closest_marker("native") and native.core() is None:
            item.add_marker(pytest.mark.skip(reason=f"{NO_CORE}: {native.state()}"))
        for mark in item.iter_markers("system"):
            missing = [tool for tool in mark.args if not shutil.which(tool)]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"system test: {', '.join(missing)} not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a skipped system test as failed where all tools are required."""
    report = yield
    if REQUIRE_SYSTEM and report.skipped:
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        without_core = NO_CORE in reason and not native.is_switched_off()
        if without_core or (item.get_closest_marker("system") and NO_SHARED not in reason):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid}: a system test must not be skipped here: {reason}"
    return report
