"""Read bytes as text: choose the form in which they are written, and group lines into messages.

Every form to which the first line of a group may belong is tried on its first lines; the one in which they
are a message is taken. Empty lines, fences and labels separate groups, except within a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ...blocks import BLOCK_SIZE, LineTooLongError, Read, text_lines
from ...events import Chunk, Item, Notice, NoticeCode
from ...rpc.wire import MAX_FRAME
from ...text import amount
from ..dressing import Undresser, is_fence
from ..raw import CONNECTION
from .dump import Dump, begins_dump
from .errors import ByteTextError, RoomError, quoted
from .forms import Form, Labelled, Maker, begins_base64, dump, is_trailer, makers
from .framing import CERTAIN, Position, begins_message, evidence, frames
from .plain import Base64, PlainHex, is_base64

#: A message on one line, with `0x` and a comma for each byte.
_MAX_LINE: Final = 6 * MAX_FRAME
#: Number of lines that decide the form of a group, and of their characters; number of bytes compared.
_SAMPLE_LINES: Final = 256
_SAMPLE_SIZE: Final = 1 << 16
#: Number of lines of a text that are read to recognise it.
_MAX_TRIED: Final = 256
#: Number of characters of one line that decide.
_LONG: Final = 1 << 10
#: Number of bytes in an unmistakable form that a text begins with, even if another line is damaged.
_ENOUGH: Final = 16
#: Evidence of messages at the beginning.
_MESSAGE: Final = 2
_COMMENT: Final = re.compile(r"\s*(?:#(?!<)|//|--(?:\s|$)|;|%|/\*.*\*/\s*$)")
#: A label without bytes: `reply:`, `data: !!binary |`, `the reply (56 bytes):`.
_LABEL: Final = re.compile(r"\W{0,8}[A-Za-z_][^{}\[\]<>\"'`=]{0,120}:\s*(?:!!binary\s*)?(?:[|>][+-]?)?\s*")
_YAML: Final = re.compile(r"\s*(?:- )?[A-Za-z_]\w{0,40}:(?:\s.*)?")
#: The first quote mark of a line.
_MARK: Final = re.compile(r"""[^"']{0,200}(["'])""")
#: A line after other text that may be bytes.
_PROMISING: Final = re.compile(
    rb"(?:[0-9a-fA-F]{2}[\s,:-]{0,2}){4}|\\[x0-7u]|0[xX][0-9a-fA-F]|[A-Za-z0-9+/_-]{16}|[\[({<=]\s*(?:$|/\*|//)"
    rb"|\d(?:,\s*|\s+)-?\d{1,20}(?:[,\])\s]|$)"
)
#: The beginning of a list or a string.
_OPENING: Final = re.compile(r"\s*[\[{(<\"']")
_CONTROL: Final = frozenset(range(0x20)) - {9, 10, 12, 13, 27} | {0x7F}


class _Line(NamedTuple):
    number: int
    text: str


class _Choice(NamedTuple):
    """A form of the lines of a group: evidence of messages in its bytes, the lines before an error, and the
    error."""

    strength: int
    lines: int
    error: ByteTextError | None
    weak: bool
    data: bytes
    make: Maker


def byte_chunks(read: Read, *, forced: bool = False) -> Iterator[Item]:
    """Yield Chunks of bytes as text, one group after the other.

    A group with a line that is not bytes is decoded up to that line; the Notice `bad-hex` gives the reason.
    Lines before the first bytes are passed over, which the note `other-text` reports. The note `byte-order`
    states the order of words. With `forced`, decimal numbers, text and base64 are bytes even if they are not
    a message.
    """
    reader = _Reader(forced)
    number = 0
    try:
        for number, data in enumerate(text_lines(read, _MAX_LINE), 1):
            if not reader.quick(data):
                reader.line(number, data)
            if reader.out:
                yield from reader.out
                reader.out.clear()
        reader.finish()
    except LineTooLongError as error:
        reader.finish()
        reader.out.append(Notice(NoticeCode.BAD_HEX, f"line {number + 1}: {error}", CONNECTION))
    yield from reader.out


def looks_like_byte_text(head: bytes) -> bool:
    """Return whether a file that begins so is bytes as text: messages, or bytes in an unmistakable form and
    nothing else."""
    if not head or not _CONTROL.isdisjoint(head):
        return False
    reader = _Reader(forced=False)
    lines = head.split(b"\n")
    if len(head) >= _SAMPLE_SIZE:
        last = lines.pop()
        lines = lines or [_shortened(last.decode("latin-1"), _SAMPLE_SIZE).encode("latin-1")]
    previous = b""
    for number, line in enumerate(lines, 1):
        if not (line or previous):
            continue
        previous = line
        if not reader.quick(line):
            reader.line(number, line)
        if reader.out:
            reader.out.clear()
        if reader.framed or reader.tried > _MAX_TRIED:
            break
    reader.finish()
    whole = not reader.bad or reader.size >= _ENOUGH
    if reader.skipped and b"RPC_" in head:  # a log with bytes in it
        return False
    return reader.is_bytes and (reader.framed or (whole and not reader.skipped))


def reads_as_messages(text: bytes) -> int:
    """Return whether a text is bytes of messages, without an error; other text may precede them. 2 means that
    the last message is complete, 1 that it is not."""
    reader, position = _Reader(forced=False), Position()
    for number, line in enumerate(text.split(b"\n"), 1):
        reader.line(number, line)
        _locate(position, reader.out)
        if reader.bad or reader.tried > _MAX_TRIED or reader.size > _SAMPLE_SIZE:
            break
    reader.finish()
    _locate(position, reader.out)
    if not (reader.is_bytes and reader.framed) or reader.bad:
        return 0
    return 2 if position.complete else 1


def _locate(position: Position, items: list[Item]) -> None:
    """Move a position over the bytes of items, and drop them."""
    for item in items:
        if isinstance(item, Chunk):
            position.feed(item.data)
    items.clear()


def message_bytes(text: str) -> bytes | None:
    """Return the bytes that a text shows if they begin with a message, or with a header; else None."""
    reader = _Reader(forced=False)
    for number, line in enumerate(text.encode("utf-8", "surrogateescape").split(b"\n"), 1):
        reader.line(number, line)
    reader.finish()
    data = b"".join(item.data for item in reader.out if isinstance(item, Chunk))
    return data if not reader.skipped and frames(data) else None


def _shortened(line: str, size: int) -> str:
    """Return the beginning of a line, up to the end of a byte."""
    line = line[:size]
    separated = max(map(line.rfind, " ,:-\\"))
    if separated < len(line) - 8:
        return line[: len(line) // 8 * 8]
    line = line[:separated]
    mark = _MARK.match(line)
    return line + mark[1] if mark and line.count(mark[1]) % 2 else line


class _Reader:
    """Collects the items of lines in `out`."""

    def __init__(self, forced: bool) -> None:
        self.out: list[Item] = []
        self.is_bytes = self.framed = self.bad = False
        self.size = 0
        #: Number of lines read to decide about forms, each as often as it was read.
        self.tried = 0
        #: Number of lines before the first bytes, and the first of them.
        self.skipped = 0
        self._first_skipped = _Line(0, "")
        self._skipped_why = ""
        self._forced = forced
        self._undress = Undresser()
        self._is_yaml = False
        self._room = MAX_FRAME
        self._number = 0
        #: Lines of a group whose form is not decided, and the number of their characters; or its form.
        self._sample: list[_Line] = []
        self._sample_size = 0
        #: The forms of the sample when it had that many lines.
        self._choices: list[_Choice] = []
        self._compared = 0
        self._form: Form | None = None
        #: The form of the last group.
        self._make: Maker | None = None
        #: Reads lines quickly that are like the ones before.
        self._quick: Callable[[bytes], bytes] | None = None
        #: Whether the rest of the group is passed over, and whether empty lines were read.
        self._damaged = self._paused = False
        #: Bytes since the last Chunk; whether there were some since the last end, and where they end.
        self._pieces: list[bytes] = []
        self._size = self._located = 0
        self._begun = False
        self._position = Position()
        self._notes: set[str] = set()

    def quick(self, data: bytes) -> bool:
        """Read a line that is like the ones before it; return whether it is one."""
        if self._quick is None or not data:
            return False
        piece = self._quick(data)
        if piece:
            self._add(piece)
        return bool(piece)

    def line(self, number: int, data: bytes) -> None:
        """Read a line."""
        self._number = number
        begun = self.is_bytes or self._sample or self._form is not None
        if self.skipped and not begun and not _PROMISING.search(data):
            self.skipped += 1
            return
        text = self._undress.line(data)
        if is_fence(text):
            self._separate()
        elif not text.strip():
            self._blank()
        elif _COMMENT.match(text) is None or self._continuing or self._is_base64(text):
            self._content(_Line(number, text))

    def finish(self) -> None:
        """End the text."""
        self._separate()
        self._end()
        if not self.is_bytes and self.skipped and not self.bad:
            self._bad(self._first_skipped.number, self._skipped_why)

    # Groups

    @property
    def _continuing(self) -> bool:
        return self._form is not None and self._form.continues("")

    def _is_base64(self, text: str) -> bool:
        """Return whether a line continues base64, which may begin with `//`."""
        if self._form is not None:
            form = self._form.form if isinstance(self._form, Labelled) else self._form
            return isinstance(form, Base64) and is_base64(text)
        return bool(self._sample) and begins_base64(self._sample[0].text) and is_base64(text)

    def _blank(self) -> None:
        """Process an empty line: a list or a dump may continue after it."""
        if self._sample:
            self._decide(last=True)
        if self._form is not None:
            self._paused = True
            if not isinstance(self._form, PlainHex):
                return
        self._separate()

    def _separate(self) -> None:
        """End the group; end the messages, too, if the last one is complete."""
        if self._sample:
            self._decide(last=True)
        self._close()
        self._damaged = self._paused = False
        if self._begun and not self._within():
            self._end()

    def _within(self) -> bool:
        """Return whether the bytes since the last end end within a message."""
        self._locate()
        return self._position.within

    def _locate(self) -> None:
        self._position.feed(b"".join(self._pieces[self._located :]))
        self._located = len(self._pieces)

    def _content(self, line: _Line) -> None:
        """Read a line that is neither empty nor a comment."""
        if self._paused:
            self._paused = False
            if self._form is None or not self._form.continues(line.text):
                self._separate()
        if self._damaged:
            return
        if self._form is not None:
            if self._form.closed and is_trailer(line.text):
                return
            if self._form.closed or (isinstance(self._form, Labelled) and self._form.begins(line.text)):
                self._separate()
        if self._form is not None:
            self._feed(line)
            return
        if not self._sample and self._make is dump and begins_dump(line.text) and not self._within():
            self._end()
            self._form = dump(self._room)  # a dump after another one
            self._feed(line)
            return
        self._sample.append(line)
        self._sample_size += len(line.text)
        count = len(self._sample)
        if self._sample_size >= _SAMPLE_SIZE or count >= _SAMPLE_LINES:
            self._decide(last=True)
        elif count & (count - 1) == 0:
            self._decide(last=False)

    def _other(self, line: _Line, best: _Choice | None) -> None:
        """Process the first line of a group, which is not bytes."""
        if _LABEL.fullmatch(line.text) or (self._is_yaml and _YAML.fullmatch(line.text)):
            self._is_yaml = self._is_yaml or "!!binary" in line.text
            self._separate()
        elif self.is_bytes:
            self._bad(line.number, _refusal(line.text, best))
            self._damaged = True
        else:
            self._skip(line, best)

    def _skip(self, line: _Line, best: _Choice | None) -> None:
        if not self.skipped:
            self._first_skipped, self._skipped_why = line, _refusal(line.text, best)
        self.skipped += 1

    def _decide(self, *, last: bool) -> None:
        """Decide for the form of the lines, if it is certain, or if they are the last ones."""
        sample = self._sample
        if len(sample) != self._compared:
            self.tried += len(sample)
            self._choices = _choices(sample, min(self._room, _SAMPLE_SIZE), forced=self._forced)
            self._compared = len(sample)
        choices = self._choices
        best = max(choices, key=_rank, default=None)
        if best is None or (best.error is not None and not best.lines):
            self._sample, self._sample_size, self._compared = [], 0, 0
            self._other(sample[0], best)
            for line in sample[1:]:
                self._content(line)
            return
        many = len(best.data) >= _SAMPLE_SIZE
        after_text = bool(self.skipped) and not self.is_bytes
        least = 0 if self._forced else (CERTAIN if after_text else _MESSAGE) if best.weak else int(after_text)
        enough = best.strength >= max(_MESSAGE, least)
        if not (last or many or enough or all(choice.error for choice in choices)):
            return
        self._sample, self._sample_size, self._compared = [], 0, 0
        if not best.data or best.strength < least:
            self._refuse(sample, best)
            return
        self.framed = self.framed or best.strength > 0
        if self._begun and (not self._within() or begins_message(best.data)):
            self._end()
        if self.skipped and not self.is_bytes:
            first = quoted(self._first_skipped.text.strip())
            text = f"{amount(self.skipped, 'line')} before the bytes are other text, from {first} on"
            self.out.append(Notice(NoticeCode.OTHER_TEXT, text, CONNECTION, severity="note"))
        self._form = best.make(self._room)
        self._make = best.make
        for line in sample:
            self._content(line)

    def _refuse(self, sample: list[_Line], best: _Choice) -> None:
        """Process lines that may have been bytes, but are not a message."""
        if self.is_bytes:
            self._bad(sample[0].number, _refusal(sample[0].text, best))
            self._damaged = True
            return
        count = max(1, best.lines)
        for line in sample[:count]:
            self._skip(line, best)
        for line in sample[count:]:
            self._content(line)

    def _feed(self, line: _Line) -> None:
        """Read a line in the form of the group."""
        assert self._form is not None
        try:
            data = self._form.line(line.text)
        except ByteTextError as error:
            self._close()
            if _LABEL.fullmatch(line.text) or (self._is_yaml and _YAML.fullmatch(line.text)):
                self._separate()
            else:
                self._bad(line.number, str(error))
                self._damaged = True
            return
        if data:
            self._add(data)
        self._quick = self._form.quick if isinstance(self._form, PlainHex | Dump) else None

    def _close(self) -> None:
        """End the form of the group."""
        form, self._form, self._quick = self._form, None, None
        if form is None:
            return
        try:
            data = form.end()
        except ByteTextError as error:
            self._bad(self._number, str(error))
            data = b""
        if data:
            self._add(data)
        if form.note is not None and form.note not in self._notes:
            self._notes.add(form.note)
            self.out.append(Notice(NoticeCode.BYTE_ORDER, form.note, CONNECTION, severity="note"))
        if isinstance(room := getattr(form, "room", None), int):
            self._room = room

    def _bad(self, number: int, text: str) -> None:
        self.bad = True
        self.out.append(Notice(NoticeCode.BAD_HEX, f"line {number}: {text}", CONNECTION))

    # Bytes

    def _add(self, data: bytes) -> None:
        self.is_bytes = self._begun = True
        self.size += len(data)
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= BLOCK_SIZE:
            self._flush()

    def _flush(self, *, end: bool = False) -> None:
        self._locate()
        data = b"".join(self._pieces)
        self._pieces, self._size, self._located = [], 0, 0
        self.out.append(Chunk(CONNECTION, None, None, data, end=end))

    def _end(self) -> None:
        """End the messages; others may follow."""
        if self._begun:
            self._flush(end=True)
        self._position, self._begun = Position(), False


def _choices(lines: list[_Line], room: int, *, forced: bool) -> list[_Choice]:
    """Read lines in the forms to which the first may belong; in no others after one that is certain."""
    choices = []
    for make in makers(lines[0].text, forced=forced):
        choice = _tried(make, lines, room)
        choices.append(choice)
        if choice.strength == CERTAIN and choice.error is None and not choice.weak:
            break
    return choices


def _tried(make: Maker, lines: list[_Line], room: int) -> _Choice:
    """Read lines in a form."""
    form, pieces, size, count = make(room), list[bytes](), 0, 0
    error: ByteTextError | None = None
    try:
        for line in lines:
            if form.closed or (isinstance(form, Labelled) and form.begins(line.text)):
                break
            short = len(line.text) > _LONG and not isinstance(form, Labelled)
            pieces.append(form.line(_shortened(line.text, _LONG) if short else line.text))
            size += len(pieces[-1])
            count += 1
            if size >= _SAMPLE_SIZE:
                break
    except RoomError as raised:  # the sample ends; the whole text has more room
        pieces.append(raised.data)
        count, error = count + 1, None if raised.data else raised
    except ByteTextError as raised:
        error = raised
    try:
        pieces.append(form.end())
    except ByteTextError as raised:
        error = error or raised
    data = b"".join(pieces)
    return _Choice(evidence(data), count, error, form.weak, data, make)


def _rank(choice: _Choice) -> tuple[int, bool, bool, bool, int]:
    """Return the order of forms: the first of equal ones is taken."""
    return (choice.strength, choice.error is None, bool(choice.data), not choice.weak, choice.lines)


def _refusal(text: str, best: _Choice | None) -> str:
    """Return the reason why a line is not bytes: the error of the form that its beginning shows, else that
    of hex."""
    shown = begins_dump(text) or _OPENING.match(text)
    if shown and best is not None and best.error is not None:
        return str(best.error)
    try:
        PlainHex().line(text.strip())
    except ByteTextError as error:
        return str(error)
    return f"{quoted(text.strip())} is not bytes"
