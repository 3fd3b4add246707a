"""Fuzz targets for text that people paste: words for `lookup`, JSON in any layout."""

from __future__ import annotations

import msgspec

from libvirt_proto import registry
from libvirt_proto.cli import meanings, quotes
from libvirt_proto.cli.commands.lookup import Pages
from libvirt_proto.jsonlines.objects import ObjectSplitter
from libvirt_proto.presenters.style import PLAIN

_REGISTRY = registry.default()
# Everything is loaded while imports are instrumented.
for _module in _REGISTRY.modules():
    assert _module.types is not None
_LIMIT = 300


def lookup(data: bytes) -> None:
    """Any text has meanings or none, which are JSON and printable lines."""
    text = data.decode("utf-8", "replace")
    found = meanings.of(_REGISTRY, text) or quotes.of(_REGISTRY, text)
    assert msgspec.json.encode(found)
    for block in Pages(PLAIN, 12, 80).blocks(found):
        assert all(line.isprintable() for line in block)


def objects(data: bytes) -> None:
    """Lines are split into pieces that keep every byte but layout, within the limit."""
    splitter = ObjectSplitter(_LIMIT)
    lines = data.split(b"\n")
    pieces = [piece for number, line in enumerate(lines, 1) for piece in splitter.feed(number, line)]
    pieces += splitter.end()
    kept = b"".join(piece for _, piece in pieces)
    text = data.removeprefix(b"\xef\xbb\xbf")
    assert [kept.count(byte) for byte in b'{}":x1\\'] == [text.count(byte) for byte in b'{}":x1\\']
    assert all(1 <= number <= len(lines) for number, _ in pieces)
    assert [number for number, _ in pieces] == sorted(number for number, _ in pieces)
    assert all(len(piece) <= 2 * _LIMIT + max(map(len, lines)) for _, piece in pieces)
