"""The registry: numbers, names and types; definitions given at run time."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from libvirt_proto import decode_message, encode_message, registry
from libvirt_proto.definitions import compiled
from libvirt_proto.errors import NotDefinitions, Truncated
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.pipeline import compile_python
from libvirt_proto_codegen.targets.python import Package

#: Numbers and names from libvirt's documents and the wire-format notes.
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


def test_finds_programs() -> None:
    assert {program.number: program.name for program in registry.default().programs()} == PROGRAMS
    assert registry.default().numbers == frozenset(PROGRAMS)
    for number, name in PROGRAMS.items():
        assert registry.program(number) is registry.program(name)
        assert registry.default().find(number, 1) is registry.program(name)
        assert registry.default().find(number, 2) is None


def test_names_and_numbers_round_trip() -> None:
    procedure = registry.program(0x20008086).procedure(66)
    assert (procedure.name, procedure.symbol) == ("auth_list", "REMOTE_PROC_AUTH_LIST")
    for key in ("auth_list", "REMOTE_PROC_AUTH_LIST"):
        assert registry.program("REMOTE_PROGRAM").procedure(key) is procedure
    assert procedure.args is None
    assert procedure.ret is registry.default().type("remote_auth_list_ret")


def test_procedures_have_annotations() -> None:
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


def test_unknown_names_raise_key_error() -> None:
    for key in (5, "nonsense"):
        with pytest.raises(KeyError):
            registry.program(key)
        with pytest.raises(KeyError):
            registry.program("remote").procedure(key if key != 5 else 99999)
    with pytest.raises(KeyError):
        registry.program("remote", 2)
    with pytest.raises(KeyError):
        registry.default().type("nonsense")
    with pytest.raises(LookupError, match=r"1\.2\.22 is not bundled .*1\.2\.21, 1\.3\.0"):
        registry.release("1.2.22")


def test_types_have_text_and_size() -> None:
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


def test_older_release_has_its_own_names_and_limits() -> None:
    old = registry.release("0.9.7")
    assert old.release == "0.9.7"
    assert old.program("remote").procedure(1).name == "open"
    assert registry.program("remote").procedure(1).name == "connect_open"
    assert old.type("remote_nonnull_string").max_size == 4 + 65536
    assert old.procedure(0x20008086, 1, 300) is None
    assert old.stream_hole is None


def test_loaded_definitions_equal_committed_ones(root: Path, captures: Path) -> None:
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


def test_reports_unusable_definitions(tmp_path: Path) -> None:
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


def test_module_has_its_name() -> None:
    assert repr(registry.default().module("remote")) == "Module('remote')"


#: Prints every file that is opened and every folder that is created or listed below the given folder.
WATCH = """
import sys
watched = sys.argv.pop(1)
def hook(event, arguments):
    if event in ("open", "os.mkdir", "os.listdir", "os.scandir", "os.rename"):
        if isinstance(arguments[0], str) and arguments[0].startswith(watched):
            print(event, arguments[0])
sys.addaudithook(hook)
from libvirt_proto import registry
"""


def run(program: str, *words: str | Path, **environment: str) -> str:
    """The output of a program in a separate process."""
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout


def plant(folder: Path) -> Path:
    """Make a folder a package that leaves a trace when it is run; return the trace's path."""
    folder.mkdir(parents=True, exist_ok=True)
    trace = folder / "was-run"
    (folder / "__init__.py").write_text(
        f"open({str(trace)!r}, 'w').close()\nRELEASE = None\nMODULES = {{}}\n"
    )
    return trace


def test_compilation_opens_nothing_below_home_and_cache(tmp_path: Path) -> None:
    plant(tmp_path / ".cache" / "libvirt-proto" / "0123456789abcdef0123456789abcdef")
    program = WATCH + "print(registry.release('10.0.0').type('remote_uuid').max_size)"
    assert run(program, tmp_path, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / ".cache")) == "16\n"
    assert run(program, tmp_path, HOME=str(tmp_path), XDG_CACHE_HOME="") == "16\n"


def test_planted_package_of_same_name_is_not_run(tmp_path: Path) -> None:
    """The working directory may be on the path, and anyone can derive the names of packages in memory."""
    name = type(
        registry.release("10.0.0").type("remote_domain_get_info_ret").from_bytes(bytes(32))
    ).__module__
    trace = plant(tmp_path / name.partition(".")[0])
    program = "import sys; sys.path.insert(0, sys.argv[1])\nfrom libvirt_proto import registry\n"
    assert run(program + "print(registry.release('10.0.0').release)", tmp_path) == "10.0.0\n"
    assert not trace.exists()


def test_entry_points_in_the_working_directory_are_not_consulted(tmp_path: Path) -> None:
    """Python puts the working directory on the path with -c, with -m and for an empty entry in PYTHONPATH."""
    information = tmp_path / "evil-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (information / "entry_points.txt").write_text(
        "[libvirt_proto.compiler]\nrelease = evil:f\npython = evil:f\n"
    )
    trace = tmp_path / "was-run"
    (tmp_path / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    program = (
        "import os, sys; os.chdir(sys.argv[1]); sys.path.insert(0, '')\n"
        "from libvirt_proto import registry; print(registry.release('10.0.0').release)"
    )
    assert run(program, tmp_path) == "10.0.0\n"
    assert not trace.exists()


def test_folder_of_definitions_is_not_searched_for_code(tmp_path: Path) -> None:
    trace = plant(tmp_path)
    (tmp_path / "one.py").write_text("raise SystemExit('run')\n")
    (tmp_path / "one.x").write_text("const A = 1;\ntypedef int t;\n")
    module = registry.load(tmp_path).module("one")
    assert (module.constants, list(module.types)) == ({"A": 1}, ["t"])
    assert not trace.exists()


def test_package_is_loaded_only_when_asked_for(tmp_path: Path) -> None:
    trace = plant(tmp_path)
    with pytest.raises(NotDefinitions, match=r"expected definitions, got a Python package without \.x files"):
        registry.load(tmp_path)
    assert not trace.exists()
    assert registry.load(tmp_path, package=True).modules() == ()
    assert trace.exists()
    with pytest.raises(ValueError, match="constants cannot be defined for a generated package"):
        registry.load(tmp_path, package=True, defines={"A": 1})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ImportError('generated for API 99')\n", "generated for API 99"),
        ("def\n", "invalid syntax"),
        ("1 / 0\n", "division by zero"),
        ("", "it was not generated by libvirt-proto"),
        (None, "No such file"),
    ],
)
def test_unusable_package_is_an_import_error_and_is_not_remembered(
    tmp_path: Path, code: str | None, message: str
) -> None:
    if code is not None:
        (tmp_path / "__init__.py").write_text(code)
    for _ in range(2):
        with pytest.raises(ImportError, match=f"cannot import .*{message}"):
            registry.load(tmp_path, package=True)
    (tmp_path / "__init__.py").write_text("RELEASE = None\nMODULES = {}\n#" + " " * 99)
    assert registry.load(tmp_path, package=True).modules() == ()


def test_generated_package_equals_its_definitions(root: Path, tmp_path: Path) -> None:
    source = root / "tests" / "definitions" / "file.x"
    for name, text in compile_python([source]).items():
        (tmp_path / name).write_text(text)
    loaded = registry.load(tmp_path, package=True)
    compiled_ = registry.load(source)
    assert loaded.module("file").type_names == compiled_.module("file").type_names
    assert loaded.type("filetype").text == compiled_.type("filetype").text


def test_equal_definitions_share_a_package(tmp_path: Path) -> None:
    (tmp_path / "few.x").write_text("struct few { opaque a<SIZE>; };\n")
    one, other, third = (registry.load(tmp_path, defines={"SIZE": size}) for size in (8, 8, 12))
    assert one.type("few") is other.type("few")
    assert third.type("few").max_size == one.type("few").max_size + 4
    (tmp_path / "few.x").write_text("struct few { opaque a[SIZE]; };\n")
    assert registry.load(tmp_path, defines={"SIZE": 8}).type("few").max_size == 8


def test_module_is_rendered_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = []
    get = Package.__getitem__
    monkeypatch.setattr(Package, "__getitem__", lambda self, path: rendered.append(path) or get(self, path))
    (tmp_path / "one.x").write_text("typedef int one;\n")
    (tmp_path / "two.x").write_text("typedef int two; const A = 1;\n")
    loaded = registry.load(tmp_path)
    assert loaded.module("two").constants == {"A": 1}
    assert set(rendered) == {"__init__.py"}
    assert loaded.type("one").max_size == 4
    assert set(rendered) == {"__init__.py", "_plan.py", "one.py"}
    assert rendered.count("one.py") == 1


def test_traceback_shows_lines_of_a_module_in_memory(tmp_path: Path) -> None:
    (tmp_path / "one.x").write_text("struct s { int a; };\n")
    code = registry.load(tmp_path).module("one").code
    with pytest.raises(Truncated) as raised:
        code.decode_s(b"", 0)
    frame = traceback.extract_tb(raised.value.__traceback__)[-2]
    assert frame.filename == "<definitions>/one.py"
    assert frame.line == "a, pos = read_int(buffer, pos)"


def test_compilation_restores_garbage_collector_state(tmp_path: Path) -> None:
    (tmp_path / "one.x").write_text("struct s { int a; hyper b; double c; };\n")
    for enabled in (False, True):
        (gc.enable if enabled else gc.disable)()
        try:
            (tmp_path / "two.x").write_text(f"const A = {int(enabled)};\n")
            assert registry.load(tmp_path).module("one").types["s"].max_size == 20
            assert gc.isenabled() is enabled
        finally:
            gc.enable()


def test_compilation_keeps_frozen_objects_frozen(tmp_path: Path) -> None:
    program = (
        "import gc, sys; from libvirt_proto import registry\n"
        "gc.freeze(); count = gc.get_freeze_count()\n"
        "registry.load(sys.argv[1])\n"
        "print(gc.get_freeze_count() > count // 2)"  # a few have been collected meanwhile
    )
    (tmp_path / "one.x").write_text("const A = 1;\n")
    assert run(program, tmp_path / "one.x") == "True\n"


def test_reports_missing_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "GENERATOR", "no_such_generator")
    with pytest.raises(LookupError, match=r"the generator is not installed: .*no_such_generator"):
        registry.load(tmp_path / "one.x")
