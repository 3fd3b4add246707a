"""Lines and events of a log with any content, at any times and in any order, give a diagnosis."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.diagnose.findings import Diagnosis
from libvirt_proto.events import LogLine, ProbeEvent
from tests.support.diagnoses import SECOND, START

TIMES = st.none() | st.integers(-(2**60), 2**60) | st.integers(0, 100).map(lambda at: START + at * SECOND)
THREADS = st.sampled_from(["", "1", "2"])
JOBS = st.sampled_from(["remoteDispatchDomainSuspend", "remoteDispatchDomainCreate", "udev", "", "Dispatch"])
OWNERS = st.sampled_from(
    ["1 remoteDispatchDomainSuspend, 0 <null>, 2 x (flags=0x0)", "0, 0", "1", ",", ", , "]
)
DETAILS = st.fixed_dictionaries(
    {},
    optional={
        "thread": THREADS,
        "job": JOBS,
        "name": st.sampled_from(["rpc-libvirtd", "'$(x)"]),
        "domain": st.sampled_from(["web", "a b'$(x)\n", ""]),
        "monitor": st.sampled_from(["0x1", "remoteDispatchDomainSuspend"]),
        "agent": JOBS,
        "holder": JOBS,
        "current": st.sampled_from(["modify, none, none", "none, x", "none, none, snapshot", "", ", , , ,"]),
        "owners": OWNERS,
        "times": st.sampled_from(["0s, 30s, 0s", "", ",,", "99999999999s", " 1 s"]),
        "limit": st.just("max_queued"),
    },
)
KINDS = ["job-begin", "job-end", "job-refused", "job-wanted", "lock-timeout", "monitor-entered", "started"]
LINES = st.builds(
    LogLine,
    st.sampled_from([*KINDS, "agent-silent", "keepalive-timeout", "keepalive-silence"]),
    TIMES,
    st.sampled_from(["", "libvirtd"]),
    st.sampled_from(["", "1"]),
    st.none() | THREADS,
    st.integers(1, 99),
    DETAILS,
)
TEXTS = st.sampled_from(
    ['{"execute":"stop","id":"libvirt-1"}', '{"return":{},"id":"libvirt-1"}', "", "\0{", "quit"]
)
PROBES = st.builds(
    ProbeEvent,
    st.sampled_from(
        [f"qemu_monitor_{kind}" for kind in ("send_msg", "recv_reply", "recv_event", "close", "x")]
    ),
    TIMES,
    st.sampled_from([None, 1]),
    st.just(""),
    st.sampled_from([None, 1, 2]),
    st.fixed_dictionaries(
        {}, optional={"mon": st.sampled_from(["0x1", "0x2", 7]), "msg": TEXTS, "reply": TEXTS}
    ),
)


@given(st.lists(LINES | PROBES, max_size=30))
@settings(deadline=None)
def test_any_lines_give_a_diagnosis(items: list[Diagnosed]) -> None:
    diagnoser = Diagnoser(registry.default())
    diagnoser.source("any.log")
    for item in items:
        diagnoser.add(item)
    found = diagnoser.finish()
    for finding in found.findings:
        assert finding.evidence
        assert finding.summary.endswith(".")
        assert finding.summary.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Diagnosis) == found
