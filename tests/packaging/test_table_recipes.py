"""docs/tables.md: its queries give what the JSON lines have, and its columns are those of the tables."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.differential.ours import COMMAND

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
CAPTURES = [ROOT / "tests/captures" / name for name in ("tour.pcap", "stream-events-keepalive.pcap")]

Exchanges = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the recipes."""
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("recipes")
    for name, options in (("messages", []), ("exchanges", ["--exchanges"])):
        for format_ in ("parquet", "jsonl"):
            out = folder / f"{name}.{format_}"
            subprocess.run(
                [COMMAND, "decode", *options, "--format", format_, "-o", out, *CAPTURES], check=True
            )
    return folder


def lines(file: Path) -> Exchanges:
    return [json.loads(line) for line in file.read_text().splitlines()]


def quantiles(exchanges: Exchanges) -> list[tuple[object, ...]]:
    found = defaultdict(list)
    for each in exchanges:
        if each["latency_ns"] is not None:
            found[each["procedure"]].append(each["latency_ns"])
    rows = []
    for procedure, latencies in found.items():
        latencies.sort()
        at = [latencies[max(0, -(-len(latencies) * share // 100) - 1)] for share in (50, 90, 99)]
        rows.append((procedure, len(latencies), at, latencies[-1]))
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def errors(exchanges: Exchanges) -> list[tuple[object, ...]]:
    found = defaultdict(list)
    for each in exchanges:
        if each["outcome"] in ("ok", "error"):
            hour = datetime.fromtimestamp(each["time_ns"] // 10**9 // 3600 * 3600, UTC).replace(tzinfo=None)
            found[hour].append(each["outcome"] == "error")
    return [(hour, len(each), sum(each) / len(each)) for hour, each in sorted(found.items())]


def slowest(exchanges: Exchanges) -> list[tuple[object, ...]]:
    found: dict[str, dict[str, Any]] = {}
    for each in exchanges:
        subject = each["object"] or {"kind": None}
        if subject["kind"] == "domain" and each["latency_ns"] is not None:
            best = found.get(subject["name"])
            if best is None or each["latency_ns"] > best["latency_ns"]:
                found[subject["name"]] = each
    rows = [(name, each["latency_ns"], each["procedure"], each["n"]) for name, each in found.items()]
    return sorted(rows, key=lambda row: -row[1])


def states(messages: Exchanges) -> list[tuple[object, ...]]:
    wanted = [each for each in messages if each["payload_type"] == "remote_domain_get_state_ret"]
    return sorted(Counter(each["payload"]["state_name"] for each in wanted).items())


RECIPES: dict[str, tuple[str, Callable[[Exchanges], list[tuple[object, ...]]]]] = {
    "Quantiles per procedure": ("exchanges", quantiles),
    "Error rate per hour": ("exchanges", errors),
    "Slowest call per domain": ("exchanges", slowest),
    "Values in payloads": ("messages", states),
}


@pytest.mark.parametrize("heading", RECIPES)
def test_recipes(folder: Path, heading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(folder)
    section = PAGE.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    queries = re.findall(r"^```sql\n(.*?)^```$", section, re.M | re.S)
    assert ["parquet" in query for query in queries] == [True, False]
    file, expected_of = RECIPES[heading]
    expected = expected_of(lines(folder / f"{file}.jsonl"))
    assert expected
    for query in queries:
        assert duckdb.sql(query).fetchall() == expected


def test_every_query_is_tested() -> None:
    assert PAGE.count("```sql") == 2 * len(RECIPES)


def test_columns() -> None:
    """The page lists each column of a table once, with its type."""
    pa = pytest.importorskip("pyarrow")
    from libvirt_proto.tables.arrow import EXCHANGES, MESSAGES

    types = {"text*": pa.dictionary(pa.int32(), pa.string()), "text": pa.string(), "binary": pa.binary()}
    types |= {"timestamp, ns, UTC": pa.timestamp("ns", "UTC"), "int64": pa.int64()}
    types |= {"int32": pa.int32(), "uint32": pa.uint32()}
    found: dict[str, dict[str, Any]] = {"m": {}, "x": {}}
    for row in re.findall(r"^\| (`.*) \|$", PAGE.partition("## Columns")[2], re.M):
        names, type_, _, tables = (cell.strip() for cell in row.split(" | "))
        for table in tables.split():
            for name in re.findall("`(.*?)`", names):
                assert name not in found[table]
                found[table][name] = types[type_]
    for table, schema in (("m", MESSAGES), ("x", EXCHANGES)):
        assert found[table] == {field.name: field.type for field in schema}
        assert [*found[table]] == schema.names
