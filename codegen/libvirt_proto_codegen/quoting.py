"""String literals of the languages that several targets write, and text that is safe on a terminal."""

from __future__ import annotations


def systemtap_string(text: str) -> str:
    r"""Return a SystemTap string literal: `\` and `"` escaped, all but printable ASCII in octal."""
    return '"' + "".join(_escape(byte) for byte in text.encode()) + '"'


def bpftrace_string(text: str) -> str:
    r"""Return a string literal of bpftrace, which has the same escapes."""
    return systemtap_string(text)


def lua_string(text: str) -> str:
    r"""Return a Lua string literal: `\` and `"` escaped, all but printable ASCII in decimal (`\010`)."""
    return '"' + "".join(_escape(byte, "03d") for byte in text.encode()) + '"'


def printable(text: str) -> str:
    r"""Return the text with unprintable characters escaped (`\x1b`): text from a definition or a file name
    can neither control a terminal nor break a line or a format."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _escape(byte: int, digits: str = "03o") -> str:
    if byte in b'\\"':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:{digits}}"
