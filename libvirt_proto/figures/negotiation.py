"""Results of the negotiation between client and server: from the first exchanges of a connection, and from a
daemon's reports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..names.fields import OneOf, meanings
from ..rpc.message import Status
from .results import Authentication, ConnectionFigures, Feature, Opened, Registration

if TYPE_CHECKING:
    from ..events import Captured
    from ..session import Exchange

#: Maximum number of features and registrations kept per connection.
_MOST: Final = 256
_OK: Final = int(Status.VIR_NET_OK)
#: Notes what an exchange reveals about its connection.
Note = Callable[[ConnectionFigures, "Exchange"], None]
#: By kind of event.
_RESULTS: Final = {
    "server_client_auth_allow": "ok",
    "server_client_auth_deny": "error",
    "server_client_auth_fail": "error",
}


def note(program: str, procedure: str) -> Note | None:
    """Return the function that notes what an exchange of a procedure reveals about its connection; None if
    that is nothing. `program` and `procedure` are names."""
    if procedure.startswith("auth_"):
        return partial(_authentication, procedure)
    if procedure == "connect_open":
        return partial(_opened, program)
    if procedure == "connect_close":
        return _closed
    if procedure == "connect_supports_feature":
        return feature
    if "event_" in procedure and "_register" in procedure:
        return partial(_registration, procedure)
    return None


def add_event(connection: ConnectionFigures, kind: str) -> None:
    """Note what an event reveals: a daemon's log has the outcome of an authentication, but not its
    payloads."""
    result = _RESULTS.get(kind)
    if result is not None:
        connection.auth = connection.auth or Authentication()
        connection.auth.result = result


def _authentication(procedure: str, connection: ConnectionFigures, exchange: Exchange) -> None:
    auth = connection.auth = connection.auth or Authentication()
    if procedure == "auth_list":
        types = _field(exchange.reply, "types") or []
        auth.offered = tuple(dict.fromkeys(_method(type_) for type_ in types))
        if "none" in auth.offered and auth.method is None:
            auth.method, auth.result = "none", "ok"
        return
    auth.method = procedure.split("_")[1]
    mechanism = _field(exchange.call, "mech")
    if mechanism is not None:
        auth.mechanism = mechanism if isinstance(mechanism, str) else mechanism.decode("utf-8", "replace")
    if exchange.outcome == "error":
        auth.result = "error"
    elif _field(exchange.reply, "complete"):
        auth.result = "ok"


def _method(type_: Any) -> str:
    """Return `none` for REMOTE_AUTH_NONE."""
    name = getattr(type_, "name", None)
    return name.rpartition("_")[2].lower() if name else str(type_)


def _opened(program: str, connection: ConnectionFigures, exchange: Exchange) -> None:
    uri = _field(exchange.call, "name")
    text = uri.decode("utf-8", "backslashreplace") if isinstance(uri, bytes) else uri
    connection.opened = Opened(program, text, _field(exchange.call, "flags"), exchange.outcome)


def _closed(connection: ConnectionFigures, exchange: Exchange) -> None:
    connection.closed = exchange.outcome == "ok"


def is_full(connection: ConnectionFigures) -> bool:
    """Return whether a connection has no room for more features."""
    return len(connection.features) >= _MOST


def feature(connection: ConnectionFigures, exchange: Exchange) -> None:
    """Note a question for a feature."""
    number = _field(exchange.call, "feature")
    if number is None or is_full(connection):
        return
    supported = _field(exchange.reply, "supported")
    name = _name(exchange.call, "feature", number)
    connection.features.append(Feature(number, name, None if supported is None else bool(supported)))


def _registration(procedure: str, connection: ConnectionFigures, exchange: Exchange) -> None:
    if len(connection.registrations) >= _MOST:
        return
    event, callback = _field(exchange.call, "eventID"), _field(exchange.reply, "callbackID")
    name = _name(exchange.call, "eventID", event)
    connection.registrations.append(Registration(procedure, event, name, callback))


def _name(captured: Captured | None, field: str, number: Any) -> str | None:
    """Return libvirt's name of the number in a field of a payload."""
    type_ = captured.message.payload_type if captured else None
    meaning = meanings(type_ or "").get(field)
    return meaning.names.get(number) if isinstance(meaning, OneOf) else None


def _field(captured: Captured | None, name: str) -> Any:
    """Return a field of a payload; None for an error, for a payload truncated before it, and without a
    message."""
    if captured is None or captured.message.header.status != _OK:
        return None
    return getattr(captured.message.payload, name, None)
