"""Limits of messages, which definitions may change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .wire import WORD_SIZE

if TYPE_CHECKING:
    from ..registry import Registry


def longest_frame(registry: Registry) -> int | None:
    """Return the largest length word of a set of definitions; None if they lack virnetprotocol.x."""
    most = _constant(registry, "VIR_NET_MESSAGE_MAX")
    return None if most is None else most + WORD_SIZE


def most_descriptors(registry: Registry) -> int | None:
    """Return the maximum number of descriptors in a message; None as above."""
    return _constant(registry, "VIR_NET_MESSAGE_NUM_FDS_MAX")


def _constant(registry: Registry, name: str) -> int | None:
    found: Iterator[int] = (m.constants[name] for m in registry.modules() if name in m.constants)
    return next(found, None)
