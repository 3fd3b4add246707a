"""Tables of messages and exchanges in Python, with and without the native core."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import libvirt_proto
from libvirt_proto import native
from libvirt_proto.events import Captured, Connection
from libvirt_proto.registry import default
from libvirt_proto.rpc.message import Header, Message
from tests.support import packets

pa = pytest.importorskip("pyarrow")


@pytest.fixture(
    params=[pytest.param("0", marks=pytest.mark.native), "1"], autouse=True, ids=["native", "pure"]
)
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.PURE, request.param)


def odd(n: int, name: str = "a", **fields: Any) -> Captured:
    """A message with unusual numbers."""
    big = (1 << 32) - 1
    header = Header(big, big, -(1 << 31), fields.get("type", -7), big, fields.get("status", 77))  # type: ignore[arg-type]
    message = Message(header, 0, missing=-1, data=b"\0\xff", fds=fields.get("fds"))
    return Captured(n, fields.get("time"), Connection(1, name, "server"), None, message)


def test_unusual_numbers() -> None:
    """Numbers without a name are texts; nothing is lost but times beyond 64 bits."""
    from libvirt_proto.tables.messages import MessageTable

    table = MessageTable(default())
    table.begin("first")
    table.begin("second")
    table.add(odd(1, "é", time=1 << 63))
    table.add(odd(2, time=-(1 << 62)))
    table.begin("third")
    table.add(odd(3, type=1 << 30, fds=5))
    rows = table.take()
    rows.validate(full=True)
    first, second, third = rows.to_pylist()
    big = (1 << 32) - 1
    expected = {
        "file": "second",
        "n": 1,
        "time": None,
        "time_ns": None,
        "frame": None,
        "conn": "é-server",
        "dir": None,
        "length": None,
        "prog": big,
        "program": None,
        "vers": big,
        "proc": -(1 << 31),
        "procedure": None,
        "type": "-7",
        "status": "77",
        "serial": big,
        "fds": None,
        "payload_type": None,
        "payload": None,
        "data": b"\0\xff",
        "problem": None,
        "error": None,
        "error_code": None,
        "missing": None,
    }
    assert first == expected
    assert (second["time_ns"], second["conn"]) == (-(1 << 62), "a-server")
    assert (third["file"], third["type"], third["fds"]) == ("third", str(1 << 30), 5)
    table.add(odd(4))
    (again,) = table.take().to_pylist()
    assert (again["file"], again["type"], again["status"]) == ("third", "-7", "77")


def test_hostile_names_are_forgotten() -> None:
    """Texts of a batch are dropped with it."""
    from libvirt_proto.tables.messages import MessageTable

    table = MessageTable(default())
    table.begin("file")
    for batch in range(3):
        for at in range(1000):
            number = batch * 1000 + at + 10
            table.add(odd(at, f"client{number}", type=number, status=-number))
        rows = table.take()
        for name in ("conn", "type", "status"):
            texts = len(rows[name].dictionary)
            assert 1000 <= texts <= 1010
            assert rows[name][-1].as_py() in (f"client{number}-server", f"{number}", f"-{number}")


def test_rows_are_taken_when_a_batch_is_full() -> None:
    """By their number, and by the size of their texts."""
    from libvirt_proto.tables.messages import MessageTable

    table = MessageTable(default())
    table.begin("file")
    message = Message(odd(1).message.header, 0, data=bytes(1 << 20))
    for at in range(16):
        assert not table.is_full(), at
        table.add(Captured(at, None, Connection(1, "a", "b"), None, message))
    assert table.is_full()
    assert table.take().num_rows == 16
    assert not table.is_full()


def test_any_name_of_an_object() -> None:
    """Rows of exchanges are JSON on the way."""
    from libvirt_proto.tables.arrow import exchange_batch
    from libvirt_proto.tables.exchanges import ExchangeRow

    names = ["", "\0", 'a"b', "é\u2028", "\\n\n", "x" * (3 << 20), "null", "\U0001f600", None]
    big = (1 << 32) - 1
    rows = [
        ExchangeRow(1, "conn", "ok", big, big, -1, big, 0, 2, 1, 1, time_ns=-(1 << 62), object_name=name)
        for name in names
    ]
    found = exchange_batch(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), [("file", len(rows))])
    found.validate(full=True)
    assert found["object_name"].to_pylist() == names
    assert set(found["time_ns"].to_pylist()) == {-(1 << 62)}
    assert set(found["serial"].to_pylist()) == {big}


def test_stream_of_a_capture(captures: Path) -> None:
    """A pass with the filter and the redaction of the capture."""
    chosen = libvirt_proto.Filter(default(), procedures=["connect_open"])
    with libvirt_proto.open(captures / "virsh-domname.pcap", filter=chosen, redact="all") as capture:
        table = pa.table(capture)
        assert table["procedure"].to_pylist() == ["connect_open"] * 2
        assert (capture.read_messages, capture.shown) == (18, 2)
        assert '"name":"' in table["payload"][0].as_py()
        assert pa.RecordBatchReader.from_stream(capture).read_all() == table


def test_stream_names_the_extra(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name == "libvirt_proto.tables" or name.startswith("libvirt_proto.tables."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        libvirt_proto.open(captures / "tour.pcap") as capture,
        pytest.raises(ImportError, match=r"install libvirt-proto\[arrow\]"),
    ):
        capture.__arrow_c_stream__()


def test_read_by_polars(captures: Path) -> None:
    polars = pytest.importorskip("polars")
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        found = polars.DataFrame(capture)
        assert found.height == 5012
        assert found["n"].sum() == 5012 * 5013 // 2


def test_read_by_pandas(captures: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        found = pandas.DataFrame.from_arrow(capture)
        assert (found["status"] == "error").sum() == 340
        assert str(found["time"].dtype) == "datetime64[ns, UTC]"


def test_read_by_duckdb(captures: Path) -> None:
    """Columns that the query does not need are left out."""
    duckdb = pytest.importorskip("duckdb")
    with libvirt_proto.open(captures / "tour.pcap") as capture:
        found = duckdb.sql("SELECT count(*), sum(length) FROM capture WHERE status = 'error'").fetchall()
        errors = [each.message.length for each in capture if each.message.header.status == 1]
    assert found == [(len(errors), sum(errors))]


def test_many_inputs_keep_no_memory() -> None:
    """Of files without messages."""
    from libvirt_proto.tables.messages import MessageTable

    table = MessageTable(default())
    for at in range(1000):
        table.begin(f"file {at}")
    assert len(table._inputs._first) == 1
    with libvirt_proto.open(packets.pcap([])) as capture:
        assert pa.table(capture).num_rows == 0
