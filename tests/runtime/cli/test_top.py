"""`libvirt-proto top`: screens on a terminal, keys, and text and JSON without one."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto import encode_message
from libvirt_proto.cli.main import main
from libvirt_proto.events import Captured
from tests.support import packets
from tests.support.conversations import SECOND, Talk, domain
from tests.support.screens import COMMAND, PATIENCE, Terminal

START = 1_700_000_000 * SECOND
#: Leaves the alternate screen, with the cursor and automatic line breaks.
LEFT = b"\x1b[?7h\x1b[?25h\x1b[?1049l"
ROWS = ("connect_supports_feature", "node_get_cpu_map", "domain_get_info")


def run(*words: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["top", *map(str, words)], input=stdin)


def names(lines: list[str]) -> list[str]:
    """The procedures in the first table, from above."""
    at = next((i for i, line in enumerate(lines) if line.startswith("procedure")), len(lines))
    found = []
    for line in lines[at + 1 :]:
        if not line or line.startswith(("…", "Clients", "In flight")):
            break
        found.append(line.split()[0])
    return found


def numbers(lines: list[str], column: int) -> list[float]:
    """A column of the first table."""
    at = next(i for i, line in enumerate(lines) if line.startswith("procedure"))
    rows = lines[at + 1 : at + 1 + len(names(lines))]
    return [float(row.split()[column].replace(",", "").replace("-", "0")) for row in rows]


# Screens


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (120, 40), (40, 10), (20, 5), (300, 60), (1, 1)])
def test_any_size(captures: Path, columns: int, height: int) -> None:
    with Terminal("top", captures / "tour.pcap", columns=columns, lines=height) as terminal:
        terminal.until(lambda _: terminal.written.endswith(b"\x1b[J"), "a screen")
        if columns >= 20:
            lines = terminal.shows("ended")
            assert lines[-1].startswith("q quit")
            assert names(lines) or height < 10
        if columns >= 80:
            assert names(lines)[:3] == [*ROWS]
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes == terminal.before


def test_keys_sort(captures: Path) -> None:
    with Terminal("top", captures / "tour.pcap", columns=120, lines=50) as terminal:
        terminal.shows("ended")
        terminal.press("e")
        lines = terminal.shows("errors ▼")
        errors = numbers(lines, 4)
        assert errors == sorted(errors, reverse=True)
        assert errors[0] > 0
        terminal.press("e")
        assert numbers(terminal.shows("errors ▲"), 4)[0] == 0
        terminal.press("n")
        lines = terminal.shows("procedure ▲")
        assert names(lines) == sorted(names(lines))
        terminal.press("9")
        terminal.shows("p99 ▼")
        terminal.press("b")
        assert names(terminal.shows("bytes ▼"))[0] == "domain_screenshot"
        terminal.press("q")
        assert terminal.end() == 0


def test_keys_select_tables_window_and_help(captures: Path) -> None:
    with Terminal("top", captures / "stream-events-keepalive.pcap", columns=100, lines=40) as terminal:
        terminal.shows("ended")
        assert any(line.startswith("Clients") for line in terminal.lines)
        terminal.press("p")
        terminal.until(lambda lines: not any(line.startswith("Clients") for line in lines), "procedures")
        assert len(names(terminal.lines)) == 21
        terminal.press("c")
        lines = terminal.until(lambda lines: not any(line.startswith("procedure") for line in lines))
        assert any(line.startswith("127.0.0.1") for line in lines)
        terminal.press("i")
        terminal.shows("no calls in flight")
        terminal.press("a-")
        terminal.shows("last 60 s")
        terminal.press("----")
        terminal.shows("last 2 s")
        terminal.press("h")
        terminal.shows("sort by rate")
        terminal.press("\x1b[A\x1bOP\x1b[15~?")  # an arrow and two function keys
        terminal.until(lambda lines: not any("sort by rate" in line for line in lines), "no help")
        terminal.press(" ")
        terminal.shows("paused")
        terminal.press("+")
        terminal.shows("last 5 s")
        terminal.press("q")
        assert terminal.end() == 0


def test_new_size_draws_everything_again(captures: Path) -> None:
    with Terminal("top", captures / "tour.pcap") as terminal:
        terminal.shows("ended")
        terminal.resize(130, 45)
        lines = terminal.until(lambda lines: len(lines[-1]) > 80, "more keys")
        assert names(lines)[:3] == [*ROWS]
        assert len(names(lines)) > 25
        terminal.resize(50, 12)
        terminal.until(lambda lines: lines[-1].startswith("q quit") and len(names(lines)) <= 7, "few rows")
        terminal.press("q")
        assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_restores_the_terminal(captures: Path, number: signal.Signals) -> None:
    with Terminal("top", captures / "tour.pcap") as terminal:
        terminal.shows("q quit")
        assert terminal.attributes != terminal.before
        terminal.signal(number)
        assert terminal.end() == 0
        assert terminal.written.endswith(LEFT)
        assert terminal.attributes == terminal.before


def test_control_c_quits(captures: Path) -> None:
    with Terminal("top", captures / "tour.pcap") as terminal:
        terminal.shows("q quit")
        terminal.press("\x03")
        assert terminal.end() == 0
        assert terminal.attributes == terminal.before


def test_error_restores_the_terminal(captures: Path, tmp_path: Path) -> None:
    """An error in the first frame."""
    (tmp_path / "sitecustomize.py").write_text(
        "import libvirt_proto.presenters.top as top; top.TopText.screen = None"
    )
    with Terminal("top", captures / "tour.pcap", env={"PYTHONPATH": str(tmp_path)}) as terminal:
        assert terminal.end() == 1
        assert terminal.attributes == terminal.before
        assert b"internal error: TypeError" in terminal.written.partition(LEFT)[2]


def test_suspends_and_continues(captures: Path) -> None:
    with Terminal("top", captures / "tour.pcap") as terminal:
        terminal.shows("q quit")
        terminal.press("\x1a")
        until_state(terminal, "T")
        assert terminal.attributes == terminal.before
        terminal.until(lambda _: terminal.written.endswith(LEFT), "the end of the screen")
        terminal.signal(signal.SIGCONT)
        until_state(terminal, "S")
        terminal.until(lambda _: terminal.attributes != terminal.before, "the screen")
        terminal.press("e")
        terminal.shows("errors ▼")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.attributes == terminal.before


def test_stopped_process_takes_the_screen_again(captures: Path) -> None:
    """SIGSTOP cannot be caught, and leaves the terminal as it is."""
    with Terminal("top", captures / "tour.pcap") as terminal:
        terminal.shows("ended")
        drawn = len(terminal.written)
        terminal.signal(signal.SIGSTOP)
        until_state(terminal, "T")
        terminal.signal(signal.SIGCONT)
        terminal.until(lambda _: b"\x1b[?1049h" in terminal.written[drawn:], "the screen")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.attributes == terminal.before


def test_closed_terminal_ends_the_command(tmp_path: Path) -> None:
    file = tmp_path / "growing.pcap"
    talk = Talk()
    talk.call("node_get_info", at=START, error=b"no")
    file.write_bytes(capture_of(talk))
    with Terminal("top", "-f", file) as terminal:
        terminal.shows("q quit")
        pid = terminal.pid
        terminal.hang_up()
        end = time.monotonic() + PATIENCE
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < end, "it still runs"
            time.sleep(0.05)


def until_state(terminal: Terminal, state: str) -> None:
    """Wait until the process is in a state (proc(5))."""

    def is_there(_: list[str]) -> bool:
        text = Path(f"/proc/{terminal.pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0] == state

    terminal.until(is_there, f"state {state}")


def test_file_that_grows(tmp_path: Path) -> None:
    file = tmp_path / "growing.pcap"
    talk = Talk()
    talk.call("node_get_info", at=START, error=b"no")
    file.write_bytes(capture_of(talk))
    with Terminal("top", "-f", "--interval", "0.5", file, columns=100) as terminal:
        terminal.shows("node_get_info")
        more = Talk()
        more.call("domain_create", domain("vm\x1b[31m1"), at=START + SECOND, takes=None, conn=2)
        with file.open("ab") as growing:
            growing.write(capture_of(more)[24:])
        lines = terminal.shows("In flight")
        assert any("vm\\x1b[31m1" in line for line in lines)
        terminal.until(lambda lines: any("oldest 2." in line for line in lines), "time that passes")
        terminal.press("q")
        assert terminal.end() == 0


def test_keys_while_standard_input_is_a_pipe(captures: Path) -> None:
    ours, theirs = os.pipe()
    with open(theirs, "wb") as pipe, Terminal("top", "-", stdin=ours, columns=100) as terminal:
        os.close(ours)
        data = (captures / "tour.pcap").read_bytes()
        pipe.write(data[:200_000])
        pipe.flush()
        terminal.shows(ROWS[0])
        terminal.press("e")
        terminal.shows("errors ▼")
        terminal.press("q")
        assert terminal.end() == 0
        assert terminal.attributes == terminal.before


def test_screen_stays_after_the_end_of_a_pipe(captures: Path) -> None:
    ours, theirs = os.pipe()
    with Terminal("top", "-", stdin=ours, columns=100) as terminal:
        os.close(ours)
        with open(theirs, "wb") as pipe:
            pipe.write((captures / "stream-events-keepalive.pcap").read_bytes())
        terminal.shows("ended")
        terminal.press("q")
        assert terminal.end() == 0


def test_finding_is_above_the_tables_and_notices_follow_the_screen(root: Path, tmp_path: Path) -> None:
    data = (root / "tests/diagnose/recordings/read-only/network.pcap").read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(data[:-7])
    with Terminal("top", cut, columns=100) as terminal:
        terminal.shows("READ_ONLY")
        terminal.shows("notices: 1 × truncated-file")
        terminal.press("q")
        assert terminal.end() == 0
        after = terminal.written.rpartition(LEFT)[2].decode()
        assert after.count(f"{cut}: ") == 1


@pytest.mark.parametrize("words", [("top", "missing"), ("top", "/dev/null")])
def test_no_screen_for_an_input_that_cannot_be_read(words: tuple[str, ...]) -> None:
    with Terminal(*words) as terminal:
        assert terminal.end() in (1, 2)
        assert b"error" in terminal.written
        assert b"\x1b[?1049h" not in terminal.written


def test_text_that_is_no_input_ends_the_screen_with_an_error(tmp_path: Path) -> None:
    """The verdict comes at the end of the text."""
    file = tmp_path / "notes"
    file.write_text("not a capture\n" * 10)
    with Terminal("top", file) as terminal:
        assert terminal.end() == 1
        assert terminal.attributes == terminal.before
        assert b"unrecognised format" in terminal.written.rpartition(LEFT)[2]


def test_notices_that_are_too_many_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "many.pcap"
    talk = Talk()
    for number in range(150):
        talk.call("node_get_info", at=START + number * SECOND, conn=1 + number)
    file.write_bytes(capture_of(talk))
    with Terminal("top", file, columns=100) as terminal:
        terminal.shows("ended")
        terminal.press("q")
        assert terminal.end() == 0
        after = terminal.written.rpartition(LEFT)[2].decode()
        assert after.count(f"{file}: ") == 101
        assert "50 more of these" in after


def test_colour_is_optional(captures: Path) -> None:
    for words, env in ((("--color", "never"), {}), ((), {"NO_COLOR": "1"})):
        with Terminal("top", *words, captures / "tour.pcap", env=env) as terminal:
            terminal.shows("q quit")
            terminal.press("q")
            assert terminal.end() == 0
            assert b"\x1b[1m" not in terminal.written
    with Terminal("top", captures / "tour.pcap") as terminal:
        terminal.shows("q quit")
        assert b"\x1b[1m" in terminal.written


def test_terminal_without_cursor_gets_text(captures: Path) -> None:
    with Terminal("top", captures / "tour.pcap", env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.written
        assert b"Clients" in terminal.written


# Without a terminal


def test_text_of_a_whole_capture(captures: Path) -> None:
    result = run("--top", "3", captures / "tour.pcap")
    assert result.exit_code == 0
    assert names(result.stdout.splitlines()) == [*ROWS]
    assert "\n… 100 more\n" in result.stdout
    assert "\x1b" not in result.stdout


def test_json_of_a_whole_capture(captures: Path) -> None:
    (line,) = run("--format", "json", captures / "tour.pcap").stdout.splitlines()
    found = json.loads(line)
    assert (found["calls"], found["errors"], found["all_messages"]) == (2486, 340, 5012)
    assert found["procedures"][0]["name"] == ROWS[0]
    assert found["clients"][0]["name"] == "127.0.0.1"


def test_intervals_of_a_capture(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    talk = Talk()
    for second in (0, 1, 2, 10, 11, 3600 * 24 * 365):
        talk.call("node_get_info", at=START + second * SECOND)
    file.write_bytes(capture_of(talk))

    def calls(*words: str) -> list[Any]:
        lines = run("--format", "json", *words, file).stdout.splitlines()
        return [json.loads(line)["calls"] for line in lines]

    assert calls("--interval", "10") == [3, 2, 1]
    assert calls("--interval", "10", "--count", "2") == [3, 2]
    assert calls("--interval", "10", "--window", "all") == [3, 5, 6]


def test_updates_of_a_pipe(tmp_path: Path) -> None:
    """One each interval, also when nothing arrives, until `--count`."""
    talk = Talk()
    talk.call("domain_create", domain("vm1"), at=START, takes=None)
    with subprocess.Popen(
        [COMMAND, "top", "--interval", "0.5", "--count", "3", "--format", "json", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(capture_of(talk))
        process.stdin.flush()
        found = [json.loads(line) for line in process.stdout]
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    waits = [each["oldest_ns"] for each in found]
    assert len(waits) == 3
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] >= SECOND // 2


def test_interrupt_of_a_pipe_shows_the_figures_so_far(captures: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "top", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write((captures / "tour.pcap").read_bytes())
        process.stdin.flush()
        until_sleeping(process.pid)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert b"connect_supports_feature" in out


def test_blocked_pipe_does_not_delay_the_end(captures: Path) -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while os.write(theirs, bytes(4096)):
            pass
    os.set_blocking(theirs, True)
    with subprocess.Popen(
        [COMMAND, "top", "--interval", "0.5", "-"], stdin=subprocess.PIPE, stdout=theirs
    ) as process:
        assert process.stdin is not None
        process.stdin.write((captures / "tour.pcap").read_bytes())
        process.stdin.flush()
        until_sleeping(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 141
    os.close(ours)
    os.close(theirs)


def until_sleeping(pid: int) -> None:
    """Wait until a process has done what there is to do: twice the same time of its processor."""
    end, before = time.monotonic() + PATIENCE, ""
    while time.monotonic() < end:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        now = f"{words[11]} {words[12]}"
        if now == before and int(words[11]) > 0:
            return
        before = now
        time.sleep(0.5)
    raise AssertionError("the command is busy")


def test_foreign_text_is_escaped() -> None:
    talk = Talk()
    talk.call("domain_create", domain("a\x1b[2J\u202eb\n"), at=START, takes=None)
    talk.call("domain_get_info", domain("x"), at=START + SECOND)
    command = [COMMAND, "top", "-"]
    result = subprocess.run(command, input=capture_of(talk), capture_output=True)
    shown = result.stdout.decode()
    assert "a\\x1b[2J\\u{202e}b\\n" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pid", "1", "-"), "--pid is for live traces; it cannot be combined with FILE"),
        (("--server-only", "-"), "--server-only is for live traces"),
        (("-f",), "--follow requires FILE"),
        (("--client-only", "--server-only"), "exclude each other"),
        (("--keylog", "/dev/null", "-"), "--keylog requires a complete capture"),
        (("--window", "0", "-"), "expected 1 to 3600 (seconds) or all, got '0'"),
        (("--sort", "size", "-"), "'size'"),
        (("/nonexistent",), "/nonexistent: no such file"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_damaged_file_is_an_error(captures: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes((captures / "tour.pcap").read_bytes()[:-7])
    result = run(cut)
    assert result.exit_code == 1
    assert "notices: 1 × truncated-file" in result.stdout
    assert result.stderr.startswith(f"{cut}: error: ")


def capture_of(talk: Talk) -> bytes:
    """A pcap file of a conversation over TCP, with times in ns."""
    connections: dict[int, packets.Talk] = {}
    made = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, 1)]
    for item in talk:
        assert isinstance(item, Captured)
        assert item.direction is not None
        assert item.time_ns is not None
        id_ = item.connection.id
        connection = connections.setdefault(id_, packets.Talk(client=("192.0.2.7", 40_000 + id_)))
        packet = connection.packet(item.direction, encode_message(item.message))
        made += [struct.pack("<IIII", *divmod(item.time_ns, SECOND), len(packet), len(packet)), packet]
    return b"".join(made)
