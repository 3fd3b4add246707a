"""Records of a libvirt log in a text, wherever they begin.

    2026-11-22 21:45:10.120+0000: 19725: info : virNetServerClientDispatchRead:1224 : \
RPC_SERVER_CLIENT_MSG_RX: client=0x55bef0a18050 len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0

A record has a head (time, thread, level, function and line number) and a text. The text of a probe is its
name and its arguments as `key=value` words. The journal keeps only the text; what it knows of the head is
before it. Values are text that a peer may choose, so a probe without a head counts only where no other record
and no quoted string begins before it. Lines of `debug_lines` count as records, too. Sources: virlog.c,
virprobe.h, and the PROBE macros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ..objects import MESSAGES, quoted
from ..probes.provider import COMMON, Argument
from .debug_lines import DebugLine, begins, debug_lines, may_contain

_HEAD: Final = re.compile(
    r"(?:(?:(?P<date>\d{4}-\d\d-\d\d)[ T])?(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?P<zone>Z| ?[+-]\d\d:?\d\d)? ?: )?"
    r"(?P<thread>\d{1,20}) ?: (?:debug|info|warning|error) ?: ?(?:\w{1,80}:\d{1,8} ?: ?)?"
)
_NAME: Final = re.compile(
    r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt]))(RPC|EVENT|QEMU_MONITOR)_([A-Z_]{1,60}):(?: |$)"
)
#: The numbers of a message, in the order of the log.
NUMBERS: Final = ("len", "prog", "vers", "proc", "type", "status", "serial")
_WORDS: Final = ("client", *NUMBERS)
_MESSAGE: Final = re.compile(
    r" ?client=(?P<client>\S{1,60})"
    + "".join(rf" {word}=(?P<{word}>-?[0-9]{{1,20}})" for word in NUMBERS)
    + "(?![0-9])"
)
#: Values may contain spaces (names of certificates).
_BETWEEN_WORDS: Final = re.compile(r",? (?=[A-Za-z]\w*=)")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
_OBJECT: Final = re.compile(r"0x[0-9a-f]{1,16}|\(nil\)")
#: Strings in quotes; one without an end extends to the end of the text. An apostrophe opens none.
_STRINGS: Final = re.compile(
    r""""(?>(?:[^"\\]++|\\.)*)(?:"|\\?$)|(?<!\w)'(?>(?:[^'\\]++|\\.|'(?=\w))*)(?:'|\\?$)""", re.DOTALL
)
#: The beginning of a string that is the text of an entry: a cell of a table (CSV), a word of logfmt.
_LABEL: Final = re.compile(r'(?:[,;\t]|(?:^|\s)(?:MESSAGE|message|msg|log|text)=)"$')
#: Marks that quoting adds after the last value.
_AFTER: Final = re.compile(r"""(?:\*\*|[`"'\s\]}|]|\\[nr])+$""")
#: QEMU's text may contain anything; libvirt ends a command with a line end.
_MONITOR: Final = re.compile(
    r"mon=(?P<mon>\S{1,60}) (?P<key>msg|reply|event)=(?P<text>.*?)"
    r"(?:(?:\r|\^M)?\s+fd=(?P<fd>-?[0-9]{1,10})\s*)?$",
    re.DOTALL,
)
#: Names without a record after which the rest of a line is not parsed.
_MAX_FAILURES: Final = 16
#: Names of words in the log, by their names in the provider.
_ALIASES: Final = {"authtype": "auth"}

#: The arguments that a probe has in all releases, by its name in the log.
_ARGUMENTS: Final[Mapping[str, tuple[Argument, ...]]] = {
    kind.upper() if kind.startswith(("event_", "qemu_")) else f"RPC_{kind.upper()}": arguments
    for kind, arguments in COMMON.items()
}
#: Probes about references, which libvirt had before 1.0.
_REFERENCES: Final = frozenset(
    f"RPC_{what}_{action}"
    for what in ("SOCKET", "CLIENT", "SERVER_CLIENT", "TLS_CONTEXT", "TLS_SESSION", "KEEPALIVE")
    for action in ("REF", "UNREF", "FREE")
)


#: The last word of each probe.
_LAST_WORDS: Final = {
    name: _ALIASES.get(arguments[-1].name, arguments[-1].name) + "=" for name, arguments in _ARGUMENTS.items()
}
#: The name of a debug line as a record.
DEBUG_LINE: Final = "debug line"
_COMPACT_NAME: Final = re.compile(r"(?:RPC|EVENT|QEMU_MONITOR)_[A-Z_]{1,60}:")


class Head(NamedTuple):
    """The head of a record, as text. Without `clock` it has only a thread."""

    start: int
    end: int
    date: str | None
    clock: str | None
    fraction: str | None
    zone: str | None
    thread: str


class Record(NamedTuple):
    """The record of a probe. `kind` is its name in lower case, without `RPC_`; `end` is where it ends in the
    text, `head` is None without one."""

    name: str
    kind: str
    head: Head | None
    words: list[tuple[str, str]]
    start: int
    end: int

    def values(self) -> dict[str, str]:
        """Map each name to its first value: values chosen by a peer (the name in its certificate) come
        last."""
        return dict(reversed(self.words))


class Problem(NamedTuple):
    """The name of a probe without a complete record, and the reason.

    `start` is its place in the text. `open` means that the text ends where the record could continue;
    `partial` is the record as far as it is there, if it is useful.
    """

    name: str
    start: int
    reason: str
    open: bool = False
    partial: Record | None = None

    @property
    def known(self) -> bool:
        """True for a probe of libvirt."""
        return self.name in _ARGUMENTS or self.name in _REFERENCES


class Text(NamedTuple):
    """The contents of a text. `head` is its first complete head."""

    records: list[Record]
    problems: list[Problem]
    head: Head | None


def parse(text: str) -> Text:
    """Find the records in a text."""
    strings = _Strings(text)
    heads = list[Head]()
    for match in _HEAD.finditer(text):
        if match["clock"] or not (heads or strings.hold(match.start())):
            heads.append(_head(match))
    found: list[Record | Problem] = []
    bare = heads[0].start if heads else len(text)
    if _NAME.search(text, 0, bare):
        found += _bare(text, bare, _Strings(text))
    elif (line := next(debug_lines(text, 0, bare), None)) and (
        not _Strings(text).hold(line.start) or _LABEL.search(text, 0, line.start)
    ):
        found.append(_of_debug_line(line, None))
    for number, head in enumerate(heads, 1):
        after, end = head.end, heads[number].start if number < len(heads) else len(text)
        if named := _NAME.match(text, after, end):
            found.append(_record(text, named, end, head))
            last = found[-1]
            after = last.end if isinstance(last, Record) else end
        elif (line := next(debug_lines(text, after, end), None)) and line.start == after:
            found.append(_of_debug_line(line, head))
            after = line.end
        found += _inside(text, after, end)
    if (part := begins(text)) is not None and not any(
        part < each.end for each in found if isinstance(each, Record)
    ):
        found.append(Problem(DEBUG_LINE, part, "is incomplete", open=True))
    return Text(
        [each for each in found if isinstance(each, Record)],
        [each for each in found if isinstance(each, Problem)],
        next((head for head in heads if head.clock), None),
    )


def headed(text: str, head: Head) -> Record | None:
    """Return the record after a head, to the end of the text; None if it is not complete."""
    match = _NAME.match(text, head.end)
    if match is None:
        line = next(debug_lines(text, head.end, len(text)), None)
        return _of_debug_line(line, head) if line and line.start == head.end else None
    found = _record(text, match, len(text), head)
    return found if isinstance(found, Record) else None


class _Strings:
    """The quoted strings of a text, for places in ascending order."""

    def __init__(self, text: str) -> None:
        self._spans = (match.span() for match in _STRINGS.finditer(text))
        self._span = next(self._spans, None)

    def hold(self, at: int) -> bool:
        """Return whether a place is in a string."""
        while self._span is not None and self._span[1] <= at:
            self._span = next(self._spans, None)
        return self._span is not None and self._span[0] < at


def is_complete(compact: str) -> bool:
    """Return whether a text without blanks may contain a complete record: the name of a probe, and its last
    word after it; or a debug line."""
    if may_contain(compact):
        return True
    for match in _COMPACT_NAME.finditer(compact):
        if match[0][:-1] in _LAST_WORDS and compact.find(_LAST_WORDS[match[0][:-1]], match.end()) >= 0:
            return True
    return False


def _of_debug_line(found: DebugLine, head: Head | None) -> Record:
    return Record(DEBUG_LINE, found.kind, head, [*found.words.items()], found.start, found.end)


def _head(match: re.Match[str]) -> Head:
    return Head(match.start(), match.end(), *match.group("date", "clock", "fraction", "zone", "thread"))


def _inside(text: str, start: int, end: int) -> Iterator[Problem]:
    """Yield the names of RPC probes in the text of another record."""
    for match in _NAME.finditer(text, start, end):
        if match[1] == "RPC":
            yield Problem(_name(match), match.start(), "is in the text of another record")


def _bare(text: str, end: int, strings: _Strings) -> Iterator[Record | Problem]:
    """Yield the records without a head."""
    after, failures = 0, 0
    for match in _NAME.finditer(text, 0, end):
        if failures == _MAX_FAILURES:
            yield Problem(_name(match), match.start(), "is in a line without records")
        elif match.start() < after:
            yield Problem(_name(match), match.start(), "is in the text of another record")
        elif strings.hold(match.start()) and not _LABEL.search(text, 0, match.start()):
            yield Problem(_name(match), match.start(), "is in a quoted string")
        else:
            found = _record(text, match, end, None)
            if isinstance(found, Record):
                after = found.end
            else:
                failures += 1
            yield found


def _name(match: re.Match[str]) -> str:
    return f"{match[1]}_{match[2]}"


def _record(text: str, match: re.Match[str], end: int, head: Head | None) -> Record | Problem:
    name = _name(match)
    kind = (match[2] if match[1] == "RPC" else name).lower()
    if kind in MESSAGES:
        if message := _MESSAGE.match(text, match.end(), end):
            words = list(message.groupdict().items())
            return Record(name, kind, head, words, match.start(), message.end())
        reason, open_ = _incomplete(text, match.end(), end)
        return Problem(name, match.start(), reason, open_)
    body = text[match.end() : end]
    if match[1] == "QEMU_MONITOR":
        words, size = _monitor(body)
    else:
        words, size = _words(body, _ARGUMENTS.get(name, ()))
    record = Record(name, kind, head, words, match.start(), match.end() + size)
    if name not in _ARGUMENTS:
        if head is None and name not in _REFERENCES:
            return Problem(name, match.start(), "is not a probe of libvirt")
        return record
    missing = _missing(name, words)
    if missing is None:
        return record
    reason = f"incomplete: {missing}= is missing"
    return Problem(name, match.start(), reason, end == len(text), record if head else None)


def _incomplete(text: str, start: int, end: int) -> tuple[str, bool]:
    """Return the reason why a text is not the arguments of a message, and whether it may continue."""
    at = start
    for word in _WORDS:
        rest = text[at:end].strip().removesuffix("=")  # perhaps a soft break of quoted-printable text
        found = re.compile(rf" ?{word}=(\S*)").match(text, at, end)
        if found is None:
            open_ = end == len(text) and f"{word}=".startswith(rest)
            return f"incomplete: {word}= is missing", open_
        at = found.end()
        if word != "client" and not _NUMBER.fullmatch(found[1]):
            open_ = at == len(text) and found[1].removesuffix("=").isdecimal()
            return f"expected an integer, got {word}={quoted(found[1])}", open_ or not found[1]
    return "is not complete", False


def _words(body: str, arguments: tuple[Argument, ...]) -> tuple[list[tuple[str, str]], int]:
    """Split the words of a record, and return their size: marks of a quotation after the last one are not
    part of it."""
    pieces = _BETWEEN_WORDS.split(body)
    words = [(key, value) for key, equals, value in (piece.partition("=") for piece in pieces) if equals]
    if not words:
        return [], 0
    key, value = words[-1]
    meanings = {_ALIASES.get(name, name): meaning for name, meaning in arguments}
    typed = {"object": _OBJECT, "signed": _NUMBER, "unsigned": _NUMBER}.get(meanings.get(key, ""))
    found = typed.match(value) if typed else None
    kept = found[0] if found else _AFTER.sub("", value)
    words[-1] = key, kept
    return words, len(body) - (len(value) - len(kept))


def _monitor(body: str) -> tuple[list[tuple[str, str]], int]:
    match = _MONITOR.match(body)
    if match is None:
        return [], 0
    words = [("mon", match["mon"]), (match["key"], match["text"])]
    return (words if match["fd"] is None else [*words, ("fd", match["fd"])]), match.end()


def _missing(name: str, words: list[tuple[str, str]]) -> str | None:
    """Return the first argument that a record of a known probe lacks, in order."""
    rest = iter([key for key, _ in words])
    for argument in _ARGUMENTS[name]:
        key = _ALIASES.get(argument.name, argument.name)
        if key not in rest:
            return key
    return None
