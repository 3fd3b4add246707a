"""The bytes that a call transferred, as far as strace shows them."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from .line import BadCallError, quoted

#: `buffer, size`; an array of buffers; a message with such an array; an array of messages.
_Form = Literal["buffer", "vector", "message", "messages"]


class Io(NamedTuple):
    """A call that transfers bytes."""

    sends: bool
    form: _Form


CALLS: Final[dict[bytes, Io]] = {
    b"read": Io(False, "buffer"),
    b"recv": Io(False, "buffer"),
    b"recvfrom": Io(False, "buffer"),
    b"readv": Io(False, "vector"),
    b"recvmsg": Io(False, "message"),
    b"recvmmsg": Io(False, "messages"),
    b"recvmmsg_time64": Io(False, "messages"),
    b"write": Io(True, "buffer"),
    b"send": Io(True, "buffer"),
    b"sendto": Io(True, "buffer"),
    b"writev": Io(True, "vector"),
    b"sendmsg": Io(True, "message"),
    b"sendmmsg": Io(True, "messages"),
}

_SIZE: Final = re.compile(rb", (\d{1,19})")
_BUFFER_SIZE: Final = re.compile(rb", iov_len=(\d{1,19})")
_OLD_BUFFER_SIZE: Final = re.compile(rb", (\d{1,19})\}")
#: Before strace 4.14: `[{"\\0\\0\\0\\34", 4}]`, `msg_iov(1)=[{…}]`, `{{msg_name(0)=…, msg_flags=0}, 28}`.
_TOKEN: Final = re.compile(
    rb'iov_base=|\{(?="|0x|NULL)|"|(?<!c)msg_len=(?P<length>\d{1,10})'
    rb"|msg_flags=[\w|]{1,200}\}, (?P<old_length>\d{1,10})\}"
    rb"|(?P<rights>cmsg_type=(?:SCM_RIGHTS|0x1)(?![0-9a-f]))(?:, (?:cmsg_data=\[|\{))?|MSG_PEEK"
)


class Transfer:
    """One message, or the bytes of one call: pieces with the sizes of their buffers, whether descriptors
    accompany them, and the position of these in the arguments. `length` is known only for one of several
    messages."""

    __slots__ = ("length", "peeks", "pieces", "rights")

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, int]] = []
        self.rights: int | None = None
        self.peeks = False
        self.length: int | None = None

    @property
    def size(self) -> int:
        """The total size of all buffers."""
        return sum(size for _, size in self.pieces)

    def shown(self, count: int) -> list[tuple[bytes, int]]:
        """Return the first `count` bytes as (bytes, number of bytes not shown after them) pairs. The byte
        that accompanies descriptors, the last one, is not data."""
        if self.rights is not None:
            count -= 1
        found: list[tuple[bytes, int]] = []
        joined: list[bytes] = []
        for data, size in self.pieces:
            if count <= 0:
                break
            part = data[: min(size, count)]
            cut = min(size, count) - len(part)
            count -= size
            joined.append(part)
            if cut:
                found.append((b"".join(joined), cut))
                joined.clear()
        if joined or count > 0:
            found.append((b"".join(joined), max(count, 0)))
        return found


def transfers(form: _Form, text: bytes, at: int) -> list[Transfer]:
    """Parse the arguments after the descriptor, which ends at `at`, into messages. Raises BadCallError."""
    if form == "buffer":
        return [_buffer(text, at)]
    found, transfer = list[Transfer](), Transfer()
    while match := _TOKEN.search(text, at):
        at = match.end()
        token = match[0]
        if token == b'"':
            _, _, at = quoted(text, at - 1)
        elif token == b"MSG_PEEK":
            transfer.peeks = True
        elif length := match["length"] or match["old_length"]:
            transfer.length = int(length)
            found.append(transfer)
            transfer = Transfer()
        elif match["rights"]:
            transfer.rights = at
        else:
            at = _piece(text, at, transfer, _OLD_BUFFER_SIZE if token == b"{" else _BUFFER_SIZE)
    return found if form == "messages" else [transfer]


def _piece(text: bytes, at: int, transfer: Transfer, size: re.Pattern[bytes]) -> int:
    data = b""
    if text.startswith(b'"', at):
        data, _, at = quoted(text, at)
    match = size.search(text, at, at + 64)
    if match is None:
        raise BadCallError("has a buffer without a size")
    transfer.pieces.append((data, int(match[1])))
    return match.end()


def _buffer(text: bytes, at: int) -> Transfer:
    transfer = Transfer()
    if text.startswith(b', "', at):
        data, _, at = quoted(text, at + 2)
    else:
        data, at = b"", max(text.find(b", ", at + 2), at)
    match = _SIZE.match(text, at)
    if match is None:
        raise BadCallError("has no size")
    transfer.pieces.append((data, int(match[1])))
    transfer.peeks = b"MSG_PEEK" in text[match.end() :]
    return transfer
