"""libvirt's annotations: which comment belongs to which declaration, and what it says.

Since 1.0.5 a procedure's comment stands before it (`@generate: both`); older releases put words behind
it (`autogen skipgen priority:high`). Both kinds are read in both places. `insert@N` stands behind a
field, or behind the `{` of a struct.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .errors import Problem
from .model import AccessRule, Annotations
from .source import Source, Span
from .syntax_errors import quoted

#: What may stand between a declaration's last word and a comment that belongs to it.
_GAP = re.compile(r"(?:[\s<>\[\]]*[;,])?[ \t]*")
_BLANKS = re.compile(r"[ \t]*")

#: `@word: argument`, alone on its line but for the comment's own slashes and stars.
_NEW = re.compile(r"^[ \t*/]*(@([A-Za-z]+)[ \t]*:(.*))$", re.MULTILINE)
_OLD = re.compile(r"[/*\s]*((?:autogen|skipgen)\b[^*]*)")
_INSERT = re.compile(r"[/*\s]*insert@([^\s*]*)")

#: The old words: the first is about the daemon, the second about the client.
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
    """The comments of a source, by their places."""

    def __init__(self, source: Source, spans: Iterable[Span]) -> None:
        self._text = source.text
        self._by_start = {span.start: span for span in spans}
        self._by_end = {span.end: span for span in self._by_start.values()}

    def before(self, offset: int) -> Span | None:
        """The comment that ends before the token at `offset`, unless it stands behind another one."""
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
        """The comments on the line of a declaration whose last word ends at `offset`."""
        match = _GAP.match(self._text, offset)
        while match and (comment := self._by_start.get(match.end())):
            yield comment
            match = _BLANKS.match(self._text, comment.end)


class _Word(NamedTuple):
    """An annotation as found: its name, what it is given, where it stands."""

    name: str
    argument: str
    span: Span


class _AnnotationError(Exception):
    """An annotation that cannot be understood: why, and what to write."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint


def read_annotations(comments: Iterable[Span]) -> tuple[Annotations | None, list[Problem]]:
    """What a member's comments say, None if nothing; and the words that cannot be understood."""
    single: dict[str, Any] = {}
    rules: dict[str, list[AccessRule]] = {}
    problems = []
    for comment in comments:
        for word in _words(comment):
            try:
                if word.name in ("acl", "aclfilter"):
                    _add_rule(word, rules)
                elif word.name in single:
                    raise _AnnotationError(f"@{word.name} is given twice")
                else:
                    single[word.name] = _single(word)
            except _AnnotationError as bad:
                problems.append(Problem("bad-annotation", word.span, bad.message, bad.hint))
    said = single | {name: tuple(found) for name, found in rules.items()}
    return Annotations(**said) if said else None, problems


def read_insert(comments: Iterable[Span]) -> tuple[int | None, list[Problem]]:
    """N of the first `insert@N`, None if there is none; and those that have no number."""
    for comment in comments:
        if match := _INSERT.match(_text(comment)):
            if _NUMBER.fullmatch(match[1]):
                return int(match[1]), []
            message = f"'insert@' needs a number, not {quoted(match[1])}"
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
    """`autogen skipgen priority:high | readstream@1` as the newer words."""
    yield _Word("generate", _GENERATE.get((words[0], "".join(words[1:2])), " ".join(words[:2])), comment)
    for word in words[2:]:
        name, _, argument = word.replace("@", ":").partition(":")
        yield _Word(name, argument, comment)


def _single(word: _Word) -> str | int:
    """What an annotation that is given once says; raises _AnnotationError."""
    given = quoted(word.argument)
    if choices := _CHOICES.get(word.name):
        if word.argument in choices:
            return word.argument
        if _OLD.match(word.argument):
            hint = "write autogen or skipgen twice: first for the daemon, then for the client"
            raise _AnnotationError(f"a member cannot be {given}", hint)
        raise _AnnotationError(f"@{word.name} cannot be {given}", f"it is one of {', '.join(choices)}")
    if word.name == "sparseflag":
        if not re.fullmatch(_NAME, word.argument):
            raise _AnnotationError(f"@sparseflag needs the name of a flag, not {given}")
        return word.argument
    if word.name not in _WORDS:
        raise _AnnotationError(f"{quoted(word.name)} is no annotation")
    if not _NUMBER.fullmatch(word.argument):
        hint = "it is the stream's place among the parameters"
        raise _AnnotationError(f"@{word.name} needs a number, not {given}", hint)
    return int(word.argument)


def _add_rule(word: _Word, rules: dict[str, list[AccessRule]]) -> None:
    """Adds the rule of one @acl or @aclfilter, none for `@acl: none`; raises _AnnotationError."""
    rule = None if (word.name, word.argument) == ("acl", "none") else _access_rule(word)
    if word.name in rules and not (rule and rules[word.name]):
        raise _AnnotationError(f"@{word.name} is none, and something else as well")
    rules.setdefault(word.name, []).extend([rule] if rule else [])


def _access_rule(word: _Word) -> AccessRule:
    forms = _ACL_FORMS if word.name == "acl" else _ACL_FORMS[:1]
    for form in forms:
        if match := form.fullmatch(word.argument):
            return AccessRule(**match.groupdict())
    written = "object:permission[:flags][:parameter:value]" if word.name == "acl" else "object:permission"
    raise _AnnotationError(f"@{word.name} cannot be {quoted(word.argument)}", f"write {written}")
