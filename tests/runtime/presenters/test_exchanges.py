"""Exchanges as text and JSON, and the permissions of calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from libvirt_proto import registry
from libvirt_proto.access import Accesses
from libvirt_proto.events import Captured, Connection, ConnectionEvent
from libvirt_proto.presenters.exchanges import (
    JsonLinesExchangePresenter,
    MonitorExchangePresenter,
    PrettyExchangePresenter,
)
from libvirt_proto.session import Exchange
from libvirt_proto.text import duration, size
from tests.property.test_session import anything
from tests.property.test_session import run as paired
from tests.runtime.presenters.test_tree import harmless
from tests.runtime.test_session import (
    CALL,
    CALL_FDS,
    CONTINUE,
    ERROR,
    HOLE,
    REPLY,
    SCREENSHOT,
    STREAM,
    Wire,
    only,
    run,
)
from tests.support.frames import captured, error_payload, frame, text, word

LOOKUP, METADATA, RESUME = 23, 257, registry.program("remote").procedure("domain_resume").number
DEFINITIONS = registry.default()
HEAD = "127.0.0.1:40508-127.0.0.1:16509 msg=remote.1."


@pytest.fixture
def wire() -> Wire:
    return Wire()


def monitor(exchange: Exchange, accesses: Accesses | None = None) -> str:
    presenter = MonitorExchangePresenter(DEFINITIONS, accesses=accesses)
    presenter.clock.start_ns = 0
    line = presenter(exchange)
    assert HEAD in line
    return line.replace(HEAD, "")


def pretty(exchange: Exchange, accesses: Accesses | None = None) -> list[str]:
    presenter = PrettyExchangePresenter(DEFINITIONS, accesses=accesses)
    presenter.clock.start_ns = 0
    lines = list(presenter.lines(exchange))
    assert lines[0].startswith("── connection 1: ")
    return lines[1:]


def lookup(wire: Wire) -> Exchange:
    domain = text(b"test") + bytes(16) + word(1)
    return only(
        wire(CALL, 2, payload=text(b"test"), proc=LOOKUP), wire(REPLY, 2, payload=domain, proc=LOOKUP)
    )


def download(wire: Wire) -> Exchange:
    return only(
        wire(CALL, 4, proc=SCREENSHOT, payload=text(b"test") + bytes(16) + word(1) * 3),
        wire(REPLY, 4, proc=SCREENSHOT, payload=word(0)),
        wire(STREAM, 4, CONTINUE, bytes(2048), proc=SCREENSHOT),
        wire(HOLE, 4, CONTINUE, word(0) + word(512) + word(0), proc=SCREENSHOT),
        wire(STREAM, 4, proc=SCREENSHOT, direction="c2s"),
        wire(STREAM, 4, proc=SCREENSHOT),
    )


def test_line_ends_with_malformed_payload_error(wire: Wire) -> None:
    exchange = only(wire(CALL, 2, payload=text(b"test"), proc=LOOKUP), wire(REPLY, 2, proc=LOOKUP))
    assert exchange.reply
    assert exchange.reply.message.malformed
    assert monitor(exchange).endswith(f" took=0.001 malformed: {exchange.reply.message.error}")


def test_exchange_line(wire: Wire) -> None:
    assert monitor(lookup(wire)) == '  0.001 C = domain_lookup_by_name("test")(ok, 2) len=36+56 took=0.001'


def test_exchange_lines_with_details(wire: Wire) -> None:
    assert monitor(download(wire)) == (
        '  0.001 C = domain_screenshot("test")(ok, 4) len=92+2176 took=0.001'
        " stream=0+2048 end=finished holes=1:512"
    )
    call = wire(CALL_FDS, 6, payload=word(2), proc=2)
    other = wire(CALL, 7, proc=2)
    done = run(call, other, wire(REPLY, 7, proc=2), wire(REPLY, 6, proc=2))
    assert monitor(done[1]).endswith(" took=0.003 fds=2+0 overtaken=1")
    pending = only(wire(CALL, 1, payload=text(b"test"), proc=LOOKUP))
    assert monitor(pending).endswith("(pending, 1) len=36+0 took=-")


def test_exchange_block(wire: Wire) -> None:
    assert pretty(lookup(wire)) == [
        '  0.001000  1 ⇄ #2    ok          remote.domain_lookup_by_name("test")  1.00 ms, 36 + 56 bytes',
        '              → name: "test"',
        "              ← dom:",
        '                  name: "test"',
        "                  uuid: 00000000-0000-0000-0000-000000000000",
        "                  id:   1",
    ]


def test_exchange_block_with_stream(wire: Wire) -> None:
    lines = pretty(download(wire))
    assert lines[0].endswith('remote.domain_screenshot("test")  1.00 ms, 92 + 2,176 bytes')
    assert lines[-1] == (
        "                stream: 2,048 bytes from the server in 1 message, 1 hole of 512 bytes,"
        " 500 KiB/s, finished"
    )


def test_server_error(wire: Wire) -> None:
    error = error_payload(42, 12, b"no domain")
    shown = pretty(
        only(wire(CALL, 0, proc=LOOKUP, payload=text(b"x")), wire(REPLY, 0, ERROR, error, proc=LOOKUP))
    )
    assert " error " in shown[0]
    assert shown[2] == "              ← VIR_ERR_NO_DOMAIN (VIR_FROM_TEST): no domain"
    stream = pretty(
        only(
            wire(CALL, 1, proc=SCREENSHOT, payload=text(b"x") + bytes(16) + word(1) * 3),
            wire(REPLY, 1, proc=SCREENSHOT, payload=word(0)),
            wire(STREAM, 1, ERROR, error, proc=SCREENSHOT),
        )
    )
    assert "              ← VIR_ERR_NO_DOMAIN (VIR_FROM_TEST): no domain" in stream
    assert stream[-1] == "                stream: 0 bytes in 0 messages, error"


def test_exchange_json(wire: Wire) -> None:
    line = json.loads(JsonLinesExchangePresenter(DEFINITIONS)(lookup(wire)))
    call, reply = line.pop("call"), line.pop("reply")
    assert line == {
        "n": 1, "time_ns": 1_000_000, "conn": "127.0.0.1:40508-127.0.0.1:16509", "outcome": "ok",
        "prog": 0x20008086, "program": "remote", "vers": 1, "proc": 23, "procedure": "domain_lookup_by_name",
        "serial": 2, "latency_ns": 1_000_000, "overtaken": 0, "messages": 2, "bytes_c2s": 36, "bytes_s2c": 56,
        "stream": None, "object": {"kind": "domain", "name": "test", "uuid": None},
    }  # fmt: skip
    assert (call["n"], call["type"], call["payload"]) == (1, "call", {"name": "test"})
    assert (reply["n"], reply["type"], reply["payload"]["dom"]["id"]) == (2, "reply", 1)
    assert "access" not in call


def test_exchange_json_with_stream(wire: Wire) -> None:
    assert json.loads(JsonLinesExchangePresenter(DEFINITIONS)(download(wire)))["stream"] == {
        "bytes_c2s": 0, "bytes_s2c": 2048, "messages": 1, "holes": 1, "hole_bytes": 512,
        "duration_ns": 4_000_000, "bytes_per_second": 512_000, "end": "finished", "error": None,
    }  # fmt: skip


def test_marks_server_side(wire: Wire) -> None:
    seen = Connection(1, "", "", "probe", side="server")
    exchange = only(wire(CALL, 2, proc=LOOKUP, connection=seen), wire(REPLY, 2, proc=LOOKUP, connection=seen))
    assert MonitorExchangePresenter(DEFINITIONS)(exchange).startswith("  0.000 = S 1  ")


def test_lines_have_the_reason_of_a_failure(wire: Wire) -> None:
    error = error_payload(55, 10, b"Requested operation is not valid: domain 'vm1'\n is \"not\" paused")
    call = wire(CALL, 7, proc=RESUME, payload=text(b"vm1") + bytes(16) + word(1))
    shown = monitor(only(call, wire(REPLY, 7, ERROR, error, proc=RESUME)))
    assert shown.startswith('  0.001 C = domain_resume("vm1")(error, 7) len=')
    assert shown.endswith(
        " took=0.001 error=\"VIR_ERR_OPERATION_INVALID: Requested operation is not valid: domain 'vm1'\\n is"
        ' \\"not\\" paused"'
    )
    stream = (
        wire(CALL, 1, proc=SCREENSHOT, payload=text(b"x") + bytes(16) + word(1) * 3),
        wire(REPLY, 1, proc=SCREENSHOT, payload=word(0)),
        wire(STREAM, 1, ERROR, error_payload(38, 10, b"broken"), proc=SCREENSHOT),
    )
    assert monitor(only(*stream)).endswith(' end=error error="VIR_ERR_SYSTEM_ERROR: broken"')


def test_names_the_object_of_a_call(wire: Wire) -> None:
    """The name of a hostile peer's object is escaped and cut; without a call, the reply names it."""
    domain = text(b"test") + bytes(16) + word(1)
    assert ' domain_lookup_by_id("test")(ok, 2) ' in monitor(
        only(wire(CALL, 2, proc=22, payload=word(1)), wire(REPLY, 2, proc=22, payload=domain))
    )
    hostile = only(wire(CALL, 2, proc=LOOKUP, payload=text(b"\x1b[2J" + b"x" * 200)))
    assert f'domain_lookup_by_name("\\x1b[2J{"x" * 75}…")(' in monitor(hostile)
    several = wire(REPLY, 3, proc=273, payload=word(1) + domain + word(1))
    assert " connect_list_all_domains(ok, 3) " in monitor(
        only(wire(CALL, 3, proc=273, payload=word(1) * 2), several)
    )


@pytest.mark.parametrize(
    ("sent", "answered", "line", "block"),
    [
        (5_000_000, 5_000_000, "0.000", "< 1 ms"),
        (5_000_000, 6_000_000, "0.001", "1.00 ms"),
        (2 * 10**9, 2 * 10**9, "0", "< 1 s"),
        (5_000_001, 5_000_001, "0.000000", "0 ns"),
        (5_001_000, 5_001_000, "0.000000", "< 1 µs"),
        (5_001_000, 5_132_000, "0.000131", "131 µs"),
    ],
)
def test_latency_is_as_precise_as_the_clock(sent: int, answered: int, line: str, block: str) -> None:
    wire = Wire()
    call, reply = wire(CALL, 2, payload=text(b"x"), proc=LOOKUP), wire(REPLY, 2, proc=LOOKUP)
    exchange = only(replace(call, time_ns=sent), replace(reply, time_ns=answered))
    assert f" took={line} " in monitor(exchange)
    assert f'("x")  {block}, ' in pretty(exchange)[0]


@given(anything())
def test_shows_any_exchange(seen: list[Captured | ConnectionEvent]) -> None:
    views = (
        JsonLinesExchangePresenter(DEFINITIONS),
        MonitorExchangePresenter(DEFINITIONS),
        PrettyExchangePresenter(DEFINITIONS),
    )
    for exchange in paired(seen):
        line = json.loads(views[0](exchange))
        assert (line["n"], line["outcome"]) == (exchange.n, exchange.outcome)
        assert "\n" not in views[1](exchange)
        assert all(map(harmless, views[2](exchange).splitlines()))


# Permissions


@pytest.mark.parametrize(
    ("proc", "words"),
    [
        (16, "acl=domain:read"),
        (66, "acl=none priority=high"),
        (SCREENSHOT, "acl=domain:screenshot stream=read"),
        (208, "acl=storage_vol:data_write stream=write"),
        (304, None),
        (273, "acl=connect:search_domains filter=domain:getattr priority=high"),
    ],
)
def test_permissions_follow_definitions(proc: int, words: str | None) -> None:
    access = Accesses(DEFINITIONS).of(captured(frame(proc=proc)))
    if words is None:
        assert access is not None
        assert access.stream == "write"
    else:
        assert str(access) == words


@pytest.mark.parametrize("changes", [{"type_": 1}, {"type_": 2}, {"proc": 4711}, {"prog": 77}])
def test_only_known_calls_have_permissions(changes: dict[str, Any]) -> None:
    assert Accesses(DEFINITIONS).of(captured(frame(**changes))) is None


def test_permissions_are_shown_with_the_call(wire: Wire) -> None:
    exchange, accesses = lookup(wire), Accesses(DEFINITIONS)
    assert monitor(exchange, accesses).endswith(" acl=domain:getattr priority=high")
    assert pretty(exchange, accesses)[1] == "              → acl=domain:getattr priority=high"
    line = json.loads(JsonLinesExchangePresenter(DEFINITIONS, accesses)(exchange))
    assert line["call"]["access"] == {
        "acl": ["domain:getattr"], "aclfilter": [], "priority": "high", "stream": None,
    }  # fmt: skip
    assert "access" not in line["reply"]


# Figures


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (0, "0 ns"), (999, "999 ns"), (1000, "1.00 µs"), (131_000, "131 µs"), (1_240_000, "1.24 ms"),
        (12_345_678, "12.3 ms"), (99_960_000, "100 ms"), (5_000_000_000, "5.00 s"),
        (1_234_500_000_000, "1,234 s"), (-1500, "-1.50 µs"),
    ],
)  # fmt: skip
def test_formats_durations(ns: int, words: str) -> None:
    assert duration(ns) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (33443, "32.7 KiB"),
        (2**21, "2.00 MiB"),
        (2**34, "16.0 GiB"),
    ],
)
def test_formats_sizes(count: int, words: str) -> None:
    assert size(count) == words


def test_exchange_block_with_overtaken_call_and_other_version(wire: Wire) -> None:
    call, other = wire(CALL, 6, proc=2, vers=2), wire(CALL, 7, proc=2)
    done = run(call, other, wire(REPLY, 7, proc=2), wire(REPLY, 6, proc=2, vers=2))
    assert pretty(done[1])[0].endswith("28 + 28 bytes, overtaken by 1 later call, version 2")
    assert pretty(done[0])[0].endswith("28 + 28 bytes")
