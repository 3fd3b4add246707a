"""`libvirt-proto stats`, and decode's --exchanges and --acl."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli
from tests.support import packets
from tests.support.frames import error_payload, frame, text, word

#: A command below a row, which may continue in other lines.
SHOWN = re.compile(r"^  libvirt-proto (?:.*\\\n)*.*\n", re.M)
COMMAND = Path(sys.executable).with_name("libvirt-proto")


def run(*words: str | Path, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words], input=stdin, env=env)


def as_json(*words: str | Path, stdin: bytes | None = None) -> Any:
    result = run("stats", *words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_json_is_the_default_without_terminal(captures: Path, tmp_path: Path) -> None:
    file = captures / "virsh-domname.pcap"
    found = as_json(file)
    assert list(found) == [
        "totals", "procedures", "connections", "events", "errors", "slowest", "unanswered", "limits",
        "errors_command", "findings",
    ]  # fmt: skip
    assert (found["totals"]["messages"], found["totals"]["calls"]) == (18, 9)
    (connection,) = found["connections"]
    assert connection["opened"] == {
        "program": "remote", "uri": "test:///default", "flags": 0, "result": "ok",
    }  # fmt: skip
    assert as_json("--format", "json", file) == found
    output = tmp_path / "out.json"
    assert run("stats", "-o", output, file).stdout == ""
    assert json.loads(output.read_text()) == found


def test_reads_standard_input_and_several_files(captures: Path) -> None:
    file = captures / "virsh-domname.pcap"
    found = as_json("-", file, stdin=file.read_bytes())
    assert [connection["file"] for connection in found["connections"]] == ["-", str(file)]
    assert (found["totals"]["files"], found["totals"]["messages"]) == (2, 36)


def without_commands(output: str) -> list[str]:
    """The lines of tables, without the commands below rows, which are never cut."""
    return SHOWN.sub("", output).splitlines()


def commands(output: str) -> list[list[str]]:
    return [shlex.split(match[0].replace("\\\n", "")) for match in SHOWN.finditer(output)]


def test_prints_table(captures: Path) -> None:
    result = run(
        "stats", "--format", "table", "--top", "3", *sorted(captures.glob("*.pcap")), env={"COLUMNS": "100"}
    )
    assert result.exit_code == 0
    lines = without_commands(result.stdout)
    assert lines[0] == "5,245 messages, 1.11 MiB, 5 connections, 3 files, 13.9 s"
    assert lines[1].startswith(
        "2,590 calls, 340 errors, 0 unanswered, 21 streams, 5 events, 16 keepalive messages"
    )
    assert max(map(len, lines)) <= 100
    titles = [after for before, after in pairwise(lines) if not before]
    assert [title.split(",")[0].split(" (")[0] for title in titles] == [
        "Procedures", "Streams", "Events", "Errors", "Connections", "Closest to their limits",
        "Slowest exchanges",
    ]  # fmt: skip
    assert "… 2 more connections, with fewer messages" in lines
    assert len(lines) - lines.index("Slowest exchanges") == 1 + 1 + 3


def test_long_paths_leave_room_for_addresses(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a-folder-with-a-long-name" / "and-another-one-inside-of-it"
    folder.mkdir(parents=True)
    files = [shutil.copy(captures / name, folder) for name in ("virsh-domname.pcap", "tour.pcap")]
    result = run("stats", "--format", "table", *files, env={"COLUMNS": "100"})
    lines = without_commands(result.stdout)
    (tour,) = (line for line in lines if line.endswith("tour.pcap 1 127.0.0.1:40938 → 127.0.0.1:16509 (tcp)"))
    assert tour.startswith("…")
    assert max(map(len, lines)) == len(tour) == 100


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap", "libvirtd-rpc-info.log"])
def test_tables_fit_the_terminal(captures: Path, name: str, columns: int) -> None:
    words = ("stats", "--format", "text", captures / name, captures / "virsh-domname.pcap")
    fitted = run(*words, env={"COLUMNS": str(columns)}).stdout
    assert max(map(len, without_commands(fitted))) <= columns
    wide = run(*words, "--wide", env={"COLUMNS": str(columns)}).stdout
    assert max(map(len, without_commands(wide))) > 120
    assert "…" not in "".join(line for line in without_commands(wide) if not line.startswith("… "))


def test_top_limits_every_table(captures: Path) -> None:
    """Each table reports how many rows it leaves out."""
    result = run("stats", "--format", "text", "--top", "1", captures / "tour.pcap")
    sections = [block.splitlines()[1:] for block in SHOWN.sub("", result.stdout).split("\n\n")[1:]]
    tables = [rows for rows in sections if "  " in rows[0]]
    rows = [[row for row in table[1:] if not row.startswith(("… ", "All of them:"))] for table in tables]
    assert len(tables) == 5
    assert [len(each) for each in rows] == [1] * 5
    assert "… 102 more" in tables[0]


def test_commands_show_slow_and_failed_calls(captures: Path) -> None:
    """Each command that is printed shows its call, with the options that numbers depend on."""
    capture = captures / "tour.pcap"
    result = run("stats", "--format", "text", "--top", "2", "--port", "16509", "--release", "12.9.0", capture)
    found = commands(result.stdout)
    assert len(found) == 2 + 1 + 2
    shown = [CliRunner().invoke(cli.main, [*words[1:], "--format", "json"]).stdout for words in found]
    lines = [[json.loads(line) for line in text.splitlines()] for text in shown]
    assert [len(each) for each in lines] == [1, 1, 340, 1, 1]
    assert [each[0]["outcome"] for each in lines] == ["error"] * 3 + ["ok"] * 2
    data = json.loads(run("stats", "--top", "2", capture).stdout)
    assert [each[0]["latency_ns"] for each in lines[3:]] == [row["latency_ns"] for row in data["slowest"]]
    assert shlex.split(data["slowest"][0]["call"]["command"]) == [
        *("libvirt-proto", "decode", "--exchanges", "--message", "3"),
        str(capture),
    ]


@pytest.mark.parametrize(
    ("words", "messages", "calls", "errors"),
    [
        (("--errors-only",), 680, 340, 340),
        (("--procedure", "domain_get_job_info", "--procedure", "domain_get_info"), 160, 80, 20),
        (("--frame", "71"), 2, 1, 1),
        (("--message", "65", "--errors-only"), 2, 1, 1),
        (("--serial", "32", "--type", "call"), 2, 1, 1),
        (("--slower-than", "600us"), 4, 2, 0),
        (("--object", "no such domain"), 0, 0, 0),
        (("--program", "qemu"), 0, 0, 0),
    ],
)
def test_filters_count_whole_calls(
    captures: Path, words: tuple[str, ...], messages: int, calls: int, errors: int
) -> None:
    totals = as_json(*words, captures / "tour.pcap")["totals"]
    assert (totals["messages"], totals["calls"], totals["errors"]) == (messages, calls, errors)
    assert totals["exchanges"] == sum(totals["outcomes"].values()) == calls
    assert set(totals["outcomes"]) <= {"ok", "error"}
    assert totals["input_messages"] == 5012


def test_commands_below_filtered_figures(captures: Path) -> None:
    """They show the same calls; times count from the beginning of the capture."""
    words = ("--since", "0.05", "--until", "60ms", "--object", "test", "--top", "3")
    result = run("stats", "--format", "text", *words, captures / "tour.pcap")
    lines = without_commands(result.stdout)
    assert lines[0].startswith("82 of 5,012 messages, ")
    assert "not closed" not in result.stdout
    found = commands(result.stdout)
    shown = [
        CliRunner().invoke(cli.main, [*each[1:], "--format", "json"]).stdout.splitlines() for each in found
    ]
    errors = int(re.search(r"(\d+) errors", lines[1])[1])  # type: ignore[index]
    assert [len(each) for each in shown] == [1] * (len(found) - 4) + [errors] + [1] * 3
    start = lines.index("Slowest exchanges") + 2
    assert all(0.05 <= float(line.split()[2]) <= 0.06 for line in lines[start : start + 3])


def test_type_has_no_command_for_all_failures(captures: Path) -> None:
    """Exchanges have several types."""
    output = run("stats", "--format", "text", "--type", "reply", captures / "tour.pcap").stdout
    assert "Errors" in output
    assert "All of them" not in output


def test_commands_quote_files(captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(captures / "virsh-domname.pcap", "-my capture's")
    result = run("stats", "--format", "text", "--top", "1", "--", "-my capture's", env={"COLUMNS": "40"})
    [words] = commands(result.stdout)
    assert words[-1] == "./-my capture's"
    assert CliRunner().invoke(cli.main, words[1:]).exit_code == 0


def test_slow_calls_have_their_object_and_reason(captures: Path) -> None:
    result = run("stats", "--format", "text", "--top", "2000", captures / "tour.pcap")
    lines = without_commands(result.stdout)
    slowest = lines[lines.index("Slowest exchanges") :]
    row = next(number for number, line in enumerate(slowest) if "domain_interface_stats" in line)
    assert 'remote.domain_interface_stats("test")' in slowest[row]
    assert slowest[row + 1] == "  VIR_ERR_INVALID_ARG: invalid argument: 'vnet0' is not a known interface"


def test_times_of_a_log_are_milliseconds(captures: Path) -> None:
    """A latency of 0 is one that the clock cannot measure."""
    output = run("stats", "--format", "text", captures / "libvirtd-rpc-info.log").stdout
    assert "< 1 ms" in output
    assert " 0 ns" not in output
    assert "0.000000" not in output
    data = json.loads(run("stats", captures / "libvirtd-rpc-info.log").stdout)
    assert data["totals"]["resolution_ns"] == 1_000_000
    shown = run("decode", "--exchanges", "--format", "monitor", captures / "libvirtd-rpc-info.log").stdout
    assert " took=0.000\n" in shown
    assert "0.000000" not in shown


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 160])
def test_narrow_terminal_drops_columns(captures: Path, columns: int) -> None:
    result = run("stats", "--format", "table", captures / "tour.pcap", env={"COLUMNS": str(columns)})
    lines = result.stdout.splitlines()
    head = lines[lines.index("Procedures, by total time") + 1].split()
    assert head[:3] == ["procedure", "calls", "errors"]
    assert head[-1] == "max"
    assert ("min" in head) == (columns == 160)
    assert ("mean" in head) == (columns >= 120)
    longest = max(len(line) for line in lines[lines.index("") : lines.index("Streams")])
    assert longest <= max(columns, 77), "names keep 24 columns"


def test_table_without_terminal_has_every_column(captures: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [COMMAND, "stats", "--format", "table", captures / "tour.pcap"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    head = done.stdout.splitlines()[4].split()
    assert head == [
        "procedure",
        "calls",
        "errors",
        "sent",
        "received",
        "total",
        "min",
        "mean",
        "p50",
        "p90",
        "p99",
        "max",
    ]
    assert "\x1b" not in done.stdout


def test_terminal_gets_coloured_table(captures: Path) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "stats", captures / "virsh-domname.pcap"],
        stdout=follower, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"} | {"NO_COLOR": ""},
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # Linux's errno for a closed peer
                break
            shown += piece
            if not piece:
                break
    os.close(leader)
    assert process.returncode == 0
    assert shown.startswith(b"\x1b[1m18 messages, ")
    assert b"remote.domain_lookup_by_id" in shown


def test_reports_problems(captures: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes((captures / "virsh-domname.pcap").read_bytes()[:-7])
    result = run("stats", cut)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{cut}: error: ")
    assert json.loads(result.stdout)["totals"]["notices"] == {"truncated-file": 1}
    assert "1 × truncated-file" in run("stats", "--format", "table", cut).stdout
    malformed = run("stats", "-", stdin=frame(word(99) + text(b"x"), proc=23))
    assert malformed.exit_code == 1
    assert json.loads(malformed.stdout)["totals"]["malformed"] == 1


def test_table_of_problems() -> None:
    calls = [frame(proc=59, serial=i) for i in range(12)]
    error = frame(error_payload(42, 12, b"no \x1b[31mdomain"), proc=59, serial=0, type_=1, status=1)
    orphan = frame(proc=2, serial=99, type_=1)
    result = run("stats", "--format", "table", "-", stdin=b"".join([*calls, error, error, orphan]))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "12 calls, 2 errors, 11 unanswered" in lines[1]
    assert lines[2] == "1 repeated, 1 orphan"
    assert "no \\x1b[31mdomain" in result.stdout
    assert "… 1 more" in lines
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stats"], "missing argument 'FILE...'"),
        (["stats", "/nonexistent"], "/nonexistent: no such file"),
        (["stats", "--top", "-1", "-"], "--top"),
        (["stats", "--format", "jsonl", "-"], "--format"),
        (["decode", "--exchanges", "--type", "call", "-"], "--type selects messages"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.output


@pytest.mark.parametrize("command", [["stats"], ["decode", "--exchanges"]])
def test_interrupt_prints_partial_statistics(captures: Path, tmp_path: Path, command: list[str]) -> None:
    data, output = (captures / "tour.pcap").read_bytes(), tmp_path / "out"
    with subprocess.Popen(
        [COMMAND, *command, "-o", output, "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(data[:-1000])  # a pipe holds less: when this is written, most has been read
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""
    lines = output.read_text()
    if command == ["stats"]:
        assert json.loads(lines)["totals"]["messages"] > 1000
    else:
        assert [json.loads(line)["n"] for line in lines.splitlines()][:1000] == list(range(1, 1001))


# decode --exchanges


def exchanges(*words: str | Path, stdin: bytes | None = None) -> list[Any]:
    result = run("decode", "--exchanges", *words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_lists_exchanges(captures: Path) -> None:
    file = captures / "virsh-domname.pcap"
    shown = exchanges(file)
    assert [line["n"] for line in shown] == list(range(1, 10))
    assert {line["outcome"] for line in shown} == {"ok"}
    messages = [json.loads(line) for line in run("decode", file).stdout.splitlines()]
    assert [part for line in shown for part in (line["call"], line["reply"])] == messages
    assert len(run("decode", "--exchanges", "--format", "monitor", file).stdout.splitlines()) == 9
    assert run("decode", "--exchanges", "--format", "pretty", file).stdout.count(" ⇄ ") == 9


def test_filters_select_exchanges(captures: Path) -> None:
    file = captures / "stream-events-keepalive.pcap"
    assert [line["procedure"] for line in exchanges("--procedure", "domain_screen*", file)] == [
        "domain_screenshot"
    ]
    assert {line["conn"] for line in exchanges("--conn", "3", file)} == {"127.0.0.1:40958-127.0.0.1:16509"}
    assert exchanges("--program", "keepalive", file) == [], "no exchanges"
    failed = exchanges("--errors-only", captures / "tour.pcap")
    assert len(failed) == 340
    assert {line["outcome"] for line in failed} == {"error"}
    assert all(line["call"]["status"] == "ok" for line in failed), "the call is shown, too"


def test_calls_without_reply_are_last() -> None:
    stream = frame(proc=59, serial=0) + frame(proc=2, serial=1) + frame(proc=2, serial=1, type_=1)
    assert [(line["serial"], line["outcome"]) for line in exchanges("-", stdin=stream)] == [
        (1, "ok"),
        (0, "pending"),
    ]


def test_connection_closed_before_the_reply() -> None:
    """Distinguished from a capture that ended before it."""
    call = frame(proc=59, serial=0)
    talks = [packets.Talk(), packets.Talk(client=("192.0.2.9", 40001))]
    sent = [packet for talk in talks for packet in (*talk.handshake(), talk.packet("c2s", call))]
    shown = exchanges("-", stdin=packets.pcap([*sent, *talks[0].close()]))
    assert [line["outcome"] for line in shown] == ["unanswered", "pending"]


def test_times_count_from_the_first_message(captures: Path) -> None:
    """Even if an exchange that started later was complete earlier."""
    shown = run(
        "decode", "--exchanges", "--format", "monitor", "--procedure", "domain_screenshot",
        captures / "stream-events-keepalive.pcap",
    ).stdout  # fmt: skip
    assert shown.startswith(
        '  1.007 C = 127.0.0.1:40956-127.0.0.1:16509 msg=remote.1.domain_screenshot("test")(ok, 7) '
    )


def test_reports_acl(captures: Path) -> None:
    file = captures / "virsh-domname.pcap"
    lines = [json.loads(line) for line in run("decode", "--acl", file).stdout.splitlines()]
    assert ["access" in line for line in lines] == [line["type"] == "call" for line in lines]
    (lookup,) = (x for x in lines if (x["procedure"], x["type"]) == ("domain_lookup_by_id", "call"))
    assert lookup["access"] == {
        "acl": ["domain:getattr"], "aclfilter": [], "priority": "high", "stream": None,
    }  # fmt: skip
    words = ("decode", "--acl", "--procedure", "domain_lookup_by_id", "--type", "call", file)
    assert run(*words, "--format", "monitor").stdout.endswith("len=32 acl=domain:getattr priority=high\n")
    assert "\n                acl=domain:getattr priority=high\n" in run(*words, "--format", "pretty").stdout
