"""MONITOR_NO_REPLY: commands on a QEMU monitor without a reply, or with a late one."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import LogLine, ProbeEvent
from tests.support.diagnoses import SECOND, START, file_findings, findings

RULE = {"MONITOR_NO_REPLY"}
MONITOR = "0x7fa23000e460"


def event(at: float, kind: str, text: str = "", monitor: str = MONITOR, thread: int = 7) -> ProbeEvent:
    names = {"send_msg": "msg", "recv_reply": "reply", "recv_event": "event"}
    arguments: dict[str, int | str] = {"mon": monitor}
    if kind in names:
        arguments[names[kind]] = text
    return ProbeEvent(f"qemu_monitor_{kind}", START + round(at * SECOND), None, "", thread, arguments)


def send(at: float, name: str = "stop", id_: int = 1, monitor: str = MONITOR) -> ProbeEvent:
    return event(at, "send_msg", f'{{"execute":"{name}","id":"libvirt-{id_}"}}', monitor)


def reply(at: float, id_: int = 1, monitor: str = MONITOR) -> ProbeEvent:
    return event(at, "recv_reply", f'{{"return": {{}}, "id": "libvirt-{id_}"}}', monitor)


def found(*events: ProbeEvent | LogLine) -> list[Finding]:
    return findings(*events, rules=RULE)


def test_command_without_a_reply() -> None:
    (finding,) = found(send(0, id_=1), reply(0.1, 1), send(1, "query-blockstats", 2), event(6, "recv_event"))
    assert finding.summary == (
        f"QEMU (monitor {MONITOR}) has not answered query-blockstats since 17:23:38.301: no reply in the"
        " 5.00 s until the recording ended."
    )
    assert (finding.severity, finding.certainty, finding.subject) == ("error", "certain", MONITOR)
    assert finding.evidence[0].command == "grep -F -e 'libvirt-2\"' test.pcap"


def test_log_without_any_reply_is_less_certain() -> None:
    (finding,) = found(send(0), send(5, monitor="0x1"))
    assert finding.certainty == "likely"


def test_late_replies() -> None:
    (finding,) = found(send(0, id_=1), reply(4, 1), send(5, "cont", 2), reply(9.5, 2))
    assert finding.summary == (
        f"QEMU (monitor {MONITOR}) took 4.50 s to answer cont, and seconds for 1 other command."
    )
    assert [each.text for each in finding.evidence] == [
        "stop was answered after 4.00 s",
        "cont was answered after 4.50 s",
    ]
    assert finding.severity == "warning"


def test_monitor_that_is_closed() -> None:
    (finding,) = found(send(0), event(20, "close"))
    assert "did not answer stop for 20.0 s, until its monitor was closed" in finding.summary
    assert finding.severity == "error"


def test_names_of_domain_and_sender() -> None:
    begin = LogLine("job-begin", START, "", "", "7", 1, {"thread": "7", "job": "remoteDispatchDomainSuspend"})
    enter = LogLine("monitor-entered", START, "", "", "7", 2, {"monitor": MONITOR, "domain": "web"})
    (finding,) = found(begin, enter, send(0.1), reply(4))
    assert finding.summary == "QEMU (domain web) took 3.90 s to answer stop (sent by domain_suspend)."


def test_domain_whose_job_the_sender_wanted() -> None:
    begin = LogLine("job-begin", START, "", "", "7", 1, {"thread": "7", "job": "remoteDispatchDomainSuspend"})
    wanted = LogLine("job-wanted", START, "", "", "7", 2, {"domain": "web"})
    (finding,) = found(begin, wanted, send(0.1), reply(4))
    assert finding.summary == "QEMU (domain web) took 3.90 s to answer stop (sent by domain_suspend)."


def test_refused_job_names_the_domain_of_its_owner() -> None:
    owners = {"domain": "web", "owners": "7 remoteDispatchDomainSuspend, 0 <null>, 0 <null> (flags=0x0)"}
    refused = LogLine("job-refused", START + SECOND, "", "", "8", 3, owners)
    other = event(0, "send_msg", monitor="0x2", thread=9)
    late, silent = found(send(0), other, refused, event(5, "recv_event"))
    assert [late.summary[:18], silent.summary[:18]] == ["QEMU (domain web) ", "QEMU (monitor 0x2)"]
    assert "virsh destroy web" in late.advice[1]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param((send(0), reply(2.9)), id="a second or two"),
        pytest.param((send(0), event(2.9, "recv_event")), id="just before the end"),
        pytest.param(
            (send(0, id_=1), send(5, id_=2), send(10, id_=3), send(20, id_=4)), id="no replies logged"
        ),
        pytest.param(
            (send(0, id_=1), reply(0.1, 1), send(1, id_=2), send(9, id_=3), reply(9.1, 3)), id="lost"
        ),
        pytest.param((send(0, "qmp_capabilities"), reply(9)), id="a QEMU that starts"),
        pytest.param((reply(0), reply(9), event(20, "recv_event")), id="only replies"),
    ],
)
def test_other_traffic_is_no_finding(events: tuple[ProbeEvent, ...]) -> None:
    assert not found(*events)


def test_reply_of_another_command_is_not_its_own() -> None:
    (finding,) = found(send(0, id_=2), reply(1, 1), reply(8, 2))
    assert "took 8.00 s" in finding.summary


def test_text_monitor_and_secrets() -> None:
    (finding,) = found(
        event(0, "send_msg", "set_password vnc hunter2\r"), event(4, "recv_reply", "\r\n(qemu) ")
    )
    assert "took 4.00 s to answer set_password." in finding.summary
    secret = '{"execute":"object-add","arguments":{"data":"hunter2","id":"libvirt-9"},"id":"libvirt-1"}'
    (other,) = found(event(0, "send_msg", secret), reply(4, 1))
    assert "answer object-add." in other.summary
    assert "hunter2" not in f"{finding}{other}"


@pytest.mark.parametrize(
    "text", ["", "{", '{"execute":', '"id"', '{"id":"libvirt-', "\0" * 9, '"id":"x"' * 99]
)
def test_any_text_is_a_command(text: str) -> None:
    (finding,) = found(event(0, "send_msg", text), event(4, "recv_reply", text))
    assert "to answer " in finding.summary


def test_state_is_bounded() -> None:
    many = [each for i in range(6000) for each in (send(i / 1000, monitor=hex(i)),)]
    assert len(found(*many, event(20, "recv_event"))) == 20


@pytest.mark.parametrize(
    "first",
    [
        # libvirt 11.3.0 and 1.2.9
        "2024-03-12 17:23:37.301+0000: 7: info : qemuMonitorSend:864 : QEMU_MONITOR_SEND_MSG: mon=0x7f1",
        "2014-10-01 17:23:37.301+0000: 7: debug : qemuMonitorSend:959 : QEMU_MONITOR_SEND_MSG: mon=0x7f1",
    ],
)
def test_lines_of_a_log(tmp_path: Path, first: str) -> None:
    log = tmp_path / "virtqemud.log"
    day = first[:10]
    log.write_text(
        f'{first} msg={{"execute":"query-balloon","id":"libvirt-17"}}\r\n fd=-1\n'
        f"{day} 17:23:45.000+0000: 9: info : qemuMonitorJSONIOProcessLine:203 : QEMU_MONITOR_RECV_EVENT:"
        ' mon=0x7f2 event={"event": "STOP"}\n'
    )
    (finding,) = file_findings(log, rules=RULE)
    assert "has not answered query-balloon since 17:23:37.301: no reply in the 7.70 s" in finding.summary
