"""STATE_CHANGE_LOCK: calls that failed because another one held the job of their domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libvirt_proto.diagnose.detector import Recording
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.rpc.objects import NamedObject
from tests.support.diagnoses import Client, file_findings, findings, messages

RULE = {"STATE_CHANGE_LOCK"}
HELD = (
    "Timed out during operation: cannot acquire state change lock (held by"
    " monitor=remoteDispatchDomainShutdown)"
)


def failed(id_: int, at: float, error: tuple[int, str] = (68, HELD), on: str = "web") -> Client:
    return Client(id_).call(at, "domain_suspend", at + 30, error=error, on=on)


def test_holder_that_ended() -> None:
    holder = Client(1).call(0, "domain_shutdown", 31)
    (finding,) = findings(*messages(holder, failed(3, 0.5), failed(5, 0.6)), rules=RULE)
    assert finding.summary == (
        "2 calls on domain web failed after 30.0 s because domain_shutdown, called by 192.0.2.1:40001,"
        " held its"
        " state change lock for 31.0 s."
    )
    assert (finding.subject, finding.certainty) == ("web domain_shutdown", "certain")
    assert [each.text for each in finding.evidence] == [
        "2 failed calls: domain_suspend",
        "domain_shutdown of 192.0.2.1:40001, which ended after 31.0 s",
    ]
    assert [each.count for each in finding.evidence] == [4, 2]


def test_holder_that_did_not_end() -> None:
    (finding,) = findings(*messages(Client(1).call(0, "domain_shutdown"), failed(3, 0.5)), rules=RULE)
    assert finding.summary == (
        "A call on domain web failed after 30.0 s because domain_shutdown, called by 192.0.2.1:40001,"
        " held its"
        " state change lock since 17:23:37.301, and did not end in this recording."
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Client(1).call(0, "domain_shutdown", 31, on="db"), id="another domain"),
        pytest.param(Client(1).call(0, "domain_resume", 31), id="another procedure"),
        pytest.param(Client(1).call(30.7, "domain_shutdown", 31), id="later"),
    ],
)
def test_call_that_is_not_the_holder(other: Client) -> None:
    (finding,) = findings(*messages(other, failed(3, 0.5)), rules=RULE)
    assert finding.summary == (
        "A call on domain web failed after 30.0 s because domain_shutdown held its state change lock."
    )


def test_job_outlasts_the_call_that_began_it() -> None:
    error = 68, HELD.replace("DomainShutdown", "DomainCreate")
    (finding,) = findings(
        *messages(Client(1).call(0, "domain_create", 0.2), failed(3, 0.5, error)), rules=RULE
    )
    assert finding.summary == (
        "A call on domain web failed after 30.0 s because a job of domain_create, called by 192.0.2.1:40001,"
        " held its state change lock since 17:23:37.301."
    )
    assert "virsh domjobabort web" in finding.advice[1]


def test_guest_agent() -> None:
    error = 68, HELD.replace("monitor=", "agent=")
    (finding,) = findings(
        *messages(Client(1).call(0, "domain_shutdown", 31), failed(3, 0.5, error)), rules=RULE
    )
    assert finding.summary == (
        "A call on domain web failed after 30.0 s because domain_shutdown, called by 192.0.2.1:40001,"
        " waited for"
        " the guest agent and held its lock for 31.0 s."
    )
    assert "guest-ping" in finding.advice[0]


def test_capture_that_begins_after_the_call() -> None:
    _call, reply = failed(3, 0.5).items
    (finding,) = findings(reply, rules=RULE)
    assert finding.summary == "A call failed because domain_shutdown held the domain's state change lock."
    assert finding.evidence[0].text == "1 failed call: domain_suspend"


def test_translated_message() -> None:
    error = (
        68,
        "Zeitüberschreitung: Sperre nicht erhalten (gehalten von monitor=remoteDispatchDomainShutdown)",
    )
    (finding,) = findings(*messages(failed(3, 0.5, error)), rules=RULE)
    assert "because domain_shutdown held" in finding.summary


@pytest.mark.parametrize(
    "error",
    [(68, "Timed out during operation: no reply"), (55, HELD), (9, "operation failed"), (68, "")],
)
def test_other_errors_are_no_finding(error: tuple[int, str]) -> None:
    assert not findings(*messages(failed(3, 0.5, error)), rules=RULE)


def test_recording_of_both_ends_counts_a_call_once() -> None:
    copy = Client(4).call(0.501, "domain_suspend", 30.499, error=(68, HELD))
    (finding,) = findings(*messages(failed(3, 0.5), copy), rules=RULE)
    assert finding.summary.startswith("A call on domain web failed")


def test_search_for_holders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[object] = []
    subject = Recording.subject

    def counted(self: Recording, *parts: Any) -> NamedObject | None:
        looked_at.append(parts)
        return subject(self, *parts)

    monkeypatch.setattr(Recording, "subject", counted)
    waiting = Client(1)
    for i in range(300):
        waiting.call(i / 1000, "domain_shutdown", on="db")
    failures = [failed(2 * i + 3, 0.5 + i / 10_000, on=f"vm{i % 30}") for i in range(600)]
    assert len(findings(*messages(waiting, *failures), rules=RULE)) == 20
    assert len(looked_at) <= 30 * 3 * 300 + 2 * 600


def test_state_is_bounded() -> None:
    clients = [failed(2 * i, 0.5 + i / 1000, on=f"vm{i}") for i in range(400)]
    assert len(findings(*messages(*clients), rules=RULE)) == 20


def of_log(tmp_path: Path, log: str) -> list[Finding]:
    path = tmp_path / "libvirtd.log"
    path.write_text(log)
    return file_findings(path, rules=RULE)


def head(time: str, thread: int, level: str = "debug", place: str = "virThreadJobSet:94") -> str:
    return f"2024-03-12 {time}+0000: {thread}: {level} : {place} : "


REFUSED = (
    "Cannot start job (query, none, none) in API remoteDispatchDomainBlockStats for domain web 1; current"
    " job is"
    " (modify, none, none) owned by (7 remoteDispatchDomainBlockJobAbort, 0 <null>, 0 <null> (flags=0x0)) for"
    " (30s, 0s, 0s)"
)


def test_worker_job_of_the_holder(tmp_path: Path) -> None:
    (finding,) = of_log(
        tmp_path,
        head("10:00:00.000", 6)
        + "Thread 6 (rpc-virtqemud) is now running job remoteDispatchDomainBlockJobAbort\n"
        + head("10:00:00.100", 7)
        + "Thread 7 (rpc-virtqemud) is now running job remoteDispatchDomainBlockJobAbort\n"
        + head("10:00:00.200", 8)
        + "Thread 8 (rpc-virtqemud) is now running job remoteDispatchDomainBlockStats\n"
        + head("10:00:30.200", 8, "warning", "virDomainObjBeginJobInternal:433")
        + REFUSED
        + "\n"
        + head("10:00:30.200", 8, "error", "virDomainObjBeginJobInternal:468")
        + HELD.replace("DomainShutdown", "DomainBlockJobAbort")
        + "\n"
        + head("10:00:41.600", 7, place="virThreadJobClear:119")
        + "Thread 7 (rpc-virtqemud) finished job remoteDispatchDomainBlockJobAbort with ret=0\n",
    )
    assert finding.summary == (
        "A call on domain web 1 failed after 30.0 s because domain_block_job_abort held its state change"
        " lock for"
        " 41.5 s."
    )
    failure, job = finding.evidence
    assert failure.text == (
        "1 failed call: domain_block_stats; its holder is remoteDispatchDomainBlockJobAbort"
    )
    assert failure.lines == (4,)
    assert job.text == "domain_block_job_abort in thread 7, which ended after 41.5 s"
    assert job.lines == (2, 6)
    assert "--nowait" in finding.advice[1]


def begins(*threads: int) -> str:
    lines = (
        head("10:00:00.000", thread)
        + f"Thread {thread} (rpc-virtqemud) is now running job remoteDispatchDomainBlockJobAbort\n"
        for thread in threads
    )
    return "".join(lines)


@pytest.mark.parametrize(
    ("threads", "refused", "job"),
    [
        ((7, 6), True, "thread 7"),
        ((6,), True, None),  # the holder began before the log
        ((6,), False, "thread 6"),
        ((6, 7), False, None),  # one of them
    ],
)
def test_only_the_holder_s_job_is_its_job(
    tmp_path: Path, threads: tuple[int, ...], refused: bool, job: str | None
) -> None:
    error = HELD.replace("DomainShutdown", "DomainBlockJobAbort")
    warning = head("10:00:30.200", 8) + REFUSED + "\n" if refused else ""
    (finding,) = of_log(tmp_path, begins(*threads) + warning + head("10:00:30.200", 8) + error + "\n")
    texts = [each.text for each in finding.evidence]
    assert len(texts) == (1 if job is None else 2)
    assert job is None or job in texts[1]


def rpc(client: str, number: int) -> str:
    return head("10:00:00.000", 6, "info", "virNetServerClientDispatchRead:1269") + (
        f"RPC_SERVER_CLIENT_MSG_RX: client={client} len=68 prog=536903814 vers=1 proc={number} type=0"
        " status=0 serial=7\n"
    )


@pytest.mark.parametrize("clients", [["0x1"], ["0x1", "0x2"]])
def test_calls_of_a_log_have_no_domain(tmp_path: Path, clients: list[str]) -> None:
    """Only one call of the holder's procedure can be the holder's."""
    error = HELD.replace("DomainShutdown", "DomainBlockJobAbort")
    log = "".join(rpc(client, 237) for client in clients) + head("10:00:30.200", 8) + error + "\n"
    (finding,) = of_log(tmp_path, log)
    assert ("called by" in finding.summary) is (len(clients) == 1)


def test_holder_s_job_begins_just_after_its_call(tmp_path: Path) -> None:
    error = HELD.replace("DomainShutdown", "DomainBlockJobAbort")
    later = rpc("0x2", 237).replace("10:00:00.000", "10:00:00.300")
    log = rpc("0x1", 237) + begins(7) + later + head("10:00:30.200", 8) + REFUSED + "\n"
    (finding,) = of_log(tmp_path, log + head("10:00:30.200", 8) + error + "\n")
    assert "domain_block_job_abort, called by client-server@0x1, held" in finding.summary


def test_capture_next_to_a_log_gives_one_finding(tmp_path: Path) -> None:
    log = tmp_path / "virtqemud.log"
    log.write_text(
        head("17:24:07.802", 8, "warning", "virDomainObjBeginJobInternal:433")
        + REFUSED.replace("web 1", "web").replace("BlockJobAbort", "Shutdown")
        + "\n"
        + head("17:24:07.802", 8, "error", "virDomainObjBeginJobInternal:468")
        + HELD
        + "\n"
    )
    (of_log_,) = file_findings(log, rules=RULE)
    (of_capture,) = findings(*messages(failed(3, 0.5)), rules=RULE)
    assert of_log_.subject == of_capture.subject == "web domain_shutdown"


@pytest.mark.parametrize(
    ("current", "owners", "times", "cause"),
    [
        # 0.9.2, 1.2.13, 4.10.0, libxl
        ("(none, migration in)", "(0, 0)", "", "a job (migration in) held its state change lock."),
        ("(modify, none)", "(12, 0)", "", "another call held its state change lock."),
        (
            "(modify, none)",
            "(12 remoteDispatchDomainDestroy, 0 <null>)",
            " for (93s, 0s)",
            "domain_destroy held its state change lock for 93.0 s.",
        ),
        (
            "(none, none, snapshot)",
            "(0 <null>, 0 <null>, 4340 remoteDispatchDomainSnapshotCreateXML (flags=0x280))",
            " for (0s, 0s, 74645s)",
            "a job (snapshot) of domain_snapshot_create_xml held its state change lock for 74,645 s.",
        ),
        (
            "(async nested, none, snapshot)",
            "(66684 remoteDispatchDomainSnapshotCreateXML, 0 <null>,"
            " 66684 remoteDispatchDomainSnapshotCreateXML (flags=0x0))",
            " for (30s, 0s, 30s)",
            "a job (snapshot) of domain_snapshot_create_xml held its state change lock for 30.0 s.",
        ),
        ("(modify)", "(1299)", "", "another call held its state change lock."),
    ],
)
def test_forms_of_all_releases(tmp_path: Path, current: str, owners: str, times: str, cause: str) -> None:
    job = "(" + ", ".join(["query", "none", "none"][: current.count(",") + 1]) + ")"
    (finding,) = of_log(
        tmp_path,
        head("10:00:30.200", 8, "warning", "qemuDomainObjBeginJobInternal:953")
        + f"Cannot start job {job} for domain web; current job is {current} owned by {owners}{times}\n",
    )
    assert finding.summary == f"A call on domain web failed because {cause}"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (
            "failed to get DomainBlockStats: Timed out during operation: cannot acquire state change lock"
            " (held by"
            " remoteDispatchDomainBlockStats)",
            "domain_block_stats held the domain's state change lock.",
        ),
        (
            "error: Timed out during operation: cannot acquire state change lock (held by"
            " monitor=remoteDispatchDomainBlockJobAbort)",
            "domain_block_job_abort held the domain's state change lock.",
        ),
        (
            "Mar 12 17:23:37 host virtqemud[6921]: Timed out during operation: cannot acquire state"
            " change lock"
            " (held by agent=remoteDispatchDomainGetGuestInfo)",
            "domain_get_guest_info waited for the guest agent and held its lock.",
        ),
        (
            '{"component":"virt-launcher","level":"error","msg":"Timed out during operation: cannot'
            " acquire state"
            " change lock (held by"
            ' agent=remoteDispatchDomainGetGuestInfo)","pos":"virDomainObjBeginJobInternal:467"'
            ',"subcomponent":"libvirt","thread":"29","timestamp":"2024-05-02T09:12:44.123000Z"}',
            "domain_get_guest_info waited for the guest agent and held its lock.",
        ),
        (
            "Failed to scrape metrics: virError(Code=68, Domain=10, Message='Timed out during operation:"
            " cannot"
            " acquire state change lock (held by monitor=remoteDispatchDomainMigratePrepare3Params)')",
            "a job of domain_migrate_prepare3_params held the domain's state change lock.",
        ),
        (
            "2019-03-01 10:00:00.000+0000: 12: error : qemuDomainObjBeginJobInternal:7085 : operation failed:"
            " cannot acquire state change lock (held by monitor=remoteDispatchDomainShutdown) due to"
            " max_queued"
            " limit",
            "domain_shutdown held the domain's state change lock, and too many calls waited for it"
            " (max_queued).",
        ),
        (
            "2013-09-24 10:00:00.000+0000: 12: error : qemuDomainObjBeginJobInternal:1015 : Timed out during"
            " operation: cannot acquire state change lock",
            "another call held the domain's state change lock.",
        ),
    ],
)
def test_single_lines_of_public_reports(tmp_path: Path, line: str, cause: str) -> None:
    (finding,) = of_log(tmp_path, line + "\n")
    assert finding.summary == f"A call failed because {cause}"


def test_interleaved_refusals_and_errors_are_pairs(tmp_path: Path) -> None:
    lines = [
        "Mar 12 17:23:37 host libvirtd[9]: " + text
        for text in (REFUSED, REFUSED.replace("web 1", "db"), HELD, HELD)
    ]
    log = "\n".join(lines).replace("DomainShutdown", "DomainBlockJobAbort") + "\n"
    assert sorted(each.subject for each in of_log(tmp_path, log)) == [
        "db domain_block_job_abort",
        "web 1 domain_block_job_abort",
    ]


@pytest.mark.parametrize("size", [1, 400])
def test_damaged_lines_are_survived(tmp_path: Path, size: int) -> None:
    text = REFUSED.replace("for (30s, 0s, 0s)", "for (,,s 0s").replace("none, none)", "none" * size + ")", 1)
    found = of_log(tmp_path, f"{head('10:00:30.200', 8)}{text}\n{HELD}\n")
    assert {each.rule for each in found} == RULE
