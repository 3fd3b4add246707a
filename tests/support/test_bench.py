"""tools/bench: its measurements are correct."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from libvirt_proto.capture.sources import open_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Notice
from libvirt_proto.registry import default
from libvirt_proto.rpc.message import MessageDecoder
from tools.bench import compare, growth, report, rows, shares
from tools.bench.captures import Capture, count, repeated
from tools.bench.timing import Run, in_turn, run

TOUR = "tour.pcap"


def read(path: Path) -> tuple[list[Captured], list[Notice]]:
    items = list(messages(open_source(str(path)), MessageDecoder().decode, programs=default().numbers))
    return [each for each in items if isinstance(each, Captured)], [
        each for each in items if isinstance(each, Notice)
    ]


def test_repeats_a_capture(captures: Path, tmp_path: Path) -> None:
    """The same messages, on separate connections, later."""
    path = captures / "virsh-domname.pcap"
    thrice = repeated(Capture(path, count(path), "a test"), 3, tmp_path / "thrice.pcap")
    want, _ = read(path)
    found, notices = read(thrice.path)
    assert notices == []
    assert thrice.messages == len(found) == 3 * len(want)
    assert [each.message for each in found] == 3 * [each.message for each in want]
    assert len({each.connection for each in found}) == 3
    assert all(each.connection.server.endswith(":16509") for each in found)
    times = [each.time_ns or 0 for each in found]
    assert times == sorted(times)


@pytest.mark.parametrize("at_once", [False, True])
def test_multiplies_connections_for_growth(captures: Path, tmp_path: Path, at_once: bool) -> None:
    path = tmp_path / "growth.pcap"
    growth.write(captures / TOUR, path, 30, 10, at_once=at_once)
    found, notices = read(path)
    assert notices == []
    assert len(found) == 300
    assert len({each.connection for each in found}) == 30
    changes = sum(a.connection != b.connection for a, b in pairwise(found))
    assert changes == (299 if at_once else 29)


def test_contenders_run_in_turn() -> None:
    order: list[str] = []
    taken = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, "a test")
    assert "".join(order) == "abbaab"
    assert {name: len(each) for name, each in taken.items()} == {"a": 3, "b": 3}


def test_run_measures_a_command() -> None:
    # Not bytes(n), whose pages are never touched.
    busy = "import time\nwhile time.process_time() < 0.3: pass\nx = b'x' * 90_000_000"
    found = run((sys.executable, "-c", busy))
    assert found.cpu >= 0.3
    assert found.wall >= 0.3
    assert found.peak > 90e6
    with pytest.raises(RuntimeError, match="no good"):
        run((sys.executable, "-c", "raise SystemExit('no good')"))


def test_ratios_compare_pairs() -> None:
    """One round in which both are slow changes nothing."""
    ours = [Run(1, 1, 0), Run(10, 10, 0), Run(1, 1, 0)]
    theirs = [Run(5, 6, 0), Run(50, 60, 0), Run(5, 7, 0)]
    row = rows.faster("work", "peer", 6, ours, theirs)
    assert row.spread == "6.0× to 7.0×"
    assert (row.measured, row.elapsed, row.verdict) == ("6.0×", "5.0×", "met")
    assert rows.faster("work", "peer", 8, ours, theirs).verdict == "**missed by 25 %**"
    assert rows.faster("work", "peer", 6, ours, theirs, by_cpu=False).measured == "5.0×"
    assert rows.at_most("work", "floor", 6, [Run(9, 18, 0)], [Run(2, 2, 0)]).verdict == "**missed by 50 %**"
    assert rows.at_most("work", "floor", 6, [Run(9, 12, 0)], [Run(2, 2, 0)]).verdict == "met"
    free = rows.at_most("work", "floor", None, [Run(9, 12, 0)], [Run(2, 2, 0)])
    assert (free.goal, free.measured, free.verdict, free.elapsed) == ("", "6.0×", "", "4.5×")


@pytest.mark.parametrize(
    ("value", "said"), [(2.345, "2.35 s"), (0.2, "200 ms"), (0.00042, "420 µs"), (8e-7, "0.8 µs")]
)
def test_formats_seconds(value: float, said: str) -> None:
    assert rows.seconds(value) == said


def test_growth_in_proportion_has_exponent_one() -> None:
    assert growth.Growth("", (9.0, 1.0, 10.0, 100.0), (0, 0, 0, 0)).exponent == pytest.approx(1)
    assert growth.Growth("", (9.0, 1.0, 100.0, 10000.0), (0, 0, 0, 0)).exponent == pytest.approx(2)


def test_shares_sum_to_one() -> None:
    table = list(shares.table({"jsonl": {"a": 0.6, "b": 0.39, "c": 0.01}, "monitor": {"b": 1.0}}))
    assert table[2:] == ["| b | 39% | 100% |", "| a | 60% | 0% |", "| the rest | 1% | 0% |"]


def test_replaces_table_in_document(tmp_path: Path) -> None:
    document = tmp_path / "text.md"
    document.write_text("before\n<!-- goals -->\nold\n<!-- end of goals -->\nafter\n")
    report.replace(document, "goals", "new\nlines")
    assert document.read_text() == "before\n<!-- goals -->\nnew\nlines\n<!-- end of goals -->\nafter\n"
    with pytest.raises(ValueError, match="growth"):
        report.replace(document, "growth", "new")


def test_document_has_a_place_for_each_table(root: Path) -> None:
    text = (root / "docs" / "performance.md").read_text()
    for mark in ("goals", "growth", "shares"):
        assert text.index(f"<!-- {mark} -->\n") < text.index(f"<!-- end of {mark} -->\n")


def test_compare_runs_each_tree(tmp_path: Path) -> None:
    """Not the code of the current folder, nor the installed one."""
    for tree, end in (("good", "pass"), ("bad", "raise SystemExit('the bad one')")):
        package = tmp_path / tree / "libvirt_proto"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "cli.py").write_text(f"def main(prog_name):\n    {end}\n")
    compare._command(tmp_path / "good", [], tmp_path)()
    with pytest.raises(RuntimeError, match="the bad one"):
        compare._command(tmp_path / "bad", [], tmp_path)()


@pytest.mark.filterwarnings("ignore:'xdrlib' is deprecated:DeprecationWarning")
def test_peers_decode_equal_values(captures: Path) -> None:
    """Values and bytes are compared before measuring."""
    pytest.importorskip("construct", reason="the peers are not installed (pip install --group bench)")
    pytest.importorskip("xdrlib", reason="the peers are not installed (pip install --group bench)")
    from tools.bench import payloads

    work = list(payloads.sample(captures / TOUR, 1000))
    assert len(work) > 800
    assert all(built() == value for built, (_, _, value) in zip(payloads.builders(work), work, strict=True))
    for measure, factor in payloads.contenders(work).values():
        measure()
        assert factor >= 1


def test_prints_help() -> None:
    for module in ("tools.bench", "tools.bench.compare"):
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Examples:" in done.stdout
