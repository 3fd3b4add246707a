"""Options that narrow what decode shows, and the times that it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main


def decode(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["decode", *map(str, words)])


def numbers(*words: str | Path) -> list[int]:
    result = decode("--format", "json", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line)["n"] for line in result.stdout.splitlines()]


@pytest.fixture
def tour(captures: Path) -> Path:
    return captures / "tour.pcap"


def test_jumps_to_messages_and_packets(tour: Path, captures: Path) -> None:
    assert numbers("--message", "57-59", tour) == [57, 58, 59]
    assert numbers("--message", "57", "--context", "2", tour) == [55, 56, 57, 58, 59]
    assert numbers("--frame", "22-", captures / "virsh-domname.pcap") == [17, 18]
    assert numbers("--serial", "6", captures / "virsh-domname.pcap") == [13, 14]


def test_exchanges_of_a_message(captures: Path) -> None:
    result = decode("--exchanges", "--format", "json", "--message", "14", captures / "virsh-domname.pcap")
    [line] = map(json.loads, result.stdout.splitlines())
    assert (line["call"]["n"], line["reply"]["n"], line["object"]["name"]) == (13, 14, "test")


def test_object_in_exchanges(captures: Path) -> None:
    capture = captures / "stream-events-keepalive.pcap"
    by_name = decode("--exchanges", "--format", "monitor", "--object", "pool:default-pool", capture)
    assert [line.split("msg=remote.1.")[1].split("(")[0] for line in by_name.stdout.splitlines()] == [
        "storage_pool_lookup_by_name",
        "storage_pool_list_all_volumes",
    ]
    uuid = json.loads(decode("--format", "json", "--object", "default-pool", capture).stdout.splitlines()[1])[
        "payload"
    ]["pool"]["uuid"]
    by_uuid = decode("--exchanges", "--format", "monitor", "--object", uuid, capture)
    assert by_uuid.stdout == by_name.stdout


def test_slow_calls_are_those_that_exchanges_measure(tour: Path) -> None:
    shown = decode("--exchanges", "--format", "json", tour).stdout.splitlines()
    slow = [line for line in map(json.loads, shown) if line["latency_ns"] >= 500_000]
    expected = sorted(line[part]["n"] for line in slow for part in ("call", "reply"))
    assert len(expected) > 4
    assert sorted(numbers("--slower-than", "500us", tour)) == expected


def test_relative_times_begin_with_the_input(captures: Path) -> None:
    """Filters do not change the time of a message, in any format."""
    capture = captures / "stream-events-keepalive.pcap"
    for options in (["--format", "monitor"], ["--format", "pretty"], ["--exchanges", "--format", "monitor"]):
        all_ = decode(*options, capture).stdout.splitlines()
        some = decode(*options, "--procedure", "domain_create", capture).stdout.splitlines()
        lines = [line for line in some if "domain_create" in line]
        assert lines
        assert set(lines) <= set(all_)


@pytest.mark.parametrize(
    ("style", "first", "third"),
    [
        ("relative", "  0.002 ", "  0.002 "),
        ("absolute", "2026-11-22T21:44:48.429Z ", "2026-11-22T21:44:48.429Z "),
        ("delta", "  0.000 ", "  0.000 "),
        ("none", "C ", "C "),
    ],
)
def test_times(captures: Path, style: str, first: str, third: str) -> None:
    options = ("--format", "monitor", "--message", "13-15", "--time", style)
    lines = decode(*options, captures / "virsh-domname.pcap").stdout.splitlines()
    assert [line.partition("127.")[0] for line in lines] == [
        f"{first}{'' if style == 'none' else 'C '}> ",
        f"{first}{'' if style == 'none' else 'C '}< ",
        f"{third}{'' if style == 'none' else 'C '}> ",
    ]


def test_times_of_pretty(captures: Path) -> None:
    options = ("--format", "pretty", "--message", "13-14", "--time")
    heads = {
        style: [
            line
            for line in decode(*options, style, captures / "virsh-domname.pcap").stdout.splitlines()
            if "#6" in line
        ]
        for style in ("absolute", "delta", "none")
    }
    assert [line.partition(" 1 ")[0] for line in heads["delta"]] == ["  0.000000 ", "  0.000131 "]
    assert heads["absolute"][0].startswith("2026-11-22T21:44:48.429741Z  1 → #6 ")
    assert heads["none"][0].startswith(" 1 → #6 ")


def test_reason_of_a_failure_is_on_its_line(tour: Path) -> None:
    plain = decode("--format", "monitor", "--errors-only", "--message", "1-66", tour).stdout
    assert plain.endswith(
        '(reply, error, 32) len=240 error="VIR_ERR_NO_SUPPORT: this function is not supported by the'
        ' connection driver: virDomainGetJobInfo"\n'
    )
    redacted = decode(
        "--redact=all", "--format", "monitor", "--errors-only", "--message", "1-66", tour
    ).stdout
    assert redacted.endswith(f'error="VIR_ERR_NO_SUPPORT: {"x" * 76}"\n')


@pytest.mark.parametrize(
    ("option", "word", "said"),
    [
        ("--message", "x", "expected N, N-M or N-, got 'x'"),
        ("--frame", "3-2", "expected N-M with N not over M, got '3-2'"),
        ("--since", "noon", "expected seconds since the beginning (1.007, 90s), a time of day (13:28:31)"),
        ("--slower-than", "50 parsecs", "expected a duration such as 50ms, 1.5s or 2m, got '50 parsecs'"),
        ("--object", "pool:", "expected the name or UUID of an object, got 'pool:'"),
        ("--context", "-1", "-1 is not in the range"),
    ],
)
def test_rejects_wrong_values(tour: Path, option: str, word: str, said: str) -> None:
    result = decode(option, word, tour)
    assert result.exit_code == 2
    assert f"invalid value for '{option}': {said}" in result.stderr.replace("\n", " ")
