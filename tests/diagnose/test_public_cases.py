"""Texts of public bug reports, each with the cause that the first sentence must name.

The messages are libvirt's; hosts, times, processes and prose are made up.
"""

# ruff: noqa: E501 - lines of logs
from __future__ import annotations

import re

import pytest

from libvirt_proto import open as open_capture

LOCK = "Timed out during operation: cannot acquire state change lock"

#: Name → the text, the rule of the first finding, and a pattern that its summary matches.
CASES: dict[str, tuple[str, str, str]] = {
    "desktop": (
        "```\n"
        "virtlogd[7095]: Client hit max requests limit 1. This may result in keep-alive timeouts. Consider tuning the max_client_requests server parameter\n"
        "virtqemud[7034]: internal error: connection closed due to keepalive timeout\n"
        "```\n",
        "CLIENT_REQUEST_LIMIT",
        r"virtlogd",
    ),
    "installer": (
        "2026-06-27 02:11:40.101+0000: 2101: warning : virNetServerClientDispatchRead:1252 : Client hit max requests limit 5. This may result in keep-alive timeouts. Consider tuning the max_client_requests server parameter\n"
        "2026-06-27 02:12:05.330+0000: 2099: warning : virKeepAliveTimerInternal:130 : No response from client 0x55d1c0a51f40 after 5 keepalive messages in 30 seconds\n"
        "2026-06-27 02:12:05.331+0000: 2099: error : virNetSocketReadWire:1791 : End of file while reading data: Input/output error\n",
        "CLIENT_REQUEST_LIMIT",
        r"\b5\b",
    ),
    "warning alone": (
        "We see this on each node:\n\nClient hit max requests limit 5. This may result in keep-alive timeouts. Consider tuning the max_client_requests server parameter\n",
        "CLIENT_REQUEST_LIMIT",
        r"\b5\b",
    ),
    "stuck manager": (
        "2026-03-01 17:23:37.301+0000: 6924: debug : virThreadJobSet:93 : Thread 6924 (rpc-virtqemud) is now running job remoteDispatchConnectListAllDomains\n"
        "2026-03-01 17:23:37.302+0000: 6925: debug : virThreadJobSet:93 : Thread 6925 (rpc-virtqemud) is now running job remoteDispatchConnectGetCapabilities\n"
        "2026-03-01 17:23:37.309+0000: 6925: debug : virThreadJobClear:118 : Thread 6925 (rpc-virtqemud) finished job remoteDispatchConnectGetCapabilities with ret=0\n"
        "2026-03-01 17:23:49.738+0000: 6911: error : virKeepAliveTimerInternal:137 : internal error: connection closed due to keepalive timeout\n",
        "UNFINISHED_JOB",
        r"connect_list_all_domains",
    ),
    "exporter": (
        f"failed to get DomainBlockStats: {LOCK} (held by remoteDispatchDomainBlockStats)\n",
        "STATE_CHANGE_LOCK",
        r"domain_block_stats",
    ),
    "exporter, logfmt": (
        "Nov 15 07:49:48 node-3 prometheus-libvirt-exporter[4037]: ts=2024-11-15T07:49:48.773Z level=warn"
        f' warn="failed to get DomainBlockStats" domain=instance-1 msg="{LOCK} (held by monitor=remoteDispatchDomainMigratePrepare3Params)"\n',
        "STATE_CHANGE_LOCK",
        r"domain_migrate_prepare3_params",
    ),
    "exporter, Go's error": (
        f"Failed to scrape metrics: virError(Code=68, Domain=10, Message='{LOCK} (held by monitor=remoteDispatchDomainMigratePrepare3Params)')\n",
        "STATE_CHANGE_LOCK",
        r"domain_migrate_prepare3_params",
    ),
    "snapshot": (
        "Aug 22 04:01:03 box libvirtd[66682]: Cannot start job (query, none, none) in API remoteDispatchDomainGetXMLDesc for domain win10; current job is (async nested, none, snapshot) owned by (66684 remoteDispatchDomainSnapshotCreateXML, 0 <null>, 66684 remoteDispatchDomainSnapshotCreateXML (flags=0x0)) for (30s, 0s, 30s)\n"
        f"Aug 22 04:01:03 box libvirtd[66682]: {LOCK} (held by monitor=remoteDispatchDomainSnapshotCreateXML)\n",
        "STATE_CHANGE_LOCK",
        r"win10.*domain_snapshot_create_xml|domain_snapshot_create_xml.*win10",
    ),
    "old release": (
        f'libvirt: QEMU Driver error : {LOCK}\nTraceback (most recent call last):\n  File "model.py", line 215, in _get_disk_io_rate\n    io = dom.blockStats(dev)\nlibvirtError: {LOCK}\n',
        "STATE_CHANGE_LOCK",
        r"lock",
    ),
    "guest agent holds it": (
        f"2026-05-05 10:00:31.000+0000: 4242: error : qemuDomainObjBeginJobInternal:722 : {LOCK} (held by agent=remoteDispatchDomainFsfreezeFreeze)\n",
        "STATE_CHANGE_LOCK",
        r"agent.*|domain_fsfreeze_freeze",
    ),
    "virsh": (
        f"error: could not take a screenshot of vm1\nerror: {LOCK} (held by monitor=remoteDispatchDomainBlockJobAbort)\n",
        "STATE_CHANGE_LOCK",
        r"domain_block_job_abort",
    ),
    "web manager": (
        "2015-04-09 05:15:42.897+0000: 1882: error : virNetServerAddClient:270 : Too many active clients (20), dropping connection from 127.0.0.1;56889\n"
        "2015-04-09 05:15:45.961+0000: 1882: error : virNetServerAddClient:270 : Too many active clients (20), dropping connection from 127.0.0.1;56891\n",
        "TOO_MANY_CLIENTS",
        r"\b20\b",
    ),
    "read error of virsh": (
        "error: Failed to define domain from vm.xml\nerror: Cannot recv data: Input/output error\n",
        "DISCONNECTED",
        r"connection",
    ),
    "end of file": (
        "2017-03-19 19:22:45.563+0000: 13000: error : virNetSocketReadWire:1800 : End of file while reading data: Input/output error\n",
        "DISCONNECTED",
        r"closed|ended",
    ),
    "idle front end": (
        "libvirt error code: 1, message: internal error: client socket is closed\n",
        "DISCONNECTED",
        r"connection",
    ),
    "polkit": (
        "libvirt.libvirtError: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'\n",
        "AUTH_REFUSED",
        r"polkit",
    ),
    "sasl": (
        "2026-01-01 10:00:00.000+0000: 77: error : virNetSASLSessionServerStep:585 : authentication failed: Failed to step SASL negotiation: -13 (SASL(-13): authentication failure: client response doesn't match what we generated)\n",
        "AUTH_REFUSED",
        r"SASL|password",
    ),
    "certificate": (
        "error: failed to connect to the hypervisor\nerror: authentication failed: Failed to verify peer's certificate\n",
        "CERTIFICATE_REFUSED",
        r"certificate",
    ),
    "read-only": (
        "error: Failed to start domain 'vm1'\nerror: operation forbidden: read only access prevents virDomainCreate\n",
        "READ_ONLY",
        r"virDomainCreate|domain_create",
    ),
    "access denied": (
        "error: Failed to list domains\nerror: access denied: 'connect' denied access\n",
        "ACCESS_DENIED",
        r"denied",
    ),
    "unknown procedure": (
        "error: internal error: unknown procedure: 453\n",
        "VERSION_SKEW",
        r"453|daemon",
    ),
    "guest agent": (
        "error: Guest agent is not responding: QEMU guest agent is not connected\n",
        "AGENT_NO_REPLY",
        r"agent",
    ),
    "guest agent of an old release": (
        "error: internal error Guest agent not available for now\n",
        "AGENT_NO_REPLY",
        r"^The guest agent of a domain did not answer, so a call failed\.$",
    ),
    "guest agent of a new release": (
        "2026-10-01 08:00:00.123+0000: 81: error : qemuAgentSend:843 : guest agent command timed out: guest agent didn't respond to command within '5' seconds\n",
        "AGENT_NO_REPLY",
        r"did not answer within 5 s",
    ),
    "no channel": (
        "error: Failed to shutdown domain web\nerror: argument unsupported: QEMU guest agent is not configured\n",
        "AGENT_NO_REPLY",
        r"^The XML of a domain has no channel for a guest agent",
    ),
    "manager in a container": (
        '{"component":"virt-launcher","level":"error","msg":"Guest agent is not responding: QEMU guest agent is not connected","pos":"qemuDomainAgentAvailable:9520","subcomponent":"libvirt","timestamp":"2026-05-03T10:34:04.619000Z"}\n'
        '{"component":"virt-launcher","level":"error","msg":"Qemu agent poller error","pos":"agent_poller.go:102","reason":"virError(Code=86, Domain=10, Message=\'Guest agent is not responding: QEMU guest agent is not connected\')","timestamp":"2026-05-03T10:34:04.619523Z"}\n',
        "AGENT_NO_REPLY",
        r"^No guest agent is connected in a domain",
    ),
    "journal in JSON": (
        '{"MESSAGE":"internal error: connection closed due to keepalive timeout","_PID":"7034","SYSLOG_IDENTIFIER":"virtqemud","__REALTIME_TIMESTAMP":"1764500000000000"}\n',
        "KEEPALIVE_TIMEOUT",
        r"keepalive|ping",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_first_sentence_names_the_cause(name: str) -> None:
    text, rule, pattern = CASES[name]
    with open_capture(text.encode()) as capture:
        findings = capture.diagnose().findings
    assert findings, "no finding"
    assert (findings[0].rule, findings[0].summary) == (rule, findings[0].summary)
    assert re.search(pattern, findings[0].summary), findings[0].summary


@pytest.mark.parametrize("name", CASES)
def test_quoted_in_a_mail(name: str) -> None:
    text, rule, _ = CASES[name]
    quoted = "".join(f"> {line}\n" for line in text.splitlines())
    with open_capture(quoted.encode()) as capture:
        assert [finding.rule for finding in capture.diagnose().findings][:1] == [rule]
