"""Fixtures that start the reference programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from libvirt_proto.capture.probes import tracefs
from libvirt_proto.capture.probes.errors import TraceError
from tests.differential import soak
from tests.differential.certificates import make
from tests.differential.installation import MACHINE, ROOTS, Installation
from tests.differential.judge import Judge
from tests.differential.libvirtd import Libvirtd, started
from tests.differential.releases import read_releases
from tests.differential.rpcgen import missing
from tests.differential.systemtap import PRELOAD, SystemTap


@pytest.fixture(scope="session")
def releases(shared: Path) -> dict[str, dict[str, str]]:
    """The definitions of all versions: release → file → text."""
    return read_releases(shared / "libvirt")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of an installation with all that are given."""
    if "installation" in metafunc.fixturenames and (roots := os.environ.get(ROOTS)):
        found = [Installation(Path(root)) for root in roots.split(os.pathsep)]
        ids = [installation.version for installation in found]
        metafunc.parametrize("installation", found, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def installation(request: pytest.FixtureRequest) -> Installation:
    """The libvirt under test: the machine's, or each that is given (`make test-releases`)."""
    found: Installation = getattr(request, "param", MACHINE)
    return found


@pytest.fixture(scope="session")
def libvirtd(installation: Installation) -> Iterator[Libvirtd]:
    """A real libvirtd on loopback. Tests that use it are marked for the tools."""
    if os.geteuid() != 0:
        pytest.skip("tcpdump needs root")
    with started(installation=installation) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def tracing() -> None:
    """Skip the test where the kernel does not allow uprobe events."""
    if os.geteuid() != 0:
        pytest.skip("uprobes need root")
    try:
        root = tracefs.find() or tracefs.mount()
    except TraceError as error:
        pytest.skip(str(error))
    if not (root / "uprobe_events").exists():
        pytest.skip("this kernel has no uprobe events")


@pytest.fixture(scope="session")
def certificates() -> Iterator[Path]:
    """A folder usable as virsh's pkipath, with one certificate for both sides. Tests that use it are marked
    for certtool. The daemon runs as another user, who cannot enter pytest's own folders."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        make(folder)
        yield folder


@pytest.fixture(scope="session")
def systemtap(tmp_path_factory: pytest.TempPathFactory) -> SystemTap:
    """SystemTap with the installed kernel headers. Tests that use it are marked for the tools (`stap`,
    `stapbpf`, `gcc`)."""
    kernels = sorted(path.parent.name for path in Path("/lib/modules").glob("*/build"))
    if not kernels:
        pytest.skip("SystemTap needs kernel headers in /lib/modules")
    if os.geteuid() != 0:
        pytest.skip("stapbpf needs root")
    folder = tmp_path_factory.mktemp("stap")
    tapsets = folder / "tapset"
    shutil.copytree(
        "/usr/share/systemtap/tapset", tapsets, ignore=shutil.ignore_patterns("libvirt_*"), symlinks=True
    )
    preload, source = folder / "preload.so", folder / "preload.c"
    source.write_text(PRELOAD)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(preload), str(source)], check=True)
    return SystemTap(folder, kernels[-1], tapsets, preload)


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """rpcgen's C for every type. Tests that use it are marked for rpcgen and gcc."""
    if lack := missing():
        pytest.skip(lack)
    return soak.judge_of_all(soak.all_types(), tmp_path_factory.mktemp("rpcgen"))
