"""The command line as a whole: help, errors, and exit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from libvirt_proto import registry
from libvirt_proto.cli import main as cli
from tests.support.frames import frame

COMMAND = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main(prog_name='libvirt-proto')"]
#: Modules that printing help or completing a word must not import.
HEAVY = ("rich", "msgspec", "lark", "jinja2", "libvirt_proto.generated", "libvirt_proto_codegen")


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def loaded(*words: str) -> set[str]:
    """The modules that a command has imported by its end."""
    code = (
        "import sys, libvirt_proto.cli.main as c\n"
        f"try: c.main({list(words)!r})\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split("\n"))


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",), ("decod",)])
def test_help_imports_no_command(words: tuple[str, ...]) -> None:
    assert not loaded(*words) & set(HEAVY)


def test_commands_do_not_import_the_generator(captures: Path) -> None:
    modules = loaded("decode", str(captures / "virsh-domname.pcap"))
    assert "libvirt_proto.cli.commands.decode" in modules
    assert not {"rich", "lark", "jinja2", "libvirt_proto_codegen"} & modules


@pytest.mark.parametrize(
    "words",
    [
        ("lookup", "66"),
        ("lookup", "auth_list", "REMOTE_PROGRAM", "VIR_NET_REPLY", "REMOTE_STRING_MAX", "VIR_DOMAIN_RUNNING"),
        ("lookup", "--release", "12.9.0", "0x20008086", "remote.66"),
    ],
)
def test_numbers_and_names_load_no_types(words: tuple[str, ...]) -> None:
    modules = loaded(*words)
    assert "libvirt_proto.generated" in modules
    types = {f"libvirt_proto.generated.{module.name}" for module in registry.default().modules()}
    unneeded = {
        "msgspec",
        "rich",
        "lark",
        "jinja2",
        "libvirt_proto_codegen",
        "importlib.metadata",
        "tempfile",
    }
    assert not (types | unneeded) & modules


def test_type_name_loads_only_its_module() -> None:
    modules = loaded("lookup", "admin_nonnull_server")
    assert "libvirt_proto.generated.admin" in modules
    assert "libvirt_proto.generated.remote" not in modules


def test_command_table_matches_modules() -> None:
    context = click.Context(cli.main)
    for name in cli.COMMANDS:
        command = cli.main.get_command(context, name)
        assert isinstance(command, click.Command), name


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    for option in ("--help", "-h"):
        result = CliRunner().invoke(cli.main, [name, option])
        assert result.exit_code == 0
        assert f"libvirt-proto {name}" in result.output.replace("main", "libvirt-proto")
        assert "Examples:" in result.output


def test_help_lists_every_command() -> None:
    output = CliRunner().invoke(cli.main, ["--help"]).output
    for name, (_, text) in cli.COMMANDS.items():
        assert f"  {name} " in output
        assert text in output


def test_prints_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "libvirt-proto")


def test_unknown_command_gets_a_suggestion() -> None:
    result = CliRunner().invoke(cli.main, ["decoed", "x"])
    assert result.exit_code == 2
    assert "unknown command 'decoed'. Did you mean 'decode' or 'encode'?" in result.output
    assert "Did you mean" not in CliRunner().invoke(cli.main, ["zzzz"]).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(cli.main, ["completion", shell])
    assert result.exit_code == 0
    assert "_LIBVIRT_PROTO_COMPLETE" in result.output


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("libvirt-proto de", {"decode", "describe"}),
        ("libvirt-proto decode --format m", {"monitor"}),
        ("libvirt-proto decode --program log", {"log_manager"}),
        ("libvirt-proto decode --procedure domain_lookup_by_n", {"domain_lookup_by_name"}),
        ("libvirt-proto decode --procedure qemu.domain_ag", {"qemu.domain_agent_command"}),
        ("libvirt-proto decode --type call", {"call", "call_with_fds"}),
        ("libvirt-proto lookup VIR_ERR_NO_DOMAIN_M", {"VIR_ERR_NO_DOMAIN_METADATA"}),
        ("libvirt-proto lookup virDomainMigrateToURI", {f"virDomainMigrateToURI{n}" for n in ("", 2, 3)}),
        ("libvirt-proto lookup lxc_m", {"lxc_monitor"}),
        ("libvirt-proto list --acl secret:read", {"secret:read", "secret:read_secure"}),
        ("libvirt-proto decode --release 10.", {"10.0.0", "10.1.0", "10.2.0"}),
        ("libvirt-proto decode --as-of v10.1", {"10.1.0"}),
        ("libvirt-proto lookup --release l", {"latest"}),
        ("libvirt-proto generate --release 11.", {"11.2.0", "11.3.0", "11.6.0"}),
        ("libvirt-proto describe remote_nonnull_dom", None),
    ],
)
def test_completes_words(line: str, expected: set[str] | None) -> None:
    env = os.environ | {
        "_LIBVIRT_PROTO_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    found = {row.partition(",")[2] for row in run(env=env).stdout.splitlines()}
    assert found == expected if expected is not None else "remote_nonnull_domain" in found


def test_closed_reader_is_not_an_error(captures: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "decode", "--format", "jsonl", str(captures / "tour.pcap")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()


def test_interrupt_ends_silently() -> None:
    process = subprocess.Popen(
        [*COMMAND, "decode", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A background job, as these tests may be, has it ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(frame())
    process.stdin.flush()
    assert b"auth_list" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert errors == b""


@pytest.mark.parametrize("words", [["decode", "{capture}"], ["list", "programs"], ["lookup", "66"]])
def test_closed_standard_output(words: list[str], captures: Path) -> None:
    command = [word.format(capture=captures / "virsh-domname.pcap") for word in words]
    shell = ["sh", "-c", '"$@" >&-', "sh", *COMMAND, *command]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_standard_error(captures: Path) -> None:
    command = [*COMMAND, "decode", str(captures / "virsh-domname.pcap")]
    done = subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *command], capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 18


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("words", [["decode", "{capture}"], ["--version"], ["--help"], ["decode", "--help"]])
def test_full_disk_is_a_one_line_error(words: list[str], captures: Path) -> None:
    command = [*COMMAND, *(word.format(capture=captures / "tour.pcap") for word in words)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "libvirt-proto: error: standard output: no space left on device\n"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command with an unexpected exception."""
    monkeypatch.setitem(cli.COMMANDS, "decode", ("tests.runtime.cli.test_main:fail", "Fails."))


@click.command()
def fail() -> None:
    raise RuntimeError("surprise\x1b[31m\nand more")


@pytest.mark.usefixtures("broken")
def test_internal_error_hides_traceback() -> None:
    result = CliRunner().invoke(cli.main, ["decode"])
    assert result.exit_code == 1
    first, *rest = result.output.splitlines()
    assert first == "libvirt-proto: internal error: RuntimeError: surprise\\x1b[31m and more"
    assert "report" in " ".join(rest)
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("broken")
def test_traceback_can_be_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(CliRunner().invoke(cli.main, ["--traceback", "decode"]).exception, RuntimeError)
    monkeypatch.setenv("LIBVIRT_PROTO_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(cli.main, ["decode"]).exception, RuntimeError)


def test_console_script_imports_nothing_from_the_working_directory(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"
    for name in ("lark", "jinja2", "click", "msgspec", "tomllib", "libvirt_proto_codegen", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    script = Path(sys.executable).parent / "libvirt-proto"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [script, "lookup", "--release", "10.0.0", "66"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "procedure remote.auth_list\n" in done.stdout
    assert not trace.exists()
