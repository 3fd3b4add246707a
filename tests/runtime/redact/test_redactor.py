"""Redacted messages of every procedure, and undecodable ones."""

from __future__ import annotations

import pytest

from libvirt_proto import registry
from libvirt_proto.events import ConnectionEvent, Notice, ProbeEvent
from libvirt_proto.redact.redactor import Redactor, What, redacted_notice, redacted_probe_event
from libvirt_proto.rpc.message import Header, MessageDecoder
from tests.support.examples import stride
from tests.support.frames import error_payload, frame, text, word
from tests.support.markers import MARKER, found, marked_frames

SECRET = MARKER.encode()
REMOTE = registry.program("remote")
PASSWORD_PROC = REMOTE.procedure("domain_set_user_password").number
SECRET_PROC = REMOTE.procedure("secret_set_value").number
BY_NAME = REMOTE.procedure("domain_lookup_by_name").number
DEFINE = REMOTE.procedure("domain_define_xml").number


def password_payload(user: bytes = b"root", password: bytes = SECRET) -> bytes:
    domain = text(b"vm") + bytes(16) + word(1)
    return domain + word(1) + text(user) + word(1) + text(password) + word(0)


@pytest.fixture(params=["secrets", "all"])
def redactor(request: pytest.FixtureRequest) -> Redactor:
    return Redactor(registry.default(), request.param)


@pytest.mark.parametrize("release", ["12.9.0", "0.9.7"])
@pytest.mark.parametrize("what", ["secrets", "all"])
def test_no_field_of_any_procedure_keeps_its_marker(release: str, what: What) -> None:
    definitions = registry.release(release)
    redactor, plain = Redactor(definitions, what), MessageDecoder(definitions)
    count = 0
    for _, direction, data in marked_frames(definitions, stride()):
        assert found(data)
        message = redactor.decode(data, direction)
        out = redactor.seen_bytes(message)
        assert len(out) == len(data)
        assert not found(out), message
        again = plain.decode(out, direction)
        assert again == message
        assert redactor.message(again) == again
        count += 1
    assert count > 500


def test_blanks_a_password_and_keeps_the_rest() -> None:
    data = frame(password_payload(), proc=PASSWORD_PROC, serial=9)
    message = Redactor(registry.default()).decode(data)
    assert message.payload_type == "remote_domain_set_user_password_args"
    payload = message.payload
    assert (payload.dom.name, payload.user, payload.password) == ("vm", "root", "x" * len(MARKER))
    assert message.header == Header(0x20008086, 1, PASSWORD_PROC, 0, 9, 0)


def test_all_leaves_only_headers_names_and_lengths() -> None:
    data = frame(password_payload(), proc=PASSWORD_PROC, serial=9)
    payload = Redactor(registry.default(), "all").decode(data).payload
    assert (payload.dom.name, payload.dom.id, payload.user) == ("xx", 0, "xxxx")


def test_all_keeps_numbers_that_the_public_api_has_names_for() -> None:
    data = frame(error_payload(42, 10, b"Domain not found"), type_=1, status=1)
    payload = Redactor(registry.default(), "all").decode(data).payload
    assert (payload.code, payload.domain, payload.message) == (42, 10, "x" * 16)
    unknown = frame(error_payload(0x53336372, 10, b""), type_=1, status=1)
    assert Redactor(registry.default(), "all").decode(unknown).payload.code == 0


def test_keeps_messages_without_secrets() -> None:
    data = frame(text(b"vm") + bytes(15) + b"\1" + word(7), proc=BY_NAME, type_=1)
    plain = MessageDecoder(registry.default()).decode(data)
    assert plain.payload.dom.name == "vm"
    assert Redactor(registry.default()).message(plain) == plain


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(SECRET * 3, prog=0x12345678), id="unknown program"),
        pytest.param(frame(SECRET * 3, proc=9999), id="unknown procedure"),
        pytest.param(frame(SECRET * 3, vers=2), id="unknown version"),
        pytest.param(frame(SECRET * 3, type_=3, status=2, proc=209), id="stream data"),
        pytest.param(frame(SECRET, proc=66), id="spare bytes of a call without arguments"),
        pytest.param(frame(password_payload(b"a", b"b") + SECRET, proc=PASSWORD_PROC), id="spare bytes"),
        pytest.param(frame(password_payload()[:-5], proc=PASSWORD_PROC), id="breaks off"),
        pytest.param(frame(SECRET * 5, proc=PASSWORD_PROC), id="a length that is text"),
        pytest.param(frame(b"S3c", proc=66, type_=4), id="breaks off in the descriptor count"),
        pytest.param(frame(SECRET, proc=66, type_=4), id="a descriptor count that is text"),
        pytest.param(
            frame(text(b"vm")[:-2] + b"3c" + SECRET, proc=BY_NAME, type_=1), id="padding, then malformed"
        ),
        pytest.param(frame(SECRET * 2, type_=1, status=1), id="a malformed error"),
        pytest.param(frame(SECRET * 2, type_=0x53336372, status=0x334D3472), id="unknown type and status"),
    ],
)
def test_blanks_undecodable_payloads(data: bytes, redactor: Redactor) -> None:
    plain = MessageDecoder(registry.default())
    message = redactor.decode(data)
    out = redactor.seen_bytes(message)
    assert len(out) == len(data)
    assert not found(out[28:])
    assert not found(repr(message).replace(repr(message.header), ""))
    again = redactor.decode(out)
    assert redactor.seen_bytes(again) == out
    assert again.header == plain.decode(data).header
    assert again.malformed == plain.decode(data).malformed


def test_blanks_padding() -> None:
    payload = text(b"v")[:-3] + b"S3c" + bytes(16) + word(1)
    data = frame(payload, proc=BY_NAME, type_=1)
    assert MessageDecoder(registry.default()).decode(data).remarks
    message = Redactor(registry.default()).decode(data)
    assert (message.raw, message.remarks, message.payload.dom.name) == (None, (), "v")


@pytest.mark.parametrize("seen", [28, 30, 60, 80])
def test_keeps_only_the_header_of_truncated_message(seen: int, redactor: Redactor) -> None:
    data = frame(password_payload(SECRET * 9), proc=PASSWORD_PROC)
    message = redactor.decode(data[:seen], "c2s", len(data) - seen)
    assert message.missing == len(data) - 28
    assert redactor.seen_bytes(message) == data[:28]
    assert message.payload_type == "remote_domain_set_user_password_args"


def test_blanks_string_that_is_not_utf_8() -> None:
    data = frame(text(b"\xff" + SECRET), proc=BY_NAME)
    assert not found(Redactor(registry.default()).seen_bytes(Redactor(registry.default()).decode(data)))


@pytest.mark.parametrize(
    ("payload", "proc"),
    [
        (error_payload(1, 10, b"internal error: passwd='" + SECRET + b"'"), DEFINE),
        (error_payload(35, 20, b"(domain_definition):1: expected '>'\n" + SECRET), DEFINE),
        (error_payload(1, 10, b"cannot use " + SECRET), PASSWORD_PROC),
        (error_payload(1, 10, b"cannot use " + SECRET), SECRET_PROC),
    ],
)
def test_blanks_texts_of_errors_that_may_quote_a_secret(payload: bytes, proc: int) -> None:
    redactor = Redactor(registry.default())
    data = frame(payload, proc=proc, type_=1, status=1)
    message = redactor.decode(data)
    assert not found(redactor.seen_bytes(message))
    assert set(message.payload.message) == {"x"}


def test_keeps_texts_of_other_errors() -> None:
    data = frame(error_payload(55, 10, b"domain is not running"), proc=10, type_=1, status=1)
    assert Redactor(registry.default()).decode(data).payload.message == "domain is not running"


def test_blanks_notices_that_may_quote_bytes() -> None:
    quoting = Notice(
        "bad-log-line", f"line 7: RPC_CLIENT_NEW: expected the address of an object, got '{MARKER}'"
    )
    assert redacted_notice(quoting).text.startswith("line 7: the text is left out")
    unknown = Notice("not-libvirt", f"this is HTTP (GET /{MARKER}), not libvirt")
    assert not found(redacted_notice(unknown).text)
    unreadable = Notice("unreadable", f"looks like HTTP (GET /{MARKER}); understood formats: pcap")
    assert redacted_notice(unreadable).text == "is not libvirt; understood formats: pcap"
    counting = Notice("lost-bytes", "7 bytes are lost")
    assert redacted_notice(counting) == counting


def test_blanks_details_of_events(redactor: Redactor) -> None:
    event = ConnectionEvent("client_new", 1, None, (("thread", "7"), ("name", f"password={MARKER}")))
    assert not found(repr(redactor.event(event)))
    assert [name for name, _ in redactor.event(event).details] == ["thread", "name"]


@pytest.mark.parametrize("what", ["secrets", "all"])
@pytest.mark.parametrize("cut", [False, True])
def test_blanks_qemu_monitor_commands(what: What, cut: bool) -> None:
    said = f'{{"execute":"set_password","arguments":{{"protocol":"vnc","password":"{MARKER}"}}}}\r\n'
    if cut:
        said = said[: said.index(MARKER) + 9]
    fired = ProbeEvent(
        "qemu_monitor_send_msg", 1, 2, "libvirtd", 3, {"mon": "0x7f", "msg": said, "fd": -1}, cut
    )
    shown = redacted_probe_event(fired, what)
    assert not found(repr(shown))
    assert shown.arguments["mon"] == "0x7f"
    assert len(str(shown.arguments["msg"])) == len(said)
