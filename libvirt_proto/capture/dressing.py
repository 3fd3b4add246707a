"""Text without its dressing: quote marks, fences, entities and typographic characters, which mail, chat, web
pages and editors add to lines."""

from __future__ import annotations

import html
import quopri
import re
from typing import Final

#: `> `, `>> `, `> > `; in HTML without `<pre>`, `&gt; `. Further to the right it is data.
_QUOTE: Final = re.compile(r" {0,3}(?:(?:>|&gt;)[ \t]?){1,20}")
_QUOTED_BYTES: Final = re.compile(_QUOTE.pattern.encode())
_FENCE: Final = re.compile(r"\s*(?:`{3,}|~{3,})\s*[\w+-]*\s*$")
_LIST: Final = re.compile(r"\s*(?:[*•-]|\d{1,3}[.)])\s+(?=`)")
_CODE: Final = re.compile(r"\s*(`{1,2}|\*\*)(?![`*])(.*[^`*])\1\s*$")
_TAGS: Final = re.compile(
    r"</?(?:(?P<block>!doctype|blockquote|body|br|div|h[1-6]|head|hr|html|img|li|ol|p|pre|table|tbody|td|th|tr|ul)"
    r"|a|b|code|em|font|i|mark|samp|small|span|strong|tt|u|wbr)(?:\s[^<>]{0,400})?/?>",
    re.IGNORECASE,
)
_CONTROL: Final = r"(?:\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[()][0-9A-Za-z])"
#: Control sequences (colours) and operating system commands (ECMA-48), and as cat -v shows them.
_CONTROLS: Final = re.compile(r"\x1b" + _CONTROL)
_SHOWN_CONTROLS: Final = re.compile(r"\^\[" + _CONTROL)
_ENTITY: Final = re.compile(r"&(?:quot|amp|lt|gt|nbsp|apos|#\d{1,6}|#[xX][0-9a-fA-F]{1,5});")
_BLANKS: Final = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
)
_INVISIBLE: Final = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
#: No-break and other blanks, and marks without a width.
_PLAIN_BLANKS: Final = str.maketrans(dict.fromkeys(_BLANKS, " ") | dict.fromkeys(_INVISIBLE))
#: The same, and hyphens.
_CHARACTERS: Final = _PLAIN_BLANKS | str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
_PLAIN: Final = re.compile(rb"[ -~]*+")
_ESCAPED: Final = re.compile(r"\\([_*\[\]<>#.!`|~-])")
#: Marks of a quotation at the beginning of a line.
MARKS: Final = re.compile(r"[>|*#\s]*")
#: The same in quoted-printable text, whose lines keep their blanks.
ENCODED_MARKS: Final = re.compile(r"(?:[>|] ?)*")
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟″", '"') | dict.fromkeys("‘’‚‛′", "'"))


def without_controls(text: str, *, shown: bool) -> str:
    """Return a text without colours and other control sequences. `shown` includes those that cat -v wrote."""
    if "\x1b" in text:
        text = _CONTROLS.sub("", text)
    return _SHOWN_CONTROLS.sub("", text) if shown and "^[" in text else text


def undress(line: bytes, *, encoded: bool = False) -> str:
    """Return the text of a line in which only names and numbers count: without colours, tags, entities and
    escapes of markdown, with plain blanks. `encoded` means that other lines show that the text is
    quoted-printable."""
    line = line.rstrip(b"\r")
    if encoded or b"=3D" in line:  # quoted-printable text has no other equals sign
        line = quopri.decodestring(line)
    text = line.decode("utf-8", "backslashreplace" if b"\xa0" not in line else "replace")
    text = without_controls(text, shown=True)
    if not _PLAIN.fullmatch(line):
        text = text.replace("\t", " ").replace("\ufffd", " ").translate(_PLAIN_BLANKS)
    if "<" in text or "&" in text:
        text = _TAGS.sub(lambda tag: " " if tag["block"] else "", text)
        text = html.unescape(text).replace("\xa0", " ")
    return unescape(text)


def unescape(text: str) -> str:
    """Remove the escapes of markdown."""
    return _ESCAPED.sub(r"\1", text) if "\\_" in text else text


class Undresser:
    """Removes the dressing of the lines of one text in which every character may be data."""

    def __init__(self) -> None:
        #: Whether the text is HTML; tags show it.
        self.is_html = False

    def line(self, data: bytes) -> str:
        """Return a line without line end, quote marks, tags and entities, and with ASCII's spaces and quotes.
        Its indentation stays, bytes that are not UTF-8 become surrogates."""
        try:
            text = data.decode("ascii")
        except UnicodeDecodeError:
            text = data.decode("utf-8", "surrogateescape").translate(_CHARACTERS)
            if '"' not in text and "'" not in text:
                text = text.translate(_QUOTES)
        text = without_controls(text, shown=text.lstrip().startswith("^["))
        text = text.rstrip()
        if "<" in text or "&" in text:
            text = self._html(text)
        if (">" in text or "&gt;" in text) and (quote := _QUOTE.match(text)):
            text = text[quote.end() :]
        if "`" in text or "**" in text:
            text = _LIST.sub("", text)
            if match := _CODE.match(text):
                text = match[2]
        return text

    def _html(self, text: str) -> str:
        """Return a line without HTML's tags and entities. Data may contain both: entities count in text with
        tags, and where they are the only quotes."""
        if _TAGS.match(text.lstrip()) or _TAGS.search(text[-12:]):
            self.is_html = True
        quotes = "&quot;" in text or "&#" in text or "&nbsp;" in text or "&apos;" in text
        if self.is_html or (quotes and '"' not in text and "'" not in text):
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), _TAGS.sub("", text))
            text = text.translate(_CHARACTERS).rstrip()
        return text


def without_quote(line: bytes) -> bytes:
    """Return a line without its quote marks; it keeps its other blanks."""
    match = _QUOTED_BYTES.match(line) if b">" in line[:40] else None
    return line[match.end() :] if match else line


def is_fence(text: str) -> bool:
    """Return whether a line begins or ends a block of code in Markdown."""
    return _FENCE.match(text) is not None
