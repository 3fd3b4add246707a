"""The annotations of a procedure: the `@` words in the comment before its number.

Source: the comment at REMOTE_PROC_CONNECT_OPEN in libvirt's remote_protocol.x.
"""

from typing import NamedTuple


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
