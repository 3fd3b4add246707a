"""Text inside other text: mail in quoted-printable or base64, entries of log collectors, lines with a prefix.

An envelope is removed from dumps and traces, whose lines have to be complete. The log reader removes it
itself, since times and processes are in it. Sources: RFC 2045 (section 6.7 and 6.8), docker's json-file, the
kubelet's log format.
"""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final

from ..blocks import BLOCK_SIZE, Read, text_lines
from ..rpc.wire import MAX_FRAME
from .dressing import Undresser, undress
from .entries import TEXTS, field, texts

#: Lines of a text → lines of the text in it.
Envelope = Callable[[Iterable[bytes]], Iterator[bytes]]

#: The longest message with each byte as `\\xff` in JSON, and the rest of a line.
_MAX_LINE: Final = 6 * MAX_FRAME
#: An equals sign outside a string of a trace or a program.
_ENCODED_SIGN: Final = re.compile(rb"[)\]\w] =3D (?:[-\d{\[\"?]|$)", re.MULTILINE)
_SOFT_BREAK: Final = re.compile(rb"^[^\n]{40,75}=\r?$", re.MULTILINE)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{2,76}={0,2}\r?")
_ENTRY: Final = re.compile(
    rb'^\s*(?:[^\s{]{1,80} ?)?\{\s*(?:"|&quot;|&#34;)|^\s*"?MESSAGE"?(?: :|=)', re.MULTILINE
)
_HTML: Final = re.compile(rb"<(?:html|body|pre|p|br|div|span|code|td)\b", re.IGNORECASE)
#: The kubelet's prefix; P marks a line that continues.
_KUBELET: Final = re.compile(rb"\S{19,40} std(?:out|err) ([FP]) ")
#: Parts of a line that other lines have, too, if they differ only in numbers and blanks.
_TOKEN: Final = re.compile(rb"[0-9]+|[ \t]+|[^0-9 \t]")
#: Number of lines, and of parts of each, that are compared.
_MAX_LINES: Final = 64
#: Parts that the offsets and addresses of dumps have, too.
_IN_DUMPS: Final = re.compile(rb"[0-9a-fA-FxX:<>\s]*")
_MAX_TOKENS: Final = 80
#: The first header of a mail, and the size of all.
_MAIL: Final = re.compile(rb"[A-Z][A-Za-z-]{1,40}: ")
_HEADERS: Final = 16_384
#: What a quotation adds after a line.
_SUFFIX: Final = re.compile(rb"(?:[ \t]*\||\*\*|[\"'`]?,?|_)$")


def certain(head: bytes) -> Iterator[Envelope]:
    """Yield the envelopes that marks in a text show."""
    lower = head[:_HEADERS].lower()
    if b"content-transfer-encoding: base64" in lower:
        yield _from_base64
    if b"quoted-printable" in lower or _ENCODED_SIGN.search(head):
        yield _from_quoted_printable
    if _ENTRY.search(head):
        yield _from_entries_with_ends if _has_ends(head) else _from_entries
    if _HTML.search(head):
        yield _from_html
    if _KUBELET.match(head):
        yield _from_kubelet


def possible(head: bytes) -> Iterator[Envelope]:
    """Yield the envelopes that the form of the lines allows."""
    if _SOFT_BREAK.search(head):
        yield _from_quoted_printable
    if _MAIL.match(head):
        _, _, head = head.replace(b"\r", b"").partition(b"\n\n")
    lines = [line for line in head.split(b"\n")[:_MAX_LINES] if line.strip()]
    for prefix in _prefixes(lines):
        yield _without(prefix, b"")
        suffixes = {_suffix(line) for line in lines}
        if len(suffixes) == 1 and (suffix := suffixes.pop()):
            yield _without(prefix, suffix)


def hides_text(envelope: Envelope) -> bool:
    """Return whether no line of the text can be read in the envelope."""
    return envelope is _from_base64


def opened(read: Read, envelope: Envelope) -> Read:
    """Return the text in an envelope, as a file."""
    lines = envelope(text_lines(read, _MAX_LINE))
    rest = bytearray()

    def take(size: int) -> bytes:
        while not rest and (line := next(lines, None)) is not None:
            rest.extend(line + b"\n")
            while len(rest) < BLOCK_SIZE and (line := next(lines, None)) is not None:
                rest.extend(line + b"\n")
        data = bytes(rest[:size])
        del rest[:size]
        return data

    return take


def sample(head: bytes, envelope: Envelope) -> bytes:
    """Return the text at the beginning of an envelope."""
    return b"\n".join(envelope(head.split(b"\n")))


def _from_quoted_printable(lines: Iterable[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    for line in lines:
        text = line.rstrip()
        if text.endswith(b"="):
            parts.append(text[:-1])
            continue
        yield quopri.decodestring(b"".join((*parts, text)))
        parts.clear()
    if parts:
        yield quopri.decodestring(b"".join(parts))


def _from_base64(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of the parts in base64, and all other lines."""
    rest = b""
    for line in lines:
        if _BASE64.fullmatch(line):
            try:
                *whole, rest = (rest + base64.b64decode(line.strip(), validate=True)).split(b"\n")
            except binascii.Error:
                yield line
            else:
                yield from whole
            continue
        if rest:
            yield rest
            rest = b""
        yield line
    if rest:
        yield rest


def _from_html(lines: Iterable[bytes]) -> Iterator[bytes]:
    undresser = Undresser()
    for line in lines:
        yield undresser.line(line).encode("utf-8", "surrogateescape")


def _from_kubelet(lines: Iterable[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    for line in lines:
        match = _KUBELET.match(line)
        parts.append(line[match.end() :] if match else line)
        if match is None or match[1] == b"F":
            yield b"".join(parts)
            parts.clear()
    if parts:
        yield b"".join(parts)


def _has_ends(head: bytes) -> bool:
    """Return whether texts of entries have line ends, so that those without one continue (docker)."""
    lines = head.split(b"\n")[:_MAX_LINES]
    return any(text.endswith("\n") for line in lines for text in texts(undress(line)))


def _from_entries_with_ends(lines: Iterable[bytes]) -> Iterator[bytes]:
    return _from_entries(lines, ends=True)


def _from_entries(lines: Iterable[bytes], *, ends: bool = False) -> Iterator[bytes]:
    """Yield the lines in the texts of entries."""
    rest = ""
    for line in lines:
        text = undress(line)
        if (named := field(text)) is not None:
            found = [named[1]] if named[0] in TEXTS and isinstance(named[1], str) else []
        else:
            found = texts(text)
        for each in found:
            *whole, rest = (rest + each if ends else f"{each}\n").split("\n")
            for part in whole:
                yield part.encode("utf-8", "surrogateescape")
        if not found and not text.lstrip().startswith(("{", '"')):
            yield line
    if rest:
        yield rest.encode("utf-8", "surrogateescape")


def _prefixes(lines: list[bytes]) -> Iterator[re.Pattern[bytes]]:
    """Yield patterns for the beginning that all lines have, first those that end with a blank: numbers and
    blanks may differ. Offsets and addresses of dumps are none."""
    rows = [_TOKEN.findall(line[:400])[:_MAX_TOKENS] for line in lines]
    patterns, others, pattern, is_foreign = list[bytes](), list[bytes](), b"", False
    for column in zip(*rows, strict=False):
        kinds = {_kind(token) for token in column}
        if len(kinds) > 1:
            break
        pattern += kinds.pop()
        is_foreign = is_foreign or not _IN_DUMPS.fullmatch(column[0]) or _are_consecutive(column)
        if not is_foreign:  # perhaps an offset or an address
            continue
        (patterns if column[0].isspace() else others).append(pattern)
    yield from map(re.compile, patterns + others)


def _are_consecutive(numbers: tuple[bytes, ...]) -> bool:
    """Return whether these are the numbers of lines."""
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return False
    return all(int(after) == int(before) + 1 for before, after in pairwise(numbers))


def _kind(token: bytes) -> bytes:
    """Return the pattern of a part of a line."""
    if token.isdigit():
        return rb"[0-9]+"
    return rb"[ \t]+" if token.isspace() else re.escape(token)


def _suffix(line: bytes) -> bytes:
    match = _SUFFIX.search(line.rstrip())
    return match[0] if match else b""


def _without(prefix: re.Pattern[bytes], suffix: bytes) -> Envelope:
    def stripped(lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            match = prefix.match(line)
            rest = line[match.end() :] if match else line
            yield rest.rstrip().removesuffix(suffix) if suffix else rest

    return stripped
