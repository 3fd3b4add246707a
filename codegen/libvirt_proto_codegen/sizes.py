"""Fourth pass: the order of types, which of them recur, and how many bytes they take.

The algorithms are iterative, and numbers saturate: definitions are hostile input.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from libvirt_proto.codec.sizes import padded
from libvirt_proto.codec.types import (
    Arm,
    Array,
    Boolean,
    Bound,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    TypeDefinition,
    UnionType,
    children,
)

from .errors import Problem
from .resolve_types import TypeNode
from .rules import MAX_DEPTH, Rule

#: A size above this is as good as unbounded, and no buffer holds it.
MAX_SIZE: Final = 2**64

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Measure:
    """Bytes on the wire, least and most (None: nothing bounds it), and how many types deep."""

    least: int
    most: int | None
    depth: int


def measure_types(nodes: Sequence[TypeNode]) -> tuple[dict[str, list[TypeDefinition]], list[Problem]]:
    """Return type definitions by module, each after all types it needs, and the problems."""
    by_key = {node.key: node for node in nodes}
    graph = {key: tuple(references(node.node)) for key, node in by_key.items()}
    measures: dict[Named, Measure] = {}
    problems: list[Problem] = []
    types: dict[str, list[TypeDefinition]] = {}
    for group in components({key: [to for to, _ in edges] for key, edges in graph.items()}):
        recursive = len(group) > 1 or any(to == group[0] for to, _ in graph[group[0]])
        members, circles = _by_value_order(group, graph)
        problems += [_endless(circle, by_key, _WITH_DATA) for circle in circles]
        holds_data = any(isinstance(by_key[key].node, Structure | UnionType) for key in group)
        if recursive and not circles and not holds_data:
            problems.append(_endless(group, by_key, _WITH_TYPES))
        for key in members:
            node = by_key[key]
            measure = _saturated(_measure_definition(node.node, measures))
            below = max((measures[to].depth for to, _ in graph[key] if to in measures), default=0)
            if below <= MAX_DEPTH < measure.depth:
                text = f"{node.name} nests more than {MAX_DEPTH} types"
                problems.append(Problem(Rule.TOO_DEEP, node.span, text))
            problems += _without_bytes(node, measures)
            measures[key] = measure
            types.setdefault(node.module, []).append(_type_definition(node, measure, recursive))
    return types, problems


def references(node: Node) -> Iterator[tuple[Named, bool]]:
    """Yield the types that a node names, and whether it holds them by value: not in optional-data or a
    variable-length array, which may be empty and so end a recursion."""
    if isinstance(node, Named):
        yield node, True
        return
    by_value = not isinstance(node, Optional | Array)
    for child in children(node):
        yield from ((to, by_value and held) for to, held in references(child))


def components(graph: Mapping[_Key, Sequence[_Key]]) -> Iterator[list[_Key]]:
    """Strongly connected components, dependencies first (Tarjan's algorithm, with an explicit stack);
    members are in graph order."""
    index: dict[_Key, int] = {}
    low: dict[_Key, int] = {}
    position = {key: at for at, key in enumerate(graph)}
    open_: dict[_Key, None] = {}
    for start in graph:
        if start in index:
            continue
        work = [(start, iter(graph[start]))]
        index[start] = low[start] = len(index)
        open_[start] = None
        while work:
            key, rest = work[-1]
            for to in rest:
                if to not in index:
                    index[to] = low[to] = len(index)
                    open_[to] = None
                    work.append((to, iter(graph[to])))
                    break
                if to in open_:
                    low[key] = min(low[key], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[key])
                if low[key] == index[key]:
                    group: list[_Key] = []
                    while not group or group[-1] != key:
                        group.append(open_.popitem()[0])
                    yield sorted(group, key=position.__getitem__)


def _by_value_order(
    group: Sequence[Named], graph: Mapping[Named, Sequence[tuple[Named, bool]]]
) -> tuple[list[Named], list[list[Named]]]:
    """Return a group's members, each after those that it holds by value, and the circles that prevent it."""
    inside = set(group)
    held = {key: [to for to, by_value in graph[key] if by_value and to in inside] for key in group}
    order: list[Named] = []
    circles: list[list[Named]] = []
    for part in components(held):
        if len(part) > 1 or part[0] in held[part[0]]:
            circles.append(_circle(part, held))
        order += part
    return order, circles


def _circle(part: Sequence[Named], held: Mapping[Named, Sequence[Named]]) -> list[Named]:
    """A way from the first of a component back to itself."""
    inside = set(part)
    before: dict[Named, Named] = {}
    queue = [part[0]]
    for key in queue:
        for to in held[key]:
            if to == part[0]:
                way = [key]
                while way[-1] != part[0]:
                    way.append(before[way[-1]])
                return way[::-1]
            if to in inside and to not in before:
                before[to] = key
                queue.append(to)
    raise AssertionError("a component without a circle")


#: What to do about a type without end, made of structs or of typedefs alone.
_WITH_DATA: Final = "make one of them optional-data (T *x) or a variable-length array (T x<n>)"
_WITH_TYPES: Final = "only a struct or a union can contain itself: they are all typedefs"


def _endless(circle: Sequence[Named], by_key: Mapping[Named, TypeNode], hint: str) -> Problem:
    names = [key.name for key in circle]
    path = " → ".join([*names[:5], *(["…"] if len(names) > 5 else []), names[0]])
    return Problem(
        Rule.RECURSIVE_TYPE,
        by_key[circle[0]].span,
        f"{names[0]} contains itself without end: {path}",
        hint,
        tuple((by_key[key].span, f"through {key.name}") for key in circle[1:5]),
    )


def _without_bytes(node: TypeNode, measures: Mapping[Named, Measure]) -> Iterator[Problem]:
    """Fields and elements of a type that takes no bytes: a few words of definition could ask for any
    number of them, and a few bytes of data for more."""
    fields = node.node.fields if isinstance(node.node, Structure) else ()
    for place, held in [("", node.node), *((field.name, field.node) for field in fields)]:
        is_array = isinstance(held, Array | FixedArray)
        inner = held.element if isinstance(held, Array | FixedArray) else held
        if isinstance(inner, Named) and (is_array or place) and measures.get(inner, _OPEN).most == 0:
            name = f"{node.name}.{place}" if place else node.name
            what = "elements" if is_array else "a field"
            message = f"{name} has {what} of type {inner.name}, which takes no bytes"
            yield Problem(Rule.NO_BYTES, node.span, message, f"give {inner.name} something to hold")


def _measure_definition(node: Node, measures: Mapping[Named, Measure]) -> Measure:
    match node:
        case Structure(fields):
            parts = [_measure(field.node, measures) for field in fields]
            depth = 1 + max((part.depth for part in parts), default=0)
            most = _sum(part.most for part in parts)
            return Measure(sum(part.least for part in parts), most, depth)
        case UnionType(discriminant):
            return _measure_union(discriminant.node, node.every_arm, measures)
        case Named():
            inner = _measure(node, measures)
            return Measure(inner.least, inner.most, inner.depth + 1)
        case _:
            return _measure(node, measures)


def _measure_union(discriminant: Node, arms: Sequence[Arm], measures: Mapping[Named, Measure]) -> Measure:
    tag = _measure(discriminant, measures)
    parts = [_NOTHING if arm.name is None else _measure(arm.node, measures) for arm in arms]
    mosts = [part.most for part in parts]
    most = None if None in mosts else max((most for most in mosts if most is not None), default=0)
    depth = 1 + max([tag.depth, *(part.depth for part in parts)])
    least = tag.least + min((part.least for part in parts), default=0)
    return Measure(least, _plus(tag.least, most), depth)


#: A type that is not measured yet: it is in a circle, through optional-data or an array.
_OPEN: Final = Measure(0, None, 0)
#: A void arm.
_NOTHING: Final = Measure(0, 0, 0)


def _measure(node: Node, measures: Mapping[Named, Measure]) -> Measure:
    match node:
        case Named():
            return measures.get(node, _OPEN)
        case Integer(bits) | Floating(bits):
            return Measure(bits // 8, bits // 8, 0)
        case Boolean() | Enumeration():
            return Measure(4, 4, 0)
        case FixedOpaque(size):
            return Measure(padded(size.value), padded(size.value), 0)
        case Opaque(limit) | String(limit):
            return Measure(4, None if limit is None else 4 + padded(limit.value), 0)
        case FixedArray(element, size):
            inner = _measure(element, measures)
            return Measure(inner.least * size.value, _times(inner.most, size), inner.depth + 1)
        case Array(element, limit):
            inner = _measure(element, measures)
            return Measure(4, _plus(4, _times(inner.most, limit)), inner.depth + 1)
        case Optional(element):
            inner = _measure(element, measures)
            return Measure(4, _plus(4, inner.most), inner.depth + 1)
        case _:  # a type that is unknown, which has been said
            return _OPEN


def _times(most: int | None, count: Bound | None) -> int | None:
    """Elements without bytes need no bound."""
    if most == 0 or (count is not None and count.value == 0):
        return 0
    return None if most is None or count is None else most * count.value


def _plus(size: int, most: int | None) -> int | None:
    return None if most is None else size + most


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _saturated(measure: Measure) -> Measure:
    most = None if measure.most is None or measure.most > MAX_SIZE else measure.most
    return Measure(min(measure.least, MAX_SIZE), most, measure.depth)


def _type_definition(node: TypeNode, measure: Measure, recursive: bool) -> TypeDefinition:
    return TypeDefinition(
        node.name, node.node, node.xdr, measure.least, measure.most, recursive, measure.depth, node.span
    )
