"""Messages whose bytes people paste as words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .descriptions import Description

if TYPE_CHECKING:
    from ..guess.search import Found
    from ..registry import Registry
    from ..rpc.names import Names


def messages(registry: Registry, text: str) -> list[Description]:
    """Return descriptions of the messages whose bytes a text shows; none for any other text."""
    from ..capture.bytetext.reader import message_bytes

    data = message_bytes(text)
    return [] if data is None else list(_messages(registry, data))


def _messages(registry: Registry, data: bytes) -> Iterator[Description]:
    from ..guess.search import Search
    from ..rpc.names import Names

    names = Names(registry)
    for run in Search(registry).runs(data):
        for found in run.messages:
            yield _message(found, names)


def _message(found: Found, names: Names) -> Description:
    from ..guess import words
    from ..rpc.names import STATUSES, TYPES

    message, header = found.message, found.message.header
    program, procedure = names.of(header)
    return {
        "kind": "message",
        "name": f"{program or f'{header.prog:#010x}'}.{procedure or header.proc}",
        "type": TYPES.get(header.type, str(header.type)),
        "status": STATUSES.get(header.status, str(header.status)),
        "serial": header.serial,
        "length": None if found.headless else message.length,
        "missing": message.missing,
        "payload": message.payload_type,
        "text": words.message(found, names),
    }
