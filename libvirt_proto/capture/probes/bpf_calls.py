"""The system calls of BPF and of perf events, which Python lacks. Descriptors are closed on exec.

Sources: bpf(2), perf_event_open(2), the kernel's linux/bpf.h and linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
from contextlib import suppress
from enum import IntEnum
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Final

#: Numbers of bpf and perf_event_open.
_NUMBERS: Final = {"x86_64": (321, 298), "aarch64": (280, 241)}

_MAP_CREATE, _MAP_LOOKUP, _PROG_LOAD, _RAW_TRACEPOINT_OPEN = 0, 1, 5, 17
_ARRAY, _RING = 2, 27

_MAP: Final = Struct("<7I16s4x")
_LOOKUP: Final = Struct("<I4xQQQ")
_PROGRAM: Final = Struct("<IIQQIIQII16sII")
_TRACEPOINT: Final = Struct("<QI4x")
#: perf_event_attr: type, size, config, sample_period, wakeup_events, config1, config2.
_PERF: Final = Struct("<IIQQ24xI4xQQ40x")
_PERF_CLOEXEC: Final = 8
_SET_BPF: Final = 0x40042408
_UPROBE_TYPE: Final = Path("/sys/bus/event_source/devices/uprobe/type")
_REFERENCE: Final = Path("/sys/bus/event_source/devices/uprobe/format/ref_ctr_offset")
#: Bits of the offset of a semaphore, in the higher half of `config`.
_REFERENCE_BITS: Final = 32

#: Programs may call most functions only under a licence that is compatible with the GPL, as LGPL 2.1 is.
_LICENSE: Final = ctypes.create_string_buffer(b"GPL")
_LOG_SIZE: Final = 1 << 16
_NAME: Final = "lvproto_"


class Kind(IntEnum):
    """Types of programs."""

    PROBE = 2
    RAW_TRACEPOINT = 17


class RejectedError(OSError):
    """A program that the kernel's verifier rejects; the text ends with its last remark."""


def ring(size: int) -> int:
    """Create a ring buffer of `size` bytes (a power of 2) and return its descriptor. Raises OSError."""
    return _map(_RING, 0, 0, size, "ring")


def counter() -> int:
    """Create an array with one number of 64 bits and return its descriptor. Raises OSError."""
    return _map(_ARRAY, 4, 8, 1, "lost")


def count(counter: int) -> int:
    """Return the number in a counter. Raises OSError."""
    key, value = ctypes.c_uint32(0), ctypes.c_uint64(0)
    _bpf(_MAP_LOOKUP, _LOOKUP.pack(counter, ctypes.addressof(key), ctypes.addressof(value), 0))
    return value.value


def _map(kind: int, key: int, value: int, entries: int, name: str) -> int:
    return _bpf(_MAP_CREATE, _MAP.pack(kind, key, value, entries, 0, 0, 0, (_NAME + name).encode()))


def load(kind: Kind, code: bytes, name: str) -> int:
    """Load a program and return its descriptor. Raises OSError."""
    instructions = ctypes.create_string_buffer(code, len(code))
    log = ctypes.create_string_buffer(_LOG_SIZE)

    def attempt(level: int) -> int:
        place = (level, _LOG_SIZE, ctypes.addressof(log)) if level else (0, 0, 0)
        attributes = (kind, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(_LICENSE))
        return _bpf(_PROG_LOAD, _PROGRAM.pack(*attributes, *place, 0, 0, (_NAME + name).encode()[:15], 0, 0))

    try:
        return attempt(0)
    except OSError as error:
        with suppress(OSError):
            os.close(attempt(1))
        remarks = log.value.decode(errors="replace").splitlines()
        text = next((line for line in reversed(remarks) if line and not line.startswith("processed ")), "")
        raise RejectedError(error.errno, f"{error.strerror}{text and f' ({text})'}") from None


def attach_tracepoint(name: str, program: int) -> int:
    """Run a program at one of the kernel's tracepoints, while the returned descriptor is open. Raises
    OSError."""
    text = ctypes.create_string_buffer(name.encode())
    return _bpf(_RAW_TRACEPOINT_OPEN, _TRACEPOINT.pack(ctypes.addressof(text), program))


def uprobe_type() -> int:
    """Return the number of the kernel's event source `uprobe`. Raises OSError if it cannot count in
    semaphores, or does not exist."""
    if _REFERENCE.read_text().strip() != f"config:{_REFERENCE_BITS}-63":
        raise OSError(f"unknown format of {_REFERENCE}")
    return int(_UPROBE_TYPE.read_text())


def attach_probe(type_: int, path: str, offset: int, semaphore: int | None, program: int) -> int:
    """Run a program at an offset in a file, in all processes, while the returned descriptor is open. Raises
    OSError."""
    place = ctypes.create_string_buffer(os.fsencode(path))
    if (semaphore or 0) >> _REFERENCE_BITS:
        raise OSError("a semaphore beyond 4 GiB")
    config = (semaphore or 0) << _REFERENCE_BITS
    attributes = ctypes.create_string_buffer(
        _PERF.pack(type_, _PERF.size, config, 1, 1, ctypes.addressof(place), offset), _PERF.size
    )
    _, number = _NUMBERS[platform.machine()]
    # The processor only selects where samples would be counted; there are none.
    event = _call(number, attributes, ctypes.c_int(-1), ctypes.c_int(0), ctypes.c_int(-1), _PERF_CLOEXEC)
    try:
        fcntl.ioctl(event, _SET_BPF, program)
    except OSError:
        os.close(event)
        raise
    return event


def _bpf(command: int, attributes: bytes) -> int:
    if platform.machine() not in _NUMBERS:
        raise OSError("unknown processor")
    number, _ = _NUMBERS[platform.machine()]
    place = ctypes.create_string_buffer(attributes, len(attributes))
    return _call(number, ctypes.c_int(command), place, ctypes.c_uint(len(attributes)))


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc
