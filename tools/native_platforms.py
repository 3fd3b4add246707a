"""The native core on other platforms: `make native-platforms`, a part of `make full`.

AArch64 and s390x, which is big-endian: the core is cross-compiled, and its tests and those of the codec run
with Debian's Python of the platform under qemu-user. The files are kept in .platforms/ for later runs. musl
and glibc 2.17: PyPI's ziglang compiles for them; the tests run with the one for glibc, and auditwheel judges
its wheel.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from hatch_build import RELEASE, TARGET, build
from tools import debian
from tools.checkout import CHECKOUT, copy_checkout

CACHE: Final = CHECKOUT / ".platforms"
PACKAGES: Final = ("python3-minimal", "libpython3-stdlib", "libpython3-dev")
SAFETY: Final = "tests/runtime/test_native_safety.py"
TESTS: Final = (
    SAFETY,
    *sorted(str(path.relative_to(CHECKOUT)) for path in CHECKOUT.glob("tests/property/test_native_*.py")),
    "tests/property/test_codec.py",
    "tests/runtime/codec",
)
#: Tests that start another Python, which needs an emulator, too, and tests of whole commands, which are slow.
EXCLUDED: Final = "not standard_library and not sparse_file_that_claims and not test_same_output"
PYTEST: Final = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
ZIG: Final = f"{shlex.quote(sys.executable)} -m ziglang cc -target"


class Platform(NamedTuple):
    """A platform: Debian's name, that of its compiler, and that of its emulator."""

    name: str
    triple: str
    emulator: str


EMULATED: Final = (
    Platform("arm64", "aarch64-linux-gnu", "qemu-aarch64-static"),
    Platform("s390x", "s390x-linux-gnu", "qemu-s390x-static"),
)


def main() -> None:
    """Test all platforms, or those named by the arguments, and exit with 1 if one fails."""
    wanted, failed = sys.argv[1:], []
    for platform in EMULATED:
        if not wanted or platform.name in wanted:
            print(f"== {platform.name}", flush=True)
            try:
                status = _emulated(platform)
            except debian.DebianError as error:
                sys.exit(f"make native-platforms: error: {error}")
            failed += [platform.name] if status else []
    for name, target in (("musl", "x86_64-linux-musl"), ("glibc", "x86_64-linux-gnu.2.17")):
        if not wanted or name in wanted:
            print(f"== {target}", flush=True)
            failed += [name] if _compiled(target, run=name == "glibc") else []
    if failed:
        sys.exit(f"make native-platforms: failed: {', '.join(failed)}")


def _emulated(platform: Platform) -> int:
    """Run the tests on a platform, and return pytest's status. Raises DebianError."""
    for tool, package in (
        (f"{platform.triple}-gcc", f"gcc-{platform.triple}"),
        (platform.emulator, "qemu-user-static"),
    ):
        if shutil.which(tool) is None:
            raise debian.DebianError(f"{tool} is not installed. On Debian: apt-get install {package}")
    folder = CACHE / platform.name
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _download(platform, folder)
        (folder / "complete").touch()
    system = folder / "system"
    (python,) = (path for path in (system / "usr/bin").glob("python3.*") if path.name.count(".") == 1)
    headers = system / "usr/include" / python.name
    # Debian's pyconfig.h includes the one of the platform.
    flags = ("-isystem", str(system / "usr/include"))
    site = folder / "site"
    if not site.exists():
        _install(folder, site, [f"{platform.triple}-gcc", *flags, f"-I{headers}"])
    with TemporaryDirectory(prefix="libvirt-proto-platform-") as tree:
        copy_checkout(Path(tree))
        problem = build(
            Path(tree), Path(tree, TARGET), (*RELEASE, *flags), f"{platform.triple}-gcc", str(headers)
        )
        if problem is not None:
            sys.exit(problem)
        paths = (tree, f"{tree}/codegen", str(site), _site_packages())
        environment = {**os.environ, "PYTHONPATH": ":".join(paths), "LIBVIRT_PROTO_PURE": "0"}
        command = [platform.emulator, "-L", str(system), str(python), *PYTEST, "-k", EXCLUDED, *TESTS]
        return subprocess.run(command, cwd=tree, env=environment, check=False).returncode


def _download(platform: Platform, folder: Path) -> None:
    """Unpack Debian's Python of a platform into folder/system, without the machine's package database."""
    lists, cache = folder / "apt/lists/partial", folder / "apt/cache/archives/partial"
    lists.mkdir(parents=True)
    cache.mkdir(parents=True)
    status = folder / "apt/status"
    status.touch()
    settings = {
        "APT::Architecture": platform.name,
        "APT::Architectures": platform.name,
        "APT::Sandbox::User": "root",
        "Dir::State": folder / "apt",
        "Dir::State::lists": lists.parent,
        "Dir::State::status": status,
        "Dir::Cache": folder / "apt/cache",
    }
    apt = [
        "apt-get",
        "-qq",
        *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
    ]
    debian.run(*apt, "update")
    debian.run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES)
    for package in sorted(cache.parent.glob("*.deb")):
        debian.run("dpkg-deb", "--extract", str(package), str(folder / "system"))
    shutil.rmtree(folder / "apt")


def _install(folder: Path, site: Path, compiler: list[str]) -> None:
    """Install packages that are not pure Python: msgspec, cross-compiled, and hypothesis in its variant for
    any platform. Everything else comes from .venv."""
    pip = [sys.executable, "-m", "pip", "--quiet"]
    sources = folder / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    exact = f"msgspec=={version('msgspec')}"
    debian.run(*pip, "download", "--no-deps", "--no-binary=:all:", f"--dest={sources}", exact)
    (archive,) = sources.iterdir()
    with tarfile.open(archive) as members:
        members.extractall(sources)  # our own dependency, of the version that is installed
    (source,) = sources.rglob("_core.c")
    ready = folder / "site.new"
    shutil.rmtree(ready, ignore_errors=True)
    shutil.copytree(source.parent, ready / "msgspec")
    debian.run(
        *compiler, "-O1", "-w", "-shared", "-fPIC", str(source), "-o", str(ready / "msgspec/_core.abi3.so")
    )
    debian.run(
        *pip,
        "install",
        f"--target={ready}",
        "--platform=any",
        "--only-binary=:all:",
        "--no-deps",
        "hypothesis",
    )
    ready.rename(site)


def _site_packages() -> str:
    import pytest

    return str(Path(pytest.__file__).parent.parent)


def _compiled(target: str, *, run: bool) -> int:
    """Compile for a target, run the tests with the result if this machine can, and return a status."""
    with TemporaryDirectory(prefix="libvirt-proto-platform-") as folder:
        root = Path(folder, "tree")
        copy_checkout(root)
        problem = build(root, root / TARGET, RELEASE, f"{ZIG} {target}")
        if problem is not None:
            print(problem)
            return 1
        if not run:
            return 0
        environment = {**os.environ, "LIBVIRT_PROTO_NATIVE": "1", "CC": f"{ZIG} {target}"}
        wheel = [sys.executable, "-m", "build", "--wheel", "--no-isolation", f"--outdir={folder}", str(root)]
        subprocess.run(wheel, env=environment, stdout=subprocess.DEVNULL, check=True)
        (built,) = Path(folder).glob("*.whl")
        subprocess.run([sys.executable, "-m", "auditwheel", "show", str(built)], check=True)
        tests = [sys.executable, *PYTEST, SAFETY]
        return subprocess.run(tests, cwd=root, check=False).returncode


if __name__ == "__main__":
    main()
