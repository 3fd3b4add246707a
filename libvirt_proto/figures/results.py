"""What is known at the end, as it is written in JSON. Times are in ns (since the epoch where they are points
of time), sizes in bytes; bytes of messages are their length words."""

from __future__ import annotations

import msgspec

from ..session import Outcome


class Where(msgspec.Struct, frozen=True):
    """A message: its file and number there, and what its header says. Names are None for numbers that
    the definitions do not have."""

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


class Latency(msgspec.Struct, frozen=True):
    """From calls to their replies. Percentiles are by nearest rank: each is a latency that occurred,
    the smallest that at least so many percent of all do not exceed."""

    count: int
    total_ns: int
    min_ns: int
    mean_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


class Streams(msgspec.Struct):
    """The streams that a procedure opened: their data, the time that those took which had a clock, the
    bytes per second in that time (None for none), how many did not finish by themselves."""

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


class Procedure(msgspec.Struct):
    """The exchanges of a procedure. `errors` counts error replies and streams that ended with an error,
    `unanswered` calls without a reply, `without_call` what came without a call. Bytes are all of the
    exchanges' messages. `streams` is None for a procedure that opened none."""

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
    """`offered` by the server (`none`, `sasl`, `polkit`), the `method` that was used with its
    `mechanism` (SASL), and its `result`: `ok`, `error`, or None for not known."""

    offered: tuple[str, ...] = ()
    method: str | None = None
    mechanism: str | None = None
    result: str | None = None


class Opened(msgspec.Struct, frozen=True):
    """What the client opened: connect_open's program (`remote`, `admin`), its URI (None for libvirt's
    default, and in programs that have none), flags (None where the call's payload was not seen), and how
    it came out."""

    program: str
    uri: str | None
    flags: int | None
    result: Outcome


class Feature(msgspec.Struct, frozen=True):
    """A feature that the client asked for, by libvirt's internal number and its name (None for a number
    without one), and the answer (None: an error)."""

    feature: int
    name: str | None
    supported: bool | None


class Registration(msgspec.Struct, frozen=True):
    """A kind of event that the client asked for: the procedure, its event's number and name (None where it
    has none) and the callback that the server gave (None: an error, or a procedure without)."""

    procedure: str
    event: int | None
    name: str | None
    callback: int | None


class Connection(msgspec.Struct):
    """A connection with messages. `opened` is None where no connect_open was seen; `closed` says whether
    a connect_close was answered. `encrypted` and others are among its notices."""

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
    """A kind of event: how many came, in how many bytes."""

    prog: int
    program: str | None
    vers: int
    proc: int
    procedure: str | None
    count: int = 0
    bytes: int = 0


class Error(msgspec.Struct):
    """An error by its code: how many came, and the first of them."""

    code: int
    code_name: str | None
    count: int
    first: Where
    first_message: str | None


class Slow(msgspec.Struct, frozen=True):
    """An exchange that took long; `call` and `reply` are the numbers of its messages."""

    latency_ns: int
    call: Where
    reply: int
    outcome: Outcome


class Unanswered(msgspec.Struct, frozen=True):
    """A call without a reply, and why there is none."""

    outcome: Outcome
    call: Where


class Closeness(msgspec.Struct, frozen=True):
    """The longest value that one place in the definitions had, beside what it may have at most.

    `what` is `string` and `opaque` (bytes), `list` (elements), `message` (length word), or
    `descriptors`; `path` leads there from the payload's type. `fraction` is longest / limit: what is over 1 a
    peer refuses.
    """

    what: str
    path: str
    longest: int
    limit: int
    fraction: float
    where: Where


class Totals(msgspec.Struct):
    """Over all files. `other` are messages of no known type, `malformed` those whose payload was wrong.
    `outcomes` has the exchanges by outcome, `notices` what there was to say, by code. `left_out` counts what
    the lists below do not name, because they would have become too long."""

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


class Statistics(msgspec.Struct):
    """Everything. `procedures` come by the time that their calls took in all, `connections` in the order
    of their files, the rest with the largest first, `unanswered` in the order of their calls. `redacted` is
    `secrets` or `all`, and only there if messages were redacted."""

    totals: Totals
    procedures: list[Procedure]
    connections: list[Connection]
    events: list[EventKind]
    errors: list[Error]
    slowest: list[Slow]
    unanswered: list[Unanswered]
    limits: list[Closeness]
    redacted: str | msgspec.UnsetType = msgspec.UNSET
