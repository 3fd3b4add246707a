"""Metrics as a real Prometheus reads them, and the rules, the unit and the dashboard of docs/metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from libvirt_proto import registry
from libvirt_proto.metrics.counts import Metrics
from libvirt_proto.metrics.exposition import Exposition
from tests.differential import ours
from tests.differential.libvirtd import free_port, started
from tests.differential.tracing import trace
from tests.runtime.cli.test_metrics import running
from tests.support.conversations import MS, Talk

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics"
PATIENCE = 60.0
PROMETHEUS = pytest.mark.system("prometheus", "promtool")


def promtool(*words: str | Path, text: bytes = b"") -> str:
    done = subprocess.run(["promtool", *words], input=text, capture_output=True, timeout=PATIENCE)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    return output


class Server:
    """A running Prometheus that scrapes one place each second."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process

    def query(self, expression: str) -> list[dict[str, Any]]:
        question = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{question}", timeout=PATIENCE) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]["result"]  # type: ignore[no-any-return]

    def wait_for(self, expression: str) -> None:
        """Wait until a query has a result."""
        while not self.query(expression):
            assert self.process.poll() is None

    def values(self, expression: str, *labels: str) -> dict[Any, float]:
        """The values of a query by these labels."""
        return {
            tuple(each["metric"][label] for label in labels): float(each["value"][1])
            for each in self.query(expression)
        }


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Server]:
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{DOCS / 'alerts.yml'}]\n"
        f"scrape_configs: [{{job_name: libvirt, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    promtool("check", "config", folder / "prometheus.yml")
    port = free_port()
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            while "Server is ready" not in (folder / "log").read_text():
                assert process.poll() is None, (folder / "log").read_text()
            yield Server(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()


@PROMETHEUS
def test_prometheus_counts_what_stats_counts(captures: Path, tmp_path: Path) -> None:
    stats = json.loads(ours.run("stats", "--format", "json", captures / "tour.pcap").stdout)
    with running("decode", "-f", captures / "tour.pcap", "--metrics=127.0.0.1:0") as one:
        one.scrape(r'^libvirt_rpc_messages_total\{type="reply"\} 2486\.0$')
        target = re.sub(r"^http://|/metrics$", "", one.url)
        with prometheus(tmp_path, target) as server:
            server.wait_for("libvirt_rpc_messages_total")
            (up,) = server.query("up")
            assert up["value"][1] == "1"
            calls = server.values(
                "sum by (program, procedure) (libvirt_rpc_calls_total)", "program", "procedure"
            )
            latencies = server.values("libvirt_rpc_call_duration_seconds_count", "program", "procedure")
            sums = server.values("libvirt_rpc_call_duration_seconds_sum", "program", "procedure")
            errors = server.values("libvirt_rpc_errors_total", "code")
            (total,) = server.values("sum(libvirt_rpc_bytes_total)").values()
            buckets = 'libvirt_rpc_call_duration_seconds_bucket{procedure="domain_get_info"}'
            (p99,) = server.values(f"histogram_quantile(0.99, {buckets})").values()
            dashboard = json.loads((DOCS / "dashboard.json").read_text())
            for expression in expressions(dashboard):
                server.query(expression)
        assert one.end()[0] == 0
    procedures = {(each["program"], each["procedure"]): each for each in stats["procedures"]}
    assert calls == {key: each["calls"] for key, each in procedures.items()}
    assert latencies == {key: each["latency"]["count"] for key, each in procedures.items()}
    for key, each in procedures.items():
        assert sums[key] == pytest.approx(each["latency"]["total_ns"] / 1e9, rel=1e-12)
    assert errors == {(each["code_name"],): each["count"] for each in stats["errors"]}
    assert total == stats["totals"]["bytes"]
    # The exact percentile is in the bucket that Prometheus interpolates.
    exact = procedures["remote", "domain_get_info"]["latency"]["p99_ns"] / 1e9
    assert [bound for bound in (0, 1e-4, 2.5e-4, 5e-4, 1e-3) if bound < min(p99, exact)] == [
        bound for bound in (0, 1e-4, 2.5e-4, 5e-4, 1e-3) if bound < max(p99, exact)
    ]


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """The queries of a dashboard, with values for Grafana's variables."""
    found = [
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        if target["expr"]
    ]
    assert len(found) > 15
    text = json.dumps(found)
    for name, value in (("__rate_interval", "1m"), ("__range", "1h"), ("instance", ".*"), ("side", ".*")):
        text = text.replace(f"${name}", value)
    assert "$" not in text
    return json.loads(text)  # type: ignore[no-any-return]


@PROMETHEUS
def test_dashboard_and_rules_use_metrics_that_exist(tmp_path: Path) -> None:
    metrics = Metrics(registry.default(), diagnose=True)
    talk = Talk()
    talk.call("auth_list", at=0)
    talk.call("auth_list", at=MS, error=b"no")
    talk.event("domain_event_lifecycle", b"", at=2 * MS)
    for item in talk:
        metrics.add(item)
    text = Exposition(metrics).file()
    assert promtool("check", "metrics", text=text) == ""
    known = set(re.findall(rb"^(libvirt_rpc_\w+)", text, re.MULTILINE))
    rules = (DOCS / "alerts.yml").read_text()
    dashboard = (DOCS / "dashboard.json").read_text()
    used = set(re.findall(r"libvirt_rpc_\w+", rules + dashboard))
    assert used - {name.decode() for name in known} == set()
    queries = expressions(json.loads(dashboard))
    (tmp_path / "rules.yml").write_text(
        json.dumps({"groups": [{"name": "x", "rules": [{"record": "x", "expr": each} for each in queries]}]})
    )
    promtool("check", "rules", tmp_path / "rules.yml")
    promtool("check", "rules", DOCS / "alerts.yml")


@PROMETHEUS
def test_alerts_fire(tmp_path: Path) -> None:
    """Prometheus's own unit tests of rules: a day of trouble fires each alert, and a quiet one none."""
    names = re.findall(r"alert: (\w+)", (DOCS / "alerts.yml").read_text())
    call = 'program="remote",procedure="domain_create",side="server"'
    trouble = {
        f"libvirt_rpc_oldest_call_age_seconds{{{call}}}": "0+60x30",
        f'libvirt_rpc_call_duration_seconds_bucket{{{call},le="5.0"}}': "0x40",
        f'libvirt_rpc_call_duration_seconds_bucket{{{call},le="10.0"}}': "0+60x40",
        f'libvirt_rpc_call_duration_seconds_bucket{{{call},le="+Inf"}}': "0+60x40",
        f"libvirt_rpc_call_duration_seconds_count{{{call}}}": "0+60x40",
        f'libvirt_rpc_calls_total{{{call},outcome="ok"}}': "0+10x40",
        f'libvirt_rpc_calls_total{{{call},outcome="error"}}': "0+10x40",
        f'libvirt_rpc_calls_total{{{call},outcome="unanswered"}}': "0+1x40",
        'libvirt_rpc_errors_total{code="VIR_ERR_AUTH_FAILED"}': "0+10x40",
        'libvirt_rpc_connections_open{transport="unix",side="server"}': "4500x40",
        'libvirt_rpc_findings_total{rule="TOO_MANY_CLIENTS",severity="error"}': "0+1x40",
        "libvirt_rpc_malformed_total": "0+1x40",
        "libvirt_rpc_lost_messages_total": "0+1x40",
        'node_textfile_mtime_seconds{file="/x/libvirt-proto.prom"}': "0x40",
    }
    quiet = dict.fromkeys(trouble, "0x40") | {
        f'libvirt_rpc_calls_total{{{call},outcome="ok"}}': "0+10x40",
        f"libvirt_rpc_oldest_call_age_seconds{{{call}}}": "1x40",
        'libvirt_rpc_oldest_call_age_seconds{program="remote",procedure="domain_migrate_perform3"}': "900x40",
        'node_textfile_mtime_seconds{file="/x/libvirt-proto.prom"}': "0+60x40",
    }
    shutil.copy(DOCS / "alerts.yml", tmp_path)
    for day, series in (("trouble", trouble), ("quiet", quiet)):
        # promtool compares labels and annotations, too: this asks for alerts by name instead.
        checks = [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > 0',
                "eval_time": "30m",
                "exp_samples": [{"labels": "{}", "value": 1}] if day == "trouble" else [],
            }
            for name in names
        ]
        test = {
            "rule_files": ["alerts.yml"],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": key, "values": value} for key, value in series.items()],
                    "promql_expr_test": checks,
                }
            ],
        }
        (tmp_path / f"{day}.yml").write_text(json.dumps(test))
        promtool("test", "rules", tmp_path / f"{day}.yml")


@pytest.mark.system("prometheus-node-exporter")
def test_node_exporter_reads_the_file_as_another_user(captures: Path) -> None:
    with TemporaryDirectory(dir="/tmp") as name:  # pytest's folders are closed to others
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        with (captures / "tour.pcap").open("rb") as capture:
            subprocess.run(
                [ours.COMMAND, "decode", "--metrics-file", folder / "x.prom", "-"], stdin=capture, check=True
            )
        command = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"]
        command += ["--collector.disable-defaults", "--collector.textfile"]
        with subprocess.Popen(
            [*command, f"--collector.textfile.directory={folder}"],
            stderr=subprocess.PIPE,
            text=True,
            user="nobody" if os.geteuid() == 0 else None,
        ) as process:
            try:
                assert process.stderr is not None
                while "Listening on" not in (line := process.stderr.readline()):
                    assert line
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                    text = answer.read().decode()
            finally:
                process.terminate()
    assert "\nnode_textfile_scrape_error 0\n" in text
    assert '\nlibvirt_rpc_messages_total{type="call"} 2486\n' in text


@pytest.mark.system("systemd-analyze")
def test_unit(tmp_path: Path) -> None:
    text = (DOCS / "libvirt-proto-trace.service").read_text()
    assert "ExecStart=/usr/bin/libvirt-proto trace " in text
    unit = tmp_path / "libvirt-proto-trace.service"
    unit.write_text(text.replace("/usr/bin/libvirt-proto", str(ours.COMMAND)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.system("libvirtd", "virsh")
@pytest.mark.usefixtures("tracing")
def test_trace_counts_the_calls_of_virsh(tmp_path: Path) -> None:
    path, output = tmp_path / "x.prom", tmp_path / "messages"
    shown = ("--exchanges", "--format", "jsonl", "-o", output)
    with (
        started() as daemon,
        trace("--pid", str(daemon.pid), "--server-only", "--metrics-file", path, *shown) as tracer,
    ):
        for _ in range(3):
            daemon.virsh("list", "--all")
        daemon.virsh("dominfo", "nobody", fails=True)
        assert tracer.end(signal.SIGTERM)[0] == 0
    exchanges = [json.loads(line) for line in output.read_text().splitlines()]
    expected: dict[tuple[str, str], int] = {}
    for each in exchanges:
        key = (each["procedure"], each["outcome"])
        expected[key] = expected.get(key, 0) + 1
    assert expected["connect_list_all_domains", "ok"] == 3
    text = path.read_text()
    found = {
        (match["procedure"], match["outcome"]): int(match["count"])
        for match in re.finditer(
            r'^libvirt_rpc_calls_total\{outcome="(?P<outcome>[\w-]+)",procedure="(?P<procedure>\w+)",'
            r'program="remote",side="server"\} (?P<count>\d+)\.0$',
            text,
            re.MULTILINE,
        )
        if match["count"] != "0"
    }
    assert found == expected
    assert 'libvirt_rpc_errors_total{code="VIR_ERR_NO_DOMAIN"}' in text
    assert "libvirt_rpc_lost_messages_total 0.0" in text
