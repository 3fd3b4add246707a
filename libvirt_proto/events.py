"""Values that every input gives: Chunks of connections, ConnectionEvents and Notices."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from .bounded import BoundedDict
from .rpc.message import Message

#: From client to server, or from server to client.
Direction = Literal["c2s", "s2c"]
#: The end of a connection: the peer that connected, or the daemon.
Side = Literal["client", "server"]

#: Maximum number of client and server pairs whose connections are counted; the least recently used are
#: dropped.
_MAX_NAMES: Final = 65_536


class Connection(msgspec.Struct, frozen=True):
    """One connection.

    `id` counts from 1 in order of appearance within a source. `client` and `server` are `address:port`
    (`[::1]:16509`) or the path of a socket. If the roles are unknown, `server` is the end with the well-known
    or lower port. If the ends are unknown, both are empty, and the `id` is shown. `transport` is `tcp`, `tls`
    (decrypted), `unix`, `log`, or `raw` (bytes without connections). `namesake` counts from 1 among
    connections of the same client and server, which is common on unix sockets: the second one is
    `client-server#2`. `side` is the end where a log or a probe saw it, or None if it was captured in between.
    """

    id: int
    client: str
    server: str
    transport: str = "tcp"
    namesake: int = 1
    side: Side | None = None

    def __str__(self) -> str:
        if not self.client and not self.server:
            return str(self.id)
        return f"{self.client}-{self.server}" + (f"#{self.namesake}" if self.namesake > 1 else "")


class Connections:
    """Assigns numbers to the connections of a source, in steps of `step`, and to those of the same name."""

    def __init__(self, step: int = 1) -> None:
        self._step = step
        self._last = 0
        self._namesakes: BoundedDict[tuple[str, str], int] = BoundedDict(_MAX_NAMES)

    def new(self, client: str, server: str, transport: str = "tcp", side: Side | None = None) -> Connection:
        """Return the next connection."""
        self._last += self._step
        namesake = self._namesakes.pop((client, server), 0) + 1
        self._namesakes.put((client, server), namesake)
        return Connection(self._last, client, server, transport, namesake, side)


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Bytes of one direction of one connection, in order.

    `time_ns` counts from the epoch, and is None if the source has no clock. `lost` is the number of bytes
    missing right before `data` (0: none; -1: an unknown number, for instance if a capture starts in
    mid-connection). `cut` is the number of bytes right after `data` that were sent but that the source does
    not show: the part cut off by strace's -s or a capture's snapshot length, or the payload that a log line
    lacks; -1 means that `data` is the header of one message of unknown length (its length word is 0). `end`
    marks the last Chunk of a direction; `reset` means that its sender reset the connection, which ends the
    other direction, too. `packet` is the number of the packet in the capture that completes
    the data, counted from 1 as Wireshark counts; None for an input without packets.

    The zero bytes that accompany file descriptors on a unix socket are not data: sources leave them out.
    """

    connection: Connection
    direction: Direction | None
    time_ns: int | None
    data: bytes
    lost: int = 0
    end: bool = False
    cut: int = 0
    packet: int | None = None
    reset: bool = False


class ConnectionEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to a connection, other than a message.

    `kind` is the name of libvirt's probe or log line in lower case, without `RPC_`: `socket_new`,
    `client_new`, `server_client_new`, `keepalive_start`, `server_client_auth_allow`, … `details` are (name,
    text) pairs in the order of the source: `thread`, `client` (the address of an object), `sock`, `fd`, …
    `side` is the end that reported it, if that is known without a connection.
    """

    kind: str
    time_ns: int | None
    connection: Connection | None = None
    details: tuple[tuple[str, str], ...] = ()
    side: Side | None = None


class Closed(msgspec.Struct, frozen=True, gc=False):
    """Both directions of a connection have ended, or one and then the input; nothing follows. `first` is the
    direction that ended first: its sender closed the connection, or with `reset` reset it. It is None if the
    source does not show it: for connections in logs and of probes, and if a source reports both ends at
    once."""

    connection: Connection
    time_ns: int | None
    first: Direction | None = None
    reset: bool = False


class NoticeCode(StrEnum):
    """Stable identifiers of notices. `meaning` describes each in one sentence.

    Scripts may rely on them: a code is never renamed or reused. `docs/notices.md` lists them.
    """

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> NoticeCode:
        """Build a member; looking one up by its value needs no meaning."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    # Inputs
    UNREADABLE = "unreadable", "The input cannot be opened, or its format is not recognised."
    TRUNCATED_FILE = (
        "truncated-file",
        "The file ends in the middle of a packet or block; everything before it was read.",
    )
    CORRUPT_FILE = "corrupt-file", "A part of the file contradicts the format; everything before it was read."
    FILE_TRUNCATED = "file-truncated", "A followed file became shorter and is read from its new beginning."
    FILE_REPLACED = (
        "file-replaced",
        "A followed file was replaced, or continues in another file; reading continues there.",
    )
    NO_LIBVIRT = "no-libvirt", "No libvirt connection was found in a capture or a strace output."

    # Packet captures
    CUT_PACKETS = "cut-packets", "The capture's snapshot length cut off the end of TCP segments."
    IP_FRAGMENTS = "ip-fragments", "IP fragments are not reassembled; their bytes are missing."
    MALFORMED_PACKETS = "malformed-packets", "Packet headers are truncated or contradict themselves."
    UNKNOWN_LINK_TYPE = "unknown-link-type", "Packets of an unsupported link type were skipped."
    TSHARK_FAILED = "tshark-failed", "tshark could not decrypt all of the capture."

    # Text inputs
    BAD_HEX = "bad-hex", "A line is not bytes; its group is decoded up to that line."
    OTHER_TEXT = "other-text", "Lines before the first bytes of a text are not bytes."
    BYTE_ORDER = "byte-order", "The words of a dump are read in the byte order that the text gives."
    BAD_LINE = "bad-line", "A line of JSON or of a recording does not describe a message."
    BAD_LOG_LINE = "bad-log-line", "A log line about RPC cannot be parsed."
    BAD_STRACE = "bad-strace", "Lines of strace output cannot be parsed."
    HIDDEN_CALLS = (
        "hidden-calls",
        "strace was told (-e) to leave out calls that send, receive or copy descriptors.",
    )
    CUT_STRINGS = "cut-strings", "strace abbreviated the data of calls (`-s` was too small)."
    NO_RPC_LINES = (
        "no-rpc-lines",
        "No line of the log is about RPC; the text names the settings that log them.",
    )
    DEBUG_LINES = "debug-lines", "Messages are known only from debug lines of a log, without their records."
    NO_TIMES = "no-times", "Log lines without a complete time give messages without a time."
    NO_ZONE = "no-zone", "The times of a log have no zone and are read as UTC."
    WRONG_LENGTH = (
        "wrong-length",
        "A log reports bytes that are not a message; the text names what was received.",
    )

    # Live inputs
    BAD_EVENT = "bad-event", "The record of a probe cannot be read."
    LOST_EVENTS = "lost-events", "The kernel's trace buffer was full and events were lost."
    PROCESS_ENDED = "process-ended", "The processes of `--pid` have ended, and the trace with them."
    NO_PAYLOADS = (
        "no-payloads",
        "Message bytes are not where they are expected in this build of libvirt; only headers are shown.",
    )
    DROPPED_BYTES = "dropped-bytes", "The relay forwarded bytes faster than they could be shown."
    DESCRIPTORS_LOST = "descriptors-lost", "The relay could not forward file descriptors."
    NOT_ACCEPTED = "not-accepted", "The relay cannot accept connections for a moment."
    NOT_CONNECTED = "not-connected", "The relay could not connect to the server."

    # Streams of messages
    LOST_BYTES = "lost-bytes", "Bytes of a connection are missing from the input, or cannot be decrypted."
    MID_CONNECTION = "mid-connection", "The capture begins in the middle of the connection."
    INCOMPLETE_MESSAGE = "incomplete-message", "The last message of a direction is incomplete."
    BAD_FRAME = "bad-frame", "The bytes where a message should begin are not a message."
    RESYNCHRONISED = (
        "resynchronised",
        "Decoding resumed at the next message; the text gives the number of bytes skipped.",
    )
    NO_MESSAGE = "no-message", "The last bytes of a direction contain no message."
    NOT_LIBVIRT = "not-libvirt", "The connection speaks another protocol, or carried no bytes."
    ENCRYPTED = "encrypted", "The connection is encrypted."

    # Merged recordings
    CLOCK_DIFFERENCE = (
        "clock-difference",
        "The clocks of two recordings differ; the text gives the difference.",
    )
    NO_CLOCK_DIFFERENCE = (
        "no-clock-difference",
        "The difference between the clocks of two recordings cannot be determined.",
    )
    NOTHING_IN_COMMON = "nothing-in-common", "The recordings share no connection."

    # Output
    NOT_IN_TIMELINE = (
        "not-in-timeline",
        "Exchanges and events without a time are not in a timeline; the text gives their number.",
    )

    # Compatibility
    NOT_IN_RELEASE = (
        "not-in-release",
        "The release of `--as-of` lacks a procedure, type, field, value or number of the public API that was"
        " used.",
    )
    OVER_LIMIT = "over-limit", "A value is over a limit of the release of `--as-of`."
    OTHER_PERMISSIONS = "other-permissions", "The release of `--as-of` requires other permissions for a call."


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something about the input that a user should know: lost bytes, a truncated file, another protocol.

    `text` is a sentence. `severity` is "error" if input was lost or wrong (exit status 1), else "note".
    `data` is the beginning of bytes without context that are not a message. `protocol` is the name of another
    protocol that was recognised (`TLS`, `HTTP`), `unknown`, or "" if nothing was sent. `count` is the number
    of bytes or events that were lost, if it is known.
    """

    code: NoticeCode
    text: str
    connection: Connection | None = None
    direction: Direction | None = None
    time_ns: int | None = None
    severity: Literal["note", "error"] = "error"
    data: bytes = b""
    protocol: str | None = None
    count: int | None = None


class ProbeEvent(msgspec.Struct, frozen=True, gc=False):
    """An event of a probe that is not about RPC, from a live trace or a log.

    `kind` is the name of the probe (`event_glib_add_handle`, `qemu_monitor_send_msg`, …). `arguments` are its
    arguments in order, by the names in its provider; addresses of objects are written `0x55bef0a18050`. `cut`
    means that the text among them may be incomplete. A log may lack the time, the process (its `comm` is
    always empty there) and the thread. `connection` is None: the event belongs to none.
    """

    kind: str
    time_ns: int | None
    pid: int | None
    comm: str
    thread: int | None
    arguments: dict[str, int | str]
    cut: bool = False
    connection: None = None


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """A line of a log that states what happened to a connection, a worker thread or a domain's lock.

    `kind` is one of `rpc/statements.py` (`keepalive-timeout`, `job-begin`, …), and `details` has the
    parts of its text. `number` counts the lines of the log from 1. `program` and
    `process` (its number) are empty if unknown. `connection` is None: the line names none.
    """

    kind: str
    time_ns: int | None
    program: str
    process: str
    thread: str | None
    number: int
    details: dict[str, str]
    connection: None = None


class Lines(msgspec.Struct, frozen=True, gc=False):
    """Messages that the native core has read: the lines of an output, or the messages (Captured), how many
    there were, how many of them are in the lines, and how many report a failure. `time_ns` is the time of the
    last packet, `data_ns` that of the last one with data, None without. Exchanges before the messages in
    `data` are lines in `exchanges`, and their keys in `closed`; calls that are given back are tuples in
    `data`."""

    data: bytes | tuple[Any, ...]
    messages: int
    shown: int
    failures: int
    time_ns: int
    data_ns: int | None
    exchanges: bytes = b""
    closed: bytes = b""
    connection: None = None


class Sighting(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A recording that has a message, the time on the clock of the merged timeline, and the number of the
    packet there that completes the message: `frame` in JSON, without it None."""

    recording: str
    time_ns: int | None
    packet: int | None = msgspec.field(default=None, name="frame")


class Captured(msgspec.Struct, frozen=True, gc=False):
    """A message with its place and time. `n` counts the messages of a source from 1. After a merge,
    `sightings` lists the recordings that have it; otherwise it is empty. `packet` is the number of the packet
    that completes it (Wireshark's `frame.number`); None for an input without packets, and after a merge."""

    n: int
    time_ns: int | None
    connection: Connection
    direction: Direction | None
    message: Message
    sightings: tuple[Sighting, ...] = ()
    packet: int | None = None


#: The items of a source.
Item = Chunk | ConnectionEvent | ProbeEvent | LogLine | Lines | Notice
#: The items of `stream.messages`.
Seen = Captured | ConnectionEvent | ProbeEvent | LogLine | Lines | Closed | Notice
