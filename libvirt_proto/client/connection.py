"""A connection to a daemon with asyncio: concurrent calls, events and streams (src/rpc/virnetclient.c)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from ..errors import UnknownName, reason
from ..registry import Registry, default
from ..rpc.wire import REPLY_TYPES
from .calls import Calls, arguments
from .core import (
    ClientCore,
    Emitted,
    Failed,
    Finished,
    Hole,
    Keepalive,
    KeepaliveTimeout,
    Malformed,
    Piece,
    Received,
    Returned,
    Unexpected,
)
from .errors import ConnectionLost
from .event_queue import EventQueue
from .streams import Stream

if TYPE_CHECKING:
    from ..definitions.program import Procedure, Program
    from ..generated import calls
    from ..link import Link

#: Calls that a daemon serves at a time per client by default (max_client_requests in libvirtd.conf).
IN_FLIGHT: Final = 5
#: Maximum number of events that wait for a reader.
EVENTS: Final = 1000
#: Bytes of a stream that wait for its reader, before the connection stops reading.
UNREAD: Final = 16 * 1024 * 1024


class Connection:
    """A connection, which `connect` opens. All methods belong to the event loop in which it was opened.

    `registry` has the definitions. Programs are attributes:
    `await conn.remote.domain_lookup_by_name(name="vm1")`.
    """

    if TYPE_CHECKING:
        admin: calls.Admin
        lock_space: calls.LockSpace
        log_manager: calls.LogManager
        lxc: calls.Lxc
        qemu: calls.Qemu
        remote: calls.Remote

    def __init__(
        self,
        link: Link,
        *,
        registry: Registry | None = None,
        keepalive: tuple[float, int] | None = None,
        in_flight: int = IN_FLIGHT,
        timeout: float | None = None,
    ) -> None:
        self.registry = registry or default()
        self._link = link
        self._core = ClientCore(
            self.registry, unix=link.unix, keepalive=None if keepalive is None else Keepalive(*keepalive)
        )
        self._timeout = timeout
        self._slots = asyncio.Semaphore(in_flight)
        self._replies: dict[int, asyncio.Future[Returned]] = {}
        self._streams: dict[int, Stream] = {}
        self._events: set[EventQueue] = set()
        self._lost: ConnectionLost | None = None
        #: Set while no stream has too much unread data.
        self._room = asyncio.Event()
        self._room.set()
        self._tasks = [asyncio.create_task(self._receive())]
        if keepalive is not None:
            self._tasks.append(asyncio.create_task(self._keep_alive()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Calls:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return Calls(self, self.registry.program(name))
        except UnknownName as error:
            raise AttributeError(str(error)) from None

    @property
    def is_open(self) -> bool:
        """True until the connection has ended."""
        return self._lost is None

    async def call(
        self,
        procedure: str | tuple[Program, Procedure],
        args: Any = None,
        *,
        fds: Sequence[int] = (),
        timeout: float | None = None,
        stream: Stream | None = None,
    ) -> Returned:
        """Call a procedure, and return the reply's value and descriptors, which belong to the caller.

        `procedure` is `remote.domain_get_info`, `domain_get_info` (of the remote program), or a program and
        its procedure. `args` is a value of its arguments' type, or a mapping of their names to values. `fds`
        are descriptors to pass. `stream` receives the data of the stream that the call opens; without it, the
        stream is aborted. Waits while `in_flight` calls are being served.

        Raises LibvirtError for an error of the server, ProtocolError for arguments that do not fit and for a
        malformed reply, ConnectionLost, and TimeoutError after `timeout` seconds (default: the connection's).
        The connection stays usable after all but ConnectionLost, also if the task is cancelled: then the
        reply is ignored.
        """
        program, which = self.find(procedure)
        value = arguments(which, args) if isinstance(args, Mapping) else args
        async with asyncio.timeout(self._timeout if timeout is None else timeout):
            await self._slots.acquire()
            serial = self._start(program, which, value, fds)
            if stream is not None:
                self._streams[serial] = stream
            reply = self._replies[serial]
            try:
                return await reply
            except BaseException:
                self._streams.pop(serial, None)
                if reply.cancelled():
                    self._core.abandon(serial)
                elif not reply.exception():  # cancelled after the reply
                    _close(reply.result().fds)
                    self.abort_stream(serial)
                raise

    def _start(self, program: Program, procedure: Procedure, args: Any, fds: Sequence[int]) -> int:
        try:
            if self._lost is not None:
                raise self._lost.copy()
            serial = self._core.call(program, procedure, args, fds)
        except BaseException:
            self._slots.release()
            raise
        self._replies[serial] = asyncio.get_running_loop().create_future()
        self.flush()
        return serial

    def find(self, procedure: str | tuple[Program, Procedure]) -> tuple[Program, Procedure]:
        """Return the program and the procedure of a name. Raises UnknownName, a KeyError."""
        if isinstance(procedure, tuple):
            return procedure
        program_name, _, name = procedure.rpartition(".")
        program = self.registry.program(program_name or "remote")
        return program, program.procedure(name)

    def events(self, *procedures: str, limit: int = EVENTS) -> EventQueue:
        """Return an iterator of events, from now on.

        `procedures` are names of events (`domain_event_callback_lifecycle`, `qemu.domain_monitor_event`),
        default all. The daemon must be asked for events, too, by calls such as
        `connect_domain_event_callback_register_any`. The iterator raises EventOverflow after `limit` unread
        events, and ConnectionLost at the connection's end.
        """
        wanted = {(program.number, each.number) for program, each in map(self.find, procedures)}
        queue = EventQueue(wanted, limit, self._events.discard)
        if self._lost is not None:
            queue.end(self._lost.copy())
        self._events.add(queue)
        return queue

    def stream(self, procedure: str | tuple[Program, Procedure], args: Any = None, /, **named: Any) -> Stream:
        """Return the stream of a call that opens one, with arguments as in `call` or by name:
        `async with conn.stream("storage_vol_download", vol=vol, offset=0, length=0, flags=0) as stream`."""
        return Stream(self, self.find(procedure), named if args is None else args)

    async def close(self) -> None:
        """Close the connection. Waiting calls, streams and iterators of events raise ConnectionLost."""
        self._lose(ConnectionLost(None, "the connection was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.wait_closed()

    async def call_value(self, procedure: str | tuple[Program, Procedure], args: Any = None) -> Any:
        """Call a procedure, and return the value of its reply. Descriptors of the reply are closed."""
        returned = await self.call(procedure, args)
        _close(returned.fds)
        return returned.value

    # The loop

    def flush(self) -> None:
        """Send what the core has to send, without waiting."""
        for outgoing in self._core.take_output():
            self._link.write(outgoing.data, outgoing.fds)

    async def _receive(self) -> None:
        lost = ConnectionLost(None, "the connection was lost")
        try:
            while True:
                data, fds = await self._link.read()
                for received in self._core.receive(data, fds):
                    self._handle(received)
                self.flush()
                if self._core.error is not None:
                    text = f"the server violated the protocol: {self._core.error}"
                    lost = ConnectionLost(self._core.error, text)
                    break
                if not data:
                    lost = ConnectionLost(None, "the server closed the connection")
                    break
                await self._room.wait()
        except OSError as error:
            lost = ConnectionLost(error, f"the connection was lost: {reason(error)}")
        finally:
            self._lose(lost)

    def _handle(self, received: Received) -> None:
        match received:
            case Returned(serial):
                reply = self._answered(serial)
                if reply is None or reply.done():
                    _close(received.fds)
                else:
                    reply.set_result(received)
                if serial not in self._streams:
                    self.abort_stream(serial)
            case Failed(serial) | Malformed(serial) if serial in self._replies:
                reply = self._answered(serial)
                if reply is not None and not reply.done():
                    reply.set_exception(received.error)
            case Failed(serial) | Malformed(serial) | Piece(serial) | Hole(serial) | Finished(serial):
                if (stream := self._streams.get(serial)) is not None:
                    stream.add(received)
            case Emitted():
                for queue in self._events:
                    queue.add(received)
            case Unexpected():
                _close(received.fds)
                if received.message is not None and received.message.header.type in REPLY_TYPES:
                    self._answered(received.message.header.serial)

    def _answered(self, serial: int) -> asyncio.Future[Returned] | None:
        reply = self._replies.pop(serial, None)
        if reply is not None:
            self._slots.release()
        return reply

    async def _keep_alive(self) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while (then := self._core.poll(clock())) is not None:
                self.flush()
                await asyncio.sleep(max(0.0, then - clock()))
        except KeepaliveTimeout as error:
            self._lose(ConnectionLost(error, str(error)))

    def _lose(self, lost: ConnectionLost) -> None:
        """End everything that waits, and the link."""
        if self._lost is not None:
            return
        self._lost = lost
        for serial in list(self._replies):
            reply = self._answered(serial)
            if reply is not None and not reply.done():
                reply.set_exception(lost.copy())
        for stream in self._streams.values():
            stream.end(lost.copy())
        for queue in self._events:
            queue.end(lost.copy())
        _close(self._core.take_descriptors())
        self._link.abort()

    # Streams

    @property
    def core(self) -> ClientCore:
        """The core, which makes the messages of streams. Raises ConnectionLost."""
        if self._lost is not None:
            raise self._lost.copy()
        return self._core

    def abort_stream(self, serial: int) -> None:
        """Abort a stream if it has not ended."""
        if self._lost is None and self._core.is_open(serial):
            self._core.abort(serial)
            self.flush()

    async def send(self) -> None:
        """Send what the core has to send, and wait until little is left to be sent."""
        self.flush()
        await self._link.drain()

    def check_unread(self) -> None:
        """Stop reading while a stream has too much unread data."""
        if any(stream.unread > UNREAD for stream in self._streams.values()):
            self._room.clear()
        else:
            self._room.set()

    def close_stream(self, serial: int) -> None:
        """Forget a stream, and abort it if it has not ended."""
        self.abort_stream(serial)
        self._streams.pop(serial, None)
        self.check_unread()


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
