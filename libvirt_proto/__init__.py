"""libvirt's RPC protocol: frames, messages, and the names of everything in them.

    decode_message(bytes)  → Message        encode_message(Message) → bytes
    FrameDecoder().feed(bytes) → [Frame]    bytes in pieces of any size
    registry.program(0x20008086).procedure(66).name                  → "auth_list"
    registry.load("my-definitions/")                                 → Registry

Modules are loaded on first use: importing this package loads none of them.
"""

# Defined here instead of imported from typing: a Ctrl-C during further imports would show a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from . import registry
    from .errors import BadValue, FrameError, NotCanonical, OverLimit, ProtocolError, Truncated
    from .rpc.frame import Frame, FrameDecoder
    from .rpc.message import Header, Message, Status, Type, decode_message, encode_message

__all__ = [
    "BadValue",
    "Frame",
    "FrameDecoder",
    "FrameError",
    "Header",
    "Message",
    "NotCanonical",
    "OverLimit",
    "ProtocolError",
    "Status",
    "Truncated",
    "Type",
    "decode_message",
    "encode_message",
    "registry",
]

_PLACES = {
    **dict.fromkeys(
        ("BadValue", "FrameError", "NotCanonical", "OverLimit", "ProtocolError", "Truncated"), "errors"
    ),
    **dict.fromkeys(("Frame", "FrameDecoder"), "rpc.frame"),
    **dict.fromkeys(
        ("Header", "Message", "Status", "Type", "decode_message", "encode_message"), "rpc.message"
    ),
}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "registry":
        return import_module(".registry", __name__)
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
