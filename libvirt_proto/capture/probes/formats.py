"""The kernel's `format` files of events, and the values of records."""

from __future__ import annotations

import re
import struct
from typing import Final

_ID: Final = re.compile(r"^ID: (\d+)$", re.MULTILINE)
_FIELD: Final = re.compile(
    r"^\tfield:(?P<type>[^;]*?)\b(?P<name>\w+)(?P<array>\[\d*\])?;"
    r"\toffset:(?P<offset>\d+);\tsize:(?P<size>\d+);\tsigned:(?P<signed>[01]);$",
    re.MULTILINE,
)
_CODES: Final = {1: "b", 2: "h", 4: "i", 8: "q"}

Value = int | bytes


class FormatError(ValueError):
    """A format file that cannot be parsed, or a record that does not follow it."""


class Values(dict[str, Value]):
    """The fields of a record by name, with text and arrays as bytes. Raises FormatError for a missing
    name."""

    def __missing__(self, name: str) -> Value:
        raise FormatError(f"it has no field {name}")


class Format:
    """The format of one event. Its records begin with `id`."""

    def __init__(self, text: str) -> None:
        number = _ID.search(text)
        if number is None:
            raise FormatError("it has no ID")
        self.id: Final = int(number[1])
        names: list[str] = []
        codes, dynamic, at = "<", [], 0
        for field in _FIELD.finditer(text):
            offset, size = int(field["offset"]), int(field["size"])
            if offset < at:
                raise FormatError(f"field {field['name']} overlaps the one before")
            codes += f"{offset - at}x"
            if "__data_loc" in field["type"]:
                dynamic.append(len(names))
                codes += "I"
            elif field["array"] or size not in _CODES:
                codes += f"{size}s"
            else:
                codes += _CODES[size] if field["signed"] == "1" else _CODES[size].upper()
            names.append(field["name"])
            at = offset + size
        self._names = names
        self._dynamic = dynamic
        self._struct = struct.Struct(codes)

    def values(self, record: bytes) -> Values:
        """Return the fields of a record. Raises FormatError if it is too short."""
        try:
            values: list[Value] = list(self._struct.unpack_from(record))
        except struct.error:
            raise FormatError("it is truncated") from None
        for index in self._dynamic:
            place = values[index]
            assert isinstance(place, int)
            values[index] = record[place & 0xFFFF :][: place >> 16].split(b"\0")[0]
        return Values(zip(self._names, values, strict=True))


def event_id(record: bytes) -> int:
    """Return the id of a record's event."""
    return int.from_bytes(record[:2], "little")
