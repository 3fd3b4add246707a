"""strace output: the bytes that traced processes sent and received over libvirt connections.

    25234 1795384881.937323 write(4<UNIX-STREAM:[41180->42012]>, "\\0\\0\\0\\34 \\0\\200\\206"..., 28) = 28

Descriptors are tracked through the calls that create, copy and close them; with -y or -yy strace itself names
the socket. Sources: strace(1), and the manual pages of the calls.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ...blocks import LineTooLongError, Read, text_lines
from ...bounded import BoundedDict
from ...events import Chunk, Connection, Direction, Item, Notice, NoticeCode
from ...rpc.wire import MAX_FRAME
from ..pcap.tcp import LIBVIRT_PORTS
from .calls import CLONES, Call, Calls, Sending, shares
from .descriptors import MAX_DESCRIPTORS
from .dressing import StraceLines
from .line import BadCallError, Clock, Line, attached, parse, result
from .transfers import CALLS
from .wrapped import Unwrapper

#: The longest message with each byte as `\xff`, and the rest of a line.
MAX_LINE: Final = 4 * MAX_FRAME + 65_536
#: Maximum number of unfinished calls, and of their characters.
MAX_UNFINISHED: Final = 16_384
MAX_UNFINISHED_TEXT: Final = 2 * MAX_LINE
#: Maximum size of what waits for unfinished calls: bytes, and a fixed cost per call.
MAX_WAITING: Final = 64 << 20

#: A header of the remote program with any other procedure than REMOTE_PROC_AUTH_LIST, the first one of a
#: connection; and one with that.
_HEAD: Final = 40
_FIRST: Final = bytes.fromhex("20008086 00000001 00000042")
_NEXT: Final = re.compile(rb"\x20\x00\x80\x86\0\0\0\x01(?!\0\0\0\x42)\0\0..", re.DOTALL)

_NOTHING: Final = (
    "no libvirt bytes in this trace; strace must show the calls with which libvirt reads and writes: strace"
    " -f -ttt -yy -s 33554436 -e trace=%network,read,write,readv,writev,close -o FILE virsh …"
)


class _Unfinished:
    """A call whose end has not been seen, and the data it sends."""

    __slots__ = ("name", "sending", "text", "time_ns")

    def __init__(self, name: bytes, text: bytes, time_ns: int | None) -> None:
        self.name = name
        self.text = text
        self.time_ns = time_ns
        self.sending: Sending | None = None


def strace_chunks(read: Read, ports: frozenset[int] = LIBVIRT_PORTS) -> Iterator[Item]:
    """Yield the items of a trace, in order; data that is sent, in the order in which the calls began.

    Each socket is a connection: a client and its daemon in one trace are two. Sockets are followed if one of
    their addresses is libvirt's (`ports`, `libvirt-sock` and its siblings), or from the first call whose
    bytes begin like a message. Connections are named by their addresses; an end of a unix socket without one
    is `unix:pid 25234` or `unix`; if not even the kind of the socket is known, it is `pid 25234 fd 4`.

    Threads share the descriptors of their process if the trace shows their start. Threads and processes that
    strace was attached to (-p) have one descriptor table together, since nothing distinguishes them; with -yy
    descriptors identify their sockets, so that two processes are not mixed up.

    `time_ns` is the time when a call began to send, or had received. It counts from the epoch with -ttt; -t
    and -tt have no day and no zone: the first day becomes 1970-01-01, and the zone UTC; with -r the first
    line is at 0. Without times it is None.

    The byte that accompanies file descriptors (SCM_RIGHTS) is left out. Notices: `cut-strings` (with the
    number of calls that strace abbreviated; `cut` has the number of bytes of each), `bad-strace` (calls that
    transfer bytes of a connection but cannot be parsed, and lines that are too long), `no-libvirt` (a note),
    `hidden-calls` (a filter leaves out calls that are needed).
    """
    return _Trace(ports).read(read)


class _Trace:
    def __init__(self, ports: frozenset[int]) -> None:
        self._calls = Calls(ports)
        self._clock = Clock()
        self._unfinished: dict[int | None, _Unfinished] = {}
        self._unfinished_text = 0
        #: Processes that are creating another one, and whether that will share their descriptors.
        self._cloning: OrderedDict[int | None, bool] = OrderedDict()
        self._empty = True
        #: Of each connection, the directions of which bytes are in the trace.
        self._shown: BoundedDict[Connection, set[Direction]] = BoundedDict(MAX_DESCRIPTORS)
        #: Connections that begin in the trace, and the direction that is missing in some of them.
        self._begun: BoundedDict[Connection, None] = BoundedDict(MAX_DESCRIPTORS)
        self._incomplete: BoundedDict[Connection, Direction] = BoundedDict(MAX_DESCRIPTORS)
        #: The calls that transfer bytes and are in the trace: sending ones (True), receiving ones.
        self._transfers: set[bool] = set()
        self._cut_calls = self._cut_bytes = 0
        self._bad_calls = 0
        self._first_bad = ""

    def read(self, read: Read) -> Iterator[Item]:
        number, out, lines = 0, self._calls.out, Unwrapper(StraceLines())
        too_long, broken = None, b""
        try:
            for number, data in enumerate(text_lines(read, MAX_LINE), 1):
                data = data.removesuffix(b"\r")
                if data.endswith(b" attached"):
                    if not data.startswith(b"strace: "):  # otherwise it would be a separate line
                        broken = b"" if broken else self._attached(data)
                    continue
                for line in lines.parse(broken + data):
                    self._read_line(line, number)
                broken = b""
                if out:
                    yield from self._counted()
        except LineTooLongError as error:
            too_long = f"line {number + 1}: {error}; the rest was not read"
        for line in lines.end():
            self._read_line(line, number)
        self._abandon_all()
        self._calls.finish()
        yield from self._counted()
        yield from self._notices(too_long)

    def _read_line(self, line: Line, number: int) -> None:
        try:
            self._line(line)
        except BadCallError as error:
            self._bad_calls += 1
            self._first_bad = self._first_bad or f"line {number}: {line.name.decode()} {error}"

    def _line(self, line: Line) -> None:
        calls = self._calls
        if line.pid is None and (only := calls.descriptors.only) is not None:
            line = line._replace(pid=only)
        process = line.pid
        time_ns = self._clock.ns(line.time) if line.time else None
        if process is not None and not calls.descriptors.known(process):
            self._born(process)
        unfinished = self._take_unfinished(line) if self._unfinished else None
        if line.name in CALLS:
            self._transfers.add(CALLS[line.name].sends)
        if line.kind == "exit":
            calls.exited(process, time_ns)
        elif line.name not in calls.names or (line.kind == "resumed" and unfinished is None):
            pass
        elif line.kind == "begun":
            self._begin(process, line.name, line.text, time_ns)
        elif unfinished is None:
            self._call(line, time_ns, line.text, time_ns)
        elif unfinished.sending is None:
            self._call(line, unfinished.time_ns, unfinished.text + line.text, time_ns)
        else:
            self._sent(unfinished.sending, line.text)

    def _call(self, line: Line, time_ns: int | None, text: bytes, end_ns: int | None) -> None:
        try:
            arguments, returned = result(text)
        except BadCallError:
            if line.name in CALLS:
                self._calls.unreadable(line.pid, text)
            return
        if end_ns is not None and line.kind == "call":
            end_ns += returned.duration_ns
        self._calls.handle(
            Call(line.pid, line.name, arguments, returned.value, returned.text, time_ns, end_ns)
        )
        if self._calls.waiting > MAX_WAITING:
            self._abandon_all()

    def _born(self, process: int) -> None:
        """Handle a new process or thread: it may be what an unfinished call creates."""
        if self._cloning:
            parent, shared = self._cloning.popitem(last=False)
            self._calls.descriptors.cloned(parent, process, shared=shared)
        else:
            self._calls.descriptors.table(process)

    def _attached(self, data: bytes) -> bytes:
        """Handle strace's report of a new process in the middle of another line, that of the call that
        creates it or of another thread; return the part of that line, which continues on the next one."""
        child, line = attached(data), parse(data)
        if child is None or line is None:
            return b""
        if line.name in CLONES:
            self._calls.descriptors.cloned(line.pid, child, shared=shares(data))
            return b""
        return data[: data.rindex(b"strace: Process ")]

    # Unfinished calls

    def _take_unfinished(self, line: Line) -> _Unfinished | None:
        """Return the call that a line resumes. If another line of the same process comes first, the end of
        the call is not in the trace."""
        process = line.pid
        if process not in self._unfinished and line.kind == "resumed":
            process = None  # strace had no reason to number it before
        unfinished = self._unfinished.pop(process, None)
        if unfinished is None:
            return None
        self._unfinished_text -= len(unfinished.text)
        self._cloning.pop(process, None)
        if line.kind == "resumed" and line.name == unfinished.name:
            return unfinished
        self._abandon(process, unfinished, lost=line.kind != "exit")
        return None

    def _begin(self, process: int | None, name: bytes, text: bytes, time_ns: int | None) -> None:
        if name == b"close":  # another thread may get the descriptor before the end of this line
            self._calls.handle(Call(process, name, text, 0, b"", time_ns, time_ns))
            return
        unfinished = _Unfinished(name, text, time_ns)
        if name in CLONES:
            self._cloning[process] = shares(text)
        elif name in CALLS and CALLS[name].sends:
            unfinished.sending = self._calls.begin(process, name, text, time_ns)
            if unfinished.sending is not None:
                unfinished.text = b""
        self._unfinished[process] = unfinished
        self._unfinished_text += len(unfinished.text)
        if len(self._unfinished) > MAX_UNFINISHED or self._unfinished_text > MAX_UNFINISHED_TEXT:
            self._abandon_all()

    def _sent(self, sending: Sending, text: bytes) -> None:
        """Complete a call that sends."""
        count: int | None = None
        try:
            value = result(text)[1].value
            count = 0 if value is None else max(value, 0)
        finally:
            self._calls.sent(sending, count)

    def _abandon(self, process: int | None, unfinished: _Unfinished, *, lost: bool) -> None:
        """Give up a call whose end will not appear."""
        if unfinished.sending is not None:
            self._calls.sent(unfinished.sending, None)
        elif lost and unfinished.name in CALLS:
            self._calls.missed(process, unfinished.name, unfinished.text)

    def _abandon_all(self) -> None:
        for process, unfinished in list(self._unfinished.items()):
            self._abandon(process, unfinished, lost=True)
        self._unfinished.clear()
        self._cloning.clear()
        self._unfinished_text = 0
        self._calls.waiting = 0

    # Output

    def _counted(self) -> Iterator[Chunk]:
        """Yield the new output, and count abbreviated calls."""
        for chunk in self._calls.out:
            if chunk.data or chunk.cut:
                self._empty = False
                self._show(chunk)
            if chunk.cut:
                self._cut_calls += 1
                self._cut_bytes += chunk.cut
            yield chunk
        self._calls.out.clear()

    def _notices(self, too_long: str | None) -> Iterator[Notice]:
        if too_long:
            yield Notice(NoticeCode.BAD_STRACE, too_long)
        if self._bad_calls:
            text = self._first_bad
            more = f" (and {_calls(self._bad_calls - 1)} more)" if self._bad_calls > 1 else ""
            yield Notice(NoticeCode.BAD_STRACE, text + more)
        if self._cut_calls:
            text = (
                f"strace did not show {self._cut_bytes:,} bytes of {_calls(self._cut_calls)}; use -s"
                " 33554436, the size of the longest message"
            )
            yield Notice(NoticeCode.CUT_STRINGS, text)
        if self._empty and self._calls.unread:
            more = f" (and {_calls(self._calls.unread - 1)} more)" if self._calls.unread > 1 else ""
            text = f"no libvirt bytes found; not parsed: {self._calls.first_unread}{more}"
            yield Notice(NoticeCode.BAD_STRACE, text)
        elif self._empty and not too_long:
            yield Notice(NoticeCode.NO_LIBVIRT, _NOTHING, severity="note")
        yield from self._filters()

    def _filters(self) -> Iterator[Notice]:
        """Yield a Notice if strace was to leave out calls (-e) without which messages are missing."""
        missing = {
            direction
            for connection, direction in self._incomplete.items()
            if len(self._shown.get(connection, ())) == 1
        }
        for direction in sorted(missing):
            sends = direction == "s2c"
            verb = "receive" if sends else "send"
            if (not sends) not in self._transfers:
                names = ", ".join(name.decode() for name, io in CALLS.items() if io.sends is not sends)
                text = f"a filter (-e) hides the calls that {verb}: {names}"
            else:
                text = (
                    f"no call on the descriptor of a connection {verb}s: a filter (-e) hides calls, or the"
                    " copying of the descriptor (dup, dup2, dup3, fcntl)"
                )
            yield Notice(NoticeCode.HIDDEN_CALLS, text)
        copies = self._calls.copies.found
        if copies and not missing:
            more = f" (and {len(copies) - 1} more)" if copies[1:] else ""
            text = (
                f"{copies[0]}{more} continues a connection, and no call opens or copies it: a filter (-e)"
                " hides dup, dup2, dup3 or fcntl"
            )
            yield Notice(NoticeCode.HIDDEN_CALLS, text)

    def _show(self, chunk: Chunk) -> None:
        """Note the direction of bytes. A client waits for the first reply before it sends another call."""
        direction, data = chunk.direction, chunk.data[:_HEAD]
        if direction is None:
            return
        shown = self._shown.get(chunk.connection)
        if shown is None:
            self._shown.put(chunk.connection, shown := set())
        if not shown and _FIRST in data:
            self._begun.put(chunk.connection, None)
        elif chunk.connection in self._begun and shown == {direction} and _NEXT.search(data):
            self._incomplete.put(chunk.connection, "s2c" if direction == "c2s" else "c2s")
        shown.add(direction)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"
