"""Text without its dressing: quote marks, fences, entities and typographic characters, which mail, chat, web
pages and editors add to lines."""

from __future__ import annotations

import html
import re
from typing import Final

#: `> `, `>> `, `> > `; in HTML without `<pre>`, `&gt; `. Further to the right it is data.
_QUOTE: Final = re.compile(r" {0,3}(?:(?:>|&gt;)[ \t]?){1,20}")
_FENCE: Final = re.compile(r"\s*(?:`{3,}|~{3,})\s*[\w+-]*\s*$")
_LIST: Final = re.compile(r"\s*(?:[*•-]|\d{1,3}[.)])\s+(?=`)")
_CODE: Final = re.compile(r"\s*(`{1,2}|\*\*)(?![`*])(.*[^`*])\1\s*$")
_TAG: Final = re.compile(
    r"</?(?:!doctype|html|head|body|pre|code|p|br|div|span|tt|samp|blockquote|li|ul|table|tbody|tr|td|b|i|em"
    r"|strong|font)(?:\s[^<>]{0,400})?/?>",
    re.IGNORECASE,
)
#: Colours and other control sequences (ECMA-48).
_CONTROL: Final = re.compile(r"\x1b\[[0-9;:?]{0,20}[ -/]?[@-~]")
_ENTITY: Final = re.compile(r"&(?:quot|amp|lt|gt|nbsp|apos|#\d{1,6}|#[xX][0-9a-fA-F]{1,5});")
#: No-break and other spaces; marks without a width; quotes; hyphens.
_CHARACTERS: Final = str.maketrans(
    dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " ")
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")
)
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟″", '"') | dict.fromkeys("‘’‚‛′", "'"))


class Undresser:
    """Removes the dressing of the lines of one text."""

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
        if "\x1b" in text:
            text = _CONTROL.sub("", text)
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
        if _TAG.match(text.lstrip()) or _TAG.search(text[-12:]):
            self.is_html = True
        quotes = "&quot;" in text or "&#" in text or "&nbsp;" in text or "&apos;" in text
        if self.is_html or (quotes and '"' not in text and "'" not in text):
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), _TAG.sub("", text))
            text = text.translate(_CHARACTERS).rstrip()
        return text


def is_fence(text: str) -> bool:
    """Return whether a line begins or ends a block of code in Markdown."""
    return _FENCE.match(text) is not None
