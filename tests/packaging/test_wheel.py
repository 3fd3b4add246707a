"""The wheel, installed into an empty environment and run in an empty folder."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tools.checkout import copy_checkout

#: The native core in a wheel and in the tree.
CORE = "libvirt_proto/_native.abi3.so"
#: pip's error when it cannot reach an index.
NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|No route to host"
)

#: RFC 4506 §7 in short: definitions unrelated to libvirt.
SHAPE_X = """\
enum kind { CIRCLE = 1, SQUARE = 2 };
union shape switch (kind k) {
case CIRCLE:
    unsigned int radius;
default:
    void;
};
"""


COMMANDS = (
    *(
        "decode",
        "relay",
        "trace",
        "stats",
        "encode",
        "guess",
        "lookup",
        "list",
        "describe",
        "identify",
        "generate",
        "import",
    ),
    "completion",
)


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and its dependencies, and an empty working folder."""

    bin: Path
    folder: Path

    def run(self, *command: str, status: int = 0, **variables: str) -> str:
        """Run a command and return its standard output; standard error has no traceback."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
            | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


def quiet(command: list[str], folder: Path, **variables: str) -> None:
    """Run a step that needs PyPI."""
    # pip's own cache persists; the build must not be measured.
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME" and not k.startswith("COV")}
    environment.update(variables)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode and NO_NETWORK.search(done.stdout + done.stderr):
        pytest.skip("PyPI cannot be reached")
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def dist(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    quiet([sys.executable, "-m", "build", "--outdir", str(folder), str(root)], folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = tmp_path_factory.mktemp("environment")
    quiet([sys.executable, "-m", "venv", "--without-pip", str(environment)], environment)
    python = str(environment / "bin" / "python")
    quiet([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", str(wheel)], environment)
    return Installed(environment / "bin", tmp_path_factory.mktemp("empty"))


def test_wheel_contents(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"libvirt_proto", "libvirt_proto_codegen"}
    # One is for the tests of users.
    assert [name for name in names if "test" in name.lower()] == ["libvirt_proto/testing.py"]
    for source, place in [
        (root / "libvirt_proto", "libvirt_proto"),
        (root / "codegen" / "libvirt_proto_codegen", "libvirt_proto_codegen"),
        (root / "protocol-defs", "libvirt_proto_codegen/protocol-defs"),
    ]:
        expected = {
            f"{place}/{path.relative_to(source)}"
            for path in source.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("_native.")
        }
        assert expected <= names, place
    assert "libvirt_proto/_native.pyi" in names
    assert "libvirt_proto/_native.c" not in names, "an installed core belongs to no source"


def built(root: Path, folder: Path, **variables: str) -> Path:
    """The wheel of the tree, built without isolation."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(root)]
    quiet(command, folder, **variables)
    (path,) = folder.glob("*.whl")
    return path


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_metrics_are_an_extra(installed: Installed, root: Path) -> None:
    """The base install lacks prometheus-client, and the error names the extra."""
    done = subprocess.run(
        [installed.bin / "libvirt-proto", "decode", "-f", "--metrics", root / "tests/captures/tour.pcap"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (
        1,
        "libvirt-proto: error: metrics require prometheus-client: pip install 'libvirt-proto[metrics]'\n",
    )


@pytest.mark.system("gcc")
def test_wheel_with_the_native_core(root: Path, tmp_path: Path) -> None:
    """One wheel for all Pythons from 3.11, hardened, and without a path of the machine that built it."""
    path = built(root, tmp_path, LIBVIRT_PROTO_NATIVE="1")
    assert re.fullmatch(r"libvirt_proto-[\d.]+-cp311-abi3-linux_\w+\.whl", path.name)
    with zipfile.ZipFile(path) as archive:
        data = archive.read(CORE)
    assert str(root).encode() not in data
    library = ELFFile(io.BytesIO(data))
    dynamic = library.get_section_by_name(".dynamic")
    assert "PT_GNU_RELRO" in {segment["p_type"] for segment in library.iter_segments()}
    assert any(tag.entry.d_tag == "DT_FLAGS" and tag.entry.d_val & 8 for tag in dynamic.iter_tags()), (
        "BIND_NOW"
    )
    symbols = [symbol for symbol in library.get_section_by_name(".dynsym").iter_symbols() if symbol.name]
    assert [s.name for s in symbols if s["st_shndx"] != "SHN_UNDEF"] == ["PyInit__native"]
    assert "__stack_chk_fail" in {symbol.name for symbol in symbols}


@pytest.mark.system("gcc")
def test_flags_of_distributions(root: Path, tmp_path: Path) -> None:
    """They follow ours, so that they win: debug information, a build ID, the level of fortification."""
    flags = {
        "CPPFLAGS": "-D_FORTIFY_SOURCE=3 -Werror",  # a second definition would be a warning
        "CFLAGS": "-g -O1 '-ffile-prefix-map=/nothing here=.'",
        "LDFLAGS": "-Wl,--build-id=0x12345678 -Wl,-z,lazy",
    }
    path = built(root, tmp_path, LIBVIRT_PROTO_NATIVE="1", **flags)
    with zipfile.ZipFile(path) as archive:
        data = archive.read(CORE)
    library = ELFFile(io.BytesIO(data))
    assert library.get_section_by_name(".note.gnu.build-id").data().endswith(b"\x12\x34\x56\x78")
    assert library.has_dwarf_info()
    assert str(root).encode() not in data
    dynamic = library.get_section_by_name(".dynamic")
    assert not any(tag.entry.d_tag == "DT_FLAGS" and tag.entry.d_val & 8 for tag in dynamic.iter_tags())


@pytest.mark.parametrize(
    "variables",
    [{"CC": "no-such-compiler"}, {"CC": "false"}, {"LIBVIRT_PROTO_NATIVE": "0"}],
    ids=["without a compiler", "with a broken compiler", "left out"],
)
def test_wheel_without_the_native_core(variables: dict[str, str], root: Path, tmp_path: Path) -> None:
    path = built(root, tmp_path, **{"LIBVIRT_PROTO_NATIVE": "auto", **variables})
    assert path.name.endswith("-py3-none-any.whl")
    assert CORE not in members(path)


def test_builds_fail_without_a_required_compiler(root: Path, tmp_path: Path) -> None:
    for variables, problem in [
        ({"LIBVIRT_PROTO_NATIVE": "1", "CC": "no-such-compiler"}, "no-such-compiler: No such file"),
        ({"LIBVIRT_PROTO_NATIVE": "1", "CFLAGS": "'"}, "LDFLAGS: No closing quotation"),
        ({"LIBVIRT_PROTO_NATIVE": "yes"}, "LIBVIRT_PROTO_NATIVE: expected 0, 1 or auto, got 'yes'"),
    ]:
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path), str(root)]
        done = subprocess.run(
            command, env=os.environ | variables, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 1
        assert problem in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.system("git")
def test_editable_installation(root: Path, tmp_path: Path) -> None:
    """It puts the core into the tree, and a build without a compiler removes the one that was there."""
    tree = tmp_path / "tree"
    copy_checkout(tree)
    environment, core = tmp_path / "environment", tree / CORE
    quiet([sys.executable, "-m", "venv", "--without-pip", str(environment)], tmp_path)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "--quiet"]
    for compiler in [*(["gcc"] if shutil.which("gcc") else []), "no-such-compiler"]:
        install = [*pip, "--no-deps", "--editable", str(tree)]
        quiet(install, tmp_path, CC=compiler, LIBVIRT_PROTO_NATIVE="auto")
        assert core.exists() == (compiler == "gcc")
        assert not list((environment / "lib").rglob("_native.*")), "it is not in the environment"


def test_sdist_contents(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml"} <= names
    assert {"CONTRIBUTING.md", "SECURITY.md"} <= names
    assert {"tests/conftest.py", "tests/captures/tour.pcap", "docs/architecture.md"} <= names
    assert {"hatch_build.py", "libvirt_proto/_native.c", "libvirt_proto/native.plan"} <= names
    assert CORE not in names
    assert not [name for name in names if name.startswith((".venv", ".git/", "demo"))]


def test_builds_are_reproducible(dist: Path, tmp_path: Path) -> None:
    """Built again from the sdist, elsewhere, with other times and another umask: the bytes are equal."""
    (sdist,) = dist.glob("*.tar.gz")
    (tmp_path / "source").mkdir()  # tarfile's filters are missing in 3.11.2 and required later
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path / "source"], check=True)
    (source,) = (tmp_path / "source").iterdir()
    for path in source.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(path.stat().st_mode & 0o700)
    quiet([sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(source)], tmp_path)
    built = {path.name: path.read_bytes() for path in (tmp_path / "dist").iterdir()}
    assert len(built) == 2
    assert built == {path.name: path.read_bytes() for path in dist.iterdir()}


def test_imports_nothing_from_the_repository(installed: Installed, root: Path) -> None:
    script = """
import json, pkgutil, importlib, sys
import libvirt_proto, libvirt_proto_codegen
for package in (libvirt_proto, libvirt_proto_codegen):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:  # packages of extras, and of the user's tests
                assert error.name in ("prometheus_client", "pyarrow", "pytest"), error
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(json.dumps({"files": [f for f in files if f], "path": sys.path}))
"""
    said = json.loads(installed.run("python", "-c", script))
    assert any("libvirt_proto_codegen" in file for file in said["files"])
    assert [file for file in said["files"] + said["path"] if file.startswith(str(root))] == []


def test_help_and_version(installed: Installed, root: Path) -> None:
    assert "Usage: libvirt-proto" in installed.run("libvirt-proto", "--help")
    assert "0.1.0" in installed.run("libvirt-proto", "--version")
    for command in COMMANDS:
        assert f"libvirt-proto {command}" in installed.run("libvirt-proto", command, "--help")


def test_native_core_of_the_wheel(installed: Installed, wheel: Path, captures: Path) -> None:
    """The installed package uses its core, and gives the same without it."""
    said = installed.run("libvirt-proto", "--version")
    expected = (
        "compiled" if CORE in members(wheel) else "not compiled: the package was built without a C compiler"
    )
    assert f"native core {expected})" in said
    off = {"LIBVIRT_PROTO_PURE": "1"}
    assert "switched off by LIBVIRT_PROTO_PURE" in installed.run("libvirt-proto", "--version", **off)
    shutil.copy(captures / "tour.pcap", installed.folder)
    for form in ("jsonl", "monitor"):
        command = ("libvirt-proto", "decode", "--format", form, "tour.pcap")
        lines = installed.run(*command)
        assert lines
        assert lines == installed.run(*command, **off)


def test_registry_commands(installed: Installed) -> None:
    assert "0x20008086" in installed.run("libvirt-proto", "list", "programs")
    assert "auth_list" in installed.run("libvirt-proto", "lookup", "66")
    assert "struct remote_nonnull_domain" in installed.run(
        "libvirt-proto", "describe", "remote_nonnull_domain"
    )


@pytest.mark.parametrize("form", ["pretty", "monitor", "jsonl"])
def test_decode(installed: Installed, captures: Path, form: str) -> None:
    shutil.copy(captures / "virsh-domname.pcap", installed.folder)
    out = installed.run("libvirt-proto", "decode", "--format", form, "virsh-domname.pcap")
    assert "auth_list" in out
    if form == "jsonl":
        messages = [json.loads(line) for line in out.splitlines()]
        assert [message["n"] for message in messages] == list(range(1, len(messages) + 1))
        assert messages[0]["time_ns"] > 0


def test_decode_and_encode_round_trip(installed: Installed, captures: Path) -> None:
    """The wheel has the commands' data files, such as the names of numbers."""
    shutil.copy(captures / "tour.pcap", installed.folder)
    reply = ("--procedure", "domain_get_state", "--type", "reply")
    lines = installed.run("libvirt-proto", "decode", "--format", "jsonl", *reply, "tour.pcap")
    assert '"state_name":"VIR_DOMAIN_RUNNING"' in lines
    (installed.folder / "lines.jsonl").write_text(lines, encoding="utf-8")
    installed.run("libvirt-proto", "encode", "lines.jsonl", "-o", "lines.raw")
    count = len(lines.splitlines())
    assert len((installed.folder / "lines.raw").read_bytes()) == count * 36
    found = json.loads(installed.run("libvirt-proto", "guess", "--format", "json", "lines.raw"))
    assert "domain_get_state" in json.dumps(found)
    figures = json.loads(installed.run("libvirt-proto", "stats", "--format", "json", "tour.pcap"))
    assert figures["totals"]["messages"] == 5012
    schema = json.loads(installed.run("libvirt-proto", "describe", "--json-schema", "domain_get_state"))
    assert "remote_domain_get_state_ret" in schema["$defs"]
    installed.run("libvirt-proto", "relay", "--listen", "nonsense", "--connect", "unix:/x", status=2)


def test_generated_modules_are_current(installed: Installed) -> None:
    out = installed.folder / "everything"
    installed.run("libvirt-proto", "generate", "-o", str(out))
    assert [path for path in out.rglob("*") if path.is_file()]
    installed.run("libvirt-proto", "generate", "--check", "-o", str(out))


def test_generate_systemtap(installed: Installed) -> None:
    installed.run("libvirt-proto", "generate", "systemtap", "-o", "tapset")
    assert "libvirt_rpc_program_name" in (installed.folder / "tapset" / "libvirt_functions.stp").read_text()


def test_generate_python_from_custom_definitions(installed: Installed) -> None:
    defs = installed.folder / "shapes"
    defs.mkdir()
    (defs / "shape.x").write_text(SHAPE_X, encoding="utf-8")
    installed.run("libvirt-proto", "generate", "python", "--defs", "shapes", "-o", "shapes_out")
    assert [path for path in (installed.folder / "shapes_out").rglob("*.py") if "CIRCLE" in path.read_text()]


def test_imports_folder(installed: Installed, root: Path) -> None:
    newest = root / "protocol-defs" / "12.9.0"
    shutil.copytree(newest, installed.folder / "source")
    installed.run("libvirt-proto", "import", "source", "--release", "12.9.0", "-o", "imported")
    for path in newest.glob("*.x"):
        (copy,) = (installed.folder / "imported").rglob(path.name)
        assert copy.read_text() == path.read_text(), path.name


def test_input_errors_have_no_traceback(installed: Installed) -> None:
    (installed.folder / "noise.bin").write_bytes(b"\xff" * 1000)
    installed.run("libvirt-proto", "decode", "noise.bin", status=1)
    installed.run("libvirt-proto", "decode", "not-there.pcap", status=2)
    installed.run("libvirt-proto", "frobnicate", status=2)
