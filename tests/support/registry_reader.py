"""A decoder and an encoder of payloads that know nothing but registry.json, and the rules in docs/json.md."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Plain = Any
_INTEGERS = {(32, True): ">i", (32, False): ">I", (64, True): ">q", (64, False): ">Q"}
_NAN = "7ff8000000000000"


class Decoded(NamedTuple):
    """A message: numbers of its header, and the payload or the bytes of a stream."""

    header: Mapping[str, Plain]
    payload: Plain
    data: bytes


class Document:
    """The types of registry.json by module and name, and the traversals of their values."""

    def __init__(self, registry: Mapping[str, Any]) -> None:
        self.registry = registry
        self.types = {(each["module"], each["name"]): each for each in registry["types"]}
        self.procedures = {
            (program["number"], program["version"], each["number"]): each
            for program in registry["programs"]
            for each in program["procedures"]
        }
        self.enums = {each["name"]: each["members"] for each in registry["public_enums"]}

    # Messages

    def messages(self, stream: bytes, sender: str | None) -> Iterator[Decoded]:
        """Yield the messages in the bytes of one side of a connection."""
        while stream:
            (length,) = struct.unpack_from(">I", stream)
            yield self._message(stream[4:length], sender)
            stream = stream[length:]

    def _message(self, data: bytes, sender: str | None) -> Decoded:
        protocol = self.registry["protocol"]
        header, pos = self.decode(protocol["header"], data)
        for form in protocol["messages"]:
            names = (form["type"]["name"], form["status"]["name"])
            if names == (header["type"], header["status"]) and form["sender"] in (None, sender or "server"):
                break
        else:
            raise ValueError(f"no message is {header}")
        pos += 4 * form["descriptors"]
        procedure = self.procedures[header["prog"], header["vers"], header["proc"]]
        type_ = {**procedure, **protocol, "data": None, "nothing": None}[form["payload"]]
        if type_ is None:
            return Decoded(header, None, data[pos:])
        payload, pos = self.decode(type_, data, pos)
        return Decoded(header, payload, data[pos:])

    # Decoding

    def decode(self, type_: Any, data: bytes, pos: int = 0, uuid: bool = False) -> tuple[Plain, int]:
        """Return the value in JSON, and the position after it; raises ValueError."""
        match type_["kind"]:
            case "reference":
                definition = self.types[type_["module"], type_["name"]]
                return self._definition(definition, data, pos, uuid or type_["name"].lower().endswith("uuid"))
            case "void":
                return None, pos
            case "integer":
                return self._unpack(_INTEGERS[type_["bits"], type_["signed"]], data, pos)
            case "boolean":
                number, pos = self._unpack(">I", data, pos)
                if number > 1:
                    raise ValueError("a boolean")
                return bool(number), pos
            case "float":
                if type_["bits"] == 128:
                    return self._bytes(16, data, pos)[0].hex(), pos + 16
                return self._float({32: ">f", 64: ">d"}[type_["bits"]], data, pos)
            case "fixed_opaque":
                found, pos = self._bytes(type_["size"]["value"], data, pos)
                text = found.hex()
                if uuid and len(found) == 16:
                    text = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
                return text, pos
            case "opaque" | "string" as kind:
                count, pos = self._count(type_, data, pos)
                found, pos = self._bytes(count, data, pos)
                return (found.hex() if kind == "opaque" else _text(found)), pos
            case "fixed_array":
                return self._elements(type_, type_["size"]["value"], data, pos)
            case "array":
                count, pos = self._count(type_, data, pos)
                return self._elements(type_, count, data, pos)
            case "optional":
                there, pos = self.decode({"kind": "boolean"}, data, pos)
                return self.decode(type_["element"], data, pos) if there else (None, pos)
        raise ValueError(type_)

    def _definition(self, definition: Any, data: bytes, pos: int, uuid: bool) -> tuple[Plain, int]:
        match definition["kind"]:
            case "typedef":
                return self.decode(definition["type"], data, pos, uuid)
            case "enum":
                number, pos = self._unpack(">i", data, pos)
                names = [each["name"] for each in definition["members"] if each["value"] == number]
                return (names or [number])[0], pos
            case "union":
                found, value, pos = self._part({}, definition["discriminant"], data, pos)
                arm = self._arm(definition, value)
                if arm["name"] is not None:
                    found, _, pos = self._part(found, arm, data, pos)
                return found, pos
            case _:
                found = {}
                for field in definition["fields"]:
                    found, _, pos = self._part(found, field, data, pos)
                return found, pos

    def _part(self, found: Any, part: Any, data: bytes, pos: int) -> tuple[Any, Plain, int]:
        value, pos = self.decode(part["type"], data, pos)
        found = {**found, part["name"]: value}
        if part["meaning"] is not None:
            found[f"{part['name']}_name"] = self._meaning(part["meaning"], value, found)
        return found, value, pos

    def _arm(self, union: Any, value: Plain) -> Any:
        for arm in union["arms"]:
            for label in arm["labels"]:
                if value in (label["name"], label["value"]):
                    return arm
        if union["default"] is None:
            raise ValueError("no arm")
        return union["default"]

    def _meaning(self, meaning: Any, value: int, found: Any) -> Plain:
        if meaning["kind"] == "flags":
            members = [each for enum in meaning["enums"] for each in self.enums[enum]]
            bits = {each["value"]: each["name"] for each in reversed(members) if each["value"] > 0}
            everything = {each["name"]: each["value"] for all_ in self.enums.values() for each in all_}
            bits |= {everything[name]: name for name in meaning["preferred"]}
            names = [bits[bit] for bit in sorted(bits) if value >= 0 and value & bit]
            rest = value & ~sum(bits) if value >= 0 else value
            return [*names, *([rest] if rest else [])]
        enum = meaning.get("enum") or meaning["enums"].get(found[f"{meaning['field']}_name"])
        names = [each["name"] for each in self.enums.get(enum, ()) if each["value"] == value]
        return names[0] if names else None

    def _elements(self, type_: Any, count: int, data: bytes, pos: int) -> tuple[Plain, int]:
        found = []
        for _ in range(count):
            value, pos = self.decode(type_["element"], data, pos)
            found.append(value)
        return found, pos

    def _count(self, type_: Any, data: bytes, pos: int) -> tuple[int, int]:
        count, pos = self._unpack(">I", data, pos)
        if type_["limit"] is not None and count > type_["limit"]["value"]:
            raise ValueError("over the limit")
        return count, pos

    def _bytes(self, count: int, data: bytes, pos: int) -> tuple[bytes, int]:
        end = pos + count + -count % 4
        if end > len(data) or any(data[pos + count : end]):
            raise ValueError("bytes")
        return data[pos : pos + count], end

    def _unpack(self, form: str, data: bytes, pos: int) -> tuple[Any, int]:
        try:
            return struct.unpack_from(form, data, pos)[0], pos + struct.calcsize(form)
        except struct.error as error:
            raise ValueError(str(error)) from None

    def _float(self, form: str, data: bytes, pos: int) -> tuple[Plain, int]:
        number, pos = self._unpack(form, data, pos)
        if math.isinf(number):
            return "Infinity" if number > 0 else "-Infinity", pos
        bits = struct.pack(">d", number).hex()
        return (number if number == number else "NaN" if bits == _NAN else f"NaN(0x{bits})"), pos

    # Encoding

    def encode(self, type_: Any, value: Plain) -> bytes:
        """Return the XDR of a value in JSON."""
        match type_["kind"]:
            case "reference":
                return self._encode_definition(self.types[type_["module"], type_["name"]], value)
            case "void":
                return b""
            case "integer":
                return struct.pack(_INTEGERS[type_["bits"], type_["signed"]], value)
            case "boolean":
                return struct.pack(">I", value)
            case "float" if type_["bits"] == 128:
                return bytes.fromhex(value)
            case "float":
                if isinstance(value, str) and value.startswith("NaN"):
                    (value,) = struct.unpack(">d", bytes.fromhex(value[6:-1] or _NAN))
                return struct.pack({32: ">f", 64: ">d"}[type_["bits"]], float(value))
            case "fixed_opaque":
                return _padded(bytes.fromhex(value.replace("-", "")))
            case "opaque":
                return struct.pack(">I", len(value) // 2) + _padded(bytes.fromhex(value))
            case "string":
                found = value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])
                return struct.pack(">I", len(found)) + _padded(found)
            case "fixed_array":
                return b"".join(self.encode(type_["element"], each) for each in value)
            case "array":
                elements = (self.encode(type_["element"], each) for each in value)
                return struct.pack(">I", len(value)) + b"".join(elements)
            case "optional":
                return b"\0\0\0\0" if value is None else b"\0\0\0\1" + self.encode(type_["element"], value)
        raise ValueError(type_)

    def _encode_definition(self, definition: Any, value: Plain) -> bytes:
        match definition["kind"]:
            case "typedef":
                return self.encode(definition["type"], value)
            case "enum":
                numbers = {each["name"]: each["value"] for each in definition["members"]}
                return struct.pack(">i", numbers.get(value, value))
            case "union":
                discriminant = definition["discriminant"]
                selected = value[discriminant["name"]]
                arm = self._arm(definition, selected)
                rest = b"" if arm["name"] is None else self.encode(arm["type"], value[arm["name"]])
                return self.encode(discriminant["type"], selected) + rest
            case _:
                return b"".join(
                    self.encode(each["type"], value[each["name"]]) for each in definition["fields"]
                )


def _text(data: bytes) -> Plain:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
