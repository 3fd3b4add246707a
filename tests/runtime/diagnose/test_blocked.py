"""BLOCKED_OBJECT: calls on one object that wait for an earlier one."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.blocked import BlockedObjects
from libvirt_proto.events import LogLine, ProbeEvent
from tests.support.diagnoses import SECOND, START, Client, findings, messages

RULE = {"BLOCKED_OBJECT"}


def found(*clients: Client) -> list[str]:
    return [each.summary for each in findings(*messages(*clients), rules=RULE)]


def test_calls_that_end_with_an_earlier_one_waited_for_it() -> None:
    (finding,) = findings(
        *messages(
            Client(1).call(0, "domain_shutdown", 4),
            Client(2).call(1, "domain_suspend", 4.01),
            Client(3).call(2, "domain_resume", 4.02),
        ),
        rules=RULE,
    )
    assert finding.summary == (
        "2 calls waited for domain_shutdown on domain web, called by 192.0.2.1:40001, for 4.00 s, and ended"
        " when it did."
    )
    assert (finding.certainty, finding.subject) == ("likely", "web")
    first, waiting = finding.evidence
    assert first.text == "domain_shutdown of 192.0.2.1:40001, answered after 4.00 s"
    assert waiting.text == ("waiting: domain_suspend of 192.0.2.1:40002 and domain_resume of 192.0.2.1:40003")
    assert waiting.count == 4
    assert any("1:util.threadjob" in step for step in finding.advice)


def test_start_of_a_domain_may_take_long() -> None:
    clients = Client(1).call(0, "domain_create", 4), Client(2).call(1, "domain_suspend", 4.01)
    (finding,) = findings(*messages(*clients), rules=RULE)
    assert finding.severity == "note"


def test_calls_of_one_connection_need_another_call_that_overtook_them() -> None:
    blocked = Client(1).call(0, "domain_shutdown", 4).call(1, "domain_suspend", 4.01)
    assert not found(blocked)
    blocked.call(2, "domain_resume", 2.1, on="other")
    assert len(found(blocked)) == 1


@pytest.mark.parametrize(
    "clients",
    [
        pytest.param((Client(1).call(0, "domain_shutdown", 40),), id="one slow call"),
        pytest.param(
            (Client(1).call(0, "domain_shutdown", 4), Client(2).call(1, "domain_suspend", 4.01, on="db")),
            id="another object",
        ),
        pytest.param(
            (Client(1).call(0, "domain_shutdown", 4), Client(2).call(1, "domain_suspend", 4.2)),
            id="ends later",
        ),
        pytest.param(
            (Client(1).call(0, "domain_shutdown", 4), Client(2).call(2.1, "domain_suspend", 4.01)),
            id="waits less than two seconds",
        ),
        pytest.param(
            (Client(1).call(0, "domain_shutdown", 4), Client(2).call(0.05, "domain_suspend", 4.05)),
            id="next to each other",
        ),
        pytest.param(
            (Client(1).call(0, "domain_shutdown", 4), Client(2).call(0.01, "domain_suspend", 4.001)),
            id="at the same time",
        ),
        pytest.param(
            (Client(1).call(1, "domain_shutdown", 4), Client(2).call(0, "domain_suspend", 4.01)),
            id="began earlier, ended later",
        ),
        pytest.param(
            (
                Client(1).call(0, "domain_shutdown", 1.5),
                Client(2).call(0.1, "domain_suspend", 3),
                Client(3).call(0.2, "domain_resume", 3.01),
            ),
            id="a queue",
        ),
    ],
)
def test_other_slow_calls_are_no_finding(clients: tuple[Client, ...]) -> None:
    assert not found(*clients)


def test_stopped_daemon_releases_calls_on_all_objects() -> None:
    blocked = (Client(1).call(0, "domain_shutdown", 4), Client(3).call(1, "domain_suspend", 4.01))
    others = [Client(10 + 2 * i).call(1, "domain_suspend", 4.02, on=f"vm{i}") for i in range(3)]
    assert found(*blocked)
    assert not found(*blocked, *others)


def test_recording_of_both_ends_has_each_call_once() -> None:
    client = Client(1).call(0, "domain_shutdown", 4)
    server = Client(2).call(0.001, "domain_shutdown", 3.999)
    assert not found(client, server)


def test_ends_of_a_connection_that_begin_at_different_times_have_each_call_once() -> None:
    """The daemon of a busy host reads the first call 30 ms later; it answers first."""
    sender, daemon = Client(1), Client(2)
    for second in range(3):
        sender.call(second, "domain_get_info", second + 0.05)
        daemon.call(second + 0.03, "domain_get_info", second + 0.04)
    sender.call(4, "domain_shutdown", 8.02)
    daemon.call(4.01, "domain_shutdown", 8)
    (summary,) = found(sender, daemon, Client(3).call(5, "domain_suspend", 8.03))
    assert summary.startswith("1 call waited for domain_shutdown on domain web, called by 192.0.2.1:40002,")


def test_calls_that_wait_at_the_end() -> None:
    waiting = (Client(1).call(0, "domain_shutdown"), Client(3).call(1, "domain_suspend"))
    other = Client(5).call(12, "domain_resume", 12.1, on="db")
    (finding,) = findings(*messages(*waiting, other), rules=RULE)
    assert finding.summary == (
        "1 call waits for domain_shutdown on domain web, called by 192.0.2.1:40001, since 17:23:37.301, which"
        " did not end in this recording."
    )
    assert finding.certainty == "possible"


@pytest.mark.parametrize("end", [9, 10.9])
def test_recording_that_ends_soon_has_no_waiting_calls(end: float) -> None:
    waiting = (Client(1).call(0, "domain_shutdown"), Client(3).call(1, "domain_suspend"))
    assert not found(*waiting, Client(5).call(end, "domain_resume", end, on="db"))


def test_daemon_that_answers_nothing_is_not_a_blocked_object() -> None:
    waiting = (Client(1).call(0, "domain_shutdown"), Client(3).call(1, "domain_suspend"))
    assert not found(*waiting, Client(5).call(12, "domain_resume", on="db"))


def test_connection_that_ended_early_does_not_wait() -> None:
    waiting = (Client(1).call(0, "domain_shutdown"), Client(3).call(1, "domain_suspend").close(2))
    assert not found(*waiting, Client(5).call(12, "domain_resume", 12.1, on="db"))


def job(kind: str, at: float, thread: int, dispatcher: str, number: int) -> LogLine:
    details = {"thread": str(thread), "job": f"remoteDispatchDomain{dispatcher}", "ret": "0"}
    return LogLine(kind, START + round(at * SECOND), "", "", str(thread), number, details)


def sent(at: float, thread: int, monitor: str = "0x1") -> ProbeEvent:
    arguments: dict[str, int | str] = {"mon": monitor, "msg": '{"execute":"stop"}'}
    return ProbeEvent("qemu_monitor_send_msg", START + round(at * SECOND), None, "", thread, arguments)


@pytest.mark.parametrize("monitor", ["0x1", "0x2"])
def test_worker_jobs_on_one_monitor(monitor: str) -> None:
    """A log has no objects; jobs that use the same monitor are about the same domain."""
    items = [
        job("job-begin", 0, 7, "BlockJobAbort", 1),
        sent(0.001, 7),
        job("job-begin", 1, 8, "Suspend", 2),
        job("job-end", 4, 7, "BlockJobAbort", 3),
        sent(4.001, 8, monitor),
        job("job-end", 4.01, 8, "Suspend", 4),
    ]
    if monitor == "0x2":
        assert not findings(*items, rules=RULE)
        return
    (finding,) = findings(*items, rules=RULE)
    assert finding.summary == (
        "1 job on one domain waited for domain_block_job_abort for 4.00 s, and ended when it did."
    )
    assert (finding.certainty, finding.subject) == ("possible", "")
    assert finding.evidence[0].lines == (1, 3, 2, 4)
    name = LogLine("monitor-entered", START, "", "", "7", 9, {"monitor": "0x1", "domain": "web"})
    (named,) = findings(name, *items, rules=RULE)
    assert "1 job on domain web waited" in named.summary
    assert (named.certainty, named.subject) == ("likely", "web")


def wanted(at: float, thread: int, domain: str) -> LogLine:
    return LogLine("job-wanted", START + round(at * SECOND), "", "", str(thread), 9, {"domain": domain})


@pytest.mark.parametrize("domain", ["web", "db"])
def test_worker_jobs_on_one_domain(domain: str) -> None:
    found = findings(
        job("job-begin", 0, 7, "BlockJobAbort", 1),
        wanted(0.001, 7, "web"),
        job("job-begin", 1, 8, "Suspend", 2),
        wanted(1.001, 8, domain),
        job("job-end", 4, 7, "BlockJobAbort", 3),
        job("job-end", 4.01, 8, "Suspend", 4),
        rules=RULE,
    )
    assert [each.subject for each in found] == (["web"] if domain == "web" else [])


def test_state_is_bounded() -> None:
    calls = [Client(2 * i).call(0, "domain_suspend", 4 + i / 100, on=f"vm{i}") for i in range(300)]
    many = Client(1000)
    for i in range(200):
        many.call(i / 100, "domain_suspend", 10 + i / 100)
    assert found(*calls, many) == []
    assert BlockedObjects.rules == ("BLOCKED_OBJECT",)
