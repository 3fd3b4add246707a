"""Messages whose header has the wrong type: events of other implementations that claim to be replies."""

from __future__ import annotations

from ..registry import Registry
from .message import Message
from .names import TYPES


def fitting_event(message: Message, registry: Registry) -> str | None:
    """Return what spare bytes are if they are an event of the message's procedure: `remote_x_msg: an event
    with the type of a reply`. None if they are not."""
    header = message.header
    procedure = registry.procedure(header.prog, header.vers, header.proc)
    if not message.spare or procedure is None or procedure.msg is None:
        return None
    reading = procedure.msg.read(message.spare, 0)
    if reading.error is not None or reading.next != len(message.spare):
        return None
    return f"{procedure.msg.name}: an event with the type of a {TYPES.get(header.type, header.type)}"
