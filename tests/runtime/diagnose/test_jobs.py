"""UNFINISHED_JOB: worker jobs that began and did not end."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.diagnose.worker_jobs import WorkerJobs
from libvirt_proto.events import LogLine, ProbeEvent
from tests.support.diagnoses import SECOND, START, file_findings, findings

RULE = {"UNFINISHED_JOB"}
LIST = "remoteDispatchConnectListAllDomains"


def line(at: float | None, kind: str, number: int, program: str = "", **details: str) -> LogLine:
    time_ns = None if at is None else START + round(at * SECOND)
    return LogLine(kind, time_ns, program, "", details.get("thread"), number, details)


def begin(at: float | None, number: int = 1, thread: int = 6924, job: str = LIST) -> LogLine:
    return line(at, "job-begin", number, thread=str(thread), name="rpc-virtqemud", job=job)


def end(at: float | None, number: int = 2, thread: int = 6924, job: str = LIST) -> LogLine:
    return line(at, "job-end", number, thread=str(thread), name="rpc-virtqemud", job=job, ret="0")


def found(*items: LogLine | ProbeEvent) -> list[Finding]:
    return findings(*items, rules=RULE)


def test_job_until_a_keepalive_timeout() -> None:
    (finding,) = found(begin(0), line(12.437, "keepalive-timeout", 2))
    assert finding.summary == (
        "A worker of the daemon has been stuck in connect_list_all_domains since 17:23:37.301; a connection"
        " ended with a keepalive timeout 12.4 s later, and the job did not end."
    )
    assert (finding.certainty, finding.subject) == ("certain", "connect_list_all_domains")
    assert [each.lines for each in finding.evidence] == [(1,), (2,)]
    assert "pidof virtqemud" in finding.advice[0]


def test_pool_whose_refresh_took_too_long_for_the_client() -> None:
    """The notes' case of storage pools with thousands of volumes."""
    (finding,) = found(begin(0, job="remoteDispatchStoragePoolRefresh"), line(30, "keepalive-timeout", 2))
    assert "stuck in storage_pool_refresh since" in finding.summary


def test_job_until_the_end_of_the_log() -> None:
    (finding,) = found(begin(0), begin(30, 2, 1), end(31, 3, 1))
    assert finding.summary.endswith(
        "since 17:23:37.301; the job had not ended when the log ended 31.0 s later."
    )
    assert (finding.severity, finding.certainty) == ("warning", "likely")


def test_job_until_the_daemon_was_started_again() -> None:
    (finding,) = found(begin(0), line(95, "started", 2, version="11.3.0"), begin(95, 3), end(95.1, 4))
    assert finding.summary.endswith("the job had not ended when the daemon was started again 95.0 s later.")


def test_job_whose_monitor_command_has_no_reply() -> None:
    sent: dict[str, int | str] = {"mon": "0x1", "msg": '{"execute":"stop","id":"libvirt-3"}'}
    (finding,) = found(
        begin(0, job="remoteDispatchDomainMigratePerform3"),
        ProbeEvent("qemu_monitor_send_msg", START, None, "", 6924, sent),
        ProbeEvent("qemu_monitor_recv_event", START + 4 * SECOND, None, "", 1, {"mon": "0x1", "event": "{}"}),
    )
    assert "QEMU has not answered its command stop for 4.00 s" in finding.summary


def test_domain_whose_job_it_wanted() -> None:
    wanted = LogLine("job-wanted", START, "", "", "6924", 2, {"domain": "web"})
    suspend = begin(0, job="remoteDispatchDomainSuspend")
    (finding,) = found(suspend, wanted, line(20, "keepalive-timeout", 3))
    assert finding.summary.startswith(
        "A worker of the daemon has been stuck in domain_suspend on domain web since"
    )


def test_stuck_workers_are_one_finding() -> None:
    stuck = [begin(i, i, 100 + i) for i in range(7)]
    other = begin(8, 8, 200, "remoteDispatchDomainGetInfo")
    (finding,) = found(*stuck, other, begin(60, 10, 300), end(60, 11, 300))
    assert finding.summary.startswith(
        "8 workers of the daemon have been stuck, one in connect_list_all_domains"
    )
    first, second = finding.evidence
    assert first.text.endswith(
        "threads 100 (rpc-virtqemud), 101 (rpc-virtqemud), 102 (rpc-virtqemud),"
        " 103 (rpc-virtqemud), 104 (rpc-virtqemud) and 2 more"
    )
    assert first.count == 7
    assert second.text == "domain_get_info began and did not end in thread 200 (rpc-virtqemud)"


@pytest.mark.parametrize(
    "items",
    [
        pytest.param((begin(0), end(100)), id="ended"),
        pytest.param((begin(0), end(None)), id="ended, no time"),
        pytest.param((begin(0), begin(29.9, 2, 1), end(29.9, 3, 1)), id="just before the end"),
        pytest.param((begin(0), line(9.9, "keepalive-timeout", 2)), id="keepalive timeout after seconds"),
        pytest.param((begin(20, 2), line(10, "keepalive-timeout", 1)), id="keepalive timeout before"),
        pytest.param((begin(0), begin(40, 2), end(41, 3)), id="its end is not in the log"),
        pytest.param((begin(0, job="udev-event"), begin(90, 2, 1), end(90, 3, 1)), id="not a worker"),
        pytest.param(
            (begin(0, job="remoteDispatchDomainMigratePerform3Params"), begin(90, 2, 1), end(90, 3, 1)),
            id="a migration",
        ),
        pytest.param(
            (begin(0, job="remoteDispatchStoragePoolRefresh"), begin(90, 2, 1), end(90, 3, 1)),
            id="a large pool",
        ),
        pytest.param((end(0, 1), end(50, 2, 1)), id="only ends"),
        pytest.param((begin(100), end(0, 2, 1)), id="negative time"),
    ],
)
def test_other_jobs_are_no_finding(items: tuple[LogLine, ...]) -> None:
    assert not found(*items)


def test_state_is_bounded() -> None:
    jobs = WorkerJobs()
    for thread in range(10_000):
        jobs.add(begin(0, thread, thread))
    assert len(jobs.running()) == 4096
    (finding,) = found(*(begin(0, i, i) for i in range(10_000)), *(end(99, 10_000 + i, -i) for i in range(9)))
    assert finding.evidence[0].count == 4096
    assert len(finding.evidence[0].lines) == 20


FILE = """\
2024-03-12 17:23:37.299+0000: 6925: debug : virThreadJobSet:94 : Thread 6925 (rpc-virtqemud) is now \
running job remoteDispatchConnectGetCapabilities
2024-03-12 17:23:37.300+0000: 6925: debug : virThreadJobClear:119 : Thread 6925 (rpc-virtqemud) finished \
job remoteDispatchConnectGetCapabilities with ret=0
2024-03-12 17:23:37.301+0000: 6924: debug : virThreadJobSet:94 : Thread 6924 (rpc-virtqemud) is now \
running job remoteDispatchConnectListAllDomains
2024-03-12 17:23:49.738+0000: 6921: error : virKeepAliveTimerInternal:131 : internal error: connection \
closed due to keepalive timeout
"""
JOURNAL = """\
2024-03-12T17:23:37.301123+0000 host virtqemud[6921]: Thread 6924 (rpc-virtqemud) is now \
running job remoteDispatchConnectListAllDomains
2024-03-12T17:23:49.738456+0000 host virtqemud[6921]: internal error: connection closed due to keepalive \
timeout
"""
SYSLOG = """\
Mar 12 17:23:37 host virtqemud[6921]: Thread 6924 (rpc-virtqemud) is now \
running job remoteDispatchConnectListAllDomains
Mar 12 17:23:49 host virtqemud[6921]: internal error: connection closed due to keepalive timeout
"""
OLD = """\
2015-03-12 17:23:37.301+0000: 6924: debug : virThreadJobSet:99 : Thread 6924 (virNetServerHandleJob) is now \
running job remoteDispatchConnectListAllDomains
2015-03-12 17:23:49.738+0000: 6921: warning : virKeepAliveTimerInternal:143 : No response from client \
0x7f43d8000f30 after 5 keepalive messages in 12 seconds
"""


@pytest.mark.parametrize(
    ("log", "since", "later"),
    [
        (FILE, " since 17:23:37.301", " 12.4 s later"),
        (JOURNAL, " since 17:23:37.301", " 12.4 s later"),
        (SYSLOG, "", ""),
        (OLD, " since 17:23:37.301", " 12.4 s later"),
    ],
    ids=["file", "journal", "syslog", "1.2.13"],
)
def test_manager_that_gets_stuck(tmp_path: Path, log: str, since: str, later: str) -> None:
    path = tmp_path / "daemon.log"
    path.write_text(log)
    first, *others = file_findings(path)
    assert first.summary == (
        f"A worker of the daemon has been stuck in connect_list_all_domains{since}; a connection ended with a"
        f" keepalive timeout{later}, and the job did not end."
    )
    assert [each.rule for each in others] == ["KEEPALIVE_TIMEOUT"]
