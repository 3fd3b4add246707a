"""The functions of the public API as the data of functions.py."""

from __future__ import annotations

from libvirt_proto.codec.history import Key

from ...releases.functions import Functions


def function_rows(functions: Functions) -> list[tuple[str, str]]:
    """Return (function, row) as literals that libvirt_proto.definitions.functions reads."""
    return [
        (repr(name), repr((release, *map(_call, keys))))
        for name, (release, keys) in functions.calls().items()
    ]


def _call(key: Key) -> str | tuple[int, int]:
    match key:
        case ("procedure", program, number):
            return int(program, 16), int(number)
        case _:
            return " ".join(key)
