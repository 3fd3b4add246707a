"""libvirt's messages on the wire: sizes, positions, layouts and numbers (src/rpc/virnetprotocol.x).

A message is a length word, a header, a descriptor count for some types, and a payload.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

# Sizes in bytes, and positions in a message

WORD_SIZE: Final = 4
HEADER_SIZE: Final = 24
#: Length word and header: the smallest message.
MIN_FRAME: Final = WORD_SIZE + HEADER_SIZE
#: Largest length word, which counts itself: VIR_NET_MESSAGE_MAX does not.
MAX_FRAME: Final = 33554432 + WORD_SIZE
TYPE_AT: Final = 16
#: Position of the descriptor count.
FDS_AT: Final = MIN_FRAME
#: VIR_NET_MESSAGE_NUM_FDS_MAX.
MAX_FDS: Final = 32

# Layouts

WORD: Final = Struct(">I")
#: prog, vers, proc, type, serial, status (virNetMessageHeader).
HEADER: Final = Struct(">IIiiIi")
#: The length word and a header.
START: Final = Struct(">IIIiiIi")
#: The length word and a header, all unsigned.
START_WORDS: Final = Struct(">7I")
#: Parts of START: the length word, then prog and vers as bytes; prog and type; type and status.
LENGTH_HEAD: Final = Struct(">I8s")
PROGRAM_TYPE: Final = Struct(">4xI8xi")
TYPE_STATUS: Final = Struct(">16xi4xi")

# Numbers

REMOTE_PROGRAM: Final = 0x20008086
ADMIN_PROGRAM: Final = 0x06900690
KEEPALIVE_PROGRAM: Final = 0x6B656570
#: Procedure numbers are assigned consecutively; after two decades the largest is below 500.
MAX_PROCEDURE: Final = 9999
#: virNetMessageType: with and without descriptors, from a client and from the server.
CALL_TYPES: Final = frozenset((0, 4))
REPLY_TYPES: Final = frozenset((1, 5))
EVENT_TYPE: Final = 2
TYPES_WITH_FDS: Final = frozenset((4, 5))
MAX_TYPE: Final = 6
#: virNetMessageStatus.
MAX_STATUS: Final = 2
