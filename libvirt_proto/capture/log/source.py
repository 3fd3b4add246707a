"""The log as an input: lines to messages, connections and events.

With `log_filters="2:rpc"` (LIBVIRT_LOG_FILTERS for a client) libvirt logs the header and the length of each
message, without its payload. `grammar` finds the records in a text; this module decides which lines form the
text: one, or up to four that a mail program wrapped, or an entry of a structured log.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapreplace
from itertools import islice, product, takewhile
from typing import Final

from ...blocks import LineTooLongError, Read, line_blocks
from ...events import Connections, Item, LogLine, Notice, NoticeCode, ProbeEvent
from ...rpc.statements import TOKENS as STATEMENT_TOKENS
from ...rpc.statements import Statement, fuller, may_state, program, statement
from ...rpc.wire import MAX_FRAME, MIN_FRAME
from ...text import amount
from ..dressing import ENCODED_MARKS, MARKS, undress, unescape
from ..entries import TEXTS, Entry, field, objects, texts_with_fields
from ..monitor_lines import TOKENS as RECORDING_TOKENS
from ..monitor_lines import Recording, shows_message
from ..objects import MESSAGES, ObjectError, Objects, header
from ..probes.provider import COMMON
from .context import NO_TIME, Cause, Context, head_time, of_fields, of_prefix
from .debug_messages import DebugMessage, DebugMessages
from .grammar import DEBUG_LINE, NUMBERS, Head, Problem, Record, Text, headed, is_complete, parse
from .journal import ARRAY_TOKENS, JournalFields
from .lengths import TOKEN as LENGTH_TOKEN
from .lengths import WrongLengths

#: Lines of other areas contain whole documents; none is longer than a message.
_MAX_LINE: Final = MAX_FRAME
#: Lines that are joined to one, and the size of a wrapped line.
_MAX_JOINED: Final = 3
_MAX_WRAPPED: Final = 250
#: Lines of an entry before and after its text, and the size of those that are kept.
_MAX_ENTRY: Final = 60
_MAX_KEPT: Final = 2000
#: Lines that libvirt's probes write have it; markdown and HTML may escape the next character.
_TOKEN: Final = b"RPC"
_TOKENS: Final = (_TOKEN, b"EVENT_", b"QEMU_MONITOR_")
#: Parts of debug lines that describe a message. A number follows the first.
_NUMBERED: Final = b"prog="
_DEBUG_LINE_TOKENS: Final = (
    _NUMBERED,
    b" ver=",
    b"\nver=",
    b"program=",
    b"dispatch=",
    b"Incoming",
    b"message prog",
)
_PART_OF_DEBUG_LINE: Final = re.compile(
    rb"\bprog(?:ram)?=(?:-?[1-9]|3D|=?\r?$)|(?<!\w)ver=\d|dispatch=|Incoming|message prog"
)
#: What the next byte is if it is a number.
_DIGIT: Final = frozenset((b"-", *(b"%d" % digit for digit in range(1, 10))))
#: A wrapped line may end in the middle of the token; marks and colours may follow.
_TOKEN_START: Final = re.compile(
    rb"RP?(?>(?:[ \t\r=*`|]|\x1b\[[0-9;]*m|\^\[\[[0-9;]*m|</?\w{1,10} ?/?>|&nbsp;)*)$", re.MULTILINE
)
#: Size of the end of a line with a part of the token, with the marks.
_END: Final = 40
#: A line without any of these is passed over.
_ALL_TOKENS: Final = (
    *_TOKENS,
    *_DEBUG_LINE_TOKENS,
    LENGTH_TOKEN,
    *RECORDING_TOKENS,
    *ARRAY_TOKENS,
    *STATEMENT_TOKENS,
)
_NOTHING: Final = b"", 0, 0
#: rsyslog and syslogd write repeated messages once.
_REPEATED: Final = re.compile(r"message repeated (\d{1,10}) times(?:: \[ ?)?")
_MAX_REPEATED: Final = 100

#: A message in a file that libvirt wrote, the fast path.
_MESSAGE_LINE: Final = re.compile(
    rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{3})([+-]\d{4}): \d{1,20}: [a-z]{4,7} : (?:\w{1,80}:\d{1,8} : )?"
    rb"RPC_(CLIENT_MSG_RX|CLIENT_MSG_TX_QUEUE|SERVER_CLIENT_MSG_RX|SERVER_CLIENT_MSG_TX_QUEUE):"
    rb" client=(0x[0-9a-f]{1,16}) len=(\d{1,8}) prog=(-?\d{1,20}) vers=(-?\d{1,20}) proc=(-?\d{1,20})"
    rb" type=(-?\d{1,20}) status=(-?\d{1,20}) serial=(-?\d{1,20})\r?$"
)
#: A debug line about a call in such a file, after its record.
_CALL_LINE: Final = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}: \d{1,20}: debug : "
    rb"virNet(?:ServerProgramDispatch:\d{1,8} : "
    rb"prog=(-?\d{1,20}) ver=(-?\d{1,20}) type=(-?\d{1,20}) status=(-?\d{1,20})"
    rb" serial=(-?\d{1,20}) proc=(-?\d{1,20})"
    rb"|ClientIO:\d{1,8} : Outgoing message prog=(-?\d{1,20}) version=(-?\d{1,20}) serial=(-?\d{1,20})"
    rb" proc=(-?\d{1,20}) type=([04]) length=\d{1,8} dispatch=(?:0x[0-9a-f]{1,16}|\(nil\)))\r?$"
)
#: The name of a probe at the end of a line that was wrapped in it.
_PART: Final = re.compile(r"RPC(?:_[A-Z_]{0,60})?\\?=?$")
#: A line with a part of a head: its level, or the end of a time.
_HEAD_PART: Final = re.compile(rb"\d\d:\d\d:\d\d")
#: A number that was wrapped.
_DIGITS: Final = re.compile(rb"[>|\s]*\d{1,19}\r?")
#: The size of a line that a mail program may have cut in a number.
_MIN_FULL: Final = 60
_INTEGER: Final = re.compile(r"-?\d{1,20}")
#: Processes whose style of records is known.
_MAX_PROCESSES: Final = 4096

#: Another probe in such a file.
_PROBE_LINE: Final = re.compile(
    rb"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\.(\d{3})([+-]\d{4}): (\d{1,20}): [a-z]{4,7} : "
    rb"(?:\w{1,80}:\d{1,8} : )?"
    rb"(?=(?:RPC|EVENT|QEMU_MONITOR)_[A-Z_]{1,60}: |prog(?:ram)?=-?[1-9]|(?:Outgoing|Incoming) message prog)"
)
#: Bytes that undress looks at.
_DRESSED: Final = re.compile(rb"[^ -~]|[&\\]|=3D|\^\[")
#: A line of libvirt: a head, or in the journal the name of a libvirt program.
_HEAD_LINE: Final = re.compile(
    rb"\d\d:\d\d:\d\d\.\d{3}(?:[+-]\d{4})?: \d{1,20}: (?:debug|info|warning|error) : "
)
_LIBVIRT_LINE: Final = re.compile(
    _HEAD_LINE.pattern
    + rb"|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+\d{4}(?:: |\r?$)"
    + rb'|^[^\n"(]{0,200}?\b(?:libvirt|virt|virsh)[a-z-]{0,32}\[\d{1,10}\]: ',
    re.MULTILINE,
)

_RECORD_LINE: Final = re.compile(
    rb'^[^"\n(]{0,200}' + _HEAD_LINE.pattern + rb"(?:\w{1,80}:\d{1,8} : )?RPC_[A-Z_]{1,60}: ", re.MULTILINE
)

#: Lines of libvirt in a text that is a log.
_MANY: Final = 16

_RECORDS: Final = (
    "a daemon writes records with these in its configuration file:"
    ' log_filters="2:rpc" and log_outputs="2:file:/var/log/libvirt/libvirtd.log";'
    " a client with LIBVIRT_LOG_FILTERS=2:rpc LIBVIRT_LOG_OUTPUTS=2:file:client.log"
)
_NO_RPC: Final = f"no line of this log is about RPC; {_RECORDS}"
_CAUSES: Final[dict[Cause, tuple[NoticeCode, str]]] = {
    "none": (NoticeCode.NO_TIMES, "these lines have no time, so the messages get none"),
    "year": (
        NoticeCode.NO_TIMES,
        "these times have no year, so the messages get none; journalctl -o short-iso-precise has it",
    ),
    "boot": (
        NoticeCode.NO_TIMES,
        "these times count from the start of the machine, so the messages get none;"
        " journalctl -o short-iso-precise has the date",
    ),
    "zone": (NoticeCode.NO_ZONE, "these times have no zone, or only its name, and are read as UTC"),
}


class NotALogError(ValueError):
    """No line of a text is libvirt's."""


def is_libvirt_text(data: bytes) -> bool:
    """Return whether these bytes contain a line of a libvirt log."""
    return _LIBVIRT_LINE.search(data) is not None


def has_records(data: bytes) -> bool:
    """Return whether a line of these bytes begins with a record of a probe of RPC."""
    return _RECORD_LINE.search(data) is not None


def is_log(data: bytes) -> bool:
    """Return whether these bytes are certainly a log: with a record of RPC, or many lines of libvirt."""
    lines = islice(_HEAD_LINE.finditer(data), _MANY)
    return sum(1 for _ in lines) == _MANY or has_records(data)


def log_chunks(read: Read, *, undecided: bool = False) -> Iterator[Item]:
    """Yield the items of a log, in order, and LogLines between them.

    A message is a Chunk of length word and header, with the size of its payload as `cut`. Records with len=0
    are not messages. Connections follow `objects`. All other RPC records become events.

    Notices: `bad-log-line`, at the end, with the number of lines that name a probe of RPC and are not its
    record; `no-rpc-lines`, with the settings that are needed; `no-times`, `no-zone` and `wrong-length`
    (notes).

    Raises NotALogError at the end of an `undecided` text without a line of libvirt.
    """
    return _Log(undecided).read(read)


class _BadLineError(ValueError):
    """A record with numbers that libvirt does not write."""


class _Places:
    """The next token in a block. A search in the whole block is much faster than one in each line."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        #: The place of the next one of each token, as a heap.
        self._places = [(-1, token) for token in _ALL_TOKENS]
        self._part = -1

    def next(self, start: int) -> int:
        """Return the place of the next token, or of a part of it at the end of a short line; the end of the
        block if there is none."""
        block, places = self._block, self._places
        while places[0][0] < start:
            token = places[0][1]
            found = block.find(token, start)
            while found >= 0 and token is _NUMBERED and block[found + 5 : found + 6] not in _DIGIT:
                found = block.find(token, found + 5)
            heapreplace(places, (len(block) if found < 0 else found, token))
        if self._part < start:
            self._part = self._next_part(start)
        return min(self._part, places[0][0])

    def _next_part(self, start: int) -> int:
        while match := _TOKEN_START.search(self._block, start):
            if match.end() - self._block.rfind(b"\n", 0, match.start()) <= _MAX_WRAPPED:
                return match.start()
            start = match.end()
        return len(self._block)


class _Waiting:
    """Lines that the following ones may complete: `lines[0]` has the token and the number `number`, `before`
    precede it. For an entry of a structured log `fields` are the fields so far, and `around` is the context
    that its first line gives."""

    def __init__(self, number: int, line: bytes, before: Iterable[bytes]) -> None:
        self.number = number
        self.lines = [line]
        self.before = list(before)
        self.held: tuple[Record, str] | None = None
        self.fields: dict[str, object] = {}
        self.around: Context | None = None
        self.text = ""


class _Log:
    def __init__(self, undecided: bool) -> None:
        self._undecided = undecided
        #: Whether a line of libvirt was found.
        self._libvirt = False
        connections = Connections()
        self._objects = Objects("log", connections=connections)
        self._recording = Recording(self._objects, connections)
        #: Whether a line of rpc-monitor was found; each following one may be an event.
        self._recorded = False
        self._debug_messages = DebugMessages(self._objects)
        self._lengths = WrongLengths()
        self._number = 0
        self._noted: set[Cause] = set()
        #: The lines before this one, since the last record.
        self._recent: deque[bytes] = deque(maxlen=_MAX_ENTRY)
        #: Lines after these that were passed over: a part of a block.
        self._skipped = _NOTHING
        #: A block, and where this line and the one after it begin.
        self._place = b"", 0, 0
        self._waiting: _Waiting | None = None
        #: Processes whose records have a head; "" for a log without process numbers.
        self._headed: set[str] = set()
        #: The records of the line before this one.
        self._last: list[tuple[Record, Context]] = []
        self._empty = True
        self._stated = False
        self._about_rpc = False
        self._bad = 0
        self._bad_known = False
        self._first_bad = ""
        #: The second of the last message in the fast path.
        self._second: tuple[bytes, bytes, int | None] = b"", b"", None

    def read(self, read: Read) -> Iterator[Item]:
        messages = self._debug_messages
        for item in self._read(read):
            if messages.queue:
                messages.queue.append(item)
                yield from messages.release()
            else:
                yield item
        yield from messages.release(0)
        yield from self._verdict()

    def _read(self, read: Read) -> Iterator[Item]:
        """Yield the items of the lines, except of debug lines that wait for their records."""
        fields = JournalFields()
        try:
            for block in line_blocks(read, _MAX_LINE):
                yield from self._block(fields.block(block))
                yield from self._debug_messages.release()
            yield from self._block(fields.end())
            yield from self._give_up()
        except LineTooLongError as error:
            yield from self._block(fields.end())
            yield from self._give_up()
            text = f"line {self._number + 1}: {error}; the rest was not read"
            yield Notice(NoticeCode.BAD_LOG_LINE, text)

    def _block(self, block: bytes) -> Iterator[Item]:
        """Yield the items of whole lines. Only those with a token are looked at, and those after them that
        may complete a record."""
        fast, places = _MESSAGE_LINE.match, _Places(block)
        at = 0
        while at < len(block):
            if self._last and not _is_repetition(block, at):
                self._last.clear()
            if self._waiting is None and not (self._last or self._recorded):
                place = places.next(at)
                start = block.rfind(b"\n", at, place) + 1 or at
                self._skip(block, at, start)
                if place == len(block):
                    return
            else:
                start = at
            self._number += 1
            end = block.find(b"\n", start)
            at = len(block) if end < 0 else end + 1
            match = None if self._waiting is not None else fast(block, start, len(block) if end < 0 else end)
            if match is not None:
                yield from self._message_line(match)
            elif not self._is_recorded(block, start, len(block) if end < 0 else end):
                self._place = block, start, at
                yield from self._line(block[start : len(block) if end < 0 else end])

    def _is_recorded(self, block: bytes, start: int, end: int) -> bool:
        """Return whether a line describes a call whose record is known."""
        match = None if self._waiting is not None else _CALL_LINE.match(block, start, end)
        if match is None:
            return False
        if match[1] is not None:
            kind = "server_client_msg_rx"
            prog, vers, type_, status, serial, proc = map(int, match.groups()[:6])
        else:
            kind, status = "client_msg_tx_queue", 0
            prog, vers, serial, proc, type_ = map(int, match.groups()[6:])
        numbers = {
            "prog": prog,
            "vers": vers,
            "proc": proc,
            "type": type_,
            "status": status,
            "serial": serial,
        }
        recorded = self._debug_messages.is_recorded(("", kind, header(0, numbers)[4:]))
        if recorded:
            self._last.clear()
        return recorded

    def _line(self, line: bytes) -> Iterator[Item]:
        """Yield the items of a line outside the fast path."""
        if may_state(line):
            yield from self._statements(line)
        if self._waiting is not None:
            yield from self._next(line)
        elif self._last and b"message repeated" in line:
            yield from self._repeated(line)
        else:
            self._last.clear()
            if found := _probe_line(line):
                yield from self._text(Text([found], [], found.head), "")
            else:
                yield from self._again(line)

    def _statements(self, line: bytes) -> Iterator[LogLine]:
        """Yield what a line states, or the entries of a structured log in it."""
        text = undress(line)
        if '"' in text and (entries := texts_with_fields(text)):
            around = of_prefix(text[: text.find("{")])
            stated = [
                (each.text, of_fields(each.fields, around), program(text, each.fields)) for each in entries
            ]
        else:
            what = statement(text)
            if len(line) < _MAX_WRAPPED:
                text, what = self._unwrapped(text, what)
            found = parse(text)
            context = of_prefix(text) if found.head is None else of_prefix(text[: found.head.start])
            if found.head is not None:
                context = Context(head_time(found.head), context.process, found.head.thread)
            stated = [(text, context, program(text))] if what is not None else []
        for each, context, name in stated:
            if (what := statement(each)) is not None:
                self._libvirt = self._stated = True
                stamp, process, thread = context
                yield LogLine(what.kind, stamp.ns, name, process, thread, self._number, what.details)

    def _unwrapped(self, text: str, what: Statement | None) -> tuple[str, Statement | None]:
        """Return a text, and what it states, together with the lines around it if they add to that: the rest
        of it after it, the beginning or the head before it."""
        block, start, at = self._place
        texts = [MARKS.sub("", text, count=1).strip()]
        while at < len(block) and len(texts) <= _MAX_JOINED:
            end = block.find(b"\n", at)
            after = block[at : len(block) if end < 0 else end]
            if not _continues(after) or statement(next_ := _unmarked(after)) is not None:
                break
            texts.append(next_)
            at += len(after) + 1
        joined = " ".join(texts)
        more = fuller(what, statement(joined))
        before = block[block.rfind(b"\n", 0, start - 1) + 1 : start - 1] if start else b""
        is_head = (
            len(before) >= _MIN_FULL and _HEAD_LINE.search(before) and not _HEAD_PART.search(text.encode())
        )
        if (more is None or is_head) and len(before) < _MAX_WRAPPED:
            previous = _unmarked(before)
            if statement(previous) is None:
                longer = statement(f"{previous} {joined}")
                if longer is not None:
                    return f"{previous} {joined}", longer
        return (text, what) if more is what else (joined, more)

    def _skip(self, block: bytes, start: int, end: int) -> None:
        """Pass over lines without a token, and keep the last ones."""
        if start == end:
            return
        self._keep()
        self._number += block.count(b"\n", start, end)
        if not self._libvirt and (match := _LIBVIRT_LINE.search(block, start, end)):
            self._libvirt = True
            begin = block.rfind(b"\n", 0, match.start()) + 1
            self._head_line(block[begin : match.end()])
        self._skipped = block, start, end

    def _keep(self) -> None:
        """Add the lines that were passed over to the recent ones."""
        block, start, end = self._skipped
        at = end - 1
        for _ in range(_MAX_ENTRY if start < end else 0):
            at = block.rfind(b"\n", start, at)
            if at < 0:
                break
        else:
            start = max(start, at + 1)
        if start < end:
            lines = block[start : end - 1].split(b"\n")
            self._recent.extend(line if len(line) < _MAX_KEPT else b"" for line in lines)
        self._skipped = _NOTHING

    def _verdict(self) -> Iterator[Notice]:
        if self._undecided and not (self._libvirt or self._bad_known):
            raise NotALogError
        if self._bad:
            more = f"; {self._bad} lines that name a probe of RPC cannot be parsed" if self._bad > 1 else ""
            yield Notice(NoticeCode.BAD_LOG_LINE, self._first_bad + more)
        elif self._debug_messages.shown:
            yield Notice(NoticeCode.DEBUG_LINES, self._debug_lines_text(), severity="note")
        elif not (self._about_rpc or self._lengths.any):
            yield Notice(
                NoticeCode.NO_RPC_LINES,
                _NO_RPC,
                severity="note" if self._stated or not self._empty else "error",
            )
        yield from self._lengths.conclusion()
        yield from self._recording.notices()

    def _debug_lines_text(self) -> str:
        count = amount(self._debug_messages.shown, "message")
        return (
            f"{count} without a record: debug lines have no lengths and do not name connections; {_RECORDS}"
        )

    def _wrong_length(self, line: bytes) -> Iterator[Notice]:
        """Yield the explanation of an error about a length word."""
        yield from self._lengths.notices(self._number, undress(line))
        self._libvirt = self._libvirt or self._lengths.any

    def _recording_line(self, line: bytes) -> Iterator[Item]:
        """Yield the items of a line in a recording of rpc-monitor, and of the lines before the first one."""
        if not self._recorded:
            self._keep()
            recent = list(self._recent)
            if not shows_message([undress(each) for each in (*recent[1 - _MAX_JOINED :], line)]):
                return
            before = [undress(each) for each in recent]
            self._recorded = self._libvirt = self._about_rpc = True
            self._empty = False
            for number, text in enumerate(before, self._number - len(before)):
                yield from self._recording.line(number, text)
        yield from self._recording.line(self._number, undress(line))

    def _message_line(self, match: re.Match[bytes]) -> Iterator[Item]:
        """Yield the items of a message that libvirt wrote to a file."""
        second, millisecond, zone, name, client, *numbers = match.groups()
        if (second, zone) != self._second[:2]:
            head = Head(0, 0, second[:10].decode(), second[11:].decode(), None, zone.decode(), "")
            self._second = second, zone, head_time(head).ns
        base = self._second[2]
        time_ns = None if base is None else base + int(millisecond) * 1_000_000
        if time_ns is None:
            yield from self._note("none")
        self._headed.add("")
        self._recent.clear()
        self._skipped = _NOTHING
        self._last.clear()
        self._libvirt = self._about_rpc = True
        self._empty = False
        values = dict(zip(NUMBERS, map(int, numbers), strict=True))
        try:
            yield from self._message(name.decode().lower(), time_ns, "", client.decode(), values)
        except _BadLineError as error:
            self._report(Problem(f"RPC_{name.decode()}", 0, str(error)))

    # Lines with the token

    def _candidate(self, line: bytes) -> Iterator[Item]:
        """Yield the items of a line with the token."""
        if self._waiting is not None:
            yield from self._next(line)
            return
        self._keep()
        before = list(self._recent)
        text = undress(line)
        if (named := field(text)) is not None and named[0] in TEXTS and isinstance(named[1], str):
            self._enter(named[1], line, before)
            return
        found = parse(text)
        around = text[: found.head.start] if found.head else text
        if '"' in around and (entries := objects(text)):
            yield from self._entries(entries, of_prefix(text[: text.find("{")]))
            return
        alone = found.records and found.records[0].head
        if not alone and _may_continue(found, line) and (joined := self._joined([line], before)):
            yield from self._accept(*joined)
            return
        yield from self._text(found, text)
        if found.records:
            line = text[found.records[-1].end :].encode()
        if (
            any(problem.open for problem in found.problems)
            or _PART.search(text.rstrip())
            or (not (found.records or found.problems) and _PART_OF_DEBUG_LINE.search(line))
        ):
            self._wait(line, () if found.records else before)
        elif not found.records:
            self._recent.append(line if len(line) < _MAX_KEPT else b"")

    def _text(self, found: Text, text: str, context: Context | None = None) -> Iterator[Item]:
        """Yield the items of what was found in a text, except of a record that may continue. Without a
        context, it is before the first record."""
        sure, after = context is not None, 0
        for record in found.records:
            start = record.head.start if record.head else record.start
            if not sure:
                own = of_prefix(text[after:start])
                context = own if context is None or own.process or own.stamp != NO_TIME else context
            assert context is not None
            if self._is_inside(record, context.process, sure=sure):
                self._report(Problem(record.name, record.start, "is in the text of another record"))
                continue
            yield from self._record(record, context, _times(text[after:start]))
            after = record.end
        for problem in found.problems:
            if not problem.open:
                self._report(problem)

    def _is_inside(self, record: Record, process: str, *, sure: bool) -> bool:
        """Return whether a record without a complete head is in a text whose records have one. If it is
        `sure` to be the text of an entry, only a log without entries can contain it."""
        if record.head is not None and record.head.clock is not None:
            if not sure and len(self._headed) < _MAX_PROCESSES:
                self._headed.add(process)
            return False
        for line in self._recent:
            self._head_line(line)
        return "" in self._headed or (not sure and process in self._headed)

    def _head_line(self, line: bytes) -> None:
        """Note the process of a line with a head."""
        match = _HEAD_LINE.search(line)
        if match is not None and len(self._headed) < _MAX_PROCESSES:
            self._headed.add(of_prefix(line[: match.start()].decode("utf-8", "replace")).process)

    def _report(self, problem: Problem) -> None:
        """Count a line that names a probe of RPC and has no record of it, and a debug line with a number that
        no message has. An incomplete debug line may be any text."""
        if problem.name.startswith("RPC_") or (problem.name == DEBUG_LINE and not problem.open):
            self._bad += 1
            self._bad_known = self._bad_known or problem.known
            number = self._number if self._waiting is None else self._waiting.number
            self._first_bad = self._first_bad or f"line {number}: {problem.name}: {problem.reason}"

    # Wrapped lines

    def _wait(self, line: bytes, before: Iterable[bytes] = ()) -> None:
        short = [*takewhile(lambda each: len(each) < _MAX_WRAPPED, reversed(list(before)))]
        self._waiting = _Waiting(self._number, line, reversed(short[:_MAX_JOINED]))

    def _next(self, line: bytes) -> Iterator[Item]:
        """Yield the items of waiting lines that this one completes; this one is among them, or follows."""
        waiting = self._waiting
        assert waiting is not None
        if waiting.around is not None:
            named = field(undress(line))
            if named is not None and named[0] not in TEXTS and len(waiting.fields) < _MAX_ENTRY:
                waiting.fields[named[0]] = named[1]
                return
        elif len(line) < _MAX_WRAPPED and (waiting.held is None or _DIGITS.fullmatch(line)):
            joined = self._joined([*waiting.lines, line], waiting.before)
            if joined is not None:
                record, text = joined
                if record.end == len(text) and len(line) >= _MIN_FULL and waiting.held is None:
                    waiting.held = joined  # its last number may continue
                    waiting.lines.append(line)
                    return
                self._waiting = None
                yield from self._accept(record, text)
                return
            if (
                len(waiting.lines) < _MAX_JOINED
                and _TOKEN not in line
                and not _HEAD_LINE.search(line)
                and waiting.held is None
            ):
                waiting.lines.append(line)
                return
        yield from self._give_up()
        yield from self._again(line)

    def _joined(self, lines: list[bytes], before: list[bytes]) -> tuple[Record, str] | None:
        """Join lines, with up to `_MAX_JOINED` more than one; return the record that they complete, and the
        text, or None."""
        room = _MAX_JOINED + 1 - len(lines)
        if room < 0 or max(map(len, lines)) >= _MAX_WRAPPED:
            return None
        for count in range(min(room, len(before)), -1, -1):
            parts = [*before[len(before) - count :], *lines]
            if len(parts) == 1 or max(map(len, parts)) >= _MAX_WRAPPED:
                continue
            if count and not _HEAD_PART.search(parts[0]):
                continue
            for text, last in _variants(parts):
                for record in parse(text).records:
                    first = record.head.start < len(parts[0]) if record.head else not count
                    if first and record.end > last:
                        return record, text
        return None

    def _accept(self, record: Record, text: str) -> Iterator[Item]:
        """Yield the items of a record in joined lines, and of the rest of them."""
        self._recent.clear()
        yield from self._text(Text([record], [], record.head), text)
        rest = text[record.end :]
        if rest.strip():
            yield from self._again(rest.encode())

    def _again(self, line: bytes) -> Iterator[Item]:
        """Yield the items of a line that does not belong to those before it."""
        if any(token in line for token in (*_TOKENS, *ARRAY_TOKENS)) or _PART_OF_DEBUG_LINE.search(line):
            yield from self._candidate(line)
            return
        if LENGTH_TOKEN in line:
            yield from self._wrong_length(line)
            return
        if self._recorded or any(token in line for token in RECORDING_TOKENS):
            yield from self._recording_line(line)
        self._keep()
        self._recent.append(line if len(line) < _MAX_KEPT else b"")
        if len(line) < _MAX_WRAPPED and _TOKEN_START.search(line, max(0, len(line) - _END)):
            self._wait(line)

    def _give_up(self) -> Iterator[Item]:
        """Yield the items of lines that nothing completes."""
        waiting = self._waiting
        if waiting is not None:
            yield from self._alone(waiting)
            self._waiting = None

    def _alone(self, waiting: _Waiting) -> Iterator[Item]:
        if waiting.around is not None:
            context = of_fields(waiting.fields, waiting.around)
            for line in waiting.text.split("\n"):
                yield from self._whole(parse(line), line, context)
            return
        if waiting.held is not None:
            record, text = waiting.held
            yield from self._text(Text([record], [], record.head), text)
            return
        text = undress(waiting.lines[0])
        found = parse(text)
        yield from self._whole(Text([], [each for each in found.problems if each.open], found.head), text)
        self._recent.extend(waiting.lines)

    def _whole(self, found: Text, text: str, context: Context | None = None) -> Iterator[Item]:
        """Yield the items of a text that nothing continues."""
        yield from self._text(found, text, context)
        for problem in found.problems:
            if problem.open and problem.partial is not None:
                yield from self._text(Text([problem.partial], [], found.head), text, context)
            elif problem.open:
                self._report(problem)

    # Structured logs

    def _enter(self, text: str, line: bytes, before: list[bytes]) -> None:
        """Begin an entry with its text: its other fields are before and after it."""
        self._waiting = waiting = _Waiting(self._number, line, ())
        waiting.text, waiting.around = text, Context()
        for each in before:
            self._head_line(each)
        for each in reversed(before):
            named = field(undress(each))
            if named is None:
                waiting.around = of_prefix(undress(each))
                break
            waiting.fields.setdefault(*named)
        self._recent.clear()

    def _entries(self, entries: Iterable[Entry], around: Context) -> Iterator[Item]:
        """Yield the items of the objects on a line."""
        for each in self._recent:
            self._head_line(each)
        self._recent.clear()
        fields, context = None, around
        for entry in entries:
            if entry.fields is not fields:
                fields, context = entry.fields, of_fields(entry.fields, around)
            for line in entry.text.split("\n"):
                found = parse(line)
                if not entry.named:
                    inside = [record for record in found.records if not (record.head and record.head.clock)]
                    for record in inside:
                        self._report(Problem(record.name, record.start, "is in a quoted string"))
                    found = found._replace(records=[each for each in found.records if each not in inside])
                yield from self._whole(found, line, context)

    # Records

    def _record(self, record: Record, context: Context, times: int) -> Iterator[Item]:
        """Yield the items of a record, as often as it was repeated."""
        stamp = context.stamp
        if record.head is not None and record.head.clock is not None:
            stamp = head_time(record.head)
        thread = context.thread if record.head is None else record.head.thread
        context = Context(stamp, context.process, thread)
        if stamp.cause is not None:
            yield from self._note(stamp.cause)
        self._recent.clear()
        self._skipped = _NOTHING
        self._libvirt, self._empty = True, False
        self._about_rpc = self._about_rpc or record.name.startswith(("RPC_", DEBUG_LINE))
        self._last.append((record, context))
        yield from self._times(record, context, times)

    def _times(self, record: Record, context: Context, times: int) -> Iterator[Item]:
        if times > _MAX_REPEATED:
            reason = f"was repeated {times} times, {_MAX_REPEATED} are shown"
            self._report(Problem(record.name, record.start, reason))
        for _ in range(min(times, _MAX_REPEATED)):
            try:
                yield from self._items(record, context)
            except (_BadLineError, ObjectError) as error:
                self._report(Problem(record.name, record.start, str(error)))
                return

    def _repeated(self, line: bytes) -> Iterator[Item]:
        """Yield the items of the line before this one, which reports its repetition."""
        last, self._last = self._last, []
        for record, context in last:
            yield from self._times(record, context, _times(line.decode("utf-8", "replace")))

    def _note(self, cause: Cause) -> Iterator[Notice]:
        if cause not in self._noted:
            self._noted.add(cause)
            code, text = _CAUSES[cause]
            yield Notice(code, text, severity="note")

    def _items(self, record: Record, context: Context) -> Iterator[Item]:
        values = record.values()
        time_ns = context.stamp.ns
        if record.name == DEBUG_LINE:
            length = int(values["len"]) if "len" in values else None
            numbers = {word: int(values[word]) for word in NUMBERS if word != "len"}
            yield from self._debug_message(record.kind, time_ns, context.process, length, numbers)
            return
        if not record.name.startswith("RPC_"):
            yield from _probe_event(record, context)
            return
        if record.kind in MESSAGES:
            numbers = {word: int(values[word]) for word in NUMBERS}
            yield from self._message(record.kind, time_ns, context.process, values["client"], numbers)
        else:
            thread = () if context.thread is None else (("thread", context.thread),)
            details = (*thread, *record.words)
            yield from self._objects.event(record.kind, time_ns, context.process, values, details)

    def _message(
        self, kind: str, time_ns: int | None, process: str, client: str, numbers: dict[str, int]
    ) -> Iterator[Item]:
        length = numbers["len"]
        if length == 0:  # libvirt's placeholders, which are never sent
            return
        _check_length(length)
        data = header(length, numbers)
        yield from self._objects.message(kind, time_ns, process, client, data, length)
        self._debug_messages.record((process, kind, data[4:]))

    def _debug_message(
        self, kind: str, time_ns: int | None, process: str, length: int | None, numbers: dict[str, int]
    ) -> Iterator[Item]:
        """Yield the items of a message that a debug line describes."""
        if length == 0:  # a placeholder, as in _message
            return
        if length is not None:
            _check_length(length)
        data = header(length or 0, numbers)
        yield from self._debug_messages.add(DebugMessage((process, kind, data[4:]), time_ns, data, length))


def _check_length(length: int) -> None:
    if not MIN_FRAME <= length <= MAX_FRAME:
        raise _BadLineError(f"expected len= from {MIN_FRAME} to {MAX_FRAME}, got {length}")


def _continues(line: bytes) -> bool:
    """Return whether a line may continue the one before it."""
    return bool(line.strip()) and len(line) < _MAX_WRAPPED and not _LIBVIRT_LINE.search(line)


def _unmarked(line: bytes) -> str:
    """Return the text of a line without the marks of a quotation."""
    return MARKS.sub("", undress(line), count=1).strip()


def _probe_line(line: bytes) -> Record | None:
    """Return the record of a probe that libvirt wrote to a file; None for any other line."""
    match = _PROBE_LINE.match(line)
    if match is None or _DRESSED.search(line):
        return None
    after = match.end() + 1  # another record may follow on the line
    if line.find(_TOKEN + b"_", after) >= 0 or _HEAD_LINE.search(line, after):
        return None
    date, clock, fraction, zone, thread = (group.decode() for group in match.groups())
    return headed(line.decode(), Head(0, match.end(), date, clock, fraction, zone, thread))


def _probe_event(record: Record, context: Context) -> Iterator[ProbeEvent]:
    """Yield the event of a probe that is not about RPC, if its numbers are numbers."""
    arguments = dict[str, int | str]()
    values = record.values()
    for name, meaning in COMMON.get(record.kind, ()):
        value = values.get(name)
        if value is None:  # older versions have others
            continue
        if meaning in ("signed", "unsigned"):
            if not _INTEGER.fullmatch(value):
                return
            arguments[name] = int(value)
        else:
            arguments[name] = value
    if not arguments:
        return
    text = next((value for name, value in arguments.items() if name in ("msg", "reply", "event")), "")
    cut = str(text).startswith("{") and not str(text).rstrip().endswith("}")
    pid, thread = (
        int(each) if each and each.isdecimal() else None for each in (context.process, context.thread)
    )
    yield ProbeEvent(record.kind, context.stamp.ns, pid, "", thread, arguments, cut)


def _may_continue(found: Text, line: bytes) -> bool:
    """Return whether a line may continue the ones before it: with a record without a head, or the rest of a
    debug line."""
    return bool(found.records) or (not found.problems and _PART_OF_DEBUG_LINE.search(line) is not None)


def _is_repetition(block: bytes, start: int) -> bool:
    """Return whether the next line reports the repetition of the line before it."""
    end = block.find(b"\n", start)
    return block.find(b"message repeated", start, len(block) if end < 0 else end) >= 0


def _times(text: str) -> int:
    """Return how often a text states that the message was repeated."""
    match = _REPEATED.search(text)
    return int(match[1]) if match else 1


def _variants(parts: list[bytes]) -> Iterator[tuple[str, int]]:
    """Yield the ways to join wrapped lines, and where the last one begins: a break replaced a blank, or
    nothing. Only the second is possible in quoted-printable text."""
    encoded = any(b"=3D" in part for part in parts) or all(
        part.endswith((b"=", b"=\r")) for part in parts[:-1]
    )
    marks = ENCODED_MARKS if encoded else MARKS
    texts = [marks.sub("", undress(part, encoded=encoded), count=1) for part in parts]
    if not encoded:
        texts = [text.rstrip() for text in texts]
    if not is_complete(unescape("".join(texts)).replace(" ", "")):
        return
    for breaks in product(("",) if encoded else (" ", ""), repeat=len(parts) - 1):
        head = "".join(text + each for text, each in zip(texts, breaks, strict=False))
        yield unescape(head + texts[-1]), len(unescape(head))
