"""STREAM_STALLED, STREAM_FAILED: streams that pause, and streams that end badly."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.streams import Streams
from libvirt_proto.events import Direction
from tests.support.conversations import MS, SECOND, Talk, diagnosis, domain, found, procedure
from tests.support.frames import error_payload, frame, text, word

VOLUME = text(b"pool") + text(b"disk") + text(b"/pool/disk")
DATA = bytes(1000)
#: Procedure → its arguments, and the direction of its data.
ARGUMENTS: dict[str, tuple[bytes, Direction]] = {
    "storage_vol_download": (VOLUME + bytes(8) * 2 + word(0), "s2c"),
    "storage_vol_upload": (VOLUME + bytes(8) * 2 + word(0), "c2s"),
    "domain_open_console": (domain("web") + word(0) + word(0), "s2c"),
}


class StreamTalk(Talk):
    """A stream of a procedure; each part comes at a time in ms."""

    def __init__(self, name: str, conn: int = 1) -> None:
        super().__init__()
        self.proc, self.conn = procedure(name), conn
        args, self.carries = ARGUMENTS[name]
        self.serial = self.call(name, args, at=0, conn=conn)

    def part(
        self, at: int, *, status: int = 2, payload: bytes = b"", to: Direction | None = None, type_: int = 3
    ) -> None:
        data = frame(payload, proc=self.proc, type_=type_, serial=self.serial, status=status)
        self.send(at * MS, to or self.carries, data, self.conn)

    def data(self, *times: int) -> StreamTalk:
        for at in times:
            self.part(at, payload=DATA)
        return self

    def hole(self, at: int, length: int) -> StreamTalk:
        self.part(at, payload=length.to_bytes(8) + word(0), type_=6)
        return self

    def finish(self, at: int, confirmed: int | None = None) -> StreamTalk:
        self.part(at, status=0, to="c2s")
        self.part(at + 1 if confirmed is None else confirmed, status=0, to="s2c")
        return self

    def abort(self, at: int) -> StreamTalk:
        self.part(at, status=1, to="c2s")
        self.part(at + 1, status=0, to="s2c")
        return self

    def fail(self, at: int, message: bytes) -> StreamTalk:
        self.part(at, status=1, payload=error_payload(38, 18, message), to="s2c")
        return self


def rules(*talks: Talk) -> list[str]:
    return [each.rule for each in diagnosis(*talks).findings if each.rule in Streams.rules]


def test_paused_download() -> None:
    talk = StreamTalk("storage_vol_download").data(2, 3, 8003, 8004).finish(8005)
    (finding,) = found("STREAM_STALLED", talk)
    assert finding.summary == (
        "The data of storage_vol_download for storage_vol disk paused for 8.00 s after 2,000 bytes: the"
        " daemon sent none, or the client did not read."
    )
    assert finding.certainty == "possible"
    assert finding.evidence[0].messages == (4, 5)


def test_daemon_that_answers_other_calls_has_no_data() -> None:
    talk = StreamTalk("storage_vol_download").data(2, 3, 8003).finish(8005)
    talk.call("connect_get_uri", at=4 * SECOND)
    (finding,) = found("STREAM_STALLED", talk)
    assert finding.summary.endswith("the daemon sent none, although it sent other messages.")
    assert finding.certainty == "likely"


def test_client_that_is_answered_sends_no_data() -> None:
    talk = StreamTalk("storage_vol_upload").data(2, 3, 8003).finish(8005)
    talk.call("connect_get_uri", at=4 * SECOND)
    (finding,) = found("STREAM_STALLED", talk)
    assert finding.summary.endswith("the client sent none, while the daemon answered it.")


def test_daemon_that_does_not_read_answers_nothing() -> None:
    talk = StreamTalk("storage_vol_upload").data(2, 3, 8003).finish(8005)
    talk.call("connect_get_uri", at=4 * SECOND, takes=5 * SECOND)
    (finding,) = found("STREAM_STALLED", talk)
    assert finding.summary.endswith("the daemon did not read.")


def test_daemon_that_confirms_the_end_late() -> None:
    talk = StreamTalk("storage_vol_upload").data(2, 3).finish(4, 9004)
    (finding,) = found("STREAM_STALLED", talk)
    assert "paused for 9.00 s after 2,000 bytes: the daemon sent none" in finding.summary


def test_stream_that_does_not_continue() -> None:
    talk = StreamTalk("storage_vol_download").data(2, 3)
    talk.call("connect_get_uri", at=20 * SECOND, conn=2)
    (finding,) = found("STREAM_STALLED", talk)
    assert "paused for 20.0 s after 2,000 bytes and did not continue" in finding.summary


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(StreamTalk("storage_vol_download").data(2, 3, 4).finish(5), id="steady"),
        pytest.param(StreamTalk("storage_vol_download").data(2, 2900, 5800).finish(5801), id="slow"),
        pytest.param(
            StreamTalk("storage_vol_download").data(2).hole(2900, 2**40).data(5800).finish(5801), id="holes"
        ),
        pytest.param(StreamTalk("domain_open_console").data(2, 60_000, 90_000).finish(99_000), id="console"),
        pytest.param(StreamTalk("domain_open_console").data(2).abort(60_000), id="console is left"),
        pytest.param(
            StreamTalk("domain_open_console").data(2).fail(9000, b"stream had unexpected termination"),
            id="domain of the console ends",
        ),
    ],
)
def test_normal_streams(talk: Talk) -> None:
    assert rules(talk) == []


def test_data_that_has_ended_is_not_stalled() -> None:
    """The daemon ends its data by an empty message; some clients never finish the stream."""
    talk = StreamTalk("storage_vol_download").data(2, 3)
    talk.part(4)
    talk.call("connect_get_uri", at=60 * SECOND)
    assert rules(talk) == []
    paused = StreamTalk("storage_vol_download").data(2, 9003)
    paused.part(9004)
    paused.call("connect_get_uri", at=60 * SECOND)
    (finding,) = found("STREAM_STALLED", paused)
    assert "paused for 9.00 s after 1,000 bytes: " in finding.summary


def test_late_data_after_an_abort_is_not_a_stalled_stream() -> None:
    talk = StreamTalk("storage_vol_download").data(2, 3).abort(4).data(6)
    talk.call("connect_get_uri", at=60 * SECOND, conn=2)
    assert rules(talk) == ["STREAM_FAILED"]


def test_aborted_stream() -> None:
    (finding,) = found("STREAM_FAILED", StreamTalk("storage_vol_download").data(2, 3).abort(4))
    assert finding.summary == (
        "The stream of storage_vol_download was aborted by the client after 2,000 bytes."
    )
    assert finding.severity == "warning"


def test_stream_that_ends_with_an_error() -> None:
    talk = StreamTalk("storage_vol_upload").data(2, 3).hole(4, 4096).fail(5, b"No space left on device")
    (finding,) = found("STREAM_FAILED", talk)
    assert finding.summary == (
        "The stream of storage_vol_upload was ended by an error of the daemon after 2,000 bytes and 1 hole of"
        " 4.00 KiB: VIR_ERR_SYSTEM_ERROR: No space left on device."
    )
    assert finding.evidence[0].text.startswith(
        "storage_vol_upload (storage_vol disk) failed after 2,000 bytes"
    )


def test_failures_of_the_same_kind_are_one_finding() -> None:
    talk = StreamTalk("storage_vol_download").data(2).fail(3, b"Input/output error")
    talk.items += StreamTalk("storage_vol_download", conn=2).data(2).fail(3, b"Input/output error").items
    (finding,) = found("STREAM_FAILED", talk)
    assert finding.summary.startswith("2 streams of storage_vol_download were ended by an error")
    assert len(finding.evidence) == 2


def test_console_that_fails() -> None:
    talk = StreamTalk("domain_open_console").data(2).fail(9, b"stream had I/O failure")
    assert rules(talk) == ["STREAM_FAILED"]
