"""Errors of replies and logs, whatever their order, times and number: state is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.bounded import BoundedDict
from libvirt_proto.diagnose.auth import Authentication
from libvirt_proto.diagnose.certificates import Certificates
from libvirt_proto.diagnose.detector import MAX_NUMBERS, Recording
from libvirt_proto.diagnose.errors import ErrorDetector
from libvirt_proto.diagnose.permissions import Permissions
from libvirt_proto.diagnose.sizes import Limits
from libvirt_proto.diagnose.skew import VersionSkew
from libvirt_proto.events import LogLine
from libvirt_proto.session import Sessions
from tests.support.failures import MS, SECOND, call, connection, finding, findings, line

DETECTORS: tuple[type[ErrorDetector], ...] = (Authentication, Certificates, Limits, Permissions, VersionSkew)
KINDS = sorted({kind for detector in DETECTORS for kind in detector.kinds})
ERRORS = [
    (29, b"read only access prevents virDomainSuspend"),
    (39, b"unknown procedure: 448"),
    (39, b"Cannot find program 5 version 1"),
    (39, b"Unable to decode message payload"),
    (1, b"unsupported event ID 99"),
    (1, b"Too many domains '9' for limit '8'"),
    (8, b"unsupported flags (0xffffffffffffffff)"),
    (45, b"authentication failed: Failed to verify peer's certificate"),
    (45, b""),
    (79, b"x"),
    (88, b"\xff"),
    (94, b"authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.api.x'"),
]
TIMES = st.none() | st.integers(-(2**70), 2**70)
LINES = st.builds(
    LogLine,
    st.sampled_from(KINDS),
    TIMES,
    st.sampled_from(["", "libvirtd"]),
    st.sampled_from(["", "7"]),
    st.none() | st.sampled_from(["1", "2"]),
    st.integers(1, 100),
    st.dictionaries(st.sampled_from(["reason", "how", "function"]), st.text(max_size=20), max_size=2),
)
CALLS = st.builds(
    lambda proc, error, number, side, headers, serial: call(
        proc, error=error, on=connection(number, side=side), headers=headers, serial=serial
    ),
    st.sampled_from([1, 11, 67, 68, 69, 70, 448, 9000]),
    st.none() | st.sampled_from(ERRORS),
    st.integers(1, 3),
    st.sampled_from([None, "client", "server"]),
    st.booleans(),
    st.integers(0, 3),
)


@given(st.lists(LINES.map(lambda each: [each]) | CALLS, max_size=12))
def test_any_order_of_lines_and_failures(groups: list[list[Any]]) -> None:
    for found in findings(*groups):
        assert found.evidence
        assert found.summary.endswith(".")
        assert all(each.lines or each.messages or each.count for each in found.evidence)


def sizes(value: object, depth: int = 3) -> Iterator[int]:
    """The sizes of everything that a detector keeps."""
    if isinstance(value, BoundedDict | list | dict) or type(value).__name__ == "deque":
        yield len(value)  # type: ignore[arg-type]
        if depth:
            for each in value.values() if isinstance(value, dict) else value:  # type: ignore[attr-defined]
                yield from sizes(each, depth - 1)
    elif depth and hasattr(value, "__dict__"):
        for each in vars(value).values():
            yield from sizes(each, depth - 1)


@pytest.mark.parametrize("detector", DETECTORS)
def test_state_is_bounded(detector: type[ErrorDetector]) -> None:
    """Hundreds of different failures, and of lines without any."""
    recording = Recording("one.log", registry.default(), None)
    watched, sessions = detector(recording), Sessions(recording.registry)
    recording_objects = vars(watched).pop("recording")
    watched.recording = recording_objects
    for number in range(400):
        for kind in KINDS:
            details = {"reason": f"r{number}", "function": f"f{number}", "number": str(number)}
            watched.line(LogLine(kind, number * SECOND, "libvirtd", "7", "1", number, details))
        for code, text in ERRORS:
            reason = text + b" %d" % number
            for item in call(number, error=(code, reason), serial=number):
                for exchange in sessions.feed(item):
                    watched.exchange(_peer(item), exchange)
    del watched.recording
    assert max(sizes(watched)) <= 4096
    watched.recording = recording_objects
    assert len([*watched.findings()]) <= 200


def _peer(item: Any) -> Any:
    from libvirt_proto.diagnose.peers import Peer

    return Peer(item.connection)


def test_line_of_another_second_is_about_another_reply() -> None:
    on = connection(1, side="server")
    denied = call("domain_create", error=(88, b"x"), on=on, headers=True, at=5 * SECOND)
    found = finding("ACCESS_DENIED", line("access denied: 'QEMU' denied access", 3, 0), denied)
    assert found.evidence[0].messages == ()


def test_lines_without_times_belong_to_the_next_reply() -> None:
    on = connection(1, side="server")
    denied = call("domain_create", error=(88, b"x"), on=on, headers=True)
    found = finding("ACCESS_DENIED", line("access denied: 'QEMU' denied access", 3, None), denied)
    assert [each.lines for each in found.evidence] == [(), (3,)]


def test_failure_that_both_sides_report_counts_once() -> None:
    items = [
        call("domain_create", error=(88, b"access denied"), on=connection(number, side=side), serial=number)
        for number, side in ((1, "client"), (2, "server"), (3, "client"), (4, "server"))
    ]
    assert "2 times" in finding("ACCESS_DENIED", *items).summary


def test_lines_of_two_threads_are_two_failures() -> None:
    lines = [line("access denied: 'QEMU' denied access", number, MS, thread=str(number)) for number in (1, 2)]
    assert "2 times" in finding("ACCESS_DENIED", lines).summary


def test_evidence_lists_a_limited_number_of_lines() -> None:
    lines = [line("access denied: 'QEMU' denied access", n, n * SECOND) for n in range(1, 100)]
    found = finding("ACCESS_DENIED", lines)
    assert len(found.evidence[0].lines) <= MAX_NUMBERS
    assert "99 times" in found.summary
