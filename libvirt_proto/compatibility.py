"""Parts of messages that an older release of libvirt lacks or refuses, and permissions that it requires.

Messages are decoded with one set of definitions, as always, and compared with another one. Procedures and
programs match by number, fields by name or position. Numbers of the public API's enums are compared with the
releases that added their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any, Final, Protocol, TypeVar

from .codec.history import Facts, Key, version_key
from .codec.lengths import LengthWalks, Walk
from .codec.type_table import TypeTable
from .codec.types import Bound, Named, Node, Structure, part_names, resolved
from .codec.xdrtype import XdrType
from .definitions import history
from .definitions.program import Procedure, Program
from .events import Notice, NoticeCode
from .names import public
from .names.fields import Bits, By, Meaning, OneOf
from .names.meanings import meanings_of, name_of
from .registry import Registry
from .rpc.limits import longest_frame
from .rpc.message import Message, Type, payload_kind

Number = TypeVar("Number", int, tuple[int, int])
#: A release before all that added names.
_FIRST: Final = "0"
_CALLS: Final = (Type.VIR_NET_CALL, Type.VIR_NET_CALL_WITH_FDS)
#: Aspect of a procedure → what a release does with it, and may do where the date is unknown.
_VERBS: Final = {"acl": ("requires", "may require"), "aclfilter": ("filters by", "may filter by")}


class CompatibilityCheck:
    """A check of messages against an older release: each missing name and each exceeded limit is reported
    once, and the permissions that it requires for a call, where they differ.

    `registry` has the definitions that decode the messages, `old` those of the release.
    """

    def __init__(self, registry: Registry, old: Registry) -> None:
        self._registry = registry
        self._old = old
        #: What is not there: its name, with its key for the history; None for names of the public API.
        self._absent: Counter[tuple[str, Key | None]] = Counter()
        #: Path → how often something was over the limit, the limit, and the most that was there.
        self._over: dict[str, tuple[int, int, int]] = {}
        self._permissions = lru_cache(None)(self._other_permissions)
        #: Sentence → how often it was true.
        self._other: Counter[str] = Counter()
        self._newer = None if old.release is None else partial(names_newer_than, old.release)
        self._comparisons: dict[tuple[TypeTable, TypeTable], Comparison] = {}
        self._walks: dict[tuple[Named, Named], Walk | None] = {}
        net = {module.file: module for module in old.modules()}.get("virnetprotocol.x")
        types = net.enums.get("virNetMessageType") if net else None
        self._types = None if types is None else frozenset(map(int, types))
        self._longest = longest_frame(old)

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
        if header.type in _CALLS and old.annotations.acl is not None:
            for text in self._permissions(program, procedure):
                self._other[text] += 1
        kind = payload_kind(header)
        new_type, old_type = getattr(procedure, kind or "", None), getattr(old, kind or "", None)
        if kind is None and message.payload_type == self._registry.error.name:
            new_type, old_type = self._registry.error, self._old.error
        if new_type is not None and old_type is not None:
            self._compare(message, new_type, old_type)

    def _other_permissions(self, program: Program, procedure: Procedure) -> tuple[str, ...]:
        """Return sentences on the permissions that the release requires instead of those of the registry."""
        release = self._old.release
        if release is None or self._registry.release is None:
            return ()
        name = f"{program.name}.{procedure.name}"
        facts = history.procedure(program.number, procedure.number)
        annotations = procedure.annotations
        found = []
        for what, current in (("acl", annotations.acl), ("aclfilter", annotations.aclfilter)):
            change = facts.first_missing(what, release)
            now = ", ".join(map(str, current or ())) or "none"
            if change is None or (before := change.before or "none") == now:
                continue
            verb = _VERBS[what][change.is_missing(release) is None]
            text = f"{name} {verb} {before} in libvirt {release}, not {now}; changed {change.when.phrase}"
            found.append(text)
        return tuple(found)

    def _compare(self, message: Message, new: XdrType, old: XdrType) -> None:
        """Compare a payload by its type and the type of the old release; one that breaks off has no value."""
        if message.payload is None or message.error is not None:
            return
        types = new.reference, old.reference
        if types not in self._walks:
            tables = new.types, old.types
            comparison = self._comparisons.setdefault(tables, Comparison(*tables, self, self._newer))
            self._walks[types] = comparison.visit(*types, new.name)
        walk = self._walks[types]
        if walk is not None:
            walk(message.payload)

    def notices(self) -> Iterator[Notice]:
        """Notices on all messages so far: notes for names that the release lacks, errors for exceeded
        limits."""
        release = self._old.release
        for (name, key), count in self._absent.items():
            text = f"{name} is not in libvirt {release}{self._since(name, key)}: {_times(count)}"
            yield Notice(NoticeCode.NOT_IN_RELEASE, text, severity="note")
        for path, (count, limit, most) in self._over.items():
            text = (
                f"{path} is over the limit of libvirt {release}, {limit:,}: {_times(count)}, at most {most:,}"
            )
            yield Notice(NoticeCode.OVER_LIMIT, text)
        for text, count in self._other.items():
            yield Notice(NoticeCode.OTHER_PERMISSIONS, f"{text}: {_times(count)}", severity="note")

    def _since(self, name: str, key: Key | None) -> str:
        """Return when something was added, in parentheses; "" if unknown."""
        if key is None:
            return f" (since {public.since(name)})"
        return f" ({_since(history.lookup(key))})" if self._registry.release is not None else ""

    def over_limit(self, path: str, size: int, limit: int) -> None:
        """Note a length that is over the old limit."""
        count, _, most = self._over.get(path, (0, 0, 0))
        self._over[path] = (count + 1, limit, max(most, size))

    def absent(self, name: str, key: Key | None) -> None:
        """Note a thing that the release lacks; without a key, a name of the public API."""
        self._absent[name, key] += 1


class Differences(Protocol):
    """Collects what an older release lacks."""

    def over_limit(self, path: str, size: int, limit: int) -> None:
        """Note a length that is over the old limit."""

    def absent(self, name: str, key: Key | None) -> None:
        """Note a thing that the release lacks; without a key, a name of the public API."""


class Comparison(LengthWalks):
    """Functions that visit values by the limits and the names of the old release, which has `limits`."""

    def __init__(
        self,
        types: TypeTable,
        limits: TypeTable,
        check: Differences,
        newer: Callable[[Meaning], Meaning | None] | None,
    ) -> None:
        """Make a comparison. `newer` returns the names of a meaning to report; without it, none are."""
        super().__init__(types, limits)
        self._check = check
        self._newer = newer

    def place(self, what: str, path: str, limit: Bound) -> _Place:
        """Return the place of a path, with the old limit."""
        return _Place(path, limit.value, self._check.over_limit)

    def absent(self, type_: str, part: str) -> None:
        """Note a field or an arm that the old release lacks."""
        self._check.absent(f"{type_}.{part}", ("field", type_, part))

    def structure(self, reference: Named, node: Structure, other: Node, path: str) -> Walk | None:
        """Make the function for a struct, which also looks at the names of its numbers."""
        limits = super().structure(reference, node, other, path)
        names = self._names(reference, node, other)
        if limits is None or names is None:
            return limits or names

        def walk(value: Any) -> None:
            limits(value)
            names(value)

        return walk

    def _names(self, reference: Named, node: Structure, other: Node) -> Walk | None:
        """Make the function that reports the newer names of numbers in a struct. A field that the old release
        lacks is absent itself; so are the arms of a union, which correspond to its numbers."""
        limited = resolved(other, self._limits)
        if self._newer is None or not isinstance(limited, Structure):
            return None
        new, old = part_names(node), part_names(limited)
        known = new if len(new) == len(old) else old  # a renamed field has kept its place
        meanings = {
            field: newer
            for field, meaning in meanings_of(self.types, reference).items()
            if field in known and (newer := self._newer(meaning))
        }
        if not meanings:
            return None
        needed = {*meanings, *(each.field for each in meanings.values() if isinstance(each, By))}
        attributes = [
            (field, attribute)
            for field, attribute in zip(
                new, self.types.python_class(reference).__struct_fields__, strict=True
            )
            if field in needed
        ]

        def walk(value: Any) -> None:
            numbers = {field: getattr(value, attribute) for field, attribute in attributes}
            for field, meaning in meanings.items():
                named = name_of(meaning, numbers[field], numbers)
                for name in named if isinstance(named, tuple) else (named,):
                    if isinstance(name, str):
                        self._check.absent(name, None)

        return walk


def names_newer_than(release: str, meaning: Meaning) -> Meaning | None:
    """Return a meaning with only the names that are newer than a release; None if there are none. The first
    names of an enum are left out: a field may have had their numbers before; unused bits are 0."""
    match meaning:
        case By(field, pairs):
            groups = [
                {pair: name for pair, name in pairs.items() if pair[0] == other}
                for other in {other for other, _ in pairs}
            ]
            details = {pair: name for group in groups for pair, name in _later(group, release).items()}
            return By(field, details) if details else None
        case OneOf(names):
            members = _later(names, release)
            return OneOf(members) if members else None
        case Bits(names):
            bits = {bit: name for bit, name in names.items() if _key(name) > version_key(release)}
            return Bits(bits) if bits else None


def names_added_later(meaning: Meaning) -> Meaning | None:
    """Return a meaning with only the names that show a release: bits, and names that are newer than the first
    ones of their enum; None if there are none."""
    return names_newer_than(_FIRST, meaning)


def _later(names: Mapping[Number, str], release: str) -> dict[Number, str]:
    """Return the names of an enum that are newer than a release and than its first ones."""
    start = max(min(map(_key, names.values())), version_key(release))
    return {number: name for number, name in names.items() if _key(name) > start}


def _key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return the sort key of the release that added a name, which is the lowest if that is unknown."""
    return version_key(public.first_since(name) or _FIRST)


class _Place:
    """A place with an old limit, which is the threshold."""

    def __init__(self, path: str, limit: int, over_limit: Callable[[str, int, int], None]) -> None:
        self.threshold = limit
        self._path = path
        self._over_limit = over_limit

    def report(self, length: int) -> None:
        self._over_limit(self._path, length, self.threshold)


def _since(facts: Facts) -> str:
    if facts.function is None:
        return f"since {facts.since.words}"
    return f"since {facts.function[1]}, by the public API"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
