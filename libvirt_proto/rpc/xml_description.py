"""The name and the UUID in an XML description of an object.

Most kinds have them as elements below the root, `<domain><name>vm1</name><uuid>…</uuid>`; interfaces and
filters have the name as an attribute of the root. A description may be malformed: that may be why its
definition failed.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from xml.parsers import expat

from ..text import uuid_text

#: Characters of a description that are searched: both come at its beginning.
_SEARCHED: Final = 64 * 1024
#: Maximum length of a name.
_NAME: Final = 1024
_UUID: Final = re.compile("[0-9a-fA-F]{32}")


class _Done(Exception):
    """Nothing more is needed, or can be trusted."""


def name_and_uuid(xml: str | bytes) -> tuple[str | None, str | None]:
    """Return the name and the UUID (8-4-4-4-12) of the object that a text describes, None for what it lacks
    and what follows a mistake. A document type ends the search, so that no entity is expanded."""
    found = _Search()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.CharacterDataHandler = found.text
    parser.StartDoctypeDeclHandler = found.refuse
    with suppress(_Done, expat.ExpatError, ValueError):
        parser.Parse(xml[:_SEARCHED], False)
    digits = (found.values.get("uuid") or "").strip().replace("-", "")
    uuid = uuid_text(bytes.fromhex(digits)) if _UUID.fullmatch(digits) else None
    return found.values.get("name"), uuid


class _Search:
    """Handlers that keep the first name and UUID."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self._depth = 0
        self._element: str | None = None
        self._texts: list[str] = []

    def start(self, element: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        self._depth += 1
        if self._depth == 1 and "name" in attributes:
            self.values["name"] = attributes["name"][:_NAME]
        wanted = self._depth == 2 and element in ("name", "uuid") and element not in self.values
        self._element, self._texts = (element if wanted else None), []

    def text(self, text: str) -> None:
        """Add text to the element."""
        if self._element is not None:
            self._texts.append(text)

    def end(self, element: str) -> None:
        """End an element."""
        self._depth -= 1
        if self._element is not None:
            self.values[self._element] = "".join(self._texts)[:_NAME]
            self._element = None
        if not self._depth or len(self.values) == 2:
            raise _Done

    def refuse(self, *_: object) -> None:
        """End the search."""
        raise _Done
