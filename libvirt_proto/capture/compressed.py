"""Contents of files that are compressed with gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

    from .detect import Compression

_OPENERS: Final[
    dict[Compression, Callable[[BufferedReader], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]]
] = {
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
}


class Unpacked:
    """The contents of a compressed file."""

    def __init__(self, packed: Compression, file: BufferedReader) -> None:
        self._file = _OPENERS[packed](file)

    def read(self, size: int) -> bytes:
        """Return the next bytes, and b"" at the end. Raises EOFError for a truncated file, and OSError
        without `strerror` for a damaged one."""
        try:
            return self._file.read1(size)
        except (zlib.error, lzma.LZMAError) as error:
            raise OSError(str(error)) from None
