"""The text of metrics, read back by prometheus-client's own parsers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from libvirt_proto import registry
from libvirt_proto.metrics.counts import BOUNDS, Metrics
from libvirt_proto.metrics.exposition import Exposition
from tests.support.conversations import MS, SECOND, Talk

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
ROOT = Path(__file__).resolve().parents[3]
CALL = {"program": "remote", "procedure": "connect_get_hostname", "side": "between"}


@pytest.fixture
def exposition() -> Exposition:
    talk = Talk()
    talk.call("connect_get_hostname", at=0, takes=MS)
    talk.call("connect_get_hostname", at=SECOND, takes=70 * SECOND, error=b"secret text")
    talk.call("connect_get_hostname", at=80 * SECOND, takes=None)
    metrics = Metrics(registry.default(), diagnose=True, clock=lambda: 0.0)
    for item in talk:
        metrics.add(item)
    return Exposition(metrics)


def samples(text: str, parse=parse_text) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:  # type: ignore[no-untyped-def]
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def value(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found[f"libvirt_rpc_{name}", frozenset(labels.items())]


@pytest.mark.parametrize("parse", [parse_text, parse_openmetrics], ids=["text", "openmetrics"])
def test_both_formats_have_the_same_values(exposition: Exposition, parse) -> None:  # type: ignore[no-untyped-def]
    text, content_type = exposition.served(OPENMETRICS if parse is parse_openmetrics else "*/*")
    # prometheus-client 0.16 calls the same text version 0.0.1.
    expected = "application/openmetrics-text; version=" if parse is parse_openmetrics else "text/plain;"
    assert content_type.startswith(expected)
    found = samples(text.decode(), parse)
    assert value(found, "calls_total", outcome="ok", **CALL) == 1
    assert value(found, "calls_total", outcome="error", **CALL) == 1
    assert value(found, "in_flight", **CALL) == 1
    assert value(found, "oldest_call_age_seconds", **CALL) == 0
    assert value(found, "call_duration_seconds_count", **CALL) == 2
    assert value(found, "call_duration_seconds_sum", **CALL) == 70.001
    assert value(found, "call_duration_seconds_bucket", le="0.0005", **CALL) == 0
    assert value(found, "call_duration_seconds_bucket", le="0.001", **CALL) == 1
    assert value(found, "call_duration_seconds_bucket", le="60.0", **CALL) == 1
    assert value(found, "call_duration_seconds_bucket", le="+Inf", **CALL) == 2
    assert value(found, "errors_total", code="VIR_ERR_INTERNAL_ERROR") == 1
    assert value(found, "notices_total", code="lost-events") == 0
    assert value(found, "findings_total", rule="STILL_WAITING", severity="warning") == 0
    assert value(found, "connections_open", transport="tcp", side="between") == 1
    assert value(found, "info", version="0.1.0", definitions=registry.default().release) == 1


def test_no_text_of_the_peer_is_exposed(exposition: Exposition) -> None:
    text = exposition.file()
    for hidden in (b"secret", b"192.0.2", b":16509"):
        assert hidden not in text


def test_the_file_has_no_metrics_of_the_process(exposition: Exposition) -> None:
    """node_exporter exposes metrics with these names about itself, and rejects a file with the same."""
    text, _ = exposition.served("")
    assert b"\nprocess_cpu_seconds_total " in text
    assert b"process_" not in exposition.file()
    assert b"python_" not in text


def test_documented_maximum_of_series() -> None:
    """The sum that docs/metrics.md states, from the definitions."""
    programs = registry.default().programs()
    rows = sum(len(program.procedures) for program in programs) + len(programs) + 1
    text = (ROOT / "docs" / "metrics.md").read_text()
    stated = re.search(r"at most ([\d,]+) procedures with ([\d,]+) series each on each side", text)
    assert stated
    # Outcomes, buckets with +Inf, sum and count, two gauges, events.
    each = 6 + (len(BOUNDS) + 1) + 2 + 2 + 1
    assert [int(number.replace(",", "")) for number in stated.groups()] == [rows, each]


def test_documentation_names_every_metric(exposition: Exposition) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^# TYPE (libvirt_rpc_\w+)", exposition.file().decode(), re.MULTILINE))
    assert names == set(re.findall(r"^\| `(libvirt_rpc_\w+)`", text, re.MULTILINE))
