"""Recognise the format of a file and the protocol of a stream."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from ..rpc.plausible import plausible_header
from ..rpc.wire import MIN_FRAME
from .pcap.file import PCAP_MAGIC, PCAPNG_MAGIC

if TYPE_CHECKING:
    from .envelopes import Envelope

#: `text` is any other text, with a log or a recording of rpc-monitor: only its end shows whether it contains
#: lines of libvirt.
FileFormat = Literal["pcap", "pcapng", "hex", "raw", "log", "strace", "monitor", "text"]
Compression = Literal["gzip", "bzip2", "xz"]
#: Recognised only by name: Python before 3.14 cannot unpack it.
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

#: Unsupported capture formats; editcap converts them to pcapng.
_OTHER_CAPTURES: Final = (
    (b"snoop\0\0\0", "snoop"),
    (b"RTSS", "Microsoft Network Monitor"),
    (b"GMBU", "Microsoft Network Monitor"),
    (b"TRSNIFF data    \x1a", "Sniffer"),
    (b"XCP\0", "Sniffer"),
    (b"ObserverPktBuffer", "Observer"),
    (b"\xaa\xaa\xaa\xaa", "5Views"),
    (b"\x34\xcd\xb2\xa1", "modified pcap"),
    (b"\xa1\xb2\xcd\x34", "modified pcap"),
)

#: A call that transfers bytes. Without one, lines like those of strace (gdb's, for instance) are not its
#: output if there are records of a log among them.
_TRANSFER: Final = re.compile(rb"\b(?:readv?|writev?|sendmsg|recvmsg|sendto|recvfrom)\(\d")
#: Enough of a file to recognise its format.
SNIFF_SIZE: Final = 65_536
#: Number of envelopes within each other.
MAX_ENVELOPES: Final = 3
_WHOLE: Final = 2
#: Enough of a text to recognise the prefix of its lines.
_BEGINNING: Final = 16_384

_COMPRESSION: Final[tuple[tuple[bytes, Compression], ...]] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)


def compression(head: bytes) -> Compression | None:
    """Return the compression of a file, by its first bytes."""
    return next((name for magic, name in _COMPRESSION if head.startswith(magic)), None)


def other_capture(head: bytes) -> str | None:
    """Return the name of an unsupported capture format, by the first bytes of a file."""
    return next((name for magic, name in _OTHER_CAPTURES if head.startswith(magic)), None)


def file_format(head: bytes) -> FileFormat | None:
    """Return the format of a file, by its first bytes (up to SNIFF_SIZE of them); None for other binaries.

    A raw stream is recognised by a plausible header anywhere in these bytes: it may begin in the middle of a
    message, or end before its first header does.
    """
    if head[:4] in PCAP_MAGIC:
        return "pcap"
    if head.startswith(PCAPNG_MAGIC):
        return "pcapng"
    if other_capture(head):
        return None
    if _holds_messages(head):
        return "raw"
    # The readers of text are slow to import, and a packet capture needs none.
    from .bytetext.reader import looks_like_byte_text
    from .log.source import has_records, is_log
    from .monitor_lines import is_recording
    from .strace.dressing import looks_like_strace
    from .strace.wrapped import looks_wrapped

    transfers = _TRANSFER.search(head) is not None
    if (looks_like_strace(head) and (transfers or not has_records(head))) or (
        transfers and looks_wrapped(head)
    ):
        return "strace"
    if is_recording(head) or is_log(head):  # the search for bytes in each line is slow
        return "text"
    if looks_like_byte_text(head):
        return "hex"
    return "text" if _is_text(head) else None


def enveloped(head: bytes, kind: FileFormat | None, known: tuple[Envelope, ...] = ()) -> Envelope | None:
    """Return the envelope of a text that begins so, if a trace or bytes of messages are in it, or in an
    envelope in it. `kind` is its format without that, `known` are the envelopes that were removed from it."""
    if kind not in ("text", "strace", "hex", None) or (b"\0" in head and kind is None):
        return None
    from .bytetext.reader import reads_as_messages
    from .envelopes import certain, hides_text, possible, sample
    from .log.source import is_libvirt_text, is_log
    from .monitor_lines import is_recording

    best, best_rank = None, 0
    for envelope in certain(head):
        inner = sample(head, envelope)
        if envelope in known or inner.split() == head.split():
            continue
        rank = _is_dump(inner)
        if rank == _WHOLE or (hides_text(envelope) and (is_libvirt_text(inner) or is_recording(inner))):
            return envelope
        if len(known) < MAX_ENVELOPES - 1 and not rank and enveloped(inner, "text", (*known, envelope)):
            return envelope
        if rank > best_rank:
            best, best_rank = envelope, rank
    if kind == "strace" or b"RPC_" in head or is_log(head):
        return best
    own_rank = reads_as_messages(head) if kind == "hex" else 0
    if own_rank == _WHOLE or (own_rank and len(head) >= _BEGINNING):
        return best
    beginning = head if len(head) < _BEGINNING else head[: head.rfind(b"\n", 0, _BEGINNING)]
    best_rank = max(best_rank, own_rank)
    for envelope in possible(beginning):
        if (rank := _is_dump(sample(beginning, envelope))) > best_rank:
            best, best_rank = envelope, rank
            if rank == _WHOLE:
                break
    return best


def _is_dump(text: bytes) -> int:
    """Return whether a text is a trace with transfers, or bytes of messages (1; 2 if the last one is
    complete)."""
    from .bytetext.reader import reads_as_messages
    from .strace.dressing import looks_like_strace
    from .strace.wrapped import looks_wrapped

    if _TRANSFER.search(text) and (looks_like_strace(text) or looks_wrapped(text)):
        return _WHOLE
    return reads_as_messages(text)


def _is_text(head: bytes) -> bool:
    """Return whether the bytes are text: without zeros, or with lines of libvirt (a log that a crash damaged
    has zeros) or fields of the journal."""
    from .log.journal import has_binary_fields
    from .log.source import is_libvirt_text

    return bool(head) and (b"\0" not in head or is_libvirt_text(head) or has_binary_fields(head))


def _holds_messages(head: bytes) -> bool:
    if len(head) < MIN_FRAME:
        # Too short for a header: compare the part that is there, which includes at least the version.
        if len(head) < 12:
            return False
        rest = b"\x00\x00\x00\x01" if len(head) < 16 else b""
        return plausible_header((head[: len(head) // 4 * 4] + rest).ljust(MIN_FRAME, b"\x00"))
    at = head.find(b"\x00\x00\x00\x01", 8)
    while at >= 0:
        if plausible_header(head, at - 8):
            return True
        at = head.find(b"\x00\x00\x00\x01", at + 1)
    return False
