"""The native core, in C: see `_native.c`."""

from collections.abc import Callable
from typing import Any

from typing_extensions import Buffer

FORMAT: int
SOURCE: str

class Plan:
    def __new__(cls, words: bytes, text: bytes, resolver: Callable[[int], Any] = ...) -> Plan: ...
    def decode(self, row: int, data: Buffer, start: int = 0, /) -> tuple[Any, int] | None: ...
    def encode(self, row: int, value: object, /) -> bytes | None: ...
    def check(self, row: int, data: Buffer, start: int = 0, /) -> int | None: ...
    def json(self, row: int, data: Buffer, start: int = 0, /) -> bytes | None: ...

class Scanner:
    def __new__(
        cls, plan: Plan, fault_names: int, captured: type = ..., message: type = ..., header: type = ...
    ) -> Scanner: ...
    def learn(self, key: bytes, row: int, failed: bool, parts: tuple[Any, ...], /) -> bool: ...
    def open(
        self, key: bytes, next: int, direction: int, connection: Any, pending: bytes = b"", /
    ) -> bool: ...
    def take(self, key: bytes, /) -> tuple[int, bytes, int] | None: ...
    def scan(
        self,
        buffer: Buffer,
        pos: int,
        blocks: bool,
        big: bool,
        limit: int,
        interfaces: tuple[tuple[int, int, int], ...],
        messages: int,
        packets: int,
        start_ns: int,
        most: int = 1,
        /,
    ) -> tuple[int, bytes | tuple[Any, ...], int, int, int, int, int, int | None, int]: ...
