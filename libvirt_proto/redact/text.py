"""Blank secrets in text (XML, JSON, command lines, plain text) without changing a length.

Every function returns text of the same length in UTF-8, and returns its own output unchanged. Where a
secret-looking word occurs and the secret cannot be located exactly, the whole attribute, element or string is
blanked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ..codec.secretfields import Rule, name_looks_secret, rules, table

#: Start, end, and the character to fill with.
Span = tuple[int, int, str]

FILL: Final = "x"
#: libxml2's limit (xmlParserMaxDepth): no libvirt reads a more deeply nested document.
_MAX_DEPTH: Final = 256
#: A JSON number remains a number.
_DIGIT: Final = "1"
#: Number of times that escapes within escapes are resolved; text with still more of them is blanked.
_ROUNDS: Final = 4

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
#: An identifier or a path can name a secret, but not contain one.
_BARE: Final = re.compile(r"[\w.+/-]*")
#: Text that may contain a URI, and the part of a URI before its authority; a slash may be escaped (JSON).
_RUN: Final = re.compile(r"[^\s<>\"']+")
_AUTHORITY: Final = re.compile(r":(?:\\?/){2}")
_SPACE_OR_DASH: Final = re.compile(r"[\s_-]+")
_ESCAPE: Final = re.compile(
    r"&#x(?P<hex>[0-9a-fA-F]{1,6});|&#(?P<decimal>[0-9]{1,7});|&(?P<name>lt|gt|amp|quot|apos);"
    r"|%(?P<percent>[0-9a-fA-F]{2})|\\u(?P<unicode>[0-9a-fA-F]{4})|\\x(?P<byte>[0-9a-fA-F]{2})"
)
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}

_NAME: Final = r"[^\s<>/=&'\"!?\[\](){},;]+"
_ATTRIBUTE: Final = re.compile(rf"\s+({_NAME})\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")
_MARKUP: Final = re.compile(
    rf"<!--(?P<comment>.*?)-->|<!\[CDATA\[(?P<cdata>.*?)\]\]>|<\?(?P<instruction>.*?)\?>|</(?P<end>{_NAME})\s*>"
    rf"|<(?P<start>{_NAME})(?P<attributes>(?:\s+{_NAME}\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(?P<empty>/?)>"
    r"|(?P<text>[^<]+)",
    re.DOTALL,
)
#: Attributes and keys that name the contents of another one in the same place.
_NAMING: Final = frozenset(("name", "key", "property", "target"))
#: The beginning of an object or array with contents, which no HMP text has: it is damaged JSON.
_JSON_START: Final = re.compile(r"[{\[]\s*[\"{\[]")
_JSON: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def blank(text: str) -> str:
    """Return text of the same length in UTF-8."""
    return FILL * len(text.encode("utf-8", "surrogatepass"))


def redact_text(text: str) -> str:
    """Redact any string: XML and JSON as such, everything else as plain text."""
    if _CONTROL.search(text):
        return blank(text)
    spans = xml_spans(text) if "<" in text else json_spans(text) if text.lstrip()[:1] in ("{", "[") else None
    if spans is None:
        return blank(text) if sensitive(text) else _without_userinfo(text)
    return _without_userinfo(_filled(text, spans))


def redact_xml(text: str) -> str:
    """Redact a document; one that is not well-formed is blanked."""
    if not text.strip():
        return text
    spans = None if _CONTROL.search(text) else xml_spans(text)
    return blank(text) if spans is None else _without_userinfo(_filled(text, spans))


def redact_qmp(text: str) -> str:
    """Redact a command, reply or event of QEMU's monitor or guest agent: JSON, or HMP text."""
    spans = None if _CONTROL.search(text) else json_spans(text)
    if spans is not None:
        return _without_userinfo(_filled(text, spans))
    broken = text.lstrip()[:1] in ("{", "[", '"') or _JSON_START.search(text)
    return blank(text) if broken or sensitive(text) or _CONTROL.search(text) else _without_userinfo(text)


def sensitive(text: str) -> bool:
    """Return whether a secret-looking word occurs in text that is more than an identifier or a path."""
    return not _BARE.fullmatch(text) and has_word(text)


def has_word(text: str) -> bool:
    """Return whether a secret-looking word occurs in text, however it is escaped."""
    for _ in range(_ROUNDS):
        if _words().search(_SPACE_OR_DASH.sub("", text)) or _whole_words().search(text):
            return True
        resolved = _ESCAPE.sub(_character, text)
        if resolved == text:
            return False
        text = resolved
    return True


def _character(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if kind == "name":
        return _NAMED[match[0][1:-1]]
    number = int(match[kind], 10 if kind == "decimal" else 16)
    return chr(number) if number < 0x110000 else " "


_compiled: dict[str, re.Pattern[str]] = {}


def _words() -> re.Pattern[str]:
    if "words" not in _compiled:
        _compiled["words"] = re.compile("|".join(map(re.escape, table("words"))), re.IGNORECASE)
    return _compiled["words"]


def _whole_words() -> re.Pattern[str]:
    if "whole" not in _compiled:
        whole = "|".join(map(re.escape, table("whole_words")))
        _compiled["whole"] = re.compile(rf"(?<![A-Za-z0-9])(?:{whole})(?![A-Za-z0-9])", re.IGNORECASE)
    return _compiled["whole"]


def _without_userinfo(text: str) -> str:
    """Return `//user:password@host` without the password."""
    return _RUN.sub(_run, text) if "@" in text and ":" in text else text


def _run(match: re.Match[str]) -> str:
    run = match[0]
    authority, end = _AUTHORITY.search(run), run.rfind("@")
    start = run.find(":", authority.end(), end) + 1 if authority else 0
    return run[:start] + blank(run[start:end]) + run[end:] if start else run


def _filled(text: str, spans: list[Span]) -> str:
    parts: list[str] = []
    pos = 0
    for start, end, fill in sorted(spans):
        if start >= pos:
            parts += text[pos:start], fill * len(text[start:end].encode("utf-8", "surrogatepass"))
            pos = end
    return "".join((*parts, text[pos:]))


# XML


@dataclass(slots=True)
class _Element:
    """An open element. `everything`: its whole content is secret, except what `rule` keeps. `text`: only its
    text is. `kept`: the rule of the surrounding element keeps it."""

    name: str
    local: str = ""
    everything: bool = False
    text: bool = False
    kept: bool = False
    rule: Rule | None = None
    #: Start and end of each piece of its own text.
    pieces: list[tuple[int, int]] = field(default_factory=list)
    #: The child element whose value names a secret: the next one of that name holds it (`--password`).
    option: str | None = None


def xml_spans(text: str) -> list[Span] | None:
    """Return the places of secrets in a document or in elements; None if it is not well-formed or has a
    DOCTYPE."""
    scanner = _XmlScanner(text)
    return scanner.spans if scanner.scan() else None


class _XmlScanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._open = [_Element("")]
        self.spans: list[Span] = []

    def scan(self) -> bool:
        text, pos, elements = self._text, 0, 0
        while pos < len(text):
            match = _MARKUP.match(text, pos)
            if match is None:
                return False
            pos = match.end()
            if match["start"] is not None:
                elements += 1
                if len(self._open) > _MAX_DEPTH:
                    return False
                self._start(match)
            elif match["end"] is not None:
                if len(self._open) < 2 or self._open[-1].name != match["end"]:
                    return False
                self._end()
            elif match["text"] is not None or match["cdata"] is not None:
                if len(self._open) < 2 and match[0].strip("\ufeff \t\r\n"):
                    return False
                self._open[-1].pieces.append(match.span("text" if match["text"] is not None else "cdata"))
            else:
                name = "comment" if match["comment"] is not None else "instruction"
                if self._open[-1].everything or sensitive(match[name]):
                    self._add(*match.span(name))
        return len(self._open) == 1 and elements > 0

    def _add(self, start: int, end: int) -> None:
        if self._text[start:end].strip():
            self.spans.append((start, end, FILL))

    def _start(self, match: re.Match[str]) -> None:
        parent = self._open[-1]
        name = match["start"]
        local = name.rpartition(":")[2].lower()
        element = _Element(name, local, kept=self._is_kept(parent, local))
        if not element.kept:
            element.rule = rules("elements").get(f"{parent.local}/{local}") or rules("elements").get(local)
            element.everything = parent.everything or element.rule is not None or name_looks_secret(local)
        follows, parent.option = parent.option == name, None
        self._attributes(match, element, parent, follows=follows)
        self._open.append(element)
        if match["empty"]:
            self._end()

    @staticmethod
    def _is_kept(parent: _Element, local: str) -> bool:
        if parent.rule is not None and local in parent.rule.keep:
            return True
        return parent.kept and local in rules("elements")["secret"].keep

    def _attributes(
        self, match: re.Match[str], element: _Element, parent: _Element, *, follows: bool
    ) -> None:
        found = []
        for attribute in _ATTRIBUTE.finditer(self._text, *match.span("attributes")):
            group = 2 if attribute[2] is not None else 3
            if not attribute[1].startswith("xmlns"):
                local = attribute[1].rpartition(":")[2].lower()
                found.append((local, attribute[group], attribute.span(group)))
        named = any(local in _NAMING and has_word(value) for local, value, _ in found)
        element.text = named or follows
        for local, value, span in found:
            keep = element.rule is not None and f"@{local}" in element.rule.keep
            secret = (
                (element.everything and not keep)
                or (name_looks_secret(local) and f"{element.local}/{local}" not in table("public_attributes"))
                or (named and local not in _NAMING)
                or follows
                or sensitive(value)
            )
            if secret:
                self._add(*span)
            elif value.startswith("-") and has_word(value):
                parent.option = element.name

    def _end(self) -> None:
        element = self._open.pop()
        joined = "".join(self._text[start:end] for start, end in element.pieces)
        if element.everything or element.text or (not element.kept and sensitive(joined)):
            for span in element.pieces:
                self._add(*span)
        elif joined.strip().startswith("-") and has_word(joined):
            self._open[-1].option = element.name


# JSON


@dataclass(slots=True)
class _Container:
    """An open object (`keyed`) or array. `everything`: all that it contains is secret."""

    keyed: bool = False
    everything: bool = False
    key: str | None = None
    #: Keys and places of an object's strings and numbers, and whether one of them names the contents of
    #: another.
    scalars: list[tuple[str, Span]] = field(default_factory=list)
    named: bool = False


def json_spans(text: str) -> list[Span] | None:
    """Return the places of secrets in a JSON text; None if it is not JSON."""
    try:
        msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    spans: list[Span] = []
    top = _Container()
    around: list[_Container] = []
    for match in _JSON.finditer(text):
        token = match[0]
        if token in ("{", "["):
            around.append(top)
            top = _Container(token[0] == "{", top.everything or _secret_key(top.key, scalar=False))
        elif token in ("}", "]"):
            if top.named:
                spans += [span for key, span in top.scalars if key not in _NAMING]
            top = around.pop()
            top.key = None
        elif token[0] == '"' and top.keyed and top.key is None:
            top.key = _ESCAPE.sub(_character, token[1:-1])
        elif token not in (":", ","):
            _scalar(top, match, spans)
    return spans


def _scalar(top: _Container, match: re.Match[str], spans: list[Span]) -> None:
    """Process a string, a number or a literal in an object or array."""
    token, key = match[0], top.key
    if top.keyed:
        top.key = None
    if token[0] == '"':
        span = match.start() + 1, match.end() - 1, FILL
    elif token[0] in "-0123456789":
        span = *match.span(), _DIGIT
    else:
        return
    text = token[1:-1] if token[0] == '"' else ""
    if top.everything or _secret_key(key, scalar=True) or sensitive(text):
        spans.append(span)
    elif key is not None:
        top.scalars.append((key, span))
        top.named = top.named or (key in _NAMING and has_word(text))


def _secret_key(key: str | None, *, scalar: bool) -> bool:
    if key is None:
        return False
    rule = rules("keys").get(key)
    if rule is not None:
        return scalar or not rule.scalars
    return name_looks_secret(key.rpartition(".")[2])
