"""The values of statistics, as written in JSON. Times are in ns (since the epoch for points in time), sizes
in bytes; bytes of messages are their length words."""

from __future__ import annotations

import msgspec

from ..diagnose.findings import Finding
from ..rpc.objects import NamedObject
from ..session import Outcome


class Where(msgspec.Struct, frozen=True):
    """A message: its file and number there, and fields of its header. Names are None for numbers without a
    definition. `command` shows the message, or the exchange that it belongs to; None for a live source."""

    file: str
    n: int
    time_ns: int | None
    conn: str
    prog: int
    program: str | None
    vers: int
    proc: int
    procedure: str | None
    serial: int
    command: str | None = None


class Latency(msgspec.Struct, frozen=True):
    """Latencies from calls to their replies. Percentiles are by nearest rank: each is the smallest latency
    that occurred and that at least this percentage of all does not exceed."""

    count: int
    total_ns: int
    min_ns: int
    mean_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


class Streams(msgspec.Struct):
    """The streams that a procedure opened: their data, the total duration of those with a clock, the bytes
    per second in that time (None without one), and the number that did not finish normally."""

    count: int = 0
    bytes_c2s: int = 0
    bytes_s2c: int = 0
    holes: int = 0
    hole_bytes: int = 0
    duration_ns: int = 0
    bytes_per_second: int | None = None
    aborted: int = 0
    failed: int = 0
    open: int = 0


class ProcedureFigures(msgspec.Struct):
    """The exchanges of a procedure. `errors` counts error replies and streams that ended with an error,
    `unanswered` calls without a reply, `without_call` replies and streams without a call. Bytes include all
    messages of the exchanges. `streams` is None for a procedure that opened none."""

    prog: int
    program: str | None
    vers: int
    proc: int
    procedure: str | None
    calls: int
    errors: int
    unanswered: int
    without_call: int
    fds_sent: int
    fds_received: int
    bytes_c2s: int
    bytes_s2c: int
    latency: Latency | None
    streams: Streams | None


class Authentication(msgspec.Struct):
    """An authentication: `offered` by the server (`none`, `sasl`, `polkit`), the `method` used with its
    `mechanism` (SASL), and its `result`: `ok`, `error`, or None if unknown."""

    offered: tuple[str, ...] = ()
    method: str | None = None
    mechanism: str | None = None
    result: str | None = None


class Opened(msgspec.Struct, frozen=True):
    """The connection that the client opened: connect_open's program (`remote`, `admin`), its URI (None for
    libvirt's default, and in programs without one), flags (None if the payload of the call is missing), and
    the outcome."""

    program: str
    uri: str | None
    flags: int | None
    result: Outcome


class Feature(msgspec.Struct, frozen=True):
    """A feature that the client asked about, by libvirt's internal number and its name (None if it has none),
    and the answer (None: an error)."""

    feature: int
    name: str | None
    supported: bool | None


class Registration(msgspec.Struct, frozen=True):
    """A kind of event that the client registered for: the procedure, the event's number and name (None if it
    has none) and the server's callback id (None: an error, or a procedure without one)."""

    procedure: str
    event: int | None
    name: str | None
    callback: int | None


class ConnectionFigures(msgspec.Struct):
    """A connection with messages. `opened` is None if no connect_open was seen; `closed` is whether a
    connect_close was answered. `encrypted` and others are among its notices."""

    file: str
    id: int
    client: str
    server: str
    transport: str
    start_ns: int | None = None
    end_ns: int | None = None
    duration_ns: int | None = None
    messages: int = 0
    bytes_c2s: int = 0
    bytes_s2c: int = 0
    bytes_unknown: int = 0
    calls: int = 0
    errors: int = 0
    unanswered: int = 0
    events: int = 0
    pings: int = 0
    pongs: int = 0
    auth: Authentication | None = None
    opened: Opened | None = None
    closed: bool = False
    features: list[Feature] = msgspec.field(default_factory=list)
    registrations: list[Registration] = msgspec.field(default_factory=list)


class EventKind(msgspec.Struct):
    """A kind of event: the number of events, and their bytes."""

    prog: int
    program: str | None
    vers: int
    proc: int
    procedure: str | None
    count: int = 0
    bytes: int = 0


class ErrorFigures(msgspec.Struct):
    """An error by its code: the number of occurrences, and the first of them."""

    code: int
    code_name: str | None
    count: int
    first: Where
    first_message: str | None


class Slow(msgspec.Struct, frozen=True):
    """A slow exchange; `call` is its call, `reply` the number of the reply, `object` what it is about, and
    `error` the reason of a failure."""

    latency_ns: int
    call: Where
    reply: int
    outcome: Outcome
    object: NamedObject | None = None
    error: str | None = None


class Unanswered(msgspec.Struct, frozen=True):
    """A call without a reply, the reason, and what the call is about."""

    outcome: Outcome
    call: Where
    object: NamedObject | None = None


class Closeness(msgspec.Struct, frozen=True):
    """The longest value at one place in the definitions, compared with its limit.

    `what` is `string` and `opaque` (bytes), `list` (elements), `message` (length word), or `descriptors`;
    `path` leads there from the payload's type. `fraction` is longest / limit: a peer refuses values over 1.
    """

    what: str
    path: str
    longest: int
    limit: int
    fraction: float
    where: Where


class Totals(msgspec.Struct):
    """Totals over all files. `other` counts messages of unknown type, `malformed` those with a malformed
    payload. `outcomes` counts exchanges by outcome, `notices` notices by code. `left_out` counts rows left
    out of the lists below, which would have become too long. `resolution_ns` is the coarsest of 1 s, 1 ms,
    1 µs and 1 ns that all times are multiples of; None without times. `input_messages` also counts what a
    filter leaves out; `input_start_ns` is the beginning of the earliest input, from which times count."""

    files: int = 0
    messages: int = 0
    bytes: int = 0
    connections: int = 0
    start_ns: int | None = None
    end_ns: int | None = None
    exchanges: int = 0
    calls: int = 0
    errors: int = 0
    unanswered: int = 0
    events: int = 0
    pings: int = 0
    pongs: int = 0
    other: int = 0
    malformed: int = 0
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    notices: dict[str, int] = msgspec.field(default_factory=dict)
    left_out: int = 0
    resolution_ns: int | None = None
    input_messages: int = 0
    input_start_ns: int | None = None


class Statistics(msgspec.Struct):
    """All statistics. `procedures` are in order of their total time, `connections` in the order of their
    files, `unanswered` in the order of their calls, the rest with the largest first. `errors_command` shows
    all failed calls. `redacted` is `secrets` or `all`, and present only if messages were redacted. `findings`
    are those of a diagnosis (docs/diagnose.md), and absent if a filter left messages out."""

    totals: Totals
    procedures: list[ProcedureFigures]
    connections: list[ConnectionFigures]
    events: list[EventKind]
    errors: list[ErrorFigures]
    slowest: list[Slow]
    unanswered: list[Unanswered]
    limits: list[Closeness]
    errors_command: str | None = None
    redacted: str | msgspec.UnsetType = msgspec.UNSET
    findings: list[Finding] | msgspec.UnsetType = msgspec.UNSET
