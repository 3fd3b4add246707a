"""Serves clients over sockets: each call gets what its Answers choose, stream and events included."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Final

from ..capture.acceptor import Acceptor
from ..capture.address import PRIVATE, Address
from ..errors import reason
from ..link import Link, StreamLink, UnixLink
from ..rpc.message import Header, Status
from .answers import Answer, Answers, Await, Send, Session
from .core import Call, ServerCore, StreamMessage, error_frame

#: Maximum length word of a client's message, unless longer ones are expected.
MAX_FRAME: Final = 4 * 1024 * 1024
MAX_CONNECTIONS: Final = 64
#: Calls of a connection that are answered at a time; further ones wait.
_MAX_CALLS: Final = 1024
#: Number of problems of clients that are reported.
_MAX_REPORTS: Final = 20


class Server:
    """Answers the calls of clients.

    `max_frame` is the maximum length word of their messages. With `timing`, the delays of answers are kept.
    `report` gets a sentence about each connection that is refused or ended, up to a limit.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        timing: bool,
        max_frame: int = MAX_FRAME,
        report: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._answers = answers
        self._timing = timing
        self._max_frame = max(max_frame, MAX_FRAME)
        self._report_to = report
        self._reports = 0
        self._clients: set[asyncio.Task[None]] = set()

    async def run(
        self,
        address: Address,
        stop: asyncio.Event,
        ready: Callable[[Address], object],
        mode: int = PRIVATE,
    ) -> None:
        """Serve until `stop` is set, then close everything. Call `ready` with the address and its actual port
        as soon as clients can connect.

        Raises AddressError and OSError if it cannot listen.
        """
        acceptor = Acceptor(address, mode, self._accepted, self._not_accepted)
        try:
            ready(acceptor.address)
            await stop.wait()
        finally:
            acceptor.close()
            for client in self._clients:
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)

    def _accepted(self, client: socket.socket) -> None:
        if len(self._clients) >= MAX_CONNECTIONS:
            self._report(f"a connection was refused: there are {MAX_CONNECTIONS} already")
            client.close()
            return
        task = asyncio.create_task(self._serve(client))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        task.add_done_callback(lambda _: client.close())  # also if it never ran

    def _not_accepted(self, error: OSError) -> None:
        self._report(f"connections have to wait: {reason(error)}")

    def _report(self, text: str) -> None:
        if self._reports < _MAX_REPORTS:
            self._reports += 1
            self._report_to(text)

    async def _serve(self, connected: socket.socket) -> None:
        unix = connected.family == socket.AF_UNIX
        link: Link
        link = UnixLink(connected) if unix else StreamLink(*await asyncio.open_connection(sock=connected))
        core = ServerCore(unix=unix, max_frame=self._max_frame)
        try:
            await _Client(link, core, self._answers.session(), self._timing).run()
            if core.error is not None:
                self._report(f"a connection was closed: {core.error}")
        finally:
            link.abort()
            await link.wait_closed()


class _Stream:
    """Data that a client has sent through a stream."""

    def __init__(self) -> None:
        self.size = 0
        self.finished = self.aborted = False
        self._changed = asyncio.Event()

    def add(self, message: StreamMessage) -> None:
        """Add a message."""
        self.size += message.size if message.header.status == Status.VIR_NET_CONTINUE else 0
        self.finished = self.finished or message.header.status != Status.VIR_NET_CONTINUE
        self.aborted = self.aborted or message.header.status == Status.VIR_NET_ERROR
        self._changed.set()

    async def until(self, step: Await) -> None:
        """Wait until the client has sent what a step requires, or has ended the stream."""
        while not self.finished and (step.finish or self.size < step.size):
            self._changed.clear()
            await self._changed.wait()


class _Client:
    """A connection."""

    def __init__(self, link: Link, core: ServerCore, session: Session, timing: bool) -> None:
        self._link = link
        self._core = core
        self._session = session
        self._timing = timing
        self._slots = asyncio.Semaphore(_MAX_CALLS)
        self._tasks: set[asyncio.Task[None]] = set()
        #: Serial → the stream that the call may open.
        self._streams: dict[int, _Stream] = {}
        #: Answers whose events were sent.
        self._emitted: set[int] = set()

    async def run(self) -> None:
        """Serve until the connection ends."""
        data = b"?"
        try:
            while data and self._core.error is None:
                data, fds = await self._link.read()
                received = self._core.receive(data, fds)
                _close(self._core.take_stray())
                self._flush()
                for each in received:
                    if isinstance(each, Call):
                        await self._link.drain()  # a client that does not read is not read, either
                        await self._call(each)
                    elif (stream := self._streams.get(each.header.serial)) is not None:
                        stream.add(each)
        except OSError:
            pass  # the client is gone
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            _close(self._core.take_descriptors())

    async def _call(self, call: Call) -> None:
        _close(call.fds)
        answer = self._session.answer(call)
        if isinstance(answer, str):
            answer = Answer([Send(error_frame(call.header, answer))])
        stream = self._streams[call.header.serial] = _Stream()
        await self._slots.acquire()
        task = self._start(self._play(call.header, answer, stream))
        task.add_done_callback(lambda _: self._slots.release())

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _play(self, call: Header, answer: Answer, stream: _Stream) -> None:
        """Send what follows a call."""
        replied = False
        for step in answer.steps:
            if stream.aborted:
                break
            if isinstance(step, Await):
                await stream.until(step)
                continue
            await self._send(step, call.serial)
            if not replied:
                replied = True
                self._emit(answer, call.serial)
        if answer.open_ended and not stream.aborted:
            await stream.until(Await(0, finish=True))
            await self._send(_stream_error(call, "the end of this stream was not recorded"), call.serial)
        elif stream.aborted:
            await self._send(_stream_error(call, "stream aborted at client request"), call.serial)
        if self._streams.get(call.serial) is stream:
            del self._streams[call.serial]
        if answer.closes:
            self._link.abort()

    def _emit(self, answer: Answer, serial: int) -> None:
        if answer.events and id(answer) not in self._emitted:
            self._emitted.add(id(answer))
            self._start(self._events(answer.events, serial))

    async def _events(self, events: Iterable[Send], serial: int) -> None:
        for event in events:
            await self._send(event, serial)

    async def _send(self, step: Send, serial: int) -> None:
        if self._timing and step.delay:
            await asyncio.sleep(step.delay)
        self._core.send(step.frame, None if step.verbatim else serial)
        self._flush()
        await self._link.drain()

    def _flush(self) -> None:
        for frame in self._core.take_output():
            self._link.write(frame)


def _stream_error(call: Header, text: str) -> Send:
    return Send(error_frame(call, text, stream=True))


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
