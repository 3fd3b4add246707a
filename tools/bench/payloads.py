"""Payloads of a capture → typed objects and back, by us and by peers; in this process, in turn.

    python -m tools.bench.payloads CAPTURE MESSAGES ROUNDS

prints seconds of the processor by contender, one number per round, as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from libvirt_proto import native
from libvirt_proto.codec.values import XdrStruct, XdrUnion
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.jsonlines.encode import encoder
from libvirt_proto.native_types import native_types
from libvirt_proto.registry import default

from . import climit
from .captures import messages
from .peers import Xdrlib, construct

#: construct is slow, so it gets only every tenth payload.
_SHARE_OF_CONSTRUCT = 10


def sample(path: Path, wanted: int) -> Iterator[tuple[XdrType, bytes, Any]]:
    """(type, payload, value) of the typed payloads among the first messages."""
    registry = default()
    for frame, message in islice(messages(path), wanted):
        if message.payload_type and message.error is None and not message.remarks:
            type_ = registry.type(message.payload_type)
            payload = type_.to_bytes(message.payload)
            assert frame.endswith(payload + message.spare)
            yield type_, payload, message.payload


def ready(value: Any, names: dict[str, Any]) -> str:
    """The Python expression that builds a value of nothing but constants."""
    match value:
        case XdrStruct() | XdrUnion():
            name = type(value).__name__
            names[name] = type(value)
            parts = (getattr(value, attribute) for attribute in type(value).__struct_fields__)
            return f"{name}({', '.join(ready(part, names) for part in parts)})"
        case list():
            return f"[{', '.join(ready(each, names) for each in value)}]"
        case IntEnum() | float():  # their repr is not always an expression
            name = f"ready{len(names)}"
            names[name] = value
            return name
        case _:
            return repr(value)


def builders(work: list[tuple[XdrType, bytes, Any]]) -> list[Callable[[], Any]]:
    """A function for each payload that builds its objects from ready values."""
    made: dict[tuple[str, bytes], Callable[[], Any]] = {}
    names: dict[str, Any] = {}
    for type_, payload, value in work:
        if (type_.name, payload) not in made:
            text = ready(value, names)
            made[type_.name, payload] = eval(f"lambda: {text}", names)
    return [made[type_.name, payload] for type_, payload, _ in work]


def same(value: Any, theirs: Any) -> bool:
    """True if construct's containers hold the same values as our objects."""
    match value:
        case XdrStruct() | XdrUnion():
            fields = type(value).__struct_fields__
            return all(same(getattr(value, name), theirs[name]) for name in fields)
        case list():
            return len(value) == len(theirs) and all(map(same, value, theirs))
        case _:
            return bool(value == theirs)


def contenders(work: list[tuple[XdrType, bytes, Any]]) -> dict[str, tuple[Callable[[], None], float]]:
    """The functions to measure, each with the factor that scales its time to all the work."""
    types = {type_.name: type_ for type_, _, _ in work}
    peer = Xdrlib()
    codecs = {name: peer.codec(type_) for name, type_ in types.items()}
    declarations = {name: construct(type_) for name, type_ in types.items()}
    for type_, payload, value in work:
        decode, encode = codecs[type_.name]
        assert decode(payload) == value, type_.name
        assert encode(value) == payload, type_.name
    fewer = work[::_SHARE_OF_CONSTRUCT]
    assert all(same(value, declarations[type_.name].parse(payload)) for type_, payload, value in fewer)

    floor = builders(work)
    ours = [(type_.decode, payload) for type_, payload, _ in work]
    xdrlib = [(codecs[type_.name][0], payload) for type_, payload, _ in work]
    constructed = [(declarations[type_.name].parse, payload) for type_, payload, _ in fewer]
    writers = [(type_.to_bytes, value) for type_, _, value in work]
    packers = [(codecs[type_.name][1], value) for type_, _, value in work]

    jsons = [
        (type_.decode, encoder(type_.types, True).function(type_.reference), payload)
        for type_, payload, _ in work
    ]

    def build() -> None:
        for function in floor:
            function()

    def json_ours() -> None:
        for decode, convert, payload in jsons:
            msgspec.json.encode(convert(decode(payload, 0)[0]))

    def decode_ours() -> None:
        for function, payload in ours:
            function(payload, 0)

    def calls(pairs: list[tuple[Callable[[Any], Any], Any]]) -> Callable[[], None]:
        def call() -> None:
            for function, argument in pairs:
                function(argument)

        return call

    return {
        **natives(work),
        "json": (json_ours, 1),
        "objects": (build, 1),
        "decode": (decode_ours, 1),
        "decode xdrlib": (calls(xdrlib), 1),
        "decode construct": (calls(constructed), len(work) / len(fewer)),
        "encode": (calls(writers), 1),
        "encode xdrlib": (calls(packers), 1),
    }


def natives(work: list[tuple[XdrType, bytes, Any]]) -> dict[str, tuple[Callable[[], None], float]]:
    """The functions of the native core, if there is one."""
    if native.core() is None:
        return {}
    types = native_types(default())
    plan = types.plan
    payloads = [(types.row(type_), payload) for type_, payload, _ in work]
    values = [(types.row(type_), value) for type_, _, value in work]
    assert all(plan.decode(row, payload) is not None for row, payload in payloads if row is not None)
    assert all(plan.encode(row, value) is not None for row, value in values if row is not None)

    def calls(function: Callable[..., Any], pairs: list[tuple[Any, Any]]) -> tuple[Callable[[], None], float]:
        def call() -> None:
            for row, argument in pairs:
                function(row, argument)

        return call, 1

    return {
        "decode native": calls(plan.decode, payloads),
        "check native": calls(plan.check, payloads),
        "json native": calls(plan.json, payloads),
        "encode native": calls(plan.encode, values),
    }


def main(path: Path, wanted: int, rounds: int) -> None:
    work = list(sample(path, wanted))
    taken: dict[str, list[float]] = {}
    measured = contenders(work)
    for _ in range(rounds):
        for name, (function, factor) in measured.items():
            gc.collect()
            started = time.process_time()
            function()
            taken.setdefault(name, []).append((time.process_time() - started) * factor)
    if seconds := climit.measure([(type_.name, payload) for type_, payload, _ in work], rounds):
        taken["C"] = seconds
    print(
        json.dumps(
            {"payloads": len(work), "types": len({type_.name for type_, _, _ in work}), "seconds": taken}
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
