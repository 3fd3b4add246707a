"""Errors about wrong length words in a log: what a daemon or client received instead of libvirt messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...events import Notice, NoticeCode
from ...registry import default
from ...rpc.wronglength import WrongLength, explain_error, verdict

#: A part of the error (virNetMessageDecodeLength).
TOKEN: Final = b" bytes received from "
#: Number of different words that are explained; others are counted.
_MAX_WORDS: Final = 16


class WrongLengths:
    """Explains each wrong length word once, and draws the conclusion at the end."""

    def __init__(self) -> None:
        self._found: dict[int, WrongLength] = {}
        self._count = 0

    def notices(self, number: int, text: str) -> Iterator[Notice]:
        """Yield a notice for the line with this number if it has a word that was not explained before."""
        found = explain_error(text, default().programs())
        if found is None:
            return
        self._count += 1
        if found.word not in self._found and len(self._found) < _MAX_WORDS:
            self._found[found.word] = found
            yield Notice(NoticeCode.WRONG_LENGTH, f"line {number}: received {found}", severity="note")

    @property
    def any(self) -> bool:
        """True after a line with such an error."""
        return self._count > 0

    def conclusion(self) -> Iterator[Notice]:
        """Yield a notice about all lines, if they say more than each."""
        text = verdict(self._found.values())
        if text is not None:
            yield Notice(
                NoticeCode.WRONG_LENGTH, f"{self._count} wrong length words: {text}", severity="note"
            )
