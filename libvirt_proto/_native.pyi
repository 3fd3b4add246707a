"""The native core, in C: see `_native.c`."""

from typing_extensions import Buffer

FORMAT: int
SOURCE: str

class Plan:
    def __new__(cls, words: bytes, text: bytes) -> Plan: ...
    def check(self, row: int, data: Buffer, start: int = 0, /) -> int | None: ...
    def json(self, row: int, data: Buffer, start: int = 0, /) -> bytes | None: ...

class Scanner:
    def __new__(cls, plan: Plan, fault_names: int) -> Scanner: ...
    def learn(self, key: bytes, row: int, failed: bool, parts: tuple[bytes | int, ...], /) -> bool: ...
    def open(self, key: bytes, next: int, direction: int, conn: bytes, /) -> bool: ...
    def take(self, key: bytes, /) -> tuple[int, bytes, int] | None: ...
    def scan(
        self,
        buffer: bytes,
        pos: int,
        blocks: bool,
        big: bool,
        limit: int,
        interfaces: tuple[tuple[int, int, int], ...],
        messages: int,
        packets: int,
        start_ns: int,
        /,
    ) -> tuple[int, bytes, int, int, int, int, int, int]: ...
