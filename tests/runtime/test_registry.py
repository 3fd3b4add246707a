"""The registry: numbers, names and types; definitions given at run time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libvirt_proto import decode_message, encode_message, registry
from libvirt_proto.definitions import compiled
from libvirt_proto_codegen.errors import DefinitionError

#: Numbers and names as libvirt's documents and wire-format notes give them.
PROGRAMS = {
    0x20008086: "remote",
    0x20008087: "qemu",
    0x00068000: "lxc",
    0x06900690: "admin",
    0x0EA7BEEF: "lock_space",
    0x87539319: "log_manager",
    0x12341234: "lxc_monitor",
    0x6B656570: "keepalive",
}


def test_programs() -> None:
    assert {program.number: program.name for program in registry.default().programs()} == PROGRAMS
    assert registry.default().numbers == frozenset(PROGRAMS)
    for number, name in PROGRAMS.items():
        assert registry.program(number) is registry.program(name)
        assert registry.default().find(number, 1) is registry.program(name)
        assert registry.default().find(number, 2) is None


def test_there_and_back() -> None:
    procedure = registry.program(0x20008086).procedure(66)
    assert (procedure.name, procedure.symbol) == ("auth_list", "REMOTE_PROC_AUTH_LIST")
    for key in ("auth_list", "REMOTE_PROC_AUTH_LIST"):
        assert registry.program("REMOTE_PROGRAM").procedure(key) is procedure
    assert procedure.args is None
    assert procedure.ret is registry.default().type("remote_auth_list_ret")


def test_annotations() -> None:
    remote = registry.program("remote")
    download = remote.procedure("storage_vol_download").annotations
    assert (download.generate, download.readstream, download.sparseflag) == (
        "both",
        1,
        "VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM",
    )
    rules = remote.procedure("domain_set_throttle_group").annotations.acl
    assert rules is not None
    assert [str(rule) for rule in rules] == [
        "domain:write",
        "domain:save:!VIR_DOMAIN_AFFECT_CONFIG|VIR_DOMAIN_AFFECT_LIVE",
        "domain:save:VIR_DOMAIN_AFFECT_CONFIG",
    ]
    assert remote.procedure("connect_close").annotations.acl == ()
    register = registry.program("qemu").procedure(4).annotations
    assert [str(rule) for rule in register.aclfilter] == ["domain:getattr"]


def test_what_is_not_there() -> None:
    for key in (5, "nonsense"):
        with pytest.raises(KeyError):
            registry.program(key)
        with pytest.raises(KeyError):
            registry.program("remote").procedure(key if key != 5 else 99999)
    with pytest.raises(KeyError):
        registry.program("remote", 2)
    with pytest.raises(KeyError):
        registry.default().type("nonsense")
    with pytest.raises(LookupError, match=r"5\.0\.0 .*4\.5\.0 and 9\.8\.0"):
        registry.release("5.0.0")


def test_types_know_their_text_and_size() -> None:
    domain = registry.default().type("remote_nonnull_domain")
    assert domain.text.splitlines() == [
        "struct remote_nonnull_domain {",
        "    remote_nonnull_string name;",
        "    remote_uuid uuid;",
        "    int id;",
        "};",
    ]
    assert (domain.min_size, domain.max_size) == (24, 24 + 4194304)
    assert registry.default().type("remote_uuid").text == "typedef opaque remote_uuid[VIR_UUID_BUFLEN];"


def test_an_older_release_has_its_own_names_and_limits() -> None:
    old = registry.release("0.9.7")
    assert old.release == "0.9.7"
    assert old.program("remote").procedure(1).name == "open"
    assert registry.program("remote").procedure(1).name == "connect_open"
    assert old.type("remote_nonnull_string").max_size == 4 + 65536
    assert old.procedure(0x20008086, 1, 300) is None
    assert old.stream_hole is None


def test_loaded_definitions_behave_like_the_committed_ones(root: Path, captures: Path) -> None:
    default = registry.default()
    loaded = registry.load(root / "protocol-defs" / str(default.release))
    assert loaded is not default
    assert loaded.release == default.release
    assert [module.name for module in loaded.modules()] == [module.name for module in default.modules()]
    for ours, theirs in zip(loaded.modules(), default.modules(), strict=True):
        assert [(t.name, t.text, t.min_size, t.max_size) for t in ours.types.values()] == [
            (t.name, t.text, t.min_size, t.max_size) for t in theirs.types.values()
        ]
        assert ours.constants == theirs.constants
        assert list(ours.enums) == list(theirs.enums)
    for words in (captures / "hand-made-messages.hex").read_text().splitlines():
        if words.startswith(("#", "47")) or not words:
            continue
        data = bytes.fromhex(words)
        assert repr(decode_message(data, registry=loaded)) == repr(decode_message(data))
        assert encode_message(decode_message(data, registry=loaded), registry=loaded) == data


def test_loading_keeps_what_it_compiled(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from libvirt_proto import registry\n"
        "found = registry.load(sys.argv[1], defines={'SIZE': int(sys.argv[2])}).type('few')\n"
        "print(found.max_size, 'lark' in sys.modules)"
    )
    source = tmp_path / "few.x"
    source.write_text("typedef opaque few<SIZE>;\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def load(size: int) -> str:
        command = [sys.executable, "-c", program, str(source), str(size)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    assert load(8) == "12 True"
    assert load(8) == "12 False"
    assert load(16) == "20 True"
    source.write_text("typedef opaque few[SIZE];\n")
    assert load(16) == "16 True"


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    source = tmp_path / "few.x"
    source.write_text("typedef opaque few<8>;\n")
    program = (
        "import sys; from libvirt_proto import registry\n"
        "print(registry.load(sys.argv[1]).type('few').max_size)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(source)],
        capture_output=True,
        text=True,
        check=True,
        env={"XDG_CACHE_HOME": "/proc/nowhere", "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )
    assert run.stdout.strip() == "12"


def test_definitions_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    source = tmp_path / "bad.x"
    source.write_text("struct a { b c; };\n")
    with pytest.raises(DefinitionError, match=r"bad\.x:1:12: error"):
        registry.load(source)
    with pytest.raises((DefinitionError, OSError)):
        registry.load(tmp_path / "nothing.x")


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys, libvirt_proto; print([m for m in sys.modules if m.startswith('libvirt_proto.')])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_module_says_its_name() -> None:
    assert repr(registry.default().module("remote")) == "Module('remote')"


DEFINITIONS = "const A = 1;\ntypedef int t;\n"


def loads(folder: Path, environment: dict[str, str]) -> str:
    """What a process of its own finds in a file, and where it keeps what was compiled."""
    (folder / "mine.x").write_text(DEFINITIONS)
    program = (
        "import sys; from libvirt_proto import registry\n"
        "module = registry.load(sys.argv[1]).module('mine')\n"
        "print(sorted(module.types), module.code.__file__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder / "mine.x")],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def test_what_was_compiled_is_kept(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    out = loads(tmp_path, {"XDG_CACHE_HOME": str(cache)})
    assert out.startswith(f"['t'] {cache}/libvirt-proto/")
    (kept,) = (cache / "libvirt-proto").iterdir()
    assert sorted(path.name for path in kept.glob("*.py")) == ["__init__.py", "_plan.py", "mine.py"]
    assert loads(tmp_path, {"XDG_CACHE_HOME": str(cache)}) == out


def test_without_a_place_to_keep_it_a_temporary_folder_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = loads(tmp_path, {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)})
    place = Path(out.split()[1])
    assert out.startswith("['t'] ")
    assert place.is_relative_to(tmp_path)
    assert not place.exists(), "gone with the process"


def test_a_package_that_cannot_be_imported_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("raise ImportError('generated for API 99')\n")
    for _ in range(2):
        with pytest.raises(ImportError, match="generated for API 99"):
            registry.load(tmp_path)
    (tmp_path / "__init__.py").write_text("RELEASE = None\nMODULES = {}\n")
    assert registry.load(tmp_path).modules() == ()


def test_without_a_compiler_it_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "GROUP", "no.such.group")
    with pytest.raises(LookupError, match=r"nothing that compiles .* installed .*no\.such\.group: release"):
        registry.release("0.9.7")
