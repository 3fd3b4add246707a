"""What decoding may use, whatever the bytes say."""

from __future__ import annotations

from typing import Final

#: Recursion through optional-data (no libvirt type recurses).
MAX_DEPTH: Final = 200
#: Largest length word: VIR_NET_MESSAGE_MAX and its own four bytes (virnetprotocol.x).
MAX_FRAME: Final = 33554432 + 4
#: Length word and header: the smallest message.
MIN_FRAME: Final = 28
#: VIR_NET_MESSAGE_NUM_FDS_MAX (virnetprotocol.x).
MAX_FDS: Final = 32
