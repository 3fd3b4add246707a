"""The bpftrace scripts. tests/differential runs them with bpftrace itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main
from libvirt_proto_codegen.commands import probes as command
from libvirt_proto_codegen.targets.bpftrace.operands import expression
from tests.support.elf import Site, elf

Run = Callable[..., Result]

SCRIPTS = ("rpc-monitor.bt", "rpc-latency.bt", "rpc-errors.bt")
MESSAGE = "8@%rbx 8@16(%rbx) 8@%rax 8@%rdx 8@%rcx 8@%rsi 4@%edi 4@%r8d"
LIBRARY: tuple[Site, ...] = (
    ("libvirt", "rpc_socket_new", "8@%rbx 8@%r12 8@%r13 8@%r15 8@%rax 8@%rdx"),
    ("libvirt", "rpc_socket_dispose", "8@%rbx"),
    ("libvirt", "rpc_socket_send_fd", "8@%rbx 8@%rax"),
    ("libvirt", "rpc_socket_recv_fd", "8@%rbx 8@%rax"),
    ("libvirt", "rpc_client_new", "8@%rbx 8@64(%rbx)"),
    ("libvirt", "rpc_client_dispose", "8@%rbx"),
    ("libvirt", "rpc_client_msg_tx_queue", MESSAGE),
    ("libvirt", "rpc_client_msg_rx", MESSAGE),
    ("libvirt", "rpc_server_client_new", "8@%rbx 8@80(%rbx)"),
    ("libvirt", "rpc_server_client_dispose", "8@%rbx"),
    ("libvirt", "rpc_server_client_msg_tx_queue", MESSAGE),
    ("libvirt", "rpc_server_client_msg_rx", MESSAGE),
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, ["generate", "bpftrace", *map(str, arguments)])

    return run


def library(*sites: Site, name: str = "libvirt.so.0") -> str:
    Path(name).write_bytes(elf(sites or LIBRARY))
    return name


def without(probe: str) -> tuple[Site, ...]:
    return tuple(site for site in LIBRARY if site[1] != probe)


@pytest.mark.parametrize(
    ("operand", "read"),
    [
        ("8@%rdi", 'reg("di")'),
        ("-8@%rbp", '(int64)reg("bp")'),
        ("4@%edi", '(uint32)reg("di")'),
        ("-4@%r8d", '(int32)reg("r8")'),
        ("2@%r15w", '(uint16)reg("r15")'),
        ("1@%sil", '(uint8)reg("si")'),
        ("-4@$77", "77"),
        ("8@$-1", "-1"),
        ("8@128(%rbx)", '*(uint64 *)uptr(reg("bx") + 128)'),
        ("-4@-20(%rbp)", '*(int32 *)uptr(reg("bp") - 20)'),
        ("4@(%rax)", '*(uint32 *)uptr(reg("ax") + 0)'),
        ("4@8(%rax,%rcx,4)", '*(uint32 *)uptr(reg("ax") + reg("cx") * 4 + 8)'),
        ("8@(%rax,%r9)", '*(uint64 *)uptr(reg("ax") + reg("r9") * 1 + 0)'),
        ("8@errors(%rip)", None),
        ("8@8(%rip)", None),
        ("8f@%xmm0", None),
        ("8@%rxx", None),
        ("8@(%rax,%rip)", None),
        ("8@%rdi;exit()", None),
        ("", None),
    ],
)
def test_translates_operands(operand: str, read: str | None) -> None:
    assert expression(operand) == read


def test_output_matches_golden_files(run: Run, root: Path, tmp_path: Path) -> None:
    """A program number above 2^31, in a hand-made library."""
    folder = root / "tests" / "golden" / "bpftrace"
    arguments = ("--defs", folder, "--library", library())
    result = run(*arguments, "-o", "out")
    assert (result.exit_code, result.output) == (0, "bpftrace: 3 files in out (3 new)\n")
    for name in SCRIPTS:
        assert (tmp_path / "out" / name).read_text() == (folder / name).read_text()
    result = run(*arguments, "-o", "out", "--check")
    assert (result.exit_code, result.output) == (0, "bpftrace: 3 files in out are current\n")
    (tmp_path / "out" / "rpc-errors.bt").unlink()
    assert "rpc-errors.bt is missing" in run(*arguments, "-o", "out", "--check").output


def test_names_every_procedure(run: Run, root: Path, tmp_path: Path) -> None:
    """Compared with the text of the definitions."""
    assert run("--release", "12.9.0", "--library", library(), "-o", ".").exit_code == 0
    folder = root / "protocol-defs" / "12.9.0"
    expected = set()
    for path in folder.glob("*.x"):
        found = re.findall(r"^ *[A-Z_]+?_PROC_(\w+) *= *(\d+)", path.read_text(), re.MULTILINE)
        expected |= {(int(number), name.lower()) for name, number in found}
    text = (tmp_path / "rpc-monitor.bt").read_text()
    made = re.findall(r'@procedure\[(\d+), 1, (\d+)\] = "(\w+)";', text)
    assert {(int(number), name) for _, number, name in made} == expected
    assert len(made) == 500
    assert '@program[2270401305] = "log_manager";' in text


def test_handles_argument_at_different_operands_per_site(run: Run, tmp_path: Path) -> None:
    """In hand-made files both sites have the same address, so the address distinguishes nothing else."""
    other = ("libvirt", "rpc_client_msg_rx", MESSAGE.replace("4@%edi", "-4@$2"))
    result = run("--library", library(*LIBRARY, other))
    assert result.exit_code == 1
    assert "two sites of rpc_client_msg_rx are indistinguishable" in result.output


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        (without("rpc_client_msg_rx"), "libvirt.so.0 has no probe rpc_client_msg_rx"),
        (without("rpc_socket_new"), "libvirt.so.0 has no probe rpc_socket_new"),
        (
            (*without("rpc_client_new"), ("libvirt", "rpc_client_new", "8@%rbx 4@%eax 8@64(%rbx)")),
            "rpc_client_new has 2 arguments in the definitions, 3 in libvirt.so.0",
        ),
        (
            (
                *without("rpc_client_msg_rx"),
                ("libvirt", "rpc_client_msg_rx", MESSAGE.replace("%r8d", "x(%rip)")),
            ),
            "bpftrace cannot read an argument of rpc_client_msg_rx from '4@x(%rip)'",
        ),
    ],
)
def test_rejects_libraries_without_scripts(run: Run, sites: tuple[Site, ...], words: str) -> None:
    result = run("--library", library(*sites), "-o", "out")
    assert result.exit_code == 1
    assert words in result.output
    assert not Path("out").exists()


def test_rejects_path_with_bpftrace_wildcards(run: Run) -> None:
    result = run("--library", library(name="lib virt:so"))
    assert result.exit_code == 1
    assert "unsupported path for bpftrace: 'lib virt:so'" in result.output


def test_rejects_definitions_without_libvirt_programs(run: Run, root: Path) -> None:
    Path("defs").mkdir()
    shutil.copy(root / "tests" / "definitions" / "file.x", "defs")
    shutil.copy(root / "protocol-defs" / "12.9.0" / "libvirt_probes.d", "defs")
    result = run("--defs", "defs", "--library", library())
    assert result.exit_code == 1
    assert "expected libvirt's definitions for bpftrace scripts" in result.output


def test_reports_missing_libvirt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "installed", lambda: ())
    result = run()
    assert result.exit_code == 1
    assert "libvirt is not installed here" in result.output
    assert "--library PATH" in result.output
