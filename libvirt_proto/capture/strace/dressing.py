"""Lines of strace as people paste them: quoted, indented, numbered, in HTML, with typographic quotes, or with
the process in another notation."""

from __future__ import annotations

import re
from typing import Final

from ..dressing import Undresser
from .line import PREFIX, Line, parse
from .transfers import CALLS

#: Marks of quotations and lists, and indentation.
_MARKS: Final = re.compile(rb"(?:[>|*+`\s]|- )+")
#: `12:`, `trace.txt:12:` and `12-` (grep -n), `12` and a tab (nl, cat -n).
_NUMBER: Final = re.compile(
    rb"(?:[^\s:(\"]{1,200}:)?\d{1,7}[:-](?=\D)|(?:[^\s:(\"]{1,200}:)?(?=[a-z_]\w{0,40}\()|\d{1,7}\t"
)
#: A process: `[20567]`, `virsh[20567]:`, `virsh/20567:`, `(20567)`, `pid 20567:`, `PID=20567`.
_PROCESS: Final = re.compile(
    rb"(?:[\w.-]{0,40}[\[(<](?:pid[ =:]{1,4})?(?P<number>\d{1,7})[\])>]:?"
    rb"|(?:[\w.-]{1,40}/|(?:pid|PID|tid|TID)[ =:]{0,4})(?P<pid>\d{1,7}):?)"
    rb"\s{1,8}"
)
#: Entities outside strings, which show that a text is HTML.
_HTML: Final = re.compile(
    rb"\(\d{1,10}&lt;|&lt;(?:unfinished|\.\.\. \w{1,40} resumed)|= -?\d{1,10} &lt;|\]&gt;"
)
#: A call with its result, an unfinished call, one that is longer than the data; or other lines of strace.
_STRACE_LINE: Final = re.compile(
    rb"^(?:" + PREFIX + rb"(?:[a-z_]\w{0,40}\((?:[^\n]*(?:\) += (?:-?\d|\?)| <unfinished \.\.\.>$)"
    rb'|\d+(?:<(?:->|[^<>\n]){0,400}>)?, ["\[{][^\n]*\Z)'
    rb"|<\.\.\. \w{1,40} resumed>|\+\+\+ exited with \d|--- SIG[A-Z0-9]+ \{)"
    rb"|strace: Process \d+ attached)",
    re.MULTILINE,
)
#: The end of a call, in a line that may have a prefix.
_RESULT: Final = re.compile(rb"\w\(.*(?:\)(?:\s|\xc2\xa0)+=(?:\s|\xc2\xa0)(?:-?\d|\?)|unfinished \.\.\.)")
#: Other calls that begin a trace of a connection.
_OTHERS: Final = frozenset(
    (b"connect", b"socket", b"execve", b"close", b"poll", b"openat", b"open", b"fcntl", b"accept4")
)
#: A line after the prefix of a logger or a container, and the words of the prefix.
_BEGINNING: Final = re.compile(
    rb"[^\"]{0,200}?(?<![\w.])"
    rb"((?P<call>[a-z_]\w{0,40})\(|<\.\.\. \w{1,40} resumed>|\+\+\+ (?:exited|killed) )"
)
_WORD: Final = re.compile(rb"\S+\s+")
#: Number of words of a prefix.
_MAX_WORDS: Final = 16
#: Number of dressed lines that are tried.
_TRIED: Final = 64


def looks_like_strace(head: bytes) -> bool:
    """Return whether a file that begins so is a trace."""
    if _STRACE_LINE.search(head):
        return True
    lines = StraceLines()
    tried = 0
    for data in head.split(b"\n"):
        if not data or _RESULT.search(data) is None:
            continue
        tried += 1
        line = lines.parse(data.removesuffix(b"\r"))
        if line is not None and _is_known(line.name):
            return True
        if tried == _TRIED:
            break
    return False


class StraceLines:
    """Parses the lines of one trace."""

    def __init__(self) -> None:
        self._undress = Undresser()
        self._is_html = False

    def parse(self, data: bytes) -> Line | None:
        """Parse a line; None for one that is not strace's."""
        if self._is_dressed(data):
            data = self._plain(data)
        line = parse(data)
        return line if line is not None else self._without_prefix(data)

    def _is_dressed(self, data: bytes) -> bool:
        """Return whether a line has entities or characters that strace does not write."""
        if b"&" in data and (b'"' not in data or self._is_html or _HTML.search(data)):
            self._is_html = True
            return True
        return (
            not data.isascii()
            or self._is_html
            or data.startswith((b"<p", b"^[["))
            or data.endswith((b"`", b"**"))
            or b"\x1b" in data
        )

    def _plain(self, data: bytes) -> bytes:
        if self._is_html:
            self._undress.is_html = True
        return self._undress.line(data).replace("…", "...").encode("utf-8", "surrogateescape")

    @staticmethod
    def _without_prefix(data: bytes) -> Line | None:
        """Parse a line after prefixes that others have added."""
        if b"(" not in data and b"resumed>" not in data and b"exited" not in data:
            return None
        for _ in range(3):
            begun = data
            for prefix in (_MARKS, _NUMBER):
                if match := prefix.match(data):
                    data = data[match.end() :]
                    if (line := parse(data)) is not None:
                        return line
            if match := _PROCESS.match(data):
                data = (match["number"] or match["pid"]) + b" " + data[match.end() :]
                return parse(data)
            if data == begun:
                break
        return _behind_words(data)


def _behind_words(data: bytes) -> Line | None:
    """Parse a line after words that are not strace's; its process and time are the last of them."""
    beginning = _BEGINNING.match(data)
    if beginning is None or (beginning["call"] is not None and not _is_known(beginning["call"])):
        return None
    at, end = 0, beginning.start(1)
    for _ in range(_MAX_WORDS):
        if (line := parse(data[at:])) is not None:
            return line
        word = _WORD.match(data, at)
        if word is None or word.end() > end:
            break
        at = word.end()
    return parse(data[end:])


def _is_known(name: bytes) -> bool:
    return name in CALLS or name in _OTHERS
