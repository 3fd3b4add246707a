"""Events that wait for their reader, in a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import Self

from ..errors import Error
from .core import Emitted
from .errors import EventOverflow


class EventQueue:
    """An asynchronous iterator of events: see `Connection.events`. Leave it with `close`, or use it with
    `with`."""

    def __init__(
        self, wanted: Collection[tuple[int, int]], limit: int, closed: Callable[[EventQueue], object]
    ) -> None:
        self._wanted = wanted
        self._limit = limit
        self._closed = closed
        self._waiting: deque[Emitted] = deque()
        self._error: Error | None = None
        self._changed = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Emitted:
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()

    def add(self, event: Emitted) -> None:
        """Add an event; it is lost if the queue is full."""
        if self._error is not None:
            return
        if self._wanted and (event.program.number, event.procedure.number) not in self._wanted:
            return
        if len(self._waiting) == self._limit:
            self.end(EventOverflow(f"more than {self._limit} events were not read; later ones are lost"))
        else:
            self._waiting.append(event)
            self._changed.set()

    def end(self, error: Error) -> None:
        """End the iterator with an error, after the events that wait."""
        self._error = self._error or error
        self._changed.set()

    def close(self) -> None:
        """Stop collecting events."""
        self._closed(self)
