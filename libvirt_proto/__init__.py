"""libvirt's RPC protocol: captures, messages, frames, and the names of everything in them.

    with open("x.pcap") as capture:                                  messages of a capture, trace or log
        for message in capture: ...
    decode_message(bytes)  → Message        encode_message(Message) → bytes
    FrameDecoder().feed(bytes) → [Frame]    bytes in pieces of any size
    registry.program(0x20008086).procedure(66).name                  → "auth_list"
    registry.load("my-definitions/")                                 → Registry

Importing this package loads none of its modules; each is loaded when one of its names is used.
"""

# Defined here instead of imported from typing: a Ctrl-C during further imports would show a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from . import registry
    from .api.capture import Capture, open
    from .api.messages import CapturedExchange, CapturedMessage
    from .client.errors import ConnectError, ConnectionLost, EventOverflow
    from .client.open import connect
    from .client.sync import connect_sync
    from .errors import (
        BadValue,
        CaptureError,
        Error,
        FrameError,
        NotCanonical,
        NotDefinitions,
        OverLimit,
        ProtocolError,
        SourceError,
        Truncated,
        UnknownName,
    )
    from .events import Connection, ConnectionEvent, Notice
    from .figures.results import Statistics
    from .filters import Filter
    from .rpc.frame import Frame, FrameDecoder
    from .rpc.message import Header, Message, Status, Type, decode_message, encode_message
    from .rpc.reported import LibvirtError

    __version__: str

__all__ = [
    "BadValue",
    "Capture",
    "CaptureError",
    "CapturedExchange",
    "CapturedMessage",
    "ConnectError",
    "Connection",
    "ConnectionEvent",
    "ConnectionLost",
    "Error",
    "EventOverflow",
    "Filter",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "Header",
    "LibvirtError",
    "Message",
    "NotCanonical",
    "NotDefinitions",
    "Notice",
    "OverLimit",
    "ProtocolError",
    "SourceError",
    "Statistics",
    "Status",
    "Truncated",
    "Type",
    "UnknownName",
    "__version__",
    "connect",
    "connect_sync",
    "decode_message",
    "encode_message",
    "open",
    "registry",
]

#: Module → the names that it defines.
_NAMES = {
    "errors": (
        "BadValue",
        "CaptureError",
        "Error",
        "FrameError",
        "NotCanonical",
        "NotDefinitions",
        "OverLimit",
        "ProtocolError",
        "SourceError",
        "Truncated",
        "UnknownName",
    ),
    "api.capture": ("Capture", "open"),
    "api.messages": ("CapturedExchange", "CapturedMessage"),
    "client.errors": ("ConnectError", "ConnectionLost", "EventOverflow"),
    "client.open": ("connect",),
    "client.sync": ("connect_sync",),
    "events": ("Connection", "ConnectionEvent", "Notice"),
    "figures.results": ("Statistics",),
    "filters": ("Filter",),
    "rpc.frame": ("Frame", "FrameDecoder"),
    "rpc.message": ("Header", "Message", "Status", "Type", "decode_message", "encode_message"),
    "rpc.reported": ("LibvirtError",),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "registry":
        return import_module(".registry", __name__)
    if name == "__version__":
        from importlib.metadata import version

        return version("libvirt-proto")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
