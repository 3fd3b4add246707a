"""Open a file, unpack it, recognise its format, and read its Chunks."""

from __future__ import annotations

import io
import os
import stat
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, cast

from ..blocks import Read
from ..errors import SourceError, reason
from ..events import Item, Lines, Notice, NoticeCode
from ..rpc.foreign import identify
from ..rpc.plausible import plausible_header
from ..rpc.wire import MIN_FRAME
from .detect import (
    MAX_ENVELOPES,
    SNIFF_SIZE,
    ZSTD_MAGIC,
    Compression,
    FileFormat,
    compression,
    enveloped,
    file_format,
    other_capture,
)
from .follow import Following
from .lanes import Lanes, NoLanes
from .pcap.file import PCAPNG_MAGIC, DamagedCaptureError, Packet, read_pcap, read_pcapng
from .pcap.origin import Origin
from .pcap.packet import SegmentDecoder
from .pcap.tcp import LIBVIRT_PORTS, TcpReassembler
from .stop import Stop

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .envelopes import Envelope
    from .lanes import Lanes

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
#: Called with the number of bytes read and the size of the file, None if it has no size.
Progress = Callable[[int, int | None], object]

#: Fewer bytes may not identify a format, so more are awaited from a pipe.
_ENOUGH: Final = MIN_FRAME
_UNDERSTOOD: Final = (
    "supported: pcap and pcapng captures, strace output, libvirt logs, raw streams of libvirt messages, and"
    " bytes as text (hex, dumps, literals, base64), also compressed with gzip, bzip2 or xz"
)
_NO_CONNECTION: Final = (
    "no libvirt connection in this capture; use --port N for TLS on a port other than 16514; unix sockets do"
    " not appear in captures: use trace, relay or strace"
)


class Input(io.RawIOBase):
    """A binary file with a look-ahead and a count of the bytes read."""

    def __init__(
        self, file: BinaryIO, progress: Progress | None = None, follow: Following | None = None
    ) -> None:
        super().__init__()
        # Unbuffered files have no read1, but their read does the same.
        self._read1: Read = getattr(file, "read1", file.read) if follow is None else follow.read
        #: None where only `_read1` is there.
        self._readinto1: Callable[[WriteableBuffer], int | None] | None = (
            getattr(file, "readinto1", None) if follow is None else None
        )
        self._follow = follow
        self._head = b""
        self._done = 0
        self._progress = progress
        self._total = _size(file)

    def head(self, enough: int = _ENOUGH) -> bytes:
        """Return the first bytes without consuming them: at least `enough`, if there are as many."""
        while len(self._head) < enough:
            block = self._from_file(SNIFF_SIZE)
            if not block and (self._head or self.rotation() is None):
                break
            self._head += block
        return self._head

    def rotation(self) -> Notice | None:
        """Return, at the end, a Notice if another file follows and is read next, else None."""
        return None if self._follow is None else self._follow.rotation()

    def take(self, size: int) -> bytes:
        """Return up to `size` bytes, as soon as there are any, and b"" at the end."""
        if not self._head:
            return self._from_file(size)
        data, self._head = self._head[:size], self._head[size:]
        return data

    def _from_file(self, size: int) -> bytes:
        data = self._read1(size) or b""
        self._advance(len(data))
        return data

    def _advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)

    def readable(self) -> bool:  # noqa: D102 (documented by RawIOBase)
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:  # noqa: D102
        if not self._head and self._readinto1 is not None:
            count = self._readinto1(buffer) or 0
            self._advance(count)
            return count
        view = memoryview(buffer).cast("B")
        data = self.take(len(view))
        view[: len(data)] = data
        return len(data)


def _size(file: BinaryIO) -> int | None:
    """Return the size of a regular file."""
    try:
        status = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _name(file: BinaryIO) -> str | None:
    """Return the path of a regular file that was opened by it and is read from its beginning."""
    name = getattr(file, "name", None)
    try:
        same = isinstance(name, str) and os.path.samestat(os.stat(name), os.fstat(file.fileno()))
    except OSError:
        return None
    return name if same and _size(file) is not None else None


def open_source(
    path: str,
    *,
    ports: frozenset[int] = LIBVIRT_PORTS,
    progress: Progress | None = None,
    format: FileFormat | None = None,
    follow: Stop | None = None,
    keylog: str | None = None,
) -> Iterator[Item]:
    """Open a capture, a raw stream, hex text or a log, recognised by its content, and return its Chunks. `-`
    is standard input.

    `ports` are the TCP ports on which everything is reported; other connections are reported only if they
    begin as libvirt's do. `progress` is called with the number of bytes read and the size of the file (None
    for a pipe). `format` is for files that cannot be recognised. With `follow`, reading waits at the end of
    the file for more until that is set; if another file replaces it, or it is truncated, a Notice reports it
    (`file-replaced`, `file-truncated`). `keylog` is a file with the keys of TLS connections, with which
    tshark decrypts those of a capture.

    Raises SourceError immediately if the file cannot be opened or its format is not recognised; at the end of
    a text in which nothing is libvirt's. A truncated or damaged file yields everything before the damage,
    then a Notice (`truncated-file`, `corrupt-file`).
    """
    if path == "-":
        if sys.stdin is None:
            raise SourceError("standard input: is closed")
        return read_source(
            sys.stdin.buffer,
            "standard input",
            ports=ports,
            progress=progress,
            format=format,
            follow=follow,
            keylog=keylog,
        )
    with ExitStack() as opened:
        file = opened.enter_context(open_path(path, wait=follow is None))
        chunks = read_source(
            file, path, ports=ports, progress=progress, format=format, follow=follow, keylog=keylog
        )
        return _closing(chunks, opened.pop_all())


def open_path(path: str, *, wait: bool = True) -> BinaryIO:
    """Open a file for `read_source`; without `wait`, a FIFO without a writer, too. Raises SourceError."""
    try:
        return open(path, "rb", opener=None if wait else _open_at_once)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: {_words(error)}") from None


def check_keylog(path: str) -> None:
    """Raise SourceError for a key log that cannot be opened: tshark would ignore it. A FIFO is left to
    tshark."""
    from pathlib import Path  # slow to load

    if Path(path).is_fifo():
        return
    try:
        open_path(path).close()
    except SourceError as error:
        raise SourceError(f"key log {error}") from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the writer of a FIFO, which nothing could interrupt."""
    return os.open(path, flags | os.O_NONBLOCK)


def _closing(chunks: Iterator[Item], opened: ExitStack) -> Iterator[Item]:
    with opened:
        yield from chunks


def read_source(
    file: BinaryIO,
    name: str,
    *,
    ports: frozenset[int] = LIBVIRT_PORTS,
    progress: Progress | None = None,
    format: FileFormat | None = None,
    follow: Stop | None = None,
    keylog: str | None = None,
    lanes: Callable[[], Lanes | None] = lambda: None,
) -> Iterator[Item]:
    """Read an open binary file, as open_source does, and leave it open. `name` is for errors. `lanes` are for
    the native core, None without it; they are asked for when reading begins."""
    followed = None if follow is None else Following(file, follow, _name(file))
    source = Input(file, progress, followed)
    try:
        packed = compression(source.head())
        if packed:
            source = Input(_unpacked(packed, source))
        if source.head().startswith(_UTF_16):
            source = Input(cast(BinaryIO, _Utf16(source)))
        head = source.head()
    except _READ_ERRORS as error:
        raise SourceError(f"{name}: {_words(error)}") from None
    kind = format or file_format(head)
    envelopes: tuple[Envelope, ...] = ()
    while len(envelopes) < MAX_ENVELOPES and format in (None, "hex", "strace"):
        envelope = enveloped(head, kind, envelopes)
        if envelope is None:
            break
        envelopes += (envelope,)
        source = Input(cast(BinaryIO, _Opened(source, envelope)))
        head = source.head()
        kind = format or file_format(head)
    if kind is None:
        raise SourceError(f"{name}: {_unknown(head)}")
    if kind == "text":
        return _undecided(source, ports, f"{name}: {_unknown(head)}")
    if keylog is None or kind not in ("pcap", "pcapng"):
        return _chunks(source, kind, ports, forced=format is not None, lanes=lanes)
    from .pcap.tls import NO_TSHARK, has_tshark

    if not has_tshark():
        raise SourceError(f"{name}: {NO_TSHARK}")
    return _decrypted(source, kind, ports, keylog, None if packed or _name(file) is None else file.fileno())


#: Errors of reading: from the system, or from a compressed file that is damaged or truncated.
_READ_ERRORS: Final = (OSError, EOFError)


def _words(error: BaseException) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "expected a file, got a folder"
        case PermissionError():
            return "cannot be read (permission denied)"
        case ValueError():  # a NUL, or characters that file names cannot have
            return "expected a file name, got one with a NUL or characters that names cannot have"
        case EOFError():
            return "the compressed file is truncated"
        case OSError(strerror=str()):
            return reason(error)
        case _:
            return f"the compressed file is damaged ({error})"


def _unpacked(packed: Compression, source: Input) -> BinaryIO:
    """Return the contents of a compressed file."""
    from .compressed import Unpacked  # slow to load

    return cast(BinaryIO, Unpacked(packed, io.BufferedReader(source)))


class _Opened:
    """The text in an envelope."""

    def __init__(self, source: Input, envelope: Envelope) -> None:
        from .envelopes import opened

        self.read = opened(source.take, envelope)


class _Utf16:
    """A text in UTF-16, as PowerShell redirects it, in UTF-8."""

    def __init__(self, source: Input) -> None:
        self._take = source.take
        self._decoder = getincrementaldecoder("utf-16")("replace")

    def read(self, size: int) -> bytes:
        """Return the next bytes, and b"" at the end."""
        while data := self._take(size):
            if text := self._decoder.decode(data):
                return text.encode("utf-8", "replace")
        return self._decoder.decode(b"", final=True).encode("utf-8", "replace")


def _unknown(head: bytes) -> str:
    if not head:
        return "is empty"
    if head.startswith(ZSTD_MAGIC):
        return "is compressed with zstd; unpack it first: zstd -dc FILE | libvirt-proto decode -"
    capture = other_capture(head)
    if capture:
        return f"is a capture in {capture} format; convert it first: editcap FILE capture.pcapng"
    what = identify(head)
    return f"{f'looks like {what}' if what else 'unrecognised format'}; {_UNDERSTOOD}"


def _stream(kind: FileFormat, read: Read, ports: frozenset[int], *, forced: bool = False) -> Iterator[Item]:
    """Return the items of an input other than a packet capture. Readers are imported on use: those of text
    take a twentieth of the start."""
    match kind:
        case "raw":
            from .raw import raw_chunks

            return raw_chunks(read)
        case "hex":
            from .bytetext.reader import byte_chunks

            return byte_chunks(read, forced=forced)
        case "strace":
            from .strace.source import strace_chunks

            return strace_chunks(read, ports)
        case "monitor":
            from .monitor_lines import monitor_chunks

            return monitor_chunks(read)
        case _:
            from .log.source import log_chunks

            return log_chunks(read, undecided=kind == "text")


def _chunks(
    source: Input,
    kind: FileFormat,
    ports: frozenset[int],
    *,
    forced: bool = False,
    lanes: Callable[[], Lanes | None] = lambda: None,
) -> Iterator[Item]:
    """Yield the items of a reader; a Notice ends a file that cannot be read further. A `forced` format was
    not recognised."""
    try:
        if kind in ("pcap", "pcapng"):
            open_lanes = lanes()
            yield from _connections(_packets(source, kind, open_lanes), ports, open_lanes or NoLanes())
        elif kind in ("log", "strace", "monitor", "text"):
            yield from _lines(source, kind, ports)
        else:
            yield from _streams(source, kind, ports, forced=forced)
    except _READ_ERRORS as error:
        yield _unreadable(error)


def _undecided(source: Input, ports: frozenset[int], error: str) -> Iterator[Item]:
    """Yield the items of a text. Raises SourceError at its end if nothing in it is libvirt's."""
    from .log.source import NotALogError

    try:
        yield from _chunks(source, "text", ports)
    except NotALogError:
        raise SourceError(error) from None


def _streams(
    source: Input, kind: FileFormat, ports: frozenset[int], *, forced: bool = False
) -> Iterator[Item]:
    """Yield a stream from the file, and from each file that replaces it."""
    yield from _stream(kind, source.take, ports, forced=forced)
    while (rotation := source.rotation()) is not None:
        yield rotation
        yield from _stream(kind, source.take, ports, forced=forced)


def _lines(source: Input, kind: FileFormat, ports: frozenset[int]) -> Iterator[Item]:
    """Yield lines across replaced files; their connections continue."""
    rotations: list[Notice] = []

    def take(size: int) -> bytes:
        data = source.take(size)
        if not data and (rotation := source.rotation()) is not None:
            rotations.append(rotation)
            return b"\n"  # a line does not continue in another file
        return data

    for item in _stream(kind, take, ports):
        yield from rotations
        rotations.clear()
        yield item
    yield from rotations


def _decrypted(
    source: Input, kind: FileFormat, ports: frozenset[int], keylog: str, capture: int | None
) -> Iterator[Item]:
    """Yield the items of `_chunks`, with TLS connections decrypted. tshark reads the capture itself: if it is
    not a file (`capture` is None: standard input, or a compressed file), it is copied to an unnamed one."""
    from tempfile import TemporaryFile, gettempdir  # slow to load, but tshark is slower

    from ..private_files import naming

    with ExitStack() as opened:
        if capture is None:
            file = opened.enter_context(TemporaryFile())
            try:
                while data := source.take(SNIFF_SIZE):
                    with naming(gettempdir()):
                        file.write(data)
            except _READ_ERRORS as error:
                if isinstance(error, OSError) and error.filename:  # in the temporary folder
                    raise
                yield _unreadable(error)
            with naming(gettempdir()):
                file.flush()
            file.seek(0)
            source, capture = Input(cast(BinaryIO, file)), file.fileno()
        from .pcap.tls import decrypting

        yield from decrypting(_chunks(source, kind, ports), capture, keylog, ports)


def _unreadable(error: BaseException) -> Notice:
    return Notice(NoticeCode.TRUNCATED_FILE, f"reading stopped: {_words(error)}")


def _packets(
    source: Input, kind: Literal["pcap", "pcapng"], lanes: Lanes | None
) -> Iterator[list[Packet] | Lines | Notice | Origin]:
    """Yield packets of a capture and of each file that replaces it, with Notices between them. Raises
    DamagedCaptureError if the last one is truncated or damaged."""
    while True:
        damage = None
        try:
            read = read_pcap if kind == "pcap" else read_pcapng
            yield from read(source.take) if lanes is None else read(source.take, b"", lanes, source.readinto)
        except DamagedCaptureError as error:
            damage = error
        rotation = source.rotation()
        if rotation is None:
            if damage is not None:
                raise damage
            return
        if damage is not None:
            yield Notice(damage.code, str(damage))
        yield rotation
        kind = "pcapng" if source.head().startswith(PCAPNG_MAGIC) else "pcap"


def _connections(
    batches: Iterator[list[Packet] | Lines | Notice | Origin], ports: frozenset[int], lanes: NoLanes
) -> Iterator[Item]:
    """Yield the Chunks of the connections in packets. Notices: those of `_passed_over`, and `no-libvirt` (a
    note) if there was nothing else."""
    decoder = SegmentDecoder()
    tcp = TcpReassembler(server_ports=ports, admit=partial(plausible_header, offset=0))
    out = tcp.out
    lanes.attach(tcp, decoder)
    time_ns, damage, unread, empty = None, None, None, True
    try:
        for batch in batches:
            if isinstance(batch, Origin):
                tcp.origin = batch
                continue
            if isinstance(batch, (Notice, Lines)):
                if isinstance(batch, Lines):
                    time_ns = batch.time_ns
                yield batch
                continue
            segments = decoder.segments(batch)
            lanes.close(segments)
            tcp.feed(segments)
            if batch:
                time_ns = batch[-1][0]
            empty = empty and not out
            yield from out
            out.clear()
            lanes.open(segments)
    except DamagedCaptureError as error:
        damage = error
    except _READ_ERRORS as error:
        unread = error
    lanes.close_all()
    tcp.finish(time_ns)
    notices = []
    if damage is not None:
        notices.append(Notice(damage.code, str(damage), time_ns=time_ns))
    if unread is not None:
        notices.append(_unreadable(unread))
    notices += _passed_over(decoder)
    if empty and not out and not notices:
        notices.append(Notice(NoticeCode.NO_LIBVIRT, _NO_CONNECTION, severity="note"))
    yield from out
    yield from notices


def _passed_over(decoder: SegmentDecoder) -> Iterator[Notice]:
    """Yield Notices about packets that could not be used."""
    if decoder.fragments:
        text = f"IP fragments are not reassembled: {decoder.fragments} packets"
        yield Notice(NoticeCode.IP_FRAGMENTS, text)
    if decoder.cut:
        text = f"the capture cut off the end of {decoder.cut} TCP segments (snapshot length)"
        yield Notice(NoticeCode.CUT_PACKETS, text)
    if decoder.malformed:
        text = f"packets with truncated or contradictory headers: {decoder.malformed}"
        yield Notice(NoticeCode.MALFORMED_PACKETS, text, severity="note")
    for linktype in sorted(decoder.unknown_links):
        yield Notice(NoticeCode.UNKNOWN_LINK_TYPE, f"packets of unsupported link type {linktype} are skipped")
