"""Standard error in addition to messages: notices, the progress bar, the summary line."""

from __future__ import annotations

import re

import pytest

from libvirt_proto.cli import status as module
from libvirt_proto.cli.status import Status
from libvirt_proto.events import Notice
from libvirt_proto.presenters.style import PLAIN

LOST = Notice("lost-bytes", "5 bytes are lost")


def test_shows_progress_bar_for_slow_input(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On a terminal, and only for a file of known size; a notice is printed above it, complete."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setattr(module, "_PATIENCE", -1)
    with Status(PLAIN, bar=True, summary=False) as status:
        status.source("one\x1b.pcap")
        status.advance(10, None)
        assert capfd.readouterr().err == ""
        status.advance(10, 1000)
        status.advance(500, 1000)
        status.notice(Notice("not-libvirt", "looks like HTTP [a]" + "!" * 100))
        status.source("two.pcap")
        status.notice(LOST)
    err = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capfd.readouterr().err)
    assert r"one\x1b.pcap" in err
    assert re.search(r"[0-9.]+/1\.0 kB", err)
    assert "looks like HTTP [a]" + "!" * 100 in err.replace("\r", "")
    assert err.endswith("two.pcap: error: 5 bytes are lost [lost-bytes]\n")


def test_hides_progress_bar_for_fast_input_and_other_output(capfd: pytest.CaptureFixture[str]) -> None:
    for bar in (True, False):
        with Status(PLAIN, bar=bar, summary=False) as status:
            status.source("one.pcap")
            status.advance(1, 2)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"messages": 1, "shown": 1, "connections": 2}, "1 message, 2 connections, no problems"),
        ({"messages": 1200, "shown": 3}, "3 of 1,200 messages, 0 connections, no problems"),
        ({"events": 1}, "1 event, no problems"),
        ({"dropped": 5}, "0 messages, 0 connections, 5 bytes left out"),
        ({"failures": 2}, "0 messages, 0 connections, 2 server errors"),
        ({"failures": 1, "problems": 1}, "0 messages, 0 connections, 1 server error, 1 problem"),
    ],
)
def test_summary_line(counts: dict[str, int], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Status(PLAIN, bar=False, summary=True) as status:
        for name, number in counts.items():
            setattr(status, name, number)
    assert capsys.readouterr().err == f"── {line}\n"


def test_summary_counts_problems_without_notes(capsys: pytest.CaptureFixture[str]) -> None:
    with Status(PLAIN, bar=False, summary=True) as status:
        status.source("a")
        status.notice(LOST)
        status.problem("a: is empty")
        status.notice(Notice("encrypted", "is encrypted (TLS)", severity="note"))
    assert (status.problems, status.notices) == (2, {"lost-bytes": 1, "unreadable": 1, "encrypted": 1})
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "── 0 messages, 0 connections, 1 encrypted connection, 2 problems"


def test_summary_claims_no_problems_only_without_notes(capsys: pytest.CaptureFixture[str]) -> None:
    with Status(PLAIN, bar=False, summary=True) as status:
        status.source("a")
        status.notice(Notice("no-libvirt", "no libvirt connection", severity="note"))
    assert capsys.readouterr().err.splitlines()[-1] == "── 0 messages, 0 connections, 1 note"


def test_no_summary_after_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Status(PLAIN, bar=False, summary=True):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
