"""Tables of the native core and of Python are equal, and have what JSON lines have, for any capture."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import libvirt_proto
from libvirt_proto import native, native_kinds
from libvirt_proto.cli import main as cli
from libvirt_proto.tables import exchanges
from tests.property.test_native_capture import KINDS, OTHERS, TOUR, conversations, damaged, pcap
from tests.support import packets
from tests.support.examples import examples

pa = pytest.importorskip("pyarrow")

pytestmark = pytest.mark.native

FILTERS: list[tuple[str, ...]] = [(), ("--procedure", "domain_*"), ("--errors-only",), ("--type", "reply")]


@pytest.fixture(autouse=True, scope="module")
def _at_once() -> Iterator[None]:
    """Use the native core from the first message on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_kinds, "WORTH", (0, 0))
        yield


def table(file: Path, *options: str) -> Any:
    """The table that `decode` writes."""
    written = file.with_suffix(".arrow")
    result = CliRunner().invoke(
        cli.main, ["decode", "--format", "arrow", "-o", str(written), *options, str(file)]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.stderr
    with pa.OSFile(str(written)) as opened:
        return pa.ipc.open_stream(opened).read_all()


def json_lines(file: Path, *options: str) -> list[dict[str, Any]]:
    """The messages or exchanges of `decode --format jsonl`."""
    result = CliRunner().invoke(cli.main, ["decode", "--format", "jsonl", *options, str(file)])
    return [each for line in result.stdout.splitlines() if "event" not in (each := json.loads(line))]


def both(file: Path, *options: str) -> Any:
    """The table, which is the same by Python and by the native core."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for pure in ("1", "0"):
            patch.setenv(native.PURE, pure)
            made = table(file, *options)
            made.validate(full=True)
            found.append(made)
    assert found[0].schema == found[1].schema
    assert found[0].to_pylist() == found[1].to_pylist()
    return found[1]


def agree(file: Path, rows: Any, *options: str) -> None:
    """The rows have the values of JSON lines."""
    lines = json_lines(file, *options)
    assert len(lines) == rows.num_rows
    plain = [name for name in rows.column_names if name in lines[0]] if lines else []
    for row, line in zip(rows.to_pylist(), lines, strict=True):
        assert row["file"] == str(file)
        assert (row["payload"] is None) == (line["payload"] is None)
        assert row["payload"] is None or json.loads(row["payload"]) == line["payload"]
        assert row["data"] == (None if line["data"] is None else base64.b64decode(line["data"]))
        assert row["problem"] == (line["error"] and line["error"]["message"])
        assert row["missing"] == line.get("missing", 0)
        assert row["type"] == str(line["type"])
        assert row["status"] == str(line["status"])
        for name in {*plain} - {"payload", "data", "error", "missing", "type", "status", "file"}:
            assert row[name] == line[name], name
        assert row["time_ns"] is None or row["time"].value == row["time_ns"]
        reported = line["payload"] if line["status"] == "error" and line["payload"] else {}
        assert row["error_code"] == reported.get("code")
        text = reported.get("message")
        if not isinstance(text, dict):  # bytes that are not UTF-8
            assert row["error"] == text


@pytest.mark.parametrize("options", FILTERS, ids=lambda options: " ".join(options) or "all")
def test_same_tables(options: tuple[str, ...], tmp_path: Path) -> None:
    """Of captures that are damaged in any way."""
    file = tmp_path / "capture"

    @settings(max_examples=examples(30), deadline=None)
    @given(KINDS, st.integers(0, 2**32))
    def holds(kinds: frozenset[str], seed: int) -> None:
        rng = Random(seed)
        file.write_bytes(pcap(damaged(rng.choice((TOUR, OTHERS)), rng, kinds), rng))
        agree(file, both(file, *options), *options)

    holds()


def test_same_tables_of_conversations(tmp_path: Path) -> None:
    """Streams, errors, names that are not UTF-8, and payloads that are malformed."""
    file = tmp_path / "capture"
    for seed in range(examples(60)):
        rng = Random(seed)
        file.write_bytes(pcap(damaged(conversations(rng), rng, frozenset()), rng))
        agree(file, both(file))


DAMAGES = ("cut up", "lost", "flipped", "shortened", "repeated", "late")


@pytest.mark.parametrize(
    "options", [(), ("--errors-only",), ("--slower-than", "20ms"), ("--procedure", "domain_*")], ids=" ".join
)
def test_same_exchanges(options: tuple[str, ...], tmp_path: Path) -> None:
    """The table of exchanges has what their JSON has."""
    file = tmp_path / "capture"
    for seed in range(examples(40)):
        rng = Random(f"{seed}/{options}")
        kinds = frozenset(rng.sample(DAMAGES, rng.choice((0, 0, 1, 2))))
        file.write_bytes(pcap(damaged(conversations(rng), rng, kinds), rng))
        rows = both(file, "--exchanges", *options)
        lines = json_lines(file, "--exchanges", *options)
        assert len(lines) == rows.num_rows
        for row, line in zip(rows.to_pylist(), lines, strict=True):
            for name in row.keys() & line.keys():
                assert row[name] == line[name], name
            for name in ("call", "reply"):
                assert row[f"{name}_n"] == (line[name] and line[name]["n"])
                assert row[f"{name}_frame"] == (line[name] and line[name]["frame"])
            for name in ("kind", "name", "uuid"):
                assert row[f"object_{name}"] == (line["object"] and line["object"][name])
            for name in ("bytes_c2s", "bytes_s2c", "end"):
                assert row[f"stream_{name}"] == (line["stream"] and line["stream"][name])
            failed = line["reply"] and line["reply"]["status"] == "error" and line["reply"]["payload"]
            if failed and not isinstance(failed.get("message"), dict):  # bytes that are not UTF-8
                assert (row["error_code"], row["error"]) == (failed.get("code"), failed.get("message"))


def test_share_of_exchanges(tmp_path: Path) -> None:
    """Python makes only the first rows of each kind."""
    talk, file = packets.Talk(), tmp_path / "capture"
    start = talk.handshake()
    call, reply = packets.message(proc=59), packets.message(b"\0\0\0\4host", proc=59, type=1)
    pairs = [talk.packet(*each) for _ in range(2000) for each in (("c2s", call), ("s2c", reply))]
    file.write_bytes(packets.pcap([*start, *pairs]))
    made = []
    with pytest.MonkeyPatch.context() as patch:
        line = exchanges.ExchangeLines.line
        patch.setattr(exchanges.ExchangeLines, "line", lambda *args: (made.append(1), line(*args))[1])
        rows = table(file, "--exchanges")
    assert rows["call_n"].to_pylist() == list(range(1, 4001, 2))
    assert 1 <= len(made) <= 10


def test_batches_keep_the_order(tmp_path: Path) -> None:
    """Rows of several batches, of messages that either way reads, and of many connections."""
    rng, file = Random(7), tmp_path / "capture"
    source: list[bytes] = []
    good, bad = (
        packets.message(b"\0\0\0\4host", proc=59, type=1),
        packets.message(b"\xff\0\0\4host", proc=59, type=1),
    )
    talks = [packets.Talk(client=("192.0.2.7", 20_000 + at)) for at in range(50)]
    source = [packet for talk in talks for packet in talk.handshake()]
    for _ in range(40_000):
        talk = rng.choice(talks)
        source.append(talk.packet("c2s", packets.message(proc=59)))
        source.append(talk.packet("s2c", bad if rng.random() < 0.01 else good))
    file.write_bytes(packets.pcap(source))
    with libvirt_proto.open(file) as capture:
        batches = list(pa.RecordBatchReader.from_stream(capture))
        assert capture.native_messages > 70_000
    assert [batch.num_rows for batch in batches] == [65_536, 14_464]
    rows = pa.Table.from_batches(batches)
    assert rows["n"].to_pylist() == list(range(1, 80_001))
    with libvirt_proto.open(file) as capture:
        reader = pa.RecordBatchReader.from_stream(capture)
        reader.read_next_batch()
        next(iter(capture))
        with pytest.raises(pa.ArrowException, match="another pass"):  # than to give fewer rows
            reader.read_all()
    with pytest.MonkeyPatch.context() as patch, libvirt_proto.open(file) as capture:
        patch.setenv(native.PURE, "1")
        expected = pa.table(capture)
    assert rows.to_pylist() == expected.to_pylist()
