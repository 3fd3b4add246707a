"""Members of tar and zip archives, read in bounded memory.

Whatever sizes an archive claims, reading holds a header, a chunk, a compressor's window and one member at a
time. Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual, "Basic
Tar Format"; PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from .files import open_regular

#: Maximum unpacked size in bytes; libvirt's archives unpack to a third of it.
MAX_UNPACKED: Final = 2**30
#: Maximum size of an extended header (pax records, or a long name), in bytes.
MAX_HEADER: Final = 2**16
#: Maximum size of a zip archive's central directory, in bytes; libvirt's are a quarter of it.
MAX_DIRECTORY: Final = 4 * 2**20
#: Maximum memory for xz, in bytes; `xz -9` needs 65 MiB.
MAX_XZ_MEMORY: Final = 70 * 2**20
#: Maximum length of a member's path (PATH_MAX).
MAX_PATH: Final = 4096

_SPARSE: Final = "sparse files are not supported: make it without --sparse"
_BLOCK: Final = 512
_CHUNK: Final = 2**16
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_LONG_NAME: Final = tarfile.GNUTYPE_LONGNAME
_PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED: Final = (*_PAX, tarfile.XGLTYPE, _LONG_NAME, tarfile.GNUTYPE_LONGLINK)
#: Types whose size, if any, is not the size of data in the archive.
_WITHOUT_DATA: Final = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


class ArchiveReadError(ValueError):
    """A file that is not an archive, or a damaged or oversized one; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file. `read` returns its content, and must be called before the next member is requested."""

    path: PurePosixPath
    size: int
    read: Callable[[], bytes]


def members(source: Path, limit: int) -> Iterator[Member]:
    """Yield the regular files of a tar (plain, gzip, bzip2 or xz) or zip archive (stored or deflated).

    `read` of a member with more than `limit` bytes fails. Raises ArchiveReadError, and OSError.
    """
    with _reported(), open_regular(source) as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(_ZIP):
            yield from _zip(file.fileno(), limit)
        else:
            opener = next((opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)), None)
            yield from _tar(_Stream(opener(file) if opener else file), limit)


def tar_members(file: IO[bytes], limit: int) -> Iterator[Member]:
    """Yield the regular files of an unpacked tar archive that is read once, as `members` does."""
    with _reported():
        yield from _tar(_Stream(file), limit)


@contextmanager
def _reported() -> Iterator[None]:
    """Turn the errors of the libraries into ArchiveReadErrors."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise ArchiveReadError(str(error)) from None
    except UnicodeDecodeError:
        raise ArchiveReadError("expected the name of a member in UTF-8, as its flag states") from None


# Tar


class _Stream:
    """An unpacked archive, read sequentially."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read = 0

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes; raises ArchiveReadError if there are fewer."""
        data = self._some(size)
        if len(data) < size:
            raise ArchiveReadError("the archive is truncated")
        return data

    def skip(self, size: int) -> None:
        """Skip `size` bytes; raises ArchiveReadError if there are fewer."""
        while size:
            size -= len(self.read(min(size, _CHUNK)))

    def drain(self) -> None:
        """Read to the end, where compressed files have their checksum."""
        while self._some(_CHUNK):
            pass

    def _some(self, size: int) -> bytes:
        data = self._file.read(size)
        self._read += len(data)
        if self._read > MAX_UNPACKED:
            raise ArchiveReadError(f"it unpacks to more than {MAX_UNPACKED:,} bytes")
        return data


def _tar(stream: _Stream, limit: int) -> Iterator[Member]:
    """Yield the members of a tar archive.

    tarfile reads headers of any size and keeps them all, so only its parser of header blocks is used.
    """
    path, size = None, None
    while (block := stream.read(_BLOCK)).strip(b"\0"):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type in _EXTENDED:
            data = _extended(stream, header)
            if header.type == _LONG_NAME:
                path = data.partition(b"\0")[0]
            elif header.type in _PAX:
                records = _records(data)
                path = records.get(b"path", path)
                size = _number(records[b"size"]) if b"size" in records else size
            continue
        name = header.name if path is None else path.decode("utf-8", "surrogateescape")
        length = 0 if header.type in _WITHOUT_DATA else header.size if size is None else size
        if length < 0:
            raise ArchiveReadError("a member has a negative size")
        left = _Left(stream, length)
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveReadError(_SPARSE)
        if header.isreg():
            yield Member(_path(name), length, partial(left.read, limit))
        left.skip()
        path, size = None, None
    stream.drain()


class _Left:
    """The unread data of a member."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream = stream
        self._size = size
        self._left = size + -size % _BLOCK

    def read(self, limit: int) -> bytes:
        """Return all of it; raises ArchiveReadError for more than `limit` bytes."""
        if self._size > limit:
            raise ArchiveReadError(f"a member has more than {limit:,} bytes")
        with _reported():
            data = self._stream.read(self._size)
        self._left -= len(data)
        return data

    def skip(self) -> None:
        """Go to the next header."""
        self._stream.skip(self._left)


def _extended(stream: _Stream, header: tarfile.TarInfo) -> bytes:
    if not 0 <= header.size <= MAX_HEADER:
        raise ArchiveReadError(
            f"expected an extended header of at most {MAX_HEADER:,} bytes, got {header.size:,}"
        )
    data = stream.read(header.size)
    stream.skip(-header.size % _BLOCK)
    return data


def _records(data: bytes) -> dict[bytes, bytes]:
    """Parse pax records: `27 path=src/a_protocol.x\\n`, where the decimal length covers the whole record."""
    found = {}
    at = 0
    while at < len(data):
        length, blank, _ = data[at : at + 8].partition(b" ")
        end = at + _number(length)
        key, equals, value = data[at + len(length) + 1 : end].partition(b"=")
        if not blank or not equals or not value.endswith(b"\n") or end > len(data):
            raise ArchiveReadError("damaged pax header")
        if key.startswith(b"GNU.sparse."):
            raise ArchiveReadError(_SPARSE)
        found[key] = value[:-1]
        at = end
    return found


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise ArchiveReadError("damaged pax header")
    return int(digits)


def _path(name: str) -> PurePosixPath:
    if len(name) > MAX_PATH:
        raise ArchiveReadError(f"expected a path of at most {MAX_PATH:,} characters, got {len(name):,}")
    return PurePosixPath(name)


class _Xz(io.RawIOBase):
    """An .xz file, unpacked with a memory limit, which lzma.open lacks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data:
            packed = b""
            if self._decompressor.eof:
                packed = self._next_stream()
                if not packed:
                    return 0
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                packed = self._file.read(_CHUNK)
                if not packed:
                    raise EOFError("the archive is truncated")
            try:
                data = self._decompressor.decompress(packed, len(buffer))
            except lzma.LZMAError as error:
                if "limit" not in str(error):
                    raise
                raise ArchiveReadError(
                    f"xz needs more than {MAX_XZ_MEMORY >> 20} MiB to unpack it: compress it again with xz -9"
                ) from None
        buffer[: len(data)] = data
        return len(data)

    def _next_stream(self) -> bytes:
        """Return the first bytes of the next stream, after padding; empty at the end."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest and (packed := self._file.read(_CHUNK)):
            rest = packed.lstrip(b"\0")
        return rest


_COMPRESSED: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": lambda file: cast("IO[bytes]", bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: io.BufferedReader(_Xz(file), _CHUNK),
}


# Zip


#: General purpose bits 0 (encrypted), 5 (compressed patched data) and 6 (strong encryption): APPNOTE 4.4.4.
_ENCRYPTED: Final = 1 << 0 | 1 << 6
_PATCH: Final = 1 << 5


class _Bounded(io.BufferedReader):
    """A file whose reads are limited to the size of a central directory."""

    def read(self, size: int | None = -1, /) -> bytes:
        at_most = MAX_DIRECTORY + 1
        data = super().read(at_most if size is None or size < 0 else min(size, at_most))
        if len(data) > MAX_DIRECTORY:
            raise ArchiveReadError(f"the central directory has more than {MAX_DIRECTORY:,} bytes")
        return data


def _zip(descriptor: int, limit: int) -> Iterator[Member]:
    with _Bounded(io.FileIO(descriptor, closefd=False)) as file, _directory(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if not info.filename.endswith("/") and kind in (0, stat.S_IFREG):
                yield Member(_path(info.filename), info.file_size, partial(_unzipped, archive, info, limit))


def _directory(file: _Bounded) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(cast("IO[bytes]", file))
    except RuntimeError as error:  # its subclass, for a "version needed to extract" above 6.3
        raise ArchiveReadError(f"unsupported {error}") from None


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveReadError(f"{info.filename!r} is encrypted: make the archive without a password")
    if info.flag_bits & _PATCH:
        raise ArchiveReadError(f"{info.filename!r} is a patch: make the archive with zip or git archive")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveReadError(
            f"expected {info.filename!r} stored or deflated: make the archive with zip or git archive"
        )
    with _reported(), archive.open(info) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ArchiveReadError(f"a member has more than {limit:,} bytes")
    return data
