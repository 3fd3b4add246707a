"""libvirt's own log: messages, connections and sockets of a daemon or a client.

With `log_filters="2:rpc"` (LIBVIRT_LOG_FILTERS for a client) libvirt logs the header and the length of each
message, without its payload:

    2026-11-22 21:45:10.120+0000: 19725: info : virNetServerClientDispatchRead:1224 : \
RPC_SERVER_CLIENT_MSG_RX: client=0x55bef0a18050 len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0

A line has time (UTC), thread, level, function and line number, then the arguments of the probe of that name
as `key=value` words. syslog gets no time; the journal gets neither that nor thread, level and function, and
the time is at the beginning of the line. Sources: virlog.c, virprobe.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from ..blocks import LineTooLongError, Read, text_lines
from ..events import Item, Notice, NoticeCode
from ..rpc.wire import MAX_FRAME, MIN_FRAME
from .objects import FIELDS, MESSAGES, ObjectError, Objects, header, quoted

#: Lines of other areas contain whole documents; none is longer than a message.
_MAX_LINE: Final = MAX_FRAME
#: Maximum length of the text before `RPC_`.
_MAX_HEAD: Final = 400

_RPC: Final = re.compile(rb"(?:^|: )(RPC_[A-Z_]{1,60}): ")
#: `Nov 22 21:45:08 host libvirtd[123]: `, then the head that libvirt writes to a file, or its end.
_HEAD: Final = re.compile(
    rb'(?P<journal>(?P<before>[^"(]{0,200}?)[\w.@-]{1,64}\[(?P<process>\d{1,10})\]: )?'
    rb"(?:(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}): )?"
    rb"(?:(?P<thread>\d{1,20}): [a-z]{1,8} : (?:\w{1,80}:\d{1,8} : )?)?"
)
#: A line of a libvirt log: its time is sufficient. In the journal, a line of a libvirt program.
_LIBVIRT_LINE: Final = re.compile(
    rb"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+\d{4}(?:: |$)"
    rb'|[^\n"(]{10,200}? (?:libvirt|virt|virsh)[a-z-]{0,32}\[\d{1,10}\]: )',
    re.MULTILINE,
)
#: journalctl's short-iso, short-iso-precise and short-unix.
_ISO: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?[+-]\d\d:?\d\d(?= )")
_UNIX: Final = re.compile(rb"(\d{9,11})\.(\d{6})(?= )")
#: Values may contain spaces (names of certificates).
_BETWEEN_WORDS: Final = re.compile(r",? (?=[A-Za-z]\w*=)")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_NO_RPC: Final = (
    "no line of this log is about RPC; a daemon writes them with these in its configuration file:"
    ' log_filters="2:rpc" and log_outputs="2:file:/var/log/libvirt/libvirtd.log";'
    " a client with LIBVIRT_LOG_FILTERS=2:rpc LIBVIRT_LOG_OUTPUTS=2:file:client.log"
)
_NO_YEAR: Final = (
    "the journal's times have no year here, so the messages get none; journalctl -o short-iso-precise has it"
)


class NotALogError(ValueError):
    """No line of a text is libvirt's."""


def is_libvirt_text(data: bytes) -> bool:
    """Return whether these bytes contain a line of libvirt's log."""
    return _LIBVIRT_LINE.search(data) is not None


def log_chunks(read: Read, *, undecided: bool = False) -> Iterator[Item]:
    """Yield the items of a log, in order.

    A message is a Chunk of length word and header, with the size of its payload as `cut`. Lines with len=0
    are not messages. Connections follow `objects`. All other RPC lines become events.

    Notices: `bad-log-line`; `no-rpc-lines`, with the settings that are needed; `no-times` (a note).

    Raises NotALogError at the end of an `undecided` text without a line of libvirt.
    """
    return _Log(undecided).read(read)


class _BadLineError(ValueError):
    """A line that libvirt does not write."""


class _Line(NamedTuple):
    """A line about RPC. `words` follow its name."""

    name: str
    time_ns: int | None
    process: str
    thread: str | None
    words: list[tuple[str, str]]

    def values(self) -> dict[str, str]:
        """Map each name to its first value: values chosen by a peer (the name in its certificate) come
        last."""
        return dict(reversed(self.words))


class _Log:
    def __init__(self, undecided: bool) -> None:
        #: Whether no line of libvirt was found yet, and one is needed.
        self._undecided = undecided
        self._objects = Objects("log")
        self._untimed = False

    def read(self, read: Read) -> Iterator[Item]:
        number, none = 0, True
        try:
            for number, data in enumerate(text_lines(read, _MAX_LINE), 1):
                line = self._line(data)
                if line is None:
                    if self._undecided and is_libvirt_text(data):
                        self._undecided = False
                    continue
                self._undecided = none = False
                if line.time_ns is None and not self._untimed:
                    self._untimed = True
                    yield Notice(NoticeCode.NO_TIMES, _NO_YEAR, severity="note")
                try:
                    yield from self._items(line)
                except (_BadLineError, ObjectError) as error:
                    text = f"line {number}: {line.name}: {error}"
                    yield Notice(NoticeCode.BAD_LOG_LINE, text, time_ns=line.time_ns)
        except LineTooLongError as error:
            yield Notice(NoticeCode.BAD_LOG_LINE, f"line {number + 1}: {error}; the rest was not read")
        if self._undecided:
            raise NotALogError
        if none:
            yield Notice(NoticeCode.NO_RPC_LINES, _NO_RPC)

    @staticmethod
    def _line(data: bytes) -> _Line | None:
        """Parse a line about RPC; None for any other line."""
        if b"RPC_" not in data:
            return None
        found = _RPC.search(data)
        if found is None or found.start(1) > _MAX_HEAD:
            return None
        head = _HEAD.fullmatch(data, 0, found.start(1))
        if head is None or not (head["thread"] or head["journal"]):
            return None
        name = found[1].decode()
        text = data[found.end() :].decode("utf-8", "backslashreplace").rstrip("\r")
        pairs = (word.partition("=") for word in _BETWEEN_WORDS.split(text))
        words = [(key, value) for key, equals, value in pairs if equals]
        thread = head["thread"].decode() if head["thread"] else None
        time_ns = _time(head["time"].decode()) if head["time"] else _journal_time(head["before"] or b"")
        return _Line(name, time_ns, (head["process"] or b"").decode(), thread, words)

    def _items(self, line: _Line) -> Iterator[Item]:
        kind = line.name.removeprefix("RPC_").lower()
        values = line.values()
        if kind not in MESSAGES:
            thread = () if line.thread is None else (("thread", line.thread),)
            details = (*thread, *line.words)
            yield from self._objects.event(kind, line.time_ns, line.process, values, details)
            return
        length = _number(values, "len")
        if length == 0:  # libvirt's placeholders, which are never sent
            return
        if not MIN_FRAME <= length <= MAX_FRAME:
            raise _BadLineError(f"expected len= from {MIN_FRAME} to {MAX_FRAME}, got {length}")
        data = header(length, {field: _number(values, field) for field in FIELDS})
        client = values.get("client", "")
        yield from self._objects.message(kind, line.time_ns, line.process, client, data, length)


def _number(values: dict[str, str], word: str) -> int:
    value = values.get(word)
    if value is None:
        raise _BadLineError(f"incomplete: {word}= is missing")
    if not _NUMBER.fullmatch(value):
        raise _BadLineError(f"expected an integer, got {word}={quoted(value)}")
    return int(value)


def _time(text: str) -> int | None:
    """Return nanoseconds since the epoch; None for an invalid date."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000
    except ValueError:
        return None


def _journal_time(before: bytes) -> int | None:
    """Return the time at the beginning of a journal line, if it has a year and a zone."""
    if match := _ISO.match(before):
        return _time(match[0].decode())
    if match := _UNIX.match(before):
        return int(match[1]) * 10**9 + int(match[2]) * 1000
    return None
