"""What every source gives: Chunks of connections, ConnectionEvents, and Notices of what went wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec

from .bounded import BoundedDict
from .rpc.message import Message

#: Client to server, server to client, or not known.
Direction = Literal["c2s", "s2c"]
#: Whose end of a connection: the peer's that connected, or the daemon's.
Side = Literal["client", "server"]

#: Names whose connections are counted; those that were used last.
_MAX_NAMES: Final = 65_536


class Connection(msgspec.Struct, frozen=True):
    """One connection. `id` counts from 1 in the order of appearance within a source, `client` and
    `server` are `address:port` (`[::1]:16509`) or a socket's path; where it is not known which is
    which, `server` is the one with the well-known or lower port. `namesake` counts from 1 those of one
    client and server, which many a unix socket's clients have in common: the second is `client-server#2`.
    `side` is the end at which it was seen, if a log or a probe tells of it; None: somewhere in between."""

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
    """Numbers the connections of a source, by `step`, and those of one name."""

    def __init__(self, step: int = 1) -> None:
        self._step = step
        self._last = 0
        self._namesakes: BoundedDict[tuple[str, str], int] = BoundedDict(_MAX_NAMES)

    def new(self, client: str, server: str, transport: str = "tcp", side: Side | None = None) -> Connection:
        """The next one."""
        self._last += self._step
        namesake = self._namesakes.pop((client, server), 0) + 1
        self._namesakes.put((client, server), namesake)
        return Connection(self._last, client, server, transport, namesake, side)


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """Bytes of one direction of one connection, in order.

    `time_ns` is since the epoch, None where the source has no clock. `lost` is the number of bytes
    known to be missing right before `data` (0: none; -1: some, but nobody knows how many, as when a
    capture starts in mid-connection). `cut` is the number of bytes right behind `data` that went over the
    connection too, but that the source does not show: what strace's -s or a capture's snapshot length cuts
    off, the payload that a log line lacks. `end` marks the last chunk of a direction.

    The zero bytes that accompany file descriptors on a unix socket are no data: sources leave them out.
    """

    connection: Connection
    direction: Direction | None
    time_ns: int | None
    data: bytes
    lost: int = 0
    end: bool = False
    cut: int = 0


class ConnectionEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to a connection beside its messages.

    `kind` is the name that libvirt's probes and log lines have for it, in lower case without `RPC_`:
    `socket_new`, `client_new`, `server_client_new`, `keepalive_start`, `server_client_auth_allow`, …
    `details` are (name, text) pairs in the order of the source: `thread`, `client` (an object's address),
    `sock`, `fd`, … `side` is whose it is, if that is known of one without a connection.
    """

    kind: str
    time_ns: int | None
    connection: Connection | None = None
    details: tuple[tuple[str, str], ...] = ()
    side: Side | None = None


class Closed(msgspec.Struct, frozen=True, gc=False):
    """Both directions of a connection have ended: nothing more comes of it."""

    connection: Connection
    time_ns: int | None


class NoticeCode(StrEnum):
    """Stable identifiers of notices; `meaning` is a sentence about each.

    Scripts may rely on them: a code is neither renamed nor used for anything else. `docs/notices.md` lists
    them.
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
    BAD_HEX = "bad-hex", "A line is not hex; its group is decoded up to that line."
    BAD_LINE = "bad-line", "A JSON line does not describe a message."
    BAD_LOG_LINE = "bad-log-line", "A log line about RPC cannot be parsed."
    BAD_STRACE = "bad-strace", "Lines of strace output cannot be parsed."
    CUT_STRINGS = "cut-strings", "strace abbreviated the data of calls (`-s` was too small)."
    NO_RPC_LINES = (
        "no-rpc-lines",
        "No line of the log is about RPC; the text names the settings that log them.",
    )
    NO_TIMES = "no-times", "Journal lines without a year give messages without a time."

    # Live inputs
    BAD_EVENT = "bad-event", "The record of a probe cannot be read."
    LOST_EVENTS = "lost-events", "The kernel's trace buffer was full and events were lost."
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

    # Compatibility
    NOT_IN_RELEASE = (
        "not-in-release",
        "The release of `--as-of` lacks a procedure, type, field or value that was used.",
    )
    OVER_LIMIT = "over-limit", "A value is over a limit of the release of `--as-of`."


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something that a person should know: lost bytes, a truncated file, bytes that are no libvirt.

    `code` is stable (`truncated-file`, `lost-bytes`, `not-libvirt`, `resynchronised`, …), `text` a
    sentence in words. `severity` is "error" when input was lost or wrong (exit status 1), else "note".
    """

    code: NoticeCode
    text: str
    connection: Connection | None = None
    direction: Direction | None = None
    time_ns: int | None = None
    severity: Literal["note", "error"] = "error"


class ProbeEvent(msgspec.Struct, frozen=True, gc=False):
    """A probe that is not about RPC was passed.

    `kind` is its name (`event_glib_add_handle`, `qemu_monitor_send_msg`, …), `arguments` are its arguments in
    their order, by the names that its provider has for them; addresses of objects are `0x55bef0a18050`. With
    `cut`, the text among them may go on.
    """

    kind: str
    time_ns: int
    pid: int
    comm: str
    thread: int
    arguments: dict[str, int | str]
    cut: bool = False


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """That a recording has a message, and when on the clock of the merged timeline."""

    recording: str
    time_ns: int | None


class Captured(msgspec.Struct, frozen=True, gc=False):
    """A message with where and when it was seen; `n` counts messages of a source from 1. Where recordings
    were merged, `sightings` says which of them have it; else it is empty."""

    n: int
    time_ns: int | None
    connection: Connection
    direction: Direction | None
    message: Message
    sightings: tuple[Sighting, ...] = ()


#: What comes out of a source.
Item = Chunk | ConnectionEvent | Notice
#: What comes out of `stream.messages`.
Seen = Captured | ConnectionEvent | Closed | Notice
