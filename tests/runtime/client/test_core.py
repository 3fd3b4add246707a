"""The sans-IO core of the client: what it sends, and what any server may answer."""

from __future__ import annotations

import pytest

from libvirt_proto import registry
from libvirt_proto.client.core import (
    ClientCore,
    Emitted,
    Failed,
    Finished,
    Hole,
    Keepalive,
    KeepaliveTimeout,
    Malformed,
    Piece,
    Returned,
    Unexpected,
)
from libvirt_proto.errors import BadValue, FrameError, ProtocolError
from libvirt_proto.generated import remote
from tests.support.frames import error_payload, frame, text, word

REMOTE = registry.program("remote")
LIB_VERSION = REMOTE.procedure("connect_get_lib_version")
LOOKUP = REMOTE.procedure("domain_lookup_by_name")
UPLOAD = REMOTE.procedure("storage_vol_upload")
DOWNLOAD = REMOTE.procedure("domain_screenshot")
GRAPHICS = REMOTE.procedure("domain_open_graphics_fd")
DOMAIN = remote.RemoteNonnullDomain("vm1", bytes(16), 1)
SCREENSHOT = remote.RemoteDomainScreenshotArgs(DOMAIN, 0, 0)
KEEPALIVE = {"prog": 0x6B656570, "type_": 2}


def sent(core: ClientCore) -> bytes:
    """The bytes that the core has to send."""
    return b"".join(outgoing.data for outgoing in core.take_output())


def reply(core: ClientCore, serial: int, payload: bytes = b"", **header: int) -> list[object]:
    return list(core.receive(frame(payload, type_=1, serial=serial, **header)))


def opened(core: ClientCore) -> int:
    """The serial of an open stream."""
    serial = core.call(REMOTE, DOWNLOAD, SCREENSHOT)
    reply(core, serial, word(0), proc=DOWNLOAD.number)
    assert core.is_open(serial)
    sent(core)
    return serial


def test_sends_call_and_returns_reply() -> None:
    core = ClientCore()
    assert core.call(REMOTE, LIB_VERSION) == 0
    assert sent(core) == frame(proc=157)
    assert reply(core, 0, word(0) + word(9000000), proc=157) == [
        Returned(0, remote.RemoteConnectGetLibVersionRet(9000000))
    ]
    assert core.waiting == 0


def test_encodes_arguments() -> None:
    core = ClientCore()
    core.call(REMOTE, LOOKUP, remote.RemoteDomainLookupByNameArgs("vm1"))
    assert sent(core) == frame(text(b"vm1"), proc=23)


def test_counts_serials_over_all_programs() -> None:
    core = ClientCore()
    admin = registry.program("admin")
    core.call(REMOTE, LIB_VERSION)
    assert core.call(admin, admin.procedure("connect_get_lib_version")) == 1


def test_replies_may_come_out_of_order() -> None:
    core = ClientCore()
    first, second = (core.call(REMOTE, LIB_VERSION) for _ in range(2))
    both = frame(word(0) + word(2), type_=1, proc=157, serial=second) + frame(
        word(0) + word(1), type_=1, proc=157, serial=first
    )
    assert [each.serial for each in core.receive(both) if isinstance(each, Returned)] == [second, first]


def test_error_reply_fails_the_call() -> None:
    core = ClientCore()
    serial = core.call(REMOTE, LOOKUP, remote.RemoteDomainLookupByNameArgs("x"))
    [failed] = reply(core, serial, error_payload(42, 12, b"no such domain"), proc=23, status=1)
    assert isinstance(failed, Failed)
    assert (failed.error.code, failed.error.name) == (42, "VIR_ERR_NO_DOMAIN")


def test_malformed_reply_fails_only_its_call() -> None:
    core = ClientCore()
    serial = core.call(REMOTE, LIB_VERSION)
    other = core.call(REMOTE, LIB_VERSION)
    [malformed] = reply(core, serial, word(0), proc=157)
    assert isinstance(malformed, Malformed)
    assert malformed.error.path == "lib_ver"
    assert core.error is None
    assert reply(core, other, word(0) + word(1), proc=157)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"type_": 1, "serial": 7}, "serial 7"),
        ({"type_": 1, "proc": 1}, "procedure 1"),
        ({"type_": 1, "prog": 0x20008087, "proc": 157}, "program 0x20008087"),
        ({"type_": 0, "proc": 157}, "type 0"),
        ({"type_": 9, "proc": 157}, "type 9"),
    ],
)
def test_rejects_what_no_server_sends(header: dict[str, int], problem: str) -> None:
    core = ClientCore()
    core.call(REMOTE, LIB_VERSION)
    assert core.receive(frame(word(0) + word(1), **header)) == []
    assert isinstance(core.error, BadValue)
    assert problem in str(core.error)
    assert core.receive(frame(word(0) + word(1), type_=1, proc=157)) == []


def test_keeps_what_precedes_an_invalid_length() -> None:
    core = ClientCore()
    core.call(REMOTE, LIB_VERSION)
    [returned] = core.receive(frame(word(0) + word(1), type_=1, proc=157) + word(3))
    assert isinstance(returned, Returned)
    assert isinstance(core.error, FrameError)


def test_abandoned_call_gets_an_unexpected_reply() -> None:
    core = ClientCore()
    serial = core.call(REMOTE, LIB_VERSION)
    core.abandon(serial)
    [unexpected] = reply(core, serial, word(0) + word(1), proc=157)
    assert isinstance(unexpected, Unexpected)
    assert core.error is None


def test_abandoned_stream_is_aborted() -> None:
    core = ClientCore()
    serial = core.call(REMOTE, DOWNLOAD, SCREENSHOT)
    sent(core)
    core.abandon(serial)
    reply(core, serial, word(0), proc=DOWNLOAD.number)
    assert sent(core) == frame(proc=DOWNLOAD.number, type_=3, status=1, serial=serial)
    assert not core.is_open(serial)


@pytest.mark.parametrize("args", [None, 3, remote.RemoteDomainLookupByNameArgs(3)])  # type: ignore[arg-type]
def test_checks_arguments_before_sending(args: object) -> None:
    core = ClientCore()
    with pytest.raises(ProtocolError):
        core.call(REMOTE, LOOKUP, args)
    assert sent(core) == b""
    assert core.call(REMOTE, LIB_VERSION) == 0


class TestEvents:
    def test_event_is_emitted(self) -> None:
        procedure = REMOTE.procedure("connect_event_connection_closed")
        [emitted] = ClientCore().receive(frame(word(2), type_=2, serial=1, proc=procedure.number))
        assert isinstance(emitted, Emitted)
        assert (emitted.procedure, emitted.value.reason) == (procedure, 2)

    @pytest.mark.parametrize(
        "data", [frame(type_=2, proc=9999), frame(word(1)[:2], type_=2, proc=354), frame(type_=2, prog=1)]
    )
    def test_unknown_and_malformed_events_are_unexpected(self, data: bytes) -> None:
        core = ClientCore()
        [unexpected] = core.receive(data)
        assert isinstance(unexpected, Unexpected)
        assert core.error is None


class TestStreams:
    def test_receives_pieces_holes_and_the_end(self) -> None:
        core = ClientCore()
        serial = opened(core)
        stream = {"proc": DOWNLOAD.number, "serial": serial}
        data = (
            frame(b"data", type_=3, status=2, **stream)
            + frame((1 << 40).to_bytes(8, "big") + word(0), type_=6, status=2, **stream)
            + frame(type_=3, status=2, **stream)
        )
        assert core.receive(data) == [Piece(serial, b"data"), Hole(serial, 1 << 40), Piece(serial, b"")]
        core.finish(serial)
        assert sent(core) == frame(type_=3, status=0, **stream)
        assert core.receive(frame(type_=3, status=0, **stream)) == [Finished(serial)]
        assert not core.is_open(serial)

    def test_sends_pieces_and_holes(self) -> None:
        core = ClientCore()
        volume = remote.RemoteNonnullStorageVol("pool", "vol", "key")
        serial = core.call(REMOTE, UPLOAD, remote.RemoteStorageVolUploadArgs(volume, 0, 0, 0))
        reply(core, serial, proc=UPLOAD.number)
        sent(core)
        core.send_piece(serial, b"data")
        core.send_hole(serial, 5)
        stream = {"proc": UPLOAD.number, "serial": serial, "status": 2}
        hole = (5).to_bytes(8, "big") + word(0)
        assert sent(core) == frame(b"data", type_=3, **stream) + frame(hole, type_=6, **stream)

    def test_error_ends_the_stream(self) -> None:
        core = ClientCore()
        serial = opened(core)
        payload = error_payload(38, 0, b"cannot read")
        [failed] = core.receive(frame(payload, type_=3, status=1, proc=DOWNLOAD.number, serial=serial))
        assert isinstance(failed, Failed)
        assert not core.is_open(serial)

    def test_data_after_the_end_is_unexpected(self) -> None:
        core = ClientCore()
        serial = opened(core)
        core.abort(serial)
        [unexpected] = core.receive(frame(b"late", type_=3, status=2, proc=DOWNLOAD.number, serial=serial))
        assert isinstance(unexpected, Unexpected)
        assert core.error is None

    def test_malformed_hole_ends_the_stream(self) -> None:
        core = ClientCore()
        serial = opened(core)
        [malformed] = core.receive(frame(word(1), type_=6, status=2, proc=DOWNLOAD.number, serial=serial))
        assert isinstance(malformed, Malformed)


class TestDescriptors:
    ARGS = remote.RemoteDomainOpenGraphicsFdArgs(DOMAIN, 0, 0)

    def reply_with(self, count: int) -> bytes:
        return frame(word(count), type_=5, proc=GRAPHICS.number)

    def called(self) -> ClientCore:
        core = ClientCore(unix=True)
        core.call(REMOTE, GRAPHICS, self.ARGS)
        return core

    def test_reply_waits_for_its_descriptors(self) -> None:
        core = self.called()
        assert core.receive(self.reply_with(2)) == []
        assert core.receive(b"\0", [10]) == []
        assert core.receive(b"\0", [11]) == [Returned(0, None, (10, 11))]

    def test_descriptors_may_arrive_with_the_reply(self) -> None:
        assert self.called().receive(self.reply_with(1) + b"\0", [10]) == [Returned(0, None, (10,))]

    def test_missing_descriptors_are_an_error(self) -> None:
        core = self.called()
        core.call(REMOTE, LIB_VERSION)
        data = self.reply_with(1) + b"\0" + frame(word(0) + word(1), type_=1, proc=157, serial=1)
        assert core.receive(data) == []
        assert "expected 1 descriptors" in str(core.error)

    def test_unexpected_descriptors_are_returned(self) -> None:
        core = self.called()
        assert core.receive(b"", [10]) == [Unexpected(None, (10,))]
        assert core.receive(b"x" * 28, [11]) == [Unexpected(None, (11,))]
        assert core.error is not None
        assert core.receive(b"", [12]) == [Unexpected(None, (12,))]

    def test_sends_descriptors_over_unix_sockets_only(self) -> None:
        core = ClientCore(unix=True)
        core.call(REMOTE, GRAPHICS, self.ARGS, [3])
        [outgoing] = core.take_output()
        assert outgoing.fds == (3,)
        assert outgoing.data[16:20] == word(4)
        assert outgoing.data[28:32] == word(1)
        with pytest.raises(BadValue, match="unix socket"):
            ClientCore().call(REMOTE, GRAPHICS, self.ARGS, [3])
        with pytest.raises(BadValue, match="at most 32"):
            core.call(REMOTE, GRAPHICS, self.ARGS, range(3, 40))


class TestKeepalive:
    def test_answers_pings(self) -> None:
        core = ClientCore()
        assert core.receive(frame(proc=1, **KEEPALIVE)) == []
        assert sent(core) == frame(proc=2, **KEEPALIVE)

    def test_pings_and_gives_up(self) -> None:
        core = ClientCore(keepalive=Keepalive(5, 2))
        assert core.poll(100) == 105
        assert sent(core) == b""
        assert [core.poll(105), core.poll(107), core.poll(110)] == [110, 110, 115]
        assert sent(core) == frame(proc=1, **KEEPALIVE) * 2
        with pytest.raises(KeepaliveTimeout, match="2 pings"):
            core.poll(115)

    def test_any_message_counts_as_an_answer(self) -> None:
        core = ClientCore(keepalive=Keepalive(5, 1))
        core.poll(0)
        core.poll(5)
        core.receive(frame(proc=2, **KEEPALIVE))
        assert core.poll(10) == 15
        core.receive(frame(word(2), type_=2, serial=1, proc=370))
        assert core.poll(15) == 20

    def test_is_off_by_default(self) -> None:
        assert ClientCore().poll(0) is None
