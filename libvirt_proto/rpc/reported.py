"""Errors that a server reports: the virNetMessageError of a reply or a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..codec.values import Partial, PartialText
from ..errors import Error
from ..text import wire_text
from .message import Status

if TYPE_CHECKING:
    from .message import Message

_ERROR: Final = int(Status.VIR_NET_ERROR)


class LibvirtError(Error):
    """An error that a server reported: the virNetMessageError of a reply or a stream. In captures it is a
    value; the client raises it.

    `code`, `domain` and `level` are numbers of virErrorNumber, virErrorDomain and virErrorLevel; the names
    are None for numbers without one. The message's `payload` has all other fields. `message` ends in "…" if
    its end is missing.
    """

    def __init__(
        self,
        code: int,
        code_name: str | None,
        message: str | None,
        domain: int | None,
        domain_name: str | None,
        level: int | None,
        level_name: str | None,
    ) -> None:
        super().__init__(code, code_name, message, domain, domain_name, level, level_name)
        self.code = code
        self.code_name = code_name
        self.message = message
        self.domain = domain
        self.domain_name = domain_name
        self.level = level
        self.level_name = level_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LibvirtError) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    @property
    def name(self) -> str:
        """The name of the code, or `error N`."""
        return self.code_name or f"error {self.code}"

    def __str__(self) -> str:
        return self.name if self.message is None else f"{self.name}: {self.message}"


def reported_code(message: Message) -> int | None:
    """Return the code of the error that a message reports; None where `reported_error` is."""
    return None if message.header.status != _ERROR else _field(message, "code")


def _field(message: Message, name: str) -> Any:
    """Return a field of the payload, also of one whose end is missing."""
    payload = message.payload
    if isinstance(payload, Partial):
        return None if message.malformed else payload.fields.get(name)
    return getattr(payload, name, None)


def reported_error(message: Message) -> LibvirtError | None:
    """Return the error that a message reports; None for other messages, and for a report that is
    malformed."""
    code = reported_code(message)
    if code is None:
        return None
    from ..names.public import names  # slow to load

    text, domain, level = (_field(message, name) for name in ("message", "domain", "level"))
    return LibvirtError(
        code,
        names("virErrorNumber").get(code),
        None if text is None else wire_text(text) + ("…" if isinstance(text, PartialText) else ""),
        domain,
        None if domain is None else names("virErrorDomain").get(domain),
        level,
        None if level is None else names("virErrorLevel").get(level),
    )
