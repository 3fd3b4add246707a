"""Results of the negotiation between client and server: from the first exchanges of a connection, and from a
daemon's reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..names.public import OneOf, meanings
from ..rpc.message import Status
from .results import Authentication, ConnectionFigures, Feature, Opened, Registration

if TYPE_CHECKING:
    from ..events import Captured
    from ..session import Exchange

#: Maximum number of features and registrations kept per connection.
_MOST: Final = 256
#: By kind of event.
_RESULTS: Final = {
    "server_client_auth_allow": "ok",
    "server_client_auth_deny": "error",
    "server_client_auth_fail": "error",
}


def note(connection: ConnectionFigures, program: str, procedure: str, exchange: Exchange) -> None:
    """Note what an exchange reveals about its connection; `program` and `procedure` are names."""
    if procedure.startswith("auth_"):
        connection.auth = _authentication(connection.auth or Authentication(), procedure, exchange)
    elif procedure == "connect_open":
        connection.opened = _opened(program, exchange)
    elif procedure == "connect_close":
        connection.closed = exchange.outcome == "ok"
    elif procedure == "connect_supports_feature":
        feature = _field(exchange.call, "feature")
        if feature is not None and len(connection.features) < _MOST:
            supported = _field(exchange.reply, "supported")
            name = _name(exchange.call, "feature", feature)
            connection.features.append(Feature(feature, name, None if supported is None else bool(supported)))
    elif "event_" in procedure and "_register" in procedure and len(connection.registrations) < _MOST:
        event, callback = _field(exchange.call, "eventID"), _field(exchange.reply, "callbackID")
        name = _name(exchange.call, "eventID", event)
        connection.registrations.append(Registration(procedure, event, name, callback))


def add_event(connection: ConnectionFigures, kind: str) -> None:
    """Note what an event reveals: a daemon's log has the outcome of an authentication, but not its
    payloads."""
    result = _RESULTS.get(kind)
    if result is not None:
        connection.auth = connection.auth or Authentication()
        connection.auth.result = result


def _authentication(so_far: Authentication, procedure: str, exchange: Exchange) -> Authentication:
    if procedure == "auth_list":
        types = _field(exchange.reply, "types") or []
        so_far.offered = tuple(dict.fromkeys(_method(type_) for type_ in types))
        if "none" in so_far.offered and so_far.method is None:
            so_far.method, so_far.result = "none", "ok"
        return so_far
    method = procedure.split("_")[1]
    so_far.method = method
    mechanism = _field(exchange.call, "mech")
    if mechanism is not None:
        so_far.mechanism = mechanism if isinstance(mechanism, str) else mechanism.decode("utf-8", "replace")
    if exchange.outcome == "error":
        so_far.result = "error"
    elif _field(exchange.reply, "complete"):
        so_far.result = "ok"
    return so_far


def _method(type_: Any) -> str:
    """Return `none` for REMOTE_AUTH_NONE."""
    name = getattr(type_, "name", None)
    return name.rpartition("_")[2].lower() if name else str(type_)


def _opened(program: str, exchange: Exchange) -> Opened:
    uri = _field(exchange.call, "name")
    text = uri.decode("utf-8", "backslashreplace") if isinstance(uri, bytes) else uri
    return Opened(program, text, _field(exchange.call, "flags"), exchange.outcome)


def _name(captured: Captured | None, field: str, number: Any) -> str | None:
    """Return libvirt's name of the number in a field of a payload."""
    type_ = captured.message.payload_type if captured else None
    meaning = meanings(type_ or "").get(field)
    return meaning.names.get(number) if isinstance(meaning, OneOf) else None


def _field(captured: Captured | None, name: str) -> Any:
    """Return a field of a payload; None for an error, for a payload truncated before it, and without a
    message."""
    if captured is None or captured.message.header.status != Status.VIR_NET_OK:
        return None
    return getattr(captured.message.payload, name, None)
