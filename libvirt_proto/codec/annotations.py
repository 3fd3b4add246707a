"""The annotations of a procedure: the `@` words in the comment before its number.

Source: the comment at REMOTE_PROC_CONNECT_OPEN in libvirt's remote_protocol.x.
"""

from typing import Final, Literal, NamedTuple


class AccessRule(NamedTuple):
    """A permission: `object:permission[:flags][:parameter:value]`; `@aclfilter` has the first two only."""

    object: str
    permission: str
    flags: str | None = None
    parameter: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        text = f"{self.object}:{self.permission}"
        if self.flags is not None or self.parameter is not None:
            text += f":{self.flags or ''}"
        if self.parameter is not None:
            text += f":{self.parameter}:{self.value}"
        return text


class Annotations(NamedTuple):
    """All annotations of a procedure.

    `generate` is none, client, server or both; the words `autogen` and `skipgen` of releases before 1.0.5 are
    translated (daemon first, client second). `acl` is None without an annotation and empty for `@acl: none`.
    """

    generate: str | None = None
    priority: str | None = None
    readstream: int | None = None
    writestream: int | None = None
    sparseflag: str | None = None
    acl: tuple[AccessRule, ...] | None = None
    aclfilter: tuple[AccessRule, ...] = ()


#: Procedures that open a stream from the client in hand-written code; their .x comments do not mention it.
_UNMENTIONED: Final = frozenset({"domain_migrate_prepare_tunnel3_params"})


def stream_direction(procedure: str, annotations: Annotations) -> Literal["c2s", "s2c"] | None:
    """Return the direction of the stream that a procedure opens, None for most. (A console's stream carries
    data both ways; the result is the direction in the definitions.)"""
    if annotations.readstream is not None:
        return "s2c"
    return "c2s" if annotations.writestream is not None or procedure in _UNMENTIONED else None
