"""Parts of messages that an older release of libvirt lacks or refuses.

Messages are decoded with one set of definitions, as always, and compared with another one. Procedures and
programs match by number, fields by name or position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from .codec import types as xdr
from .codec.history import Facts, Key
from .codec.values import Partial
from .definitions import history
from .events import Notice, NoticeCode
from .registry import Registry
from .rpc.message import Message, Type, payload_kind

#: The length word counts itself, VIR_NET_MESSAGE_MAX does not.
_WORD: Final = 4


class CompatibilityCheck:
    """A check of messages against an older release: each missing name and each exceeded limit is reported
    once.

    `registry` has the definitions that decode the messages, `old` those of the release.
    """

    def __init__(self, registry: Registry, old: Registry) -> None:
        self._registry = registry
        self._old = old
        #: What is not there: its name, with its key for the history.
        self._absent: Counter[tuple[str, Key]] = Counter()
        #: Path → how often something was over the limit, the limit, and the most that was there.
        self._over: dict[str, tuple[int, int, int]] = {}
        net = {module.file: module for module in old.modules()}.get("virnetprotocol.x")
        types = net.enums.get("virNetMessageType") if net else None
        self._types = None if types is None else frozenset(map(int, types))
        most = net.constants.get("VIR_NET_MESSAGE_MAX") if net else None
        self._longest = None if most is None else most + _WORD

    def add(self, message: Message) -> None:
        """Look at a message."""
        header = message.header
        if self._types is not None and header.type not in self._types and header.type in set(Type):
            name = Type(header.type).name
            self._absent[name, ("member", "virNetMessageType", name)] += 1
        if self._longest is not None and message.length > self._longest:
            self.over_limit("message", message.length, self._longest)
        program = self._registry.find(header.prog, header.vers)
        procedure = program.by_number.get(header.proc) if program else None
        if program is None or procedure is None:
            return
        old = self._old.procedure(header.prog, header.vers, header.proc)
        if old is None:
            key = ("procedure", f"{header.prog:#010x}", str(header.proc))
            self._absent[f"{program.name}.{procedure.name}", key] += 1
            return
        kind = payload_kind(header)
        new_type, old_type = getattr(procedure, kind or "", None), getattr(old, kind or "", None)
        if new_type is not None and old_type is not None and message.payload is not None:
            walk = _Comparison(self, new_type.types, old_type.types)
            walk.values(message.payload, new_type.reference, old_type.reference, new_type.name)

    def notices(self) -> Iterator[Notice]:
        """Notices on all messages so far: notes for names that the release lacks, errors for exceeded
        limits."""
        release = self._old.release
        for (name, key), count in self._absent.items():
            since = f" ({_since(history.lookup(key))})" if self._registry.release is not None else ""
            text = f"{name} is not in libvirt {release}{since}: {_times(count)}"
            yield Notice(NoticeCode.NOT_IN_RELEASE, text, severity="note")
        for path, (count, limit, most) in self._over.items():
            text = (
                f"{path} is over the limit of libvirt {release}, {limit:,}: {_times(count)}, at most {most:,}"
            )
            yield Notice(NoticeCode.OVER_LIMIT, text)

    def over_limit(self, path: str, size: int, limit: int) -> None:
        """Note a length that is over the old limit."""
        count, _, most = self._over.get(path, (0, 0, 0))
        self._over[path] = (count + 1, limit, max(most, size))

    def absent(self, name: str, key: Key) -> None:
        """Note a thing that the release lacks."""
        self._absent[name, key] += 1


class _Comparison:
    """Walks a value by two types at once: its own, and that of the old release."""

    def __init__(self, check: CompatibilityCheck, new: xdr.Definitions, old: xdr.Definitions) -> None:
        self._check = check
        self._new = new
        self._old = old

    def values(self, value: Any, new: xdr.Node, old: xdr.Node, path: str) -> None:
        """Compare a value, as far as it was decoded."""
        if isinstance(value, Partial):
            return
        name = new.name if isinstance(new, xdr.Named) else ""
        while isinstance(new, xdr.Named):
            name, new = new.name, self._new.definition(new).node
        match new, xdr.resolved(old, self._old):
            case xdr.String() | xdr.Opaque(), xdr.String(limit) | xdr.Opaque(limit) if limit is not None:
                size = len(value.encode()) if isinstance(value, str) else len(value)
                if size > limit.value:
                    self._check.over_limit(path, size, limit.value)
            case xdr.Array(element) | xdr.FixedArray(element), xdr.Array(before, limit) | xdr.FixedArray(
                before, limit
            ):
                if limit is not None and len(value) > limit.value:
                    self._check.over_limit(path, len(value), limit.value)
                for item in value:
                    self.values(item, element, before, f"{path}[]")
            case xdr.Optional(element), xdr.Optional(before) if value is not None:
                self.values(value, element, before, path)
            case xdr.Structure() as now, xdr.Structure() as then:
                self._struct(value, name, now, then, path)
            case xdr.UnionType() as now, xdr.UnionType() as then:
                self._union(value, name, now, then, path)

    def _struct(self, value: Any, type_: str, new: xdr.Structure, old: xdr.Structure, path: str) -> None:
        known = {field.name: field.node for field in old.fields}
        if len(new.fields) == len(old.fields):  # a renamed field has kept its place
            known |= {now.name: then.node for now, then in zip(new.fields, old.fields, strict=True)}
        for attribute, field in zip(value.__struct_fields__, new.fields, strict=True):
            if field.name in known:
                held = getattr(value, attribute)
                self.values(held, field.node, known[field.name], f"{path}.{field.name}")
            else:
                self._check.absent(f"{type_}.{field.name}", ("field", type_, field.name))

    def _union(self, value: Any, type_: str, new: xdr.UnionType, old: xdr.UnionType, path: str) -> None:
        label, held = value.__struct_fields__
        number = getattr(value, label)
        now, then = new.arm(number), old.arm(number)
        if now is None:
            return
        name = now.name if now.name is not None else f"case {int(number)}"
        if then is None:
            self._check.absent(f"{type_}.{name}", ("field", type_, name))
        else:
            self.values(getattr(value, held), now.node, then.node, f"{path}.{name}")


def _since(facts: Facts) -> str:
    if facts.function is None:
        return f"since {facts.since}"
    return f"since {facts.function[1]}, by the public API"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
