"""One line of strace's output: who called what, when, and with what data.

What the options add to a line, in its order: pid (`-f -o`: `123 `, to a terminal: `[pid   123] `), time
(`-t`, `-tt`, `-ttt`, `-r`), number or address of the call in brackets (`-n`, `-i`), names of descriptors
(`-y`, `-yy`: `4<TCP:[192.0.2.7:40508->192.0.2.1:16509]>`), how long it took (`-T`). Strings are C's, or all
hexadecimal (`-x`, `-xx`), with `...` behind those that `-s` cut off. Source: strace(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

PREFIX: Final = (
    rb"(?:\[pid +(?P<pid>\d{1,10})\] |(?P<pid_>\d{1,10}) +)?"
    rb" *(?:(?P<clock>\d\d:\d\d:\d\d(?:\.\d{1,9})?)|(?P<seconds>\d{1,12}\.\d{1,9}))? *"
    rb"(?:\(\+ *(?P<relative>\d{1,12}\.\d{1,9})\) *)?(?:\[[^\]\n]{1,40}\] )*"
)
_LINE: Final = re.compile(
    PREFIX + rb"(?:(?P<name>[a-z][a-z0-9_]{0,30})\(|<\.\.\. (?P<resumed>[a-z0-9_]{1,30}) resumed>|"
    rb"(?P<exit>\+\+\+ (?:exited|killed)))"
)
_UNFINISHED: Final = re.compile(rb" ?<unfinished \.\.\.>\r?$")
_DECORATION: Final = rb'<(?:->|[^<>"-]|-(?!>)|"(?:[^"\\]|\\.)*"|<[^<>]*>)*>'
#: A result: a number and the descriptor's name, an error or what else stands there, the time it took.
_RESULT: Final = re.compile(
    rb"(?P<value>-?\d{1,20}|0x[0-9a-f]{1,16}|\?)(?P<decoration>" + _DECORATION + rb")?"
    rb"(?: (?P<error>E[A-Z]+)\b)?[^<]*(?:<(?P<took>\d{1,9}\.\d{1,9})>)?\r?$"
)
_DESCRIPTOR: Final = re.compile(rb"(-?\d{1,10})(" + _DECORATION + rb")?")
_BACKSLASH: Final = 0x5C
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b"}


class When(NamedTuple):
    """A line's time as it stands there; each is None where it does not: time of day and seconds (since the
    epoch, or since the line before)."""

    clock: bytes | None
    seconds: bytes | None


class Line(NamedTuple):
    """A line that was taken apart. `pid` is the thread's, None where the line has none. Of a call that is
    resumed `name` is None; of one that is unfinished `result` is; `exited` says that the thread is gone."""

    pid: int | None
    when: When
    name: str | None
    resumed: str | None
    #: What stands between the parentheses, up to the end or the interruption.
    arguments: bytes
    result: Result | None
    exited: bool


class Result(NamedTuple):
    """What a call gave: None for `?`; `error` is `EAGAIN` and the like; `took_ns` how long it took."""

    value: int | None
    decoration: bytes
    error: str
    took_ns: int | None


class Text(NamedTuple):
    """A string among the arguments; `cut` if strace has not shown all of it; it ends before `end`."""

    data: bytes
    cut: bool
    end: int


def parse(line: bytes) -> Line | None:
    """Take a line apart; None for what is no line of strace's, or of no interest (signals, stacks)."""
    head = _LINE.match(line)
    if head is None:
        return None
    pid = head["pid"] or head["pid_"]
    when = When(head["clock"], head["seconds"] or head["relative"])
    number = None if pid is None else int(pid)
    if head["exit"]:
        return Line(number, when, None, None, b"", None, True)
    name = head["name"].decode() if head["name"] else None
    resumed = head["resumed"].decode() if head["resumed"] else None
    unfinished = _UNFINISHED.search(line, max(head.end(), len(line) - 40))
    if unfinished:
        return Line(number, when, name, resumed, line[head.end() : unfinished.start()], None, False)
    at = len(line)
    # The last `) = `; what a file is called in the result may have another.
    for _ in range(4):
        at = line.rfind(b" = ", head.end(), at)
        if at < 0:
            return None
        arguments = line[head.end() : at].rstrip()
        if arguments.endswith(b")"):
            found = _RESULT.match(line, at + 3)
            return found and Line(number, when, name, resumed, arguments[:-1], _result(found), False)
    return None


def _result(found: re.Match[bytes]) -> Result:
    value = None if found["value"] == b"?" else int(found["value"], 0)
    took = None if found["took"] is None else nanoseconds(found["took"])
    return Result(value, found["decoration"] or b"", (found["error"] or b"").decode(), took)


def nanoseconds(seconds: bytes) -> int:
    """`1795384881.935913` in nanoseconds."""
    whole, _, fraction = seconds.partition(b".")
    return int(whole) * 10**9 + int(fraction[:9].ljust(9, b"0"))


def descriptor(arguments: bytes, at: int = 0) -> tuple[int, bytes, int] | None:
    """The descriptor at a place: its number, its name in angle brackets (or nothing), and where it ends."""
    found = _DESCRIPTOR.match(arguments, at)
    return None if found is None else (int(found[1]), found[2] or b"", found.end())


def text(arguments: bytes, at: int) -> Text | None:
    """The string whose opening quote is at a place, None if there is none or it has no end."""
    if arguments[at : at + 1] != b'"':
        return None
    end = at
    while True:
        end = arguments.find(b'"', end + 1)
        if end < 0:
            return None
        before = end - 1
        while arguments[before] == _BACKSLASH:  # an even number of them escapes each other
            before -= 1
        if (end - before) % 2:
            break
    cut = arguments.startswith(b"...", end + 1)
    return Text(unescape(arguments[at + 1 : end]), cut, end + (4 if cut else 1))


def texts(arguments: bytes, label: bytes, at: int = 0) -> Iterator[tuple[Text | None, int]]:
    """The strings behind each `label`, and where what follows them begins; None for a pointer that strace did
    not follow."""
    while (found := arguments.find(label, at)) >= 0:
        at = found + len(label)
        string = text(arguments, at)
        at = at if string is None else string.end
        yield string, at


def unescape(escaped: bytes) -> bytes:
    """The bytes of a string as strace writes it."""
    if b"\\" not in escaped:
        return escaped
    if len(escaped) % 4 == 0 and escaped.count(b"\\x") * 4 == len(escaped):
        try:
            return bytes.fromhex(escaped.replace(b"\\x", b"").decode("ascii"))
        except ValueError:  # not all of them are at their places
            pass
    return _ESCAPE.sub(_unescaped, escaped)


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if code[:1] == b"x" and len(code) > 1:
        return bytes((int(code[1:], 16),))
    if code[:1].isdigit():
        return bytes((int(code, 8) & 0xFF,)) if code < b"8" else code
    return _LETTERS.get(code, code)
