"""Lines of a log that are not records of probes, and state what happened."""

from __future__ import annotations

from io import BytesIO

import pytest

from libvirt_proto.capture.log.source import log_chunks
from libvirt_proto.events import LogLine
from libvirt_proto.rpc.statements import TOKENS

HEAD = "2024-03-12 17:23:37.301+0000: 6924: debug : virThreadJobSet:94 : "
LOCK = (
    "Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainReset)"
)
BEGIN = "Thread 6924 (rpc-virtqemud) is now running job remoteDispatchDomainReset"
CLOSED = "internal error: connection closed due to keepalive timeout"
REFUSED = (
    "Cannot start job (none, none, start) for domain vm 1; current job is (none, none, snapshot) owned by"
    " (0 <null>, 0 <null>, 4340 remoteDispatchDomainSnapshotCreateXML (flags=0x280)) for (0s, 0s, 74645s)"
)


def lines(text: str) -> list[LogLine]:
    return [item for item in log_chunks(BytesIO(text.encode()).read) if isinstance(item, LogLine)]


def wrapped(text: str, width: int, mark: str = "") -> str:
    """The text in lines of about `width` columns, as a mail program breaks them at blanks, but not in a
    token: it would not be found."""
    for token in TOKENS:
        text = text.replace(token.decode(), token.decode().replace(" ", "\0"))
    out = [""]
    for word in text.split(" "):
        if out[-1] and len(out[-1]) + 1 + len(word) > width:
            out.append("")
        out[-1] += f" {word}" if out[-1] else word
    return "".join(f"{mark}{line}\n" for line in out).replace("\0", " ")


@pytest.mark.parametrize("text", [LOCK, BEGIN, CLOSED, REFUSED])
@pytest.mark.parametrize("mark", ["", "> ", "| "])
@pytest.mark.parametrize("width", [80, 95, 140])
def test_wrapped_line_states_the_same(text: str, mark: str, width: int) -> None:
    (whole,) = lines(f"{HEAD}{text}\n")
    (found,) = lines(wrapped(HEAD + text, width, mark))
    assert (found.kind, found.details, found.time_ns) == (whole.kind, whole.details, whole.time_ns)


@pytest.mark.parametrize("first", [LOCK, BEGIN, CLOSED, REFUSED, "Cannot recv data: Input/output error"])
@pytest.mark.parametrize(
    "second", [LOCK, BEGIN, CLOSED, REFUSED, "a certificate", "is now running job", "text"]
)
@pytest.mark.parametrize("head", [HEAD, ""])
def test_each_line_states_its_own(first: str, second: str, head: str) -> None:
    """No line is counted twice, and none takes parts of its neighbours."""
    alone = [(each.kind, each.details) for text in (first, second) for each in lines(f"{HEAD}{text}\n")]
    together = [(each.kind, each.details) for each in lines(f"{HEAD}{first}\n{head}{second}\n")]
    if head or second != "text":
        assert together == alone
    assert len(together) == len(alone)


def test_details_of_a_refused_job() -> None:
    (found,) = lines(f"{HEAD}{REFUSED}\n")
    assert found.kind == "job-refused"
    assert found.details == {
        "job": "none, none, start",
        "domain": "vm 1",
        "current": "none, none, snapshot",
        "owners": "0 <null>, 0 <null>, 4340 remoteDispatchDomainSnapshotCreateXML (flags=0x280)",
        "times": "0s, 0s, 74645s",
    }


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("Thread 7 (prio-rpc-libvirtd) finished job remoteDispatchAuthList with ret=-1",
         {"thread": "7", "name": "prio-rpc-libvirtd", "job": "remoteDispatchAuthList", "ret": "-1"}),
        ("Thread 7 is now running job udev-event", {"thread": "7", "job": "udev"}),
        ("Entering monitor (mon=0x7f76 vm=0x7f77 name=vm 1)", {"monitor": "0x7f76", "domain": "vm 1"}),
    ],
)  # fmt: skip
def test_details_of_other_lines(text: str, details: dict[str, str]) -> None:
    (found,) = lines(f"{HEAD}{text}\n")
    assert found.details == details


@pytest.mark.parametrize(
    "text",
    [
        # libvirt 3.9.0, and 9.0.0
        "Starting job: destroy (vm=0x7fe3 name=vm 1, current job=none async=none)",
        "Starting async job: dump (vm=0x7fe3 name=vm 1, current job=none async=none)",
        "Starting job: API=remoteDispatchDomainSuspend job=suspend agentJob=none asyncJob=none (vm=0x7fe3"
        " name=vm 1, current job=modify agentJob=none async=none)",
    ],
)
def test_job_that_a_thread_wants(text: str) -> None:
    (found,) = lines(f"{HEAD}{text}\n")
    assert (found.kind, found.thread, found.details) == ("job-wanted", "6924", {"domain": "vm 1"})


def test_long_lines_are_not_joined() -> None:
    text = f"{HEAD}{'x' * 300} state change lock (held by"
    assert not lines(f"{text}\nmonitor=remoteDispatchDomainReset)\n")
