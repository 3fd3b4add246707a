"""String literals of the languages that several targets write, and text that is safe on a terminal."""

from __future__ import annotations


def systemtap_string(text: str) -> str:
    r"""A SystemTap string literal: `\` and `"` escaped, what is not printable ASCII in octal."""
    return '"' + "".join(_escape(byte) for byte in text.encode()) + '"'


def bpftrace_string(text: str) -> str:
    r"""A string literal of bpftrace, which has the same escapes."""
    return systemtap_string(text)


def printable(text: str) -> str:
    r"""The text with everything that is not printable escaped (`\x1b`): what a definition or a file's name
    holds can neither steer a terminal nor break a line or a format."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _escape(byte: int) -> str:
    if byte in b'\\"':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
