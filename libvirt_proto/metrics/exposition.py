"""Counts in the text formats of Prometheus, written by prometheus-client: OpenMetrics, and the older format
that node_exporter reads from files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .counts import BOUNDS, CallCounts, Metrics, Snapshot

#: The value of a label, or of several.
Labels = TypeVar("Labels", bound=str | tuple[str, ...])

_NS: Final = 1e9
_CALL: Final = ("program", "procedure", "side")
_LE: Final = (*(str(bound / _NS) for bound in BOUNDS), "+Inf")


class Exposition(Collector):
    """The text of the counts at the moment when it is asked for. Safe in any thread."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics: Final = metrics
        self._info = {
            "version": version("libvirt-proto"),
            "definitions": metrics.registry.release or "custom",
        }
        # Never the default registry: it has metrics of the Python interpreter, and of other modules.
        self._file = CollectorRegistry(auto_describe=False)
        self._file.register(self)
        self._served = CollectorRegistry(auto_describe=False)
        self._served.register(self)
        # Not in the file: node_exporter has the same metrics about itself.
        ProcessCollector(registry=self._served)

    def served(self, accept: str) -> tuple[bytes, str]:
        """Return the text for an HTTP client and its type, which `accept` (the header) decides."""
        encode, content_type = choose_encoder(accept)
        return encode(self._served), content_type

    def file(self) -> bytes:
        """Return the text for node_exporter's textfile collector."""
        return generate_latest(self._file)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering needs no names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        snapshot = self.metrics.snapshot()
        yield InfoMetricFamily("libvirt_rpc", "This program, and its definitions.", value=self._info)
        yield from _calls(snapshot.calls)
        yield from _messages(snapshot)
        yield from _connections(snapshot)
        if snapshot.findings is not None:
            yield _counter(
                "findings",
                "Findings of diagnose, added every five minutes.",
                ("rule", "severity"),
                snapshot.findings,
            )


def _calls(rows: tuple[CallCounts, ...]) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "libvirt_rpc_calls",
        "Calls that are complete, with the streams that they opened.",
        labels=(*_CALL, "outcome"),
    )
    duration = HistogramMetricFamily(
        "libvirt_rpc_call_duration_seconds", "Time from a call to its reply.", labels=_CALL
    )
    in_flight = GaugeMetricFamily("libvirt_rpc_in_flight", "Calls that wait for a reply.", labels=_CALL)
    oldest = GaugeMetricFamily(
        "libvirt_rpc_oldest_call_age_seconds", "Age of the oldest call that waits for a reply.", labels=_CALL
    )
    for row in rows:
        for outcome, count in row.outcomes.items():
            calls.add_metric((*row.key, outcome), count)
        buckets = [*zip(_LE, map(float, accumulate(row.latencies)), strict=True)]
        duration.add_metric(row.key, buckets, row.latency_ns / _NS)
        in_flight.add_metric(row.key, row.in_flight)
        if row.oldest_ns is not None:
            oldest.add_metric(row.key, row.oldest_ns / _NS)
    yield from (calls, duration, in_flight, oldest)


def _messages(snapshot: Snapshot) -> Iterator[Metric]:
    without_call = "Replies and streams whose call was not seen, or was answered before."
    yield _counter("exchanges_without_call", without_call, ("outcome",), snapshot.without_call)
    yield _counter("errors", "Errors that servers reported, by virErrorNumber.", ("code",), snapshot.errors)
    yield _counter("events", "Events that servers sent.", _CALL, snapshot.events)
    yield _counter("messages", "Messages.", ("type",), snapshot.messages)
    yield _counter("bytes", "Bytes of messages (their length words).", ("direction",), snapshot.bytes)
    yield _number("malformed", "Messages with a malformed payload.", snapshot.malformed)
    yield _number(
        "lost_messages", "Events of probes that found the kernel's buffer full.", snapshot.lost_messages
    )
    yield _number("lost_bytes", "Bytes that are missing between messages.", snapshot.lost_bytes)
    yield _counter("notices", "Notices about the input.", ("code",), snapshot.notices)


def _connections(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ("transport", "side")
    yield _counter("connections", "Connections with messages.", labels, snapshot.connections)
    family = GaugeMetricFamily("libvirt_rpc_connections_open", "Connections that are open.", labels=labels)
    for kind in snapshot.connections:
        family.add_metric(kind, snapshot.open_connections.get(kind, 0))
    yield family


def _counter(
    name: str, text: str, labels: tuple[str, ...], counts: Mapping[Labels, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"libvirt_rpc_{name}", text, labels=labels)
    for values, count in counts.items():
        family.add_metric((values,) if isinstance(values, str) else values, count)
    return family


def _number(name: str, text: str, count: int) -> CounterMetricFamily:
    return CounterMetricFamily(f"libvirt_rpc_{name}", text, value=count)
