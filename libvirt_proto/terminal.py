"""Standard output and standard error that protect the terminal from foreign text.

Commands quote text that peers, file names and definitions choose. Most of it is escaped where it is quoted
(`text.printable`); the standard streams are the last line of defence, whatever writes to them:

- Standard error passes only printable text and line ends, whatever it is connected to. Text that has
  colours and is escaped already is written to `styled(sys.stderr)`.
- Standard output that is a terminal also passes the colours of `presenters.style`. It escapes text as
  JSON does (`\\u009b`), so that JSON keeps its values. Files and pipes get every byte unchanged.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
from typing import IO, TYPE_CHECKING, BinaryIO, Final, cast

from .text import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Compiled, and kept by `re`, at their first use: most runs write nothing that needs them.
#: Bytes that need inspection.
_SUSPECT: Final = rb"[^\t\n\x20-\x7e]"
#: A colour of ours, or other characters that need inspection.
_OUTPUT: Final = r"\x1b\[(?:0|1|2|3[1236]|1;31)m|[^\t\n\x20-\x7e]"
_ERROR: Final = r"[^\t\n\x20-\x7e]+"
#: The beginning of a colour or of a UTF-8 sequence that the next write completes.
_UNFINISHED: Final = (
    rb"(?:\x1b(?:\[[0-9;]{0,4})?|[\xc2-\xf4]|[\xe0-\xf4][\x80-\xbf]|[\xf0-\xf4][\x80-\xbf]{2})\Z"
)


class EscapingWriter(io.BufferedIOBase):
    """A byte stream that escapes everything that could control a terminal. With `closes`, closing it also
    closes the stream below."""

    def __init__(self, below: BinaryIO, encoding: str, *, colours: bool, closes: bool) -> None:
        super().__init__()
        self._below = below
        self._encoding = encoding
        self._escaped = _escaped_output if colours else _escaped_error
        self._closes = closes
        self._unfinished = b""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the data with escapes, and return the number of bytes given."""
        given = bytes(data)
        size = len(given)
        if self._unfinished or re.search(_SUSPECT, given):
            given = self._unfinished + given
            match = re.search(_UNFINISHED, given)
            self._unfinished = match[0] if match else b""
            given = self._escape(given[: len(given) - len(self._unfinished)])
        self._below.write(given)
        return size

    def flush(self) -> None:
        """Flush the stream below."""
        if not self._below.closed:
            self._below.flush()

    def close(self) -> None:
        """Write pending data, and close."""
        if self.closed:
            return
        if self._unfinished and not self._below.closed:
            self._below.write(self._escape(self._unfinished))
        super().close()  # it flushes
        if self._closes:
            self._below.close()

    def _escape(self, data: bytes) -> bytes:
        text = data.decode(self._encoding, "surrogateescape")
        return self._escaped(text).encode(self._encoding, "backslashreplace")

    def fileno(self) -> int:
        """The descriptor of the stream below."""
        return self._below.fileno()

    @property
    def name(self) -> str:
        """The name of the stream below."""
        return self._below.name

    def isatty(self) -> bool:
        """True if the stream below is a terminal."""
        return self._below.isatty()

    def writable(self) -> bool:
        """True."""
        return True


class _EscapingText(io.TextIOWrapper):
    """A standard stream with an EscapingWriter below it."""

    def __init__(self, stream: io.TextIOWrapper, *, colours: bool) -> None:
        encoding = stream.encoding
        # ASCII is UTF-8, too, and JSON is UTF-8 whatever the encoding of text is.
        of_bytes = "utf-8" if codecs.lookup(encoding).name == "ascii" else encoding
        writer = EscapingWriter(_buffered(stream), of_bytes, colours=colours, closes=False)
        super().__init__(cast(BinaryIO, writer), encoding, "backslashreplace", line_buffering=True)
        #: The stream without the escaping. Lines of both come in the order in which they are written.
        self.styled = stream
        stream.reconfigure(line_buffering=True)


def guard_standard_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that escape."""
    if isinstance(sys.stderr, io.TextIOWrapper) and not isinstance(sys.stderr, _EscapingText):
        sys.stderr = _EscapingText(sys.stderr, colours=False)
    if isinstance(sys.stdout, io.TextIOWrapper) and not isinstance(sys.stdout, _EscapingText):
        if sys.stdout.isatty():
            sys.stdout = _EscapingText(sys.stdout, colours=True)
        else:
            sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may not be UTF-8


def guarded(file: BinaryIO) -> BinaryIO:
    """Return the file, with escaping if it is a terminal."""
    return cast(BinaryIO, EscapingWriter(file, "utf-8", colours=True, closes=True)) if file.isatty() else file


def styled(stream: IO[str]) -> IO[str]:
    """Return a standard stream that passes colours, for text whose foreign parts are already escaped."""
    return stream.styled if isinstance(stream, _EscapingText) else stream


def escaped(text: str) -> str:
    """Return text for a terminal as standard output writes it: with our colours, and without anything else
    that controls one."""
    return _escaped_output(text)


def _buffered(stream: io.TextIOWrapper) -> BinaryIO:
    """Return the stream's bytes, buffered even if PYTHONUNBUFFERED disables Python's buffer."""
    if isinstance(stream.buffer, io.RawIOBase):
        return open(stream.fileno(), "wb", closefd=False)
    return cast(BinaryIO, stream.buffer)


def _escaped_output(text: str) -> str:
    return re.sub(_OUTPUT, _as_in_json, text)


def _as_in_json(match: re.Match[str]) -> str:
    """Return a colour, or a character as it is or as JSON escapes it."""
    found = match[0]
    if len(found) > 1 or found.isprintable():
        return found
    units = found.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _escaped_error(text: str) -> str:
    return re.sub(_ERROR, lambda match: printable(match[0]), text)
