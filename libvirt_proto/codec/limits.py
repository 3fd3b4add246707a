"""Resource limits of decoding, for any input."""

from __future__ import annotations

from typing import Final

#: Recursion through optional-data and lists (no libvirt type recurses). Reading and presenting a level of a
#: struct in a list takes a handful of Python's frames, of which there are a thousand.
MAX_DEPTH: Final = 100
#: Remarks on one value; what is not canonical beyond that is counted.
MAX_REMARKS: Final = 100
#: Largest length word: VIR_NET_MESSAGE_MAX and its own four bytes (virnetprotocol.x).
MAX_FRAME: Final = 33554432 + 4
#: Length word and header: the smallest message.
MIN_FRAME: Final = 28
#: VIR_NET_MESSAGE_NUM_FDS_MAX (virnetprotocol.x).
MAX_FDS: Final = 32
