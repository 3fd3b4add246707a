"""What a message has that an older release of libvirt does not have, or does not take.

Messages are decoded by one set of definitions, as always, and looked at beside another one. Procedures and
programs are the same where their numbers are, fields where their names or places are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from .codec.layout import Leaf, Node, Opaque, Optional, Partial, Sequence, String, StructNode, UnionNode
from .definitions import history
from .events import Notice, NoticeCode
from .registry import Registry
from .rpc.message import Message, Type, payload_kind

#: The length word counts itself, VIR_NET_MESSAGE_MAX does not.
_WORD: Final = 4


class AsOf:
    """Takes messages, and tells once of each thing that a release does not have, and of each limit of its
    that something is over.

    `registry` is what messages are decoded by, `old` the release.
    """

    def __init__(self, registry: Registry, old: Registry) -> None:
        self._registry = registry
        self._old = old
        #: What is not there: its name, with its key for the history.
        self._absent: Counter[tuple[str, history.Key]] = Counter()
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
            self._limit("message", message.length, self._longest)
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
            self._walk(message.payload, new_type.node, old_type.node, new_type.name)

    def notices(self) -> Iterator[Notice]:
        """What there is to tell of all messages so far: notes of what the release does not have, and errors
        for what is over its limits."""
        release = self._old.release
        for (name, key), count in self._absent.items():
            since = f" ({_since(history.of(key))})" if self._registry.release is not None else ""
            text = f"{name} is not in libvirt {release}{since}: {_times(count)}"
            yield Notice(NoticeCode.NOT_IN_RELEASE, text, severity="note")
        for path, (count, limit, most) in self._over.items():
            text = (
                f"{path} is over the limit of libvirt {release}, {limit:,}: {_times(count)}, at most {most:,}"
            )
            yield Notice(NoticeCode.OVER_LIMIT, text)

    def _limit(self, path: str, size: int, limit: int) -> None:
        count, _, most = self._over.get(path, (0, 0, 0))
        self._over[path] = (count + 1, limit, max(most, size))

    def _walk(self, value: Any, new: Node, old: Node, path: str) -> None:
        if isinstance(value, Partial):
            return
        match new, old:
            case Leaf(String() | Opaque()), Leaf(String(int(limit)) | Opaque(int(limit))):
                size = len(value.encode()) if isinstance(value, str) else len(value)
                if size > limit:
                    self._limit(path, size, limit)
            case Sequence(), Sequence():
                if old.size is not None and len(value) > old.size:
                    self._limit(path, len(value), old.size)
                for item in value:
                    self._walk(item, new.element, old.element, f"{path}[]")
            case Optional(), Optional() if value is not None:
                self._walk(value, new.element, old.element, path)
            case StructNode(), StructNode():
                self._struct(value, new, old, path)
            case UnionNode(), UnionNode():
                self._union(value, new, old, path)

    def _struct(self, value: Any, new: StructNode, old: StructNode, path: str) -> None:
        known = {name: node for name, _, node in old.fields}
        if len(new.fields) == len(old.fields):  # a field that has another name stands where it stood
            known |= {now[0]: then[2] for now, then in zip(new.fields, old.fields, strict=True)}
        for name, attribute, node in new.fields:
            if name in known:
                self._walk(getattr(value, attribute), node, known[name], f"{path}.{name}")
            else:
                self._absent[f"{new.name}.{name}", ("field", new.name, name)] += 1

    def _union(self, value: Any, new: UnionNode, old: UnionNode, path: str) -> None:
        label, held = new.type.__struct_fields__
        number = getattr(value, label)
        now, then = new.arm(number), old.arm(number)
        if now is None:
            return
        name = now[0] if now[0] is not None else f"case {int(number)}"
        if then is None:
            self._absent[f"{new.name}.{name}", ("field", new.name, name)] += 1
        else:
            self._walk(getattr(value, held), now[1], then[1], f"{path}.{name}")


def _since(facts: history.Facts) -> str:
    if facts.function is None:
        return f"since {facts.since}"
    return f"since {facts.function[1]}, by the public API"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
