"""libvirt's annotations: the comment that belongs to each declaration, and its meaning.

Since 1.0.5 the annotations of a procedure are in the comment before it (`@generate: both`); older releases
put words after it (`autogen skipgen priority:high`). Both forms are accepted in both places. `insert@N`
follows a field, or the `{` of a struct.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from libvirt_proto.codec.annotations import AccessRule, Annotations

from .errors import Problem
from .source import Source, Span
from .syntax_errors import quoted

#: The text allowed between the last word of a declaration and a comment that belongs to it.
_GAP = re.compile(r"(?:[\s<>\[\]]*[;,])?[ \t]*")
_BLANKS = re.compile(r"[ \t]*")

#: `@word: argument`, alone on its line except for the comment's own slashes and stars.
_NEW = re.compile(r"^[ \t*/]*(@([A-Za-z]+)[ \t]*:(.*))$", re.MULTILINE)
_OLD = re.compile(r"[/*\s]*((?:autogen|skipgen)\b[^*]*)")
_INSERT = re.compile(r"[/*\s]*insert@([^\s*]*)")

#: The old words: the first is for the daemon, the second for the client.
_GENERATE = {
    ("autogen", "autogen"): "both",
    ("autogen", "skipgen"): "server",
    ("skipgen", "autogen"): "client",
    ("skipgen", "skipgen"): "none",
}

_CHOICES = {"generate": ("none", "client", "server", "both"), "priority": ("low", "high")}
_WORDS = frozenset({*_CHOICES, "readstream", "writestream", "sparseflag", "acl", "aclfilter"})

_NUMBER = re.compile(r"[0-9]{1,9}")

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_RULE = rf"(?P<object>{_NAME}):(?P<permission>{_NAME})"
_FLAGS = rf"(?P<flags>!?{_NAME}(?:\|!?{_NAME})*)"
_PARAMETER = rf"(?P<parameter>{_NAME}):(?P<value>{_NAME})"
_ACL_FORMS = (
    re.compile(_RULE),
    re.compile(rf"{_RULE}:{_FLAGS}"),
    re.compile(rf"{_RULE}:{_FLAGS}?:{_PARAMETER}"),
)


class Comments:
    """The comments of a source, by position."""

    def __init__(self, source: Source, spans: Iterable[Span]) -> None:
        self._text = source.text
        self._by_start = {span.start: span for span in spans}
        self._by_end = {span.end: span for span in self._by_start.values()}

    def before(self, offset: int) -> Span | None:
        """Return the comment that ends before the token at `offset`, unless it follows another token on its
        line."""
        while offset and self._text[offset - 1].isspace():
            offset -= 1
        comment = self._by_end.get(offset)
        if comment is None:
            return None
        start = comment.start
        while start and (self._text[start - 1] in " \t" or start in self._by_end):
            start = self._by_end[start].start if start in self._by_end else start - 1
        return comment if start == 0 or self._text[start - 1] in "\n{" else None

    def after(self, offset: int) -> Iterator[Span]:
        """Yield the comments on the line of a declaration whose last word ends at `offset`."""
        match = _GAP.match(self._text, offset)
        while match and (comment := self._by_start.get(match.end())):
            yield comment
            match = _BLANKS.match(self._text, comment.end)


class _Word(NamedTuple):
    """An annotation as written: its name, its argument and its place."""

    name: str
    argument: str
    span: Span


class _AnnotationError(Exception):
    """An invalid annotation: the reason, and what to write instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint


def read_annotations(comments: Iterable[Span]) -> tuple[Annotations | None, list[Problem]]:
    """Return the annotations in a member's comments, None without any, and the problems of invalid ones."""
    single: dict[str, Any] = {}
    rules: dict[str, list[AccessRule]] = {}
    problems = []
    for comment in comments:
        for word in _words(comment):
            try:
                if word.name in ("acl", "aclfilter"):
                    _add_rule(word, rules)
                elif word.name in single:
                    raise _AnnotationError(f"duplicate annotation @{word.name}")
                else:
                    single[word.name] = _single(word)
            except _AnnotationError as bad:
                problems.append(Problem("bad-annotation", word.span, bad.message, bad.hint))
    said = single | {name: tuple(found) for name, found in rules.items()}
    return Annotations(**said) if said else None, problems


def read_insert(comments: Iterable[Span]) -> tuple[int | None, list[Problem]]:
    """Return N of the first `insert@N`, None without one, and the problems of those without a number."""
    for comment in comments:
        if match := _INSERT.match(_text(comment)):
            if _NUMBER.fullmatch(match[1]):
                return int(match[1]), []
            message = f"expected a number after 'insert@', got {quoted(match[1])}"
            return None, [Problem("bad-annotation", comment, message, "write 'insert@1'")]
    return None, []


def _text(span: Span) -> str:
    return span.source.text[span.start : span.end]


def _words(comment: Span) -> Iterator[_Word]:
    text = _text(comment)
    if old := _OLD.match(text):
        yield from _old_words(comment, old[1].replace("|", " ").split())
    for match in _NEW.finditer(text):
        if match[2] in _WORDS:
            written = match[1].removesuffix("*/").rstrip()
            start = comment.start + match.start(1)
            argument = match[3].removesuffix("*/").strip()
            yield _Word(match[2], argument, Span(comment.source, start, start + len(written)))


def _old_words(comment: Span, words: list[str]) -> Iterator[_Word]:
    """Convert `autogen skipgen priority:high | readstream@1` to the newer words."""
    yield _Word("generate", _GENERATE.get((words[0], "".join(words[1:2])), " ".join(words[:2])), comment)
    for word in words[2:]:
        name, _, argument = word.replace("@", ":").partition(":")
        yield _Word(name, argument, comment)


def _single(word: _Word) -> str | int:
    """Return the value of an annotation that may appear once; raises _AnnotationError."""
    given = quoted(word.argument)
    if choices := _CHOICES.get(word.name):
        if word.argument in choices:
            return word.argument
        if _OLD.match(word.argument):
            hint = "write autogen or skipgen twice: for the daemon, then for the client"
            raise _AnnotationError(f"invalid annotation {given}", hint)
        raise _AnnotationError(
            f"invalid value of @{word.name}: {given}", f"expected one of {', '.join(choices)}"
        )
    if word.name == "sparseflag":
        if not re.fullmatch(_NAME, word.argument):
            raise _AnnotationError(f"expected the name of a flag after @sparseflag, got {given}")
        return word.argument
    if word.name not in _WORDS:
        raise _AnnotationError(f"unknown annotation {quoted(word.name)}")
    if not _NUMBER.fullmatch(word.argument):
        hint = "write the position of the stream among the parameters"
        raise _AnnotationError(f"expected a number after @{word.name}, got {given}", hint)
    return int(word.argument)


def _add_rule(word: _Word, rules: dict[str, list[AccessRule]]) -> None:
    """Add the rule of one @acl or @aclfilter, none for `@acl: none`; raises _AnnotationError."""
    rule = None if (word.name, word.argument) == ("acl", "none") else _access_rule(word)
    if word.name in rules and not (rule and rules[word.name]):
        raise _AnnotationError(f"@{word.name} is none, but another @{word.name} is given as well")
    rules.setdefault(word.name, []).extend([rule] if rule else [])


def _access_rule(word: _Word) -> AccessRule:
    forms = _ACL_FORMS if word.name == "acl" else _ACL_FORMS[:1]
    for form in forms:
        if match := form.fullmatch(word.argument):
            return AccessRule(**match.groupdict())
    written = "object:permission[:flags][:parameter:value]" if word.name == "acl" else "object:permission"
    raise _AnnotationError(f"invalid value of @{word.name}: {quoted(word.argument)}", f"write {written}")
