"""Fields of the journal that are not text, as `journalctl -o export`, `json` and `json-pretty` write them.

If a message is not UTF-8 or has control characters, it is in JSON an array of bytes, in `json-pretty` with a
line for each, and in the export format a line with the name, eight bytes of length (little-endian), and the
bytes. Source: systemd's "Journal Export Formats" and "Journal JSON Format".
"""

from __future__ import annotations

import re
from typing import Final

#: The beginning of an array of bytes, in the ways in which it is written on a line.
ARRAY_TOKENS: Final = (b'"MESSAGE":[', b'"MESSAGE" : [', b'"MESSAGE": [')
#: Zeros of a length; no text has them.
_ZEROS: Final = b"\0\0\0\0"
_NAME: Final = rb"[A-Z_][A-Z0-9_]{0,63}"
_BINARY: Final = re.compile(rb"^(" + _NAME + rb")\n(.{4}\0\0\0\0)", re.MULTILINE | re.DOTALL)
_LAST_NAME: Final = re.compile(rb"^" + _NAME + rb"\n(?:.{0,7})\Z", re.MULTILINE | re.DOTALL)
_PRETTY: Final = re.compile(
    rb'^([^\n]*"MESSAGE" ?: \[)\r?\n((?:[^\n\d]{0,40}\d{1,3},?\s*?\n)*)', re.MULTILINE
)
#: What follows a field that was on several lines, so that the next ones keep their numbers.
_FILLER: Final = b"_=\n"
#: The longest field that is read as text.
_MAX_HELD: Final = 1 << 20
#: The beginning of an array with a line for each byte.
_PRETTY_TOKENS: Final = (b'"MESSAGE" : [\n', b'"MESSAGE" : [\r\n', b'"MESSAGE": [\n', b'"MESSAGE": [\r\n')


def has_binary_fields(head: bytes) -> bool:
    """Return whether a text that begins so has fields in the export format that are not text."""
    return head.startswith(b"__CURSOR=") or _BINARY.search(head) is not None


def text_of(value: object) -> object:
    """Return the text of an array of bytes; any other value as it is."""
    if isinstance(value, list) and value and all(type(each) is int and 0 <= each < 256 for each in value):
        return bytes(value).decode("utf-8", "backslashreplace")
    return value


class JournalFields:
    """Writes each field of blocks of lines on one line."""

    def __init__(self) -> None:
        self._rest = b""

    def block(self, block: bytes) -> bytes:
        """Return the lines of a block; those of a field that does not end there follow later."""
        if self._rest:
            block, self._rest = self._rest + block, b""
        if _ZEROS in block or _LAST_NAME.search(block, max(0, len(block) - 100)):
            block = self._binary(block)
        if any(token in block for token in _PRETTY_TOKENS):
            block = self._arrays(block)
        return block

    def end(self) -> bytes:
        """Return the lines of a field whose end is missing."""
        rest, self._rest = self._rest, b""
        return rest

    def _binary(self, block: bytes) -> bytes:
        parts, at = list[bytes](), 0
        while match := _BINARY.search(block, at):
            size = int.from_bytes(match[2], "little")
            end = match.end() + size
            parts.append(block[at : match.start()])
            if end >= len(block) and size <= _MAX_HELD:
                self._rest = block[match.start() :]
                return b"".join(parts)
            if block[end : end + 1] != b"\n":
                parts.append(block[match.start() : match.end()])
                at = match.end()
                continue
            value = block[match.end() : end] if match[1] == b"MESSAGE" else b""
            lines = block.count(b"\n", match.start(), end)
            parts += (match[1], b"=", value.replace(b"\n", b"\\n"), b"\n", _FILLER * lines)
            at = end + 1
        if last := _LAST_NAME.search(block, max(at, len(block) - 100)):
            self._rest = block[last.start() :]
            return b"".join([*parts, block[at : last.start()]])
        return b"".join([*parts, block[at:]])

    def _arrays(self, block: bytes) -> bytes:
        parts, at = list[bytes](), 0
        for match in _PRETTY.finditer(block):
            if match.end() == len(block) and len(block) - match.start() <= _MAX_HELD:
                self._rest = block[match.start() :]
                return b"".join([*parts, block[at : match.start()]])
            numbers = re.findall(rb"\d+", match[2])
            end = block.find(b"\n", match.end()) + 1 or len(block)
            filler = _FILLER * block.count(b"\n", match.start(), match.end())
            parts += (
                block[at : match.start()],
                match[1],
                b", ".join(numbers),
                block[match.end() : end],
                filler,
            )
            at = end
        return b"".join([*parts, block[at:]])
