"""Resource limits of decoding, for any input."""

from __future__ import annotations

from typing import Final

#: Recursion through optional-data and lists (no libvirt type recurses). Reading and presenting a level of a
#: struct in a list takes a handful of Python's frames, of which there are a thousand.
MAX_DEPTH: Final = 100
#: Remarks on one value; what is not canonical beyond that is counted.
MAX_REMARKS: Final = 100
