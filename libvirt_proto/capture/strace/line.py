"""Lines of strace: process, time, call, arguments and result.

    25234 1795384881.938021 read(4<UNIX-STREAM:[41180->42012]>, "\\0\\0\\0$", 4) = 4 <0.000012>

Source: strace(1). The notation of strings, addresses and descriptors was observed with strace 6.1.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

#: Process and time: `25234 `, `[pid 25234] `, each with a name after it (-Y); a time of -ttt, -t and -tt, or
#: -r; the number of the call (-n) and the address of its instruction (-i).
PREFIX: Final = (
    rb"(?:(?P<pid>\d{1,7})(?:<[^<>\n]{0,64}>)? +|\[pid +(?P<tid>\d{1,7})(?:<[^<>\n]{0,64}>)?\] )?"
    rb"(?: {0,8}(?P<time>\d{9,12}(?:\.\d{1,9})?|\d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{1,8}\.\d{1,9}) "
    rb"(?:\(\+ {1,9}\d{1,9}(?:\.\d{1,9})?\) )?)?"
    rb"(?:\[ *\d{1,4}\] )?(?:\[[0-9a-f?]{8,16}\] )?"
)
_LINE: Final = re.compile(
    PREFIX + rb"(?:(?P<call>[a-z_]\w{0,40})\(|<\.\.\. (?P<resumed>\w{1,40}) resumed>"
    rb"|\+\+\+ (?P<end>(?:exited|killed) ))"
)
_UNFINISHED: Final = (b" <unfinished ...>", b" <detached ...>")
#: strace writes this in the middle of the line of the clone that created the process.
_ATTACHED: Final = re.compile(rb"strace: Process (\d{1,7}) attached$")
_RESULT: Final = re.compile(rb"(-?\d{1,19})(?:<|\s|[\"'`*|\]\\\\]{1,4},?$|$)|\?|0x[0-9a-f]+")
_DURATION: Final = re.compile(rb" <(\d{1,9}\.\d{1,9})>$")
#: A descriptor with the text that -y and -yy add; names in it contain no `<` or `>`, but `->` may be between
#: two.
_DESCRIPTOR: Final = re.compile(rb'(-?\d{1,10})(?:<((?>(?:->|[^<>"-]++|-|"[^"]*"|<[^<>]*>)*))>)?')
_LABEL: Final = re.compile(
    rb'(?:(?P<tcp>TCP|TCPv6):\[(?P<names>[^"]*)\]'
    rb'|(?P<unix>UNIX|UNIX-STREAM):\[(?P<inode>\d+)(?P<peer>->\d+)?(?:,(?P<path>@?"[^"]*"))?\]'
    rb"|socket:\[(?P<any>\d+)\])$"
)
_ESCAPES: Final = re.compile(
    rb'(?:[^\\]++|\\(?:[abfnrtv"\\]|[0-3][0-7]{2}|[0-7]{1,2}(?![0-7])|x[0-9a-f]{2}))*+'
)
_PATH: Final = re.compile(rb'(?:sun_)?path=(@?)(?=")')
#: Names of the family of unix sockets in older versions, too.
UNIX: Final = re.compile(rb"[AP]F_(?:UNIX|LOCAL|FILE)\b")
_PORT: Final = re.compile(rb'sin6?_port=(?:htons\((\d{1,5})\)|(?="))')
_HOST: Final = re.compile(rb'(?:inet_addr\(|inet_pton\(AF_INET6, |(sin6?_addr=))(?=")')

Kind = Literal["call", "begun", "resumed", "exit"]


class BadCallError(ValueError):
    """Arguments that strace does not write, or that are truncated."""


class Line(NamedTuple):
    """A line. `text` follows the name of the call: all of it, or the part before an unfinished call is
    interrupted (`begun`), or the part where it continues (`resumed`). An `exit` has none."""

    kind: Kind
    pid: int | None
    time: bytes | None
    name: bytes
    text: bytes


class Result(NamedTuple):
    """The result of a call: a number (None if it is not a number), and the rest of the line."""

    value: int | None
    text: bytes

    @property
    def duration_ns(self) -> int:
        """Return the duration of the call, if the line has it (-T)."""
        match = _DURATION.search(self.text)
        return _decimal(match[1]) if match else 0


class Label(NamedTuple):
    """The label that -y or -yy add to a stream socket. `key` is constant while the socket is in use, except
    that a TCP socket may get its addresses. `local` and `remote` are None if unknown."""

    key: bytes
    transport: str | None
    local: str | None
    remote: str | None


def parse(data: bytes) -> Line | None:
    """Parse a line of strace, without its newline; None for any other line (a signal, a stack, a program's
    output)."""
    match = _LINE.match(data)
    if match is None:
        return None
    pid, tid, time, name, resumed, _ = match.groups()
    who = pid or tid
    number = int(who) if who else None
    if name:
        if data.endswith(_UNFINISHED):
            return Line("begun", number, time, name, data[match.end() : data.rindex(b" <")])
        return Line("call", number, time, name, data[match.end() :])
    if resumed:
        return Line("resumed", number, time, resumed, data[match.end() :])
    return Line("exit", number, time, b"", b"")


def attached(data: bytes) -> int | None:
    """Return the process whose start strace announces at the end of a line."""
    match = _ATTACHED.search(data, max(0, len(data) - 40))
    return int(match[1]) if match else None


def result(text: bytes) -> tuple[bytes, Result]:
    """Split a call's arguments from its result. Raises BadCallError if the line ends before it."""
    at = len(text)
    for _ in range(8):  # names in the label of the result may contain this
        at = text.rfind(b" = ", 0, at)
        if at < 0:
            break
        end = at
        while end and text[end - 1] == 0x20:
            end -= 1
        match = _RESULT.match(text, at + 3)
        if match and text[end - 1 : end] == b")":
            value = int(match[1]) if match[1] else None
            return text[: end - 1], Result(value, text[match.end(1) if match[1] else match.end() :])
    raise BadCallError("has no result")


def quoted(text: bytes, at: int) -> tuple[bytes, bool, int]:
    """Return the string whose quote is at `at`, whether it was cut off, and its end. Raises BadCallError."""
    start = at + 1
    end = text.find(b'"', start)
    while end > 0 and text[end - 1] == 0x5C:
        slashes = 1
        while text[end - 1 - slashes] == 0x5C:
            slashes += 1
        if slashes % 2 == 0:
            break
        end = text.find(b'"', end + 1)
    if end < 0:
        raise BadCallError("is truncated in a string")
    cut = text.startswith(b"...", end + 1)
    return _unescape(text[start:end]), cut, end + (4 if cut else 1)


def _unescape(text: bytes) -> bytes:
    r"""Return the bytes of a string, with all of them as `\x00` (-xx), which is fast, or with C escapes."""
    if b"\\" not in text:
        return text
    count = text.count(b"\\x")
    if 4 * count == len(text):
        try:
            data = bytes.fromhex(text.replace(b"\\x", b"").decode("latin-1"))
        except ValueError:
            data = b""
        if len(data) == count:
            return data
    if _ESCAPES.fullmatch(text):
        try:
            return text.decode("unicode_escape").encode("latin-1")
        except ValueError:
            pass
    raise BadCallError("has an unknown escape")


def descriptor(text: bytes, at: int = 0) -> tuple[int, bytes | None, int] | None:
    """Return the first descriptor, its label, and its end."""
    match = _DESCRIPTOR.match(text, at)
    return (int(match[1]), match[2], match.end()) if match else None


def descriptors(text: bytes, at: int) -> list[tuple[int, bytes | None]]:
    """Yield the descriptors of a list (`[3, 4]`) whose first is at `at`."""
    found = []
    while one := descriptor(text, at):
        number, name, at = one
        found.append((number, name))
        if not text.startswith(b", ", at):
            break
        at += 2
    return found


def label(text: bytes) -> Label | None:
    """Parse the label of a descriptor; None if it is not a stream socket."""
    if text.startswith(b"\\x"):  # -y with -xx
        try:
            text = _unescape(text)
        except BadCallError:
            return None
    match = _LABEL.match(text)
    if match is None:
        return None
    if match["tcp"]:
        local, arrow, remote = match["names"].decode("ascii", "replace").partition("->")
        if local.isdigit():
            return Label(b"inode " + match["names"], "tcp", None, None)
        return Label(match["names"], "tcp", local, remote if arrow else None)
    if match["unix"]:
        path = match["path"]
        local = address(b"sun_path=" + path) if path else None
        return Label(b"inode " + match["inode"], "unix", local[1] if local else None, None)
    return Label(b"inode " + match["any"], None, None, None)


def address(text: bytes) -> tuple[str, str] | None:
    """Return the transport and the name of the socket address in a call's arguments: `address:port`, a path,
    `@` and an abstract name, "" for an unnamed unix socket. None if there is none."""
    try:
        if match := _PATH.search(text):
            return "unix", _name(bool(match[1]), quoted(text, match.end())[0])
        match, host = _PORT.search(text), _HOST.search(text)
        if match and host:
            port = int(match[1]) if match[1] else int.from_bytes(quoted(text, match.end())[0], "big")
            name = quoted(text, host.end())[0]
            where = str(ip_address(name)) if host[1] else name.decode("ascii", "backslashreplace")
            return "tcp", f"[{where}]:{port}" if ":" in where else f"{where}:{port}"
    except ValueError:
        return None
    return ("unix", "") if UNIX.search(text) else None


def _name(abstract: bool, path: bytes) -> str:
    return "@" * abstract + path.decode("utf-8", "backslashreplace")


def _decimal(text: bytes) -> int:
    """Convert seconds with a fraction to ns."""
    whole, _, fraction = text.partition(b".")
    return int(whole) * _SECOND + int(fraction.ljust(9, b"0"))


_SECOND: Final = 1_000_000_000
_HOUR: Final = 3600 * _SECOND
_DAY: Final = 24 * _HOUR


class Clock:
    """The times of lines, in ns. With -ttt they count from the epoch. With -t and -tt, which have only the
    time of day, the first day becomes 1970-01-01 and the zone UTC; a step back by more than half a day is
    midnight. With -r they add up from 0."""

    def __init__(self) -> None:
        self._now: int | None = None

    def ns(self, text: bytes) -> int:
        """Return the time of the next line."""
        if text[2:3] == b":":
            time = (int(text[:2]) * 60 + int(text[3:5])) * 60 * _SECOND + _decimal(text[6:])
            if self._now is not None:
                time += self._now - self._now % _DAY
                if self._now - time > _DAY // 2:
                    time += _DAY
                elif time - self._now > _DAY - _HOUR and time >= _DAY:  # from before midnight
                    time -= _DAY
            self._now = time if self._now is None else max(self._now, time)
            return time
        time = _decimal(text)
        if len(text.partition(b".")[0]) < 9:
            self._now = time = (self._now or 0) + time
        return time
