"""No byte from a peer, a file name or a definition reaches a terminal unescaped: every command with every
kind of such text, on a real pseudo-terminal. Errors are also escaped without a terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from libvirt_proto.cli import main as cli
from libvirt_proto.terminal import EscapingWriter, guarded
from tests.support.frames import frame, text
from tests.support.hostile import fill
from tests.support.terminal import foreign, on_terminal, on_terminals

COMMAND: Final = (sys.executable, "-c", "from libvirt_proto.cli.main import main; main()")
#: Our own colour, a window title, CSI of C1, DEL, a backspace, a bidirectional override, a forged line.
ESCAPES: Final = "a\x1b[1mx\x1b]0;t\x07\x9b31m\x7f\x08\u202e\nFORGED: line\r"
#: CSI as a byte for eight-bit terminals, which is not UTF-8.
RAW: Final = "b\udc9b31m\udcff"
NAMES: Final = {"escapes": ESCAPES, "raw": RAW}

#: NAME stands for the text; KIND/NAME is a file or folder of that kind (tests.hostile), none/NAME is missing.
COMMANDS: Final = tuple(
    """
    NAME
    --NAME
    decode NAME
    decode --NAME none
    decode --format=NAME none
    decode --release NAME none
    decode --defs NAME none
    decode --define NAME none
    decode --define A=NAME none
    decode --program NAME none
    decode --procedure NAME none
    decode --procedure NAME.1 none
    decode --type NAME none
    decode --conn NAME capture/NAME
    decode --as-of NAME none
    decode --port NAME none
    decode --message NAME none
    decode --frame NAME none
    decode --serial NAME none
    decode --since NAME none
    decode --slower-than NAME none
    decode --context NAME none
    decode --object NAME --format monitor messages/NAME
    decode --time NAME none
    decode --input-format NAME none
    decode --input-format hex log/NAME
    doctor NAME
    doctor --format NAME
    decode --keylog NAME none
    decode -o none/NAME capture/NAME
    decode -w none/NAME capture/NAME
    decode -w capture/NAME -o capture/NAME capture/NAME
    decode garbage/NAME
    decode folder/NAME
    decode --jobs 2 --format pretty capture/NAME garbage/NAME messages/NAME
    decode --jobs 2 --format jsonl messages/NAME capture/NAME
    decode --jobs 2 capture/NAME NAME
    decode --merge capture/NAME messages/NAME
    decode --defs broken/NAME none
    decode --defs good/NAME messages/NAME
    decode --format pretty messages/NAME
    decode --format monitor messages/NAME
    decode --format jsonl messages/NAME
    decode --exchanges --format pretty messages/NAME
    decode --exchanges --format monitor messages/NAME
    decode --exchanges --format jsonl messages/NAME
    decode --format pretty strace/NAME
    decode --format monitor strace/NAME
    decode --format jsonl strace/NAME
    decode --format pretty log/NAME
    decode --format monitor log/NAME
    decode --format jsonl log/NAME
    diagnose NAME
    diagnose --rule NAME none
    diagnose --release NAME none
    stats NAME
    stats capture/NAME
    stats garbage/NAME
    stats messages/NAME
    stats strace/NAME
    stats --format json messages/NAME
    stats --format json strace/NAME
    top NAME
    top --format text garbage/NAME
    top --window NAME messages/NAME
    top --format text messages/NAME
    top --format text strace/NAME
    top --format text log/NAME
    top --format json messages/NAME
    call NAME
    call -c NAME connect_get_uri
    call -c test:///?socket=none/NAME connect_get_uri
    call -c test:///?NAME=1 connect_get_uri
    call -c test:///default connect_get_uri NAME
    call -c test:///default connect_get_uri @NAME
    extcap NAME
    extcap --install --folder NAME/NAME
    extcap --capture --extcap-interface libvirt --fifo NAME
    replay NAME --listen tcp:127.0.0.1:0
    replay capture/NAME --listen NAME
    encode NAME
    encode -o none/NAME lines/NAME
    encode lines/NAME
    encode garbage/NAME
    identify NAME
    identify garbage/NAME
    identify messages/NAME
    identify log/NAME
    identify good/NAME
    identify broken/NAME
    identify probes/NAME
    guess NAME
    guess garbage/NAME
    guess messages/NAME
    guess --format json messages/NAME
    relay --listen NAME --connect unix:none
    relay --listen unix:none/NAME --connect unix:none
    relay --listen unix:NAME --connect NAME
    relay --listen tcp:NAME:1 --connect unix:none
    replay NAME --listen unix:none/NAME
    replay NAME --listen NAME
    trace --library NAME
    trace --library garbage/NAME
    trace --library garbage/NAME --probes
    trace --comm NAME --probes
    trace --pid NAME
    trace events --library garbage/NAME
    trace NAME
    lookup NAME
    lookup --release NAME 66
    lookup --defs good/NAME 66 NAME
    list NAME
    list types --defs broken/NAME
    list types --defs good/NAME
    list procedures --program NAME
    describe NAME
    describe --defs good/NAME demo
    generate NAME
    generate --release NAME
    generate --defs NAME
    generate --define NAME
    generate python --defs broken/NAME -o out
    generate python --defs named/NAME -o out
    generate python --defs good/NAME -o new/NAME
    generate python --defs good/NAME -o garbage/NAME
    generate python --defs good/NAME -o none/NAME --check
    generate structs --defs good/NAME -o layouts/NAME --check
    generate structs --defs good/NAME -o none/NAME --check
    generate probes --library garbage/NAME -o out
    generate probes --defs probes/NAME -o out --all-probes
    import NAME
    import archive/NAME.tar
    import archive/NAME.tar --release 1.0.0 -o imported/NAME
    import archive/NAME.tar --release 1.0.0 -o none --check
    import archive/NAME.tar --release NAME -o none --check
    import good/NAME --release 1.0.0 -o imported/NAME-good
    import good/NAME --release 1.0.0 -o none/NAME --check
    import broken/NAME --release 1.0.0 -o out
    import garbage/NAME --release 1.0.0 -o out
    import good/NAME --release 1.0.0 --same NAME
    import good/NAME --release 1.0.0 --provenance NAME
    import good/NAME --release 1.0.0 --provenance NAME=derived
    diff NAME NAME
    diff NAME.x 12.9.0
    diff good/NAME other/NAME
    diff --format json good/NAME other/NAME
    diff --format github good/NAME other/NAME
    diff --format junit good/NAME other/NAME
    diff good/NAME broken/NAME
    diff git:NAME:src git:HEAD:src
    diff --ignore garbage/NAME good/NAME other/NAME
    diff --ignore ignores/NAME good/NAME other/NAME
    diff --ignore ignores/NAME --format json good/NAME other/NAME
    diff --ignore ignores/NAME --format github good/NAME other/NAME
    diff --ignore ignores/NAME --format junit good/NAME other/NAME
    diff --fail-on NAME good/NAME other/NAME
    diff -o reports/NAME good/NAME other/NAME
    diff -o none/NAME good/NAME other/NAME
    lint NAME
    lint good/NAME
    lint broken/NAME
    lint --format github good/NAME
    completion NAME
    --traceback decode folder/NAME
    """.strip().splitlines()
)
Shown = dict[tuple[str, str], tuple[int, str]]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """By name and command: the exit status, and the terminal's contents."""
    found: Shown = {}
    for kind, name in NAMES.items():
        folder = tmp_path_factory.mktemp(kind)
        fill(folder, name)
        commands = {line: [word.replace("NAME", name) for word in line.split()] for line in COMMANDS}
        found |= {(kind, line): each for line, each in on_terminals(commands, folder).items()}
    return found


@pytest.mark.parametrize("command", COMMANDS, ids=str.strip)
@pytest.mark.parametrize("kind", NAMES)
def test_foreign_text_cannot_control_the_terminal(shown: Shown, kind: str, command: str) -> None:
    status, said = shown[kind, command]
    assert foreign(said) == []
    assert "\x1b[1mx" not in said, "a colour that is not ours"
    assert not [line for line in said.splitlines() if line.startswith("FORGED")]
    if "--traceback" not in command:
        assert status in (0, 1, 2)
        assert "internal error" not in said


def test_covers_every_command() -> None:
    tried = {line.split()[0] for line in COMMANDS}
    assert tried >= set(cli.COMMANDS)


def test_json_keeps_its_values_on_a_terminal(tmp_path: Path) -> None:
    name = "\x1b\x9b\x7f\u202e\U000e0041é…"
    file = tmp_path / "messages"
    file.write_text(frame(text(name.encode()), proc=23).hex())
    said = on_terminal("decode", "--format", "jsonl", str(file))
    line = next(line for line in said.splitlines() if line.startswith("{"))
    assert r"\u009b\u007f\u202e\udb40\udc41é…" in line
    assert json.loads(line)["payload"]["name"] == name


def test_json_is_unchanged_in_files_and_pipes(tmp_path: Path) -> None:
    name = "\x9b\x7f\u202e"
    file, output = tmp_path / "messages", tmp_path / "output"
    file.write_text(frame(text(name.encode()), proc=23).hex())
    command = [*COMMAND, "decode", "--format", "jsonl"]
    piped = subprocess.run([*command, file], capture_output=True, check=True).stdout
    assert name.encode() in piped
    subprocess.run([*command, "-o", output, file], check=True)
    assert output.read_bytes() == piped


@pytest.mark.parametrize(
    "words",
    [
        ["decode", "NAME"],
        ["decode", "--release", "NAME", "none"],
        ["relay", "--listen", "NAME", "--connect", "unix:none"],
        ["diff", "NAME", "NAME"],
        ["lint", "broken/NAME"],
        ["--traceback", "decode", "folder/NAME"],
    ],
    ids=" ".join,
)
def test_errors_are_escaped_without_a_terminal(tmp_path: Path, words: list[str]) -> None:
    """Nothing is omitted: text that looks like a colour is shown as text."""
    fill(tmp_path, ESCAPES)
    done = subprocess.run(
        [*COMMAND, *(word.replace("NAME", ESCAPES) for word in words)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode()
    assert [c for c in said if c != "\n" and not c.isprintable()] == []
    assert r"a\x1b[1mx\x1b]0;t\x07" in said
    assert not [line for line in said.splitlines() if line.startswith("FORGED")]


def test_choices_of_missing_argument_keep_their_lines() -> None:
    assert "Choose from:\n\tbash,\n\tzsh,\n\tfish" in on_terminal("completion", status=2).replace(
        " " * 8, "\t"
    )


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("written", "escaped"),
    [
        ([b"a\tb\n"], b"a\tb\n"),
        (["é…\n".encode()], "é…\n".encode()),
        ([b"\xc3", b"\xa9\n"], "é\n".encode()),
        ([b"\xe2", b"\x80", b"\xae"], rb"\u202e"),
        ([b"\x1b[1;3", b"1mred\x1b[0m\n"], b"\x1b[1;31mred\x1b[0m\n"),
        ([b"\x1b", b"[2J"], rb"\u001b[2J"),
        ([b"\x1b[8mhidden"], rb"\u001b[8mhidden"),
        ([b"\x1b"], rb"\u001b"),
        ([b"\x9b31m"], rb"\udc9b31m"),
        ([b"\x00\x08\x7f\r"], rb"\u0000\u0008\u007f\u000d"),
        (["\U000e0041".encode()], rb"\udb40\udc41"),
        ([b"a\xc3", b""], rb"a\udcc3"),
    ],
)
def test_bytes_are_escaped_on_a_terminal(written: list[bytes], escaped: bytes) -> None:
    terminal = Terminal()
    out = EscapingWriter(terminal, "utf-8", colours=True, closes=False)
    for data in written:
        assert out.write(data) == len(data)
    out.close()
    assert terminal.getvalue() == escaped


def test_only_terminals_are_escaped() -> None:
    file = io.BytesIO()
    assert guarded(file) is file
    terminal = Terminal()
    with guarded(terminal) as out:
        out.write(b"\x1b]0;t\x07")
    assert terminal.closed
