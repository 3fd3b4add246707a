"""The client for scripts: the same connection without asyncio, whose loop runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..errors import UnknownName
from .calls import Calls
from .connection import EVENTS
from .open import connect

if TYPE_CHECKING:
    from ..definitions.program import Procedure, Program
    from ..generated import calls
    from .connection import Connection
    from .core import Emitted, Hole, Returned
    from .event_queue import EventQueue
    from .streams import Stream

T = TypeVar("T")
#: Runs a coroutine in the loop, and returns its result.
_Run = Callable[[Coroutine[Any, Any, T]], T]


@contextmanager
def connect_sync(uri: str, **options: Any) -> Iterator[SyncConnection]:
    """Connect to a daemon for the time of a `with`. Arguments and errors are those of `connect`; a function
    for `auth` is asynchronous.

    A thread serves the connection, so that keepalive works while the script does something else. Other
    threads may use it, too.
    """
    with _loop() as run:
        opening = connect(uri, **options)
        connection = run(opening.__aenter__())
        try:
            yield SyncConnection(connection, run)
        except BaseException:
            # Any exception closes the connection; a KeyboardInterrupt would also end the loop.
            with suppress(CancelledError):
                run(opening.__aexit__(CancelledError, CancelledError(), None))
            raise
        run(opening.__aexit__(None, None, None))


@contextmanager
def _loop() -> Iterator[_Run[Any]]:
    """Run an event loop in a thread for the time of a `with`."""
    loop = asyncio.new_event_loop()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # for Ctrl-C: the coroutine would go on
            raise

    thread = Thread(target=loop.run_forever, name="libvirt_proto", daemon=True)
    thread.start()
    try:
        yield run
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class SyncConnection:
    """A connection whose methods wait: see Connection. Programs are attributes:
    `conn.remote.domain_lookup_by_name(name="vm1")`."""

    if TYPE_CHECKING:
        admin: calls.SyncAdmin
        lock_space: calls.SyncLockSpace
        log_manager: calls.SyncLogManager
        lxc: calls.SyncLxc
        qemu: calls.SyncQemu
        remote: calls.SyncRemote

    def __init__(self, connection: Connection, run: _Run[Any]) -> None:
        self._connection = connection
        self._run = run

    def __getattr__(self, name: str) -> SyncCalls:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return SyncCalls(Calls(self._connection, self._connection.registry.program(name)), self._run)
        except UnknownName as error:
            raise AttributeError(str(error)) from None

    @property
    def is_open(self) -> bool:
        """True until the connection has ended."""
        return self._connection.is_open

    def call(
        self,
        procedure: str | tuple[Program, Procedure],
        args: Any = None,
        *,
        fds: Sequence[int] = (),
        timeout: float | None = None,
    ) -> Returned:
        """Call a procedure, and return the reply's value and descriptors: see Connection.call."""
        returned: Returned = self._run(self._connection.call(procedure, args, fds=fds, timeout=timeout))
        return returned

    def events(self, *procedures: str, limit: int = EVENTS) -> SyncEvents:
        """Return an iterator of events, from now on: see Connection.events."""

        async def begin() -> EventQueue:
            return self._connection.events(*procedures, limit=limit)

        return SyncEvents(self._run(begin()), self._run)

    def stream(
        self, procedure: str | tuple[Program, Procedure], args: Any = None, /, **named: Any
    ) -> SyncStream:
        """Return the stream of a call that opens one, which begins with `with`: see Connection.stream."""
        return SyncStream(self._connection.stream(procedure, args, **named), self._run)


class SyncCalls:
    """The procedures of a program: see Calls."""

    def __init__(self, calls: Calls, run: _Run[Any]) -> None:
        self._calls = calls
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Any = getattr(self._calls, name)
        return lambda **args: self._run(method(**args))

    def __dir__(self) -> list[str]:
        return dir(self._calls)


class SyncEvents:
    """An iterator of events: see EventQueue."""

    def __init__(self, queue: EventQueue, run: _Run[Any]) -> None:
        self._queue = queue
        self._run = run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        async def close() -> None:
            self._queue.close()

        self._run(close())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Emitted:
        event: Emitted = self._run(self._queue.__anext__())
        return event


class SyncStream:
    """A stream: see Stream."""

    def __init__(self, stream: Stream, run: _Run[Any]) -> None:
        self._stream = stream
        self._run = run

    @property
    def reply(self) -> Any:
        """The value of the reply to the call that opened it."""
        return self._stream.reply

    def __enter__(self) -> Self:
        self._run(self._stream.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._run(self._stream.__aexit__(*error))

    def __iter__(self) -> Iterator[bytes | Hole]:
        async def following() -> bytes | Hole | None:
            return await anext(self._stream, None)

        while (piece := self._run(following())) is not None:
            yield piece

    def send(self, data: bytes) -> None:
        """Send data."""
        self._run(self._stream.send(data))

    def send_hole(self, length: int) -> None:
        """Send a hole of `length` bytes."""
        self._run(self._stream.send_hole(length))

    def finish(self) -> None:
        """End the data, and wait until the server confirms that it has handled all of it."""
        self._run(self._stream.finish())
