"""The native core with hostile plans, bytes and callers: errors and refusals, never undefined behaviour.

`make sanitize` runs these tests with AddressSanitizer and UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import gc
import struct
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from click.testing import CliRunner

from libvirt_proto import native, native_kinds, registry
from libvirt_proto.cli import main as cli
from libvirt_proto.native import FORMAT
from libvirt_proto.native_plan_builder import NONE, build
from tests.support import packets

if TYPE_CHECKING:
    from libvirt_proto._native import Scanner

pytestmark = pytest.mark.native

VOID, INT, UHYPER, DOUBLE, ENUM, ARRAY, STRING, STRUCT, UNION = 0, 1, 4, 6, 8, 14, 12, 16, 17
OPAQUE, FIXED_ARRAY, OPTIONAL = 11, 13, 15
ONE_OF, BITS, BY = 1, 2, 3
_HEADER, _ROW = 4, 6
ANY = NONE - 1
KEY = bytes(12)


def core() -> Any:
    """The module, of any type: these tests call it wrongly."""
    return native.core()


def words_of(rows: list[tuple[int, ...]], pool: tuple[int, ...] = ()) -> bytes:
    """The words of a plan."""
    flat = [FORMAT, len(rows), 0, 0, *(word for row in rows for word in row), *pool]
    return struct.pack(f"<{len(flat)}I", *flat)


def pool_of(rows: int) -> int:
    """The place of the pool after a number of rows."""
    return _HEADER + rows * _ROW


def row(kind: int, limit: int = NONE, count: int = 0, entries: int = 0, arms: int = 0) -> tuple[int, ...]:
    """A row of a plan."""
    return kind, limit, count, entries, arms, NONE


class TestPlans:
    @pytest.mark.parametrize("seed", range(20))
    def test_damaged_plans(self, seed: int) -> None:
        """A plan with damaged words is refused, or reads any bytes without harm."""
        whole = build(registry.default())
        rng = Random(seed)
        data = [rng.randbytes(200), bytes(200), b"\0\0\0\1" * 50]
        accepted = 0
        for _ in range(100):
            words = bytearray(whole.words)
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(4, len(words) // 4) * 4
                words[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 17, NONE, rng.getrandbits(16))))
            text = whole.text[: rng.choice((0, 1000, len(whole.text)))]
            try:
                plan = core().Plan(bytes(words), text)
            except ValueError:
                continue
            accepted += 1
            for number in rng.sample(range(len(whole.rows())), 20):
                for each in data:
                    assert plan.check(number, each) is None or plan.check(number, each) <= 200
                    plan.json(number, each)
        assert accepted or seed

    @pytest.mark.parametrize("kind", [VOID, UHYPER, DOUBLE])
    def test_rejects_union_by_no_integer(self, kind: int) -> None:
        """Its arm would be chosen by another number than the one that was read."""
        place = pool_of(2)
        pool = (0, 0, 0, 0, 0, 0, 0, 0)
        with pytest.raises(ValueError, match="plan"):
            core().Plan(words_of([row(kind), row(UNION, 1, 0, place, place)], pool), b"")
        core().Plan(words_of([row(INT), row(UNION, 1, 0, place, place)], pool), b"")

    def test_union_by_hyper_is_left_to_python(self, tmp_path: Path) -> None:
        (tmp_path / "wide.x").write_text(
            "union wide switch (unsigned hyper size) { case 1: int a; default: void; };\n"
            "struct both { int before; wide after; };\n"
        )
        plan = build(registry.load(tmp_path))
        built = core().Plan(plan.words, plan.text)
        data = struct.pack(">IQI", 1, 1, 2)
        assert built.check(plan.rows()["both"], data) is None
        assert built.check(plan.rows()["wide"], data[4:]) is None

    def test_rejects_shared_entries_without_bound(self) -> None:
        """Validation takes time in proportion to the plan: each of these fields has the same 60,000 names."""
        rows, fields, known = 500, 256, 60_000
        place = pool_of(rows)
        entries = tuple(word for _ in range(fields) for word in (0, 0, 0, place + fields * 4))
        names = (ONE_OF, known, place + fields * 4 + 7, 0, 0, 0, 0)
        data = words_of(
            [row(INT), *[row(STRUCT, NONE, fields, place)] * (rows - 1)],
            (*entries, *names, *(0,) * known * 4),
        )
        with pytest.raises(ValueError, match="plan"):
            core().Plan(data, b"")

    def test_values_without_size_end(self) -> None:
        """2^32 values of no bytes, and 2^90 of them by nesting, are refused, not counted."""
        levels = 90
        rows = [row(VOID), row(FIXED_ARRAY, NONE, 0), *(row(FIXED_ARRAY, 2, at) for at in range(1, levels))]
        plan = core().Plan(words_of([*rows, row(FIXED_ARRAY, 3, 0)]), b"")
        assert plan.check(1, b"") is None
        assert plan.check(levels, b"") is None
        assert plan.json(levels, b"") is None
        assert plan.decode(levels, b"") is None
        assert plan.check(levels + 1, b"") == 0

    def test_rejects_row_beyond_32_bits(self) -> None:
        plan = core().Plan(words_of([row(INT)]), b"")
        for number in (1, -1, 2**32):
            with pytest.raises((IndexError, OverflowError)):
                plan.check(number, bytes(4))
        with pytest.raises(OverflowError):
            plan.check(2**70, bytes(4))
        for start in (-1, 5):
            with pytest.raises(IndexError):
                plan.check(0, bytes(4), start)

    def test_lists_in_lists_reserve_no_memory_for_values_that_are_missing(self) -> None:
        """Each of 90 nested lists has 100,000 items: 72 MB before the first value is found to be missing."""
        size = 100_000
        rows = [row(INT), *(row(FIXED_ARRAY, size, at) for at in range(90)), row(ARRAY, NONE, 0)]
        plan = core().Plan(words_of(rows), b"")
        data = struct.pack(">I", size) + bytes(4 * size)
        tracemalloc.start()
        try:
            assert plan.decode(90, data) is None
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 20 * len(data)
        assert plan.decode(1, data) == ([size, *[0] * (size - 1)], 4 * size)
        assert plan.decode(91, data) == ([0] * size, 4 + 4 * size)

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="buffers of Python classes: PEP 688")
    def test_buffer_that_uses_the_plan_when_it_is_released(self) -> None:
        """The memory of the text is not in use by then."""
        plan = core().Plan(words_of([row(OPAQUE)]), b"")
        large = struct.pack(">I", 20_000) + bytes(20_000)

        class Data:
            def __buffer__(self, flags: int) -> memoryview:
                return memoryview(large)

            def __release_buffer__(self, view: memoryview) -> None:
                plan.json(0, struct.pack(">I", 100_000) + bytes(100_000))

        for _ in range(100):
            assert plan.json(0, Data()) == b'"' + b"00" * 20_000 + b'"'
            assert len(plan.json(0, struct.pack(">I", 30_000) + bytes(30_000))) == 60_002

    def test_releases_buffers_after_errors(self) -> None:
        plan = core().Plan(words_of([row(INT)]), b"")
        data = bytearray(4)
        for arguments in ((1, data), (0, data, 9), (0, data, "x"), (0, data)):
            try:
                plan.check(*arguments)
                plan.json(*arguments)
                plan.decode(*arguments)
            except (IndexError, TypeError):
                pass
        data.clear()  # raises BufferError while something holds it
        assert not data

    def test_names_are_decided_by_one_of_the_first_fields(self) -> None:
        """The core keeps the integers of eight fields at each level; Python finds names by the others."""
        fields, place = 10, pool_of(2)
        names = place + fields * 4
        entries = (*(0, 0, 0, 0) * (fields - 1), 0, 0, 0, names)
        for other, is_read in [(0, True), (7, True), (8, False), (9, False), (NONE, False)]:
            table = (0, 1, 0, 1, 0, 1)  # by 1, the name of 1
            rows = [row(INT), row(STRUCT, NONE, fields, place)]
            plan = core().Plan(words_of(rows, (*entries, BY, 1, names + 7, other, 0, 0, 0, *table)), b"!")
            data = struct.pack(">10I", *(at in (other, fields - 1) for at in range(fields)))
            expected = b"".join(data[at : at + 1].hex()[1:].encode() for at in range(3, 40, 4)) + b"!}"
            assert plan.json(1, data) == (expected if is_read else None), other
            assert plan.check(1, data) == len(data)

    @pytest.mark.parametrize("kind", [FIXED_ARRAY, ARRAY, OPTIONAL, STRUCT, UNION])
    def test_deepest_values_fit_the_stack_of_a_small_thread(self, kind: int) -> None:
        """musl gives threads 128 KB."""
        levels = 100
        place = pool_of(levels + 2)
        rows, pool = [row(INT)], list[int]()
        for inner in range(levels + 1):
            at = place + len(pool)
            if kind == STRUCT:
                rows.append(row(kind, NONE, 1, at))
                pool += (inner, 0, 0, 0)
            elif kind == UNION:
                rows.append(row(kind, 1, 1, at, at + 8))
                pool += (0, 0, 0, 0, inner, 0, 0, 0, 1, 1)
            else:
                rows.append(row(kind, 1, inner))
        classes = {STRUCT: Nested, UNION: Chosen}
        plan = core().Plan(words_of(rows, tuple(pool)), b"", lambda number: classes[kind])
        data = struct.pack(">I", 1) * (levels + 1)
        size = 4 if kind in (STRUCT, FIXED_ARRAY) else len(data)
        found: list[object] = []

        def read() -> None:
            value = plan.decode(levels, data)
            found.append((plan.check(levels, data), value[1], plan.encode(levels, value[0])))
            found.append(plan.json(levels, data[:size]) is not None)
            found.append([f(levels + 1, data + bytes(4)) for f in (plan.check, plan.json, plan.decode)])

        before = threading.stack_size(128 << 10)
        try:
            thread = threading.Thread(target=read)
            thread.start()
        finally:
            threading.stack_size(before)
        thread.join()
        assert found == [(size, size, data[:size]), True, [None, None, None]]


class Nested(msgspec.Struct):
    """A struct of one field."""

    inner: object


class Chosen(msgspec.Struct):
    """A union."""

    label: int
    inner: object


class TestObjects:
    @staticmethod
    def plan(resolver: Callable[[int], object] | None) -> Any:
        """Row 0: int; row 1: a struct of one int; row 2: an array of these; row 3: an enum."""
        place = pool_of(4)
        rows = [row(INT), row(STRUCT, NONE, 1, place), row(ARRAY, NONE, 1), row(ENUM, NONE, 0, place)]
        return core().Plan(words_of(rows, (0, 0, 0, 0)), b"", resolver)

    def test_error_of_resolver_passes(self) -> None:
        def resolver(number: int) -> object:
            raise KeyError(number)

        with pytest.raises(KeyError):
            self.plan(resolver).decode(1, bytes(4))

    def test_error_of_class_passes(self) -> None:
        calls = []

        def build_one(value: int) -> object:
            calls.append(value)
            if len(calls) == 3:
                raise ZeroDivisionError
            return value

        data = struct.pack(">5I", 4, 1, 2, 3, 4)
        with pytest.raises(ZeroDivisionError):
            self.plan(lambda number: build_one).decode(2, data)
        assert calls == [1, 2, 3]

    def test_members_of_wrong_type_are_an_error(self) -> None:
        with pytest.raises(TypeError):
            self.plan(lambda number: 7).decode(3, bytes(4))

    def test_without_resolver(self) -> None:
        assert self.plan(None).decode(1, bytes(4)) is None

    def test_resolver_may_use_the_plan(self) -> None:
        """It asks for the same row again, and the object found first stays in use."""
        plans: list[Any] = []
        depth = 0

        def resolver(number: int) -> object:
            nonlocal depth
            depth += 1
            if depth == 1:
                assert plans[0].decode(number, bytes(4)) == ((2, 0), 4)
            at = depth
            return lambda value: (at, value)

        plans.append(self.plan(resolver))
        assert plans[0].decode(1, bytes(4)) == ((2, 0), 4)
        assert plans[0].decode(1, bytes(4)) == ((2, 0), 4)

    def test_error_of_resolver_that_used_the_plan_passes(self) -> None:
        """Although the same row was found in the meantime."""
        plans: list[Any] = []
        calls = []

        def resolver(number: int) -> object:
            calls.append(number)
            if len(calls) == 1:
                assert plans[0].decode(number, bytes(4)) == ((0,), 4)
                raise KeyError(number)
            return lambda value: (value,)

        plans.append(self.plan(resolver))
        with pytest.raises(KeyError):
            plans[0].decode(1, bytes(4))

    def test_class_that_uses_the_plan_for_its_fields(self) -> None:
        """A class is asked for its fields once; the answer that came first stays."""
        plans: list[Any] = []
        asked = []

        class Meta(type):
            @property
            def __struct_fields__(cls) -> tuple[str, ...]:
                asked.append(cls)
                if len(asked) == 1:
                    assert plans[0].encode(1, value) == bytes(3) + b"\7"
                    raise KeyError("fields")
                return ("field",)

        class Class(metaclass=Meta):
            field = 7

        value = Class()
        plans.append(self.plan(lambda number: Class))
        with pytest.raises(KeyError):
            plans[0].encode(1, value)
        assert plans[0].encode(1, value) == bytes(3) + b"\7"
        assert len(asked) == 2

    def test_lists_that_change_while_they_are_written(self) -> None:
        """Attributes are Python code: what they do to a list makes the value Python's."""
        values: list[Any] = []

        class Class:
            __struct_fields__ = ("field",)

            @property
            def field(self) -> int:
                values.clear()
                return 7

        plan = self.plan(lambda number: Class)
        values += [Class(), Class(), Class()]
        assert plan.encode(2, values) is None
        assert values == []
        values.append(values)
        assert plan.encode(2, values) is None

    def test_threads_share_what_the_first_resolver_found(self) -> None:
        """A second answer for a row does not free the class that another thread is using."""
        both, built = threading.Barrier(2, timeout=60), []

        class Class:
            def __call__(self, value: int) -> tuple[Class, int]:
                return self, value

        def resolver(number: int) -> object:
            both.wait()
            return Class()

        plan = self.plan(resolver)
        threads = [threading.Thread(target=lambda: built.append(plan.decode(1, bytes(4)))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(value[0][0]) for value in built}) == 1

    def test_bytes_cannot_change_size_while_they_are_read(self) -> None:
        data = bytearray(struct.pack(">3I", 2, 1, 2))

        def build_one(value: int) -> object:
            with pytest.raises(BufferError):
                data.clear()
            return value

        assert self.plan(lambda number: build_one).decode(2, data) == ([1, 2], 12)

    def test_cycle_of_plan_and_resolver_is_collected(self) -> None:
        class Resolver:
            def __call__(self, number: int) -> object:
                return lambda value: value

        resolver = Resolver()
        resolver.plan = self.plan(resolver)  # type: ignore[attr-defined]
        assert resolver.plan.decode(1, bytes(4)) == (0, 4)  # type: ignore[attr-defined]
        gone = weakref.ref(resolver)
        del resolver
        gc.collect()
        assert gone() is None

    def test_reference_counts(self) -> None:
        """A hundred thousand decoded and refused values keep no reference."""
        marks = (object(), object())
        members = {0: marks[0], 1: marks[1]}
        plan = self.plan(lambda number: members)
        before = [sys.getrefcount(mark) for mark in marks]
        for _ in range(50_000):
            plan.decode(3, bytes(4))
            plan.decode(3, b"\0\0\0\1")
            plan.decode(3, b"\0")
        assert [sys.getrefcount(mark) for mark in marks] == before


def frame_of(payload: bytes) -> bytes:
    """A call with zeros in its header."""
    return struct.pack(">I", 28 + len(payload)) + bytes(24) + payload


def record_of(data: bytes, next_: int, source: int = 0) -> bytes:
    """A pcap record with a raw IPv4 packet of the connection 0.0.0.0:0, sequence number `next_`; `source` is
    the address of its client."""
    tcp = struct.pack(">HHIIBBHHH", 0, 0, next_, 0, 0x50, 0x10, 0, 0, 0)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0, source, 0)
    packet = ip + tcp + data
    return struct.pack("<IIII", 1, 0, len(packet), len(packet)) + packet


class TestScanners:
    PLAN = words_of([row(INT), row(FIXED_ARRAY, 3, 0)])
    KIND = bytes(21)

    def scanner(self, *classes: object) -> Any:
        return core().Scanner(core().Plan(self.PLAN, b""), 0, *classes)

    @staticmethod
    def scan(scanner: Scanner, data: bytes, limit: int = 1 << 18) -> Any:
        return scanner.scan(data, 0, False, False, limit, ((101, 1, 0),), 0, 0, 0)

    def test_rejects_what_is_no_plan(self) -> None:
        for other in (None, 5, object(), core().Plan):
            with pytest.raises(TypeError):
                core().Scanner(other, 0)

    def test_rejects_some_of_the_classes(self) -> None:
        plan = core().Plan(self.PLAN, b"")
        for classes in ({"header": int}, {"captured": int}, {"captured": int, "message": int}):
            with pytest.raises(TypeError):
                core().Scanner(plan, 0, **classes)

    @pytest.mark.parametrize("kind", [BITS, BY])
    def test_rejects_fault_names_of_another_kind(self, kind: int) -> None:
        """Their entries have another size: what would be read as the place of a text is a number."""
        place = pool_of(1)
        names = (kind, 2, place + 7, 0, 0, 0, 0)
        entries = (0, 0, NONE, NONE, 0, 0) * 2 if kind == BY else (0, 0, 0, 0) * 2
        plan = core().Plan(words_of([row(INT)], (*names, *entries)), b"")
        with pytest.raises(ValueError, match="names"):
            core().Scanner(plan, place)

    def test_plans_serve_any_number_of_scanners(self) -> None:
        place = pool_of(1)
        plan = core().Plan(words_of([row(INT)], (ONE_OF, 1, place + 7, 0, 0, 0, 0, 0, 7, 0, 0)), b"")
        for _ in range(200):
            core().Scanner(plan, place)

    @pytest.mark.parametrize(
        "arguments",
        [
            (b"", 0, False, ()),
            (bytes(22), 0, False, ()),
            (KIND, 2, False, ()),
            (KIND, 0, False, (0,)),
            (KIND, 0, False, (99,)),
            (KIND, 0, False, (9,)),  # error codes, without their names
            (KIND, 0, False, (-1,)),
            (KIND, 0, False, ("x",)),
        ],
    )
    def test_rejects_kinds(self, arguments: tuple[object, ...]) -> None:
        scanner = self.scanner()
        with pytest.raises((ValueError, OverflowError, TypeError)):
            scanner.learn(*arguments)
        assert scanner.learn(self.KIND, 1, False, (b"line\n",)), "nothing was learned before"

    def test_reads_lines(self) -> None:
        scanner = self.scanner()
        assert scanner.learn(self.KIND, 1, False, (b"line ", 1, b"\n"))
        assert scanner.open(KEY, 7, 0, b"conn")
        frame = frame_of(bytes(12))
        data = record_of(frame[: 50 - 20], 7) + record_of(frame[50 - 20 :] + frame, 37)
        assert self.scan(scanner, data)[:4] == (len(data), b"line 1\nline 2\n", 2, 2)
        assert scanner.take(KEY) == (7 + 80, b"", 2)
        assert scanner.take(KEY) is None

    def test_lanes_continue_with_pending_bytes(self) -> None:
        """In any pieces, also where the packet that ends a pending frame is refused for what follows."""
        frame = frame_of(bytes(12))
        for held in range(40):
            scanner = self.scanner()
            scanner.learn(self.KIND, 1, False, (b"line ", 1, b"\n"))
            assert scanner.open(KEY, 7, 0, b"conn", frame[:held])
            bad = record_of(frame[held:] + frame + b"\xff" * 4, 7)
            assert self.scan(scanner, bad)[:3] == (0, b"", 0)
            first, second = frame[held : held + 3], frame[held + 3 :] + frame[:20]
            good = record_of(first, 7) + record_of(second, 7 + len(first))
            assert self.scan(scanner, good)[:3] == (len(good), b"line 1\n", 1)
            assert scanner.take(KEY)[1] == frame[:20]

    @pytest.mark.parametrize("size", [0, 8, 11, 13, 35, 37])
    def test_keys_of_other_sizes_are_no_lanes(self, size: int) -> None:
        scanner = self.scanner()
        assert scanner.take(bytes(size)) is None
        assert scanner.unpair(bytes(size)) is None
        with pytest.raises(ValueError, match="no such key"):
            scanner.open(bytes(size), 7, 0, b"conn")

    def test_lane_with_more_than_a_message_is_refused(self) -> None:
        """Pending bytes are less than a message: what has others is not one."""
        scanner = self.scanner()
        scanner.learn(self.KIND, ANY, False, (5, b"\n"))
        assert scanner.open(KEY, 7, 0, b"conn", frame_of(b"") + b"\0")
        assert self.scan(scanner, record_of(b"\0", 7))[:3] == (0, b"", 0)

    def test_time_of_data(self) -> None:
        """The time of the last packet with data is that of a scan, not of an earlier one."""
        scanner = self.scanner()
        scanner.learn(self.KIND, ANY, False, (b"\n",))
        scanner.open(KEY, 7, 0, b"conn")
        assert self.scan(scanner, record_of(frame_of(b""), 7))[6:8] == (10**9, 10**9)
        assert self.scan(scanner, record_of(b"", 7 + 28))[6:8] == (10**9, None)

    def test_lanes_are_used_again(self) -> None:
        """Lanes that were taken back make room for others, whatever their order; open ones stay."""
        scanner = self.scanner()
        scanner.learn(self.KIND, 1, False, (b"line\n",))
        rng, open_ = Random(1), dict[bytes, int]()
        for number in range(60_000):
            if len(open_) == 8192 or (open_ and rng.random() < 0.3):
                key = rng.choice(list(open_)) if rng.random() < 0.01 else next(iter(open_))
                assert scanner.take(key) == (open_.pop(key), b"", 0)
            key = rng.randbytes(12) if number % 2 else rng.randbytes(36)
            assert scanner.open(key, number, 0, b"conn")
            assert not scanner.open(key, number, 0, b"conn"), "it is open"
            open_[key] = number
        while len(open_) < 8192:
            key = rng.randbytes(12)
            assert scanner.open(key, 7, 0, b"conn")
            open_[key] = 7
        assert not scanner.open(KEY, 7, 0, b"conn")
        for key, number in open_.items():
            assert scanner.take(key) == (number, b"", 0)

    def test_stops_before_a_packet_over_the_limit(self) -> None:
        scanner = self.scanner()
        scanner.open(KEY, 7, 0, b"conn")
        record = record_of(b"", 7)
        assert self.scan(scanner, record)[0] == len(record)
        assert self.scan(scanner, record, 39)[0] == 0

    def test_payloads_are_checked_as_by_the_plan(self) -> None:
        """A line that does not show the payload still refuses what `check` refuses."""
        whole = build(registry.default())
        plan, rng, accepted = core().Plan(whole.words, whole.text), Random(3), 0
        for number in rng.sample(range(len(whole.rows())), 300):
            for _ in range(20):
                words = [rng.choice((0, 0, 1, 1, 2, 4, 7, 2**32 - 1)) for _ in range(rng.randrange(12))]
                payload = struct.pack(f">{len(words)}I", *words)
                size = plan.check(number, payload)
                scanner = core().Scanner(plan, 0)
                scanner.learn(self.KIND, number, False, (b"line\n",))
                scanner.open(KEY, 7, 0, b"conn")
                found = self.scan(scanner, record_of(frame_of(payload), 7))[1]
                assert found == (b"line\n" if size == len(payload) else b""), (number, words)
                accepted += bool(found)
        assert accepted > 200

    def test_types_with_many_values_are_checked_at_once(self) -> None:
        """2^64 values of no bytes by nesting, and more strings than a check has steps."""
        place = pool_of(12)
        nested = [row(STRUCT, NONE, 256, place + at * 4 * 256) for at in range(9)]
        pool = [word for at in range(9) for _ in range(256) for word in (at, 0, 0, 0)]
        rows = [row(VOID), *nested, row(STRING, 9), row(STRUCT, NONE, 256, place + 9 * 4 * 256)]
        plan = core().Plan(words_of(rows, (*pool, *((10, 0, 0, 0) * 256))), b"")
        scanner = core().Scanner(plan, 0)
        assert scanner.learn(self.KIND, 9, False, (b"void\n",))
        assert scanner.learn(bytes(20) + b"\1", 11, False, (b"strings\n",))
        scanner.open(KEY, 7, 1, b"conn")
        assert self.scan(scanner, record_of(frame_of(bytes(1024)), 7))[1] == b"strings\n"
        assert self.scan(scanner, record_of(frame_of(bytes(1020)), 7 + 1052))[1] == b""

    def test_nesting_counts_from_the_top(self, tmp_path: Path) -> None:
        """A check in steps reads values below the top: structs in each other, which contain themselves."""
        structs = [f"struct s{at} {{ s{at + 1} next; }};" for at in range(25)]
        (tmp_path / "deep.x").write_text("\n".join([*structs, "struct s25 { s0 *next; };"]))
        types = registry.load(tmp_path / "deep.x")
        whole = build(types)
        plan, number = core().Plan(whole.words, whole.text), whole.rows()["s0"]
        accepted = []
        for repeats in range(6):
            payload = struct.pack(f">{repeats + 1}I", *[1] * repeats, 0)
            scanner = core().Scanner(plan, 0)
            scanner.learn(self.KIND, number, False, (b"line\n",))
            scanner.open(KEY, 7, 0, b"conn")
            found = self.scan(scanner, record_of(frame_of(payload), 7))[1]
            assert bool(found) == (plan.check(number, payload) == len(payload)), repeats
            accepted.append(bool(found))
        assert accepted == [True, True, True, False, False, False]

    @pytest.mark.parametrize("start", [-(2**63), 2**63 - 1])
    def test_clocks_that_overflow_are_refused(self, start: int) -> None:
        scanner = self.scanner()
        scanner.learn(self.KIND, 1, False, (3, b"\n"))
        scanner.open(KEY, 7, 0, b"conn")
        data = record_of(frame_of(bytes(12)), 7)
        assert scanner.scan(data, 0, False, False, 1 << 18, ((101, 1, 0),), 0, 0, start)[:3] == (0, b"", 0)

    def test_classes_cannot_use_a_scanner_in_a_scan(self) -> None:
        """It would change the bytes that are being read."""
        refused = []

        def captured(*fields: object) -> object:
            for use in (
                lambda: scanner.take(KEY),
                lambda: scanner.open(KEY, 0, 0, None),
                lambda: scanner.learn(self.KIND, 1, False, (0,) * 6),
                lambda: self.scan(scanner, data),
            ):
                with pytest.raises(RuntimeError, match="scanning"):
                    use()
                refused.append(use)
            return fields[0]

        scanner = self.scanner(captured, lambda *fields: fields, lambda *fields: fields)
        scanner.learn(self.KIND, NONE, False, (0,) * 6)
        scanner.open(KEY, 7, 0, None)
        frame = frame_of(b"")
        data = record_of(frame[:10], 7) + record_of(frame[10:], 17)
        assert self.scan(scanner, data)[1] == (1,)
        assert len(refused) == 4
        assert scanner.take(KEY) == (7 + 28, b"", 2)

    def test_error_of_a_class_leaves_no_messages(self) -> None:
        """Later scans do not return messages from before the error."""
        calls = 0

        def captured(*fields: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise ZeroDivisionError
            return calls

        scanner = self.scanner(captured, lambda *fields: fields, lambda *fields: fields)
        scanner.learn(self.KIND, NONE, False, (0,) * 6)
        scanner.open(KEY, 7, 0, None)
        frame = frame_of(b"")
        with pytest.raises(ZeroDivisionError):
            self.scan(scanner, record_of(frame, 7) + record_of(frame, 35))
        assert self.scan(scanner, record_of(frame, 35))[1] == (3,)

    def test_reference_counts(self) -> None:
        mark, calls = object(), 0

        def captured(*fields: object) -> object:
            nonlocal calls
            calls += 1
            return mark

        scanner = self.scanner(captured, lambda *fields: mark, lambda *fields: mark)
        scanner.learn(self.KIND, NONE, False, (mark,) * 6)
        frame = frame_of(b"")
        before = sys.getrefcount(mark)
        for _ in range(2000):
            scanner.open(KEY, 7, 0, mark)
            assert self.scan(scanner, record_of(frame * 2 + b"\0\0\0\0", 7))[0] == 0, "no length"
            self.scan(scanner, record_of(frame * 2, 7))
            scanner.take(KEY)
        assert calls == 8000
        assert sys.getrefcount(mark) == before, "a lane that was taken back has no connection"
        del scanner
        assert sys.getrefcount(mark) == before - 6

    def test_cycle_of_scanner_and_connection_is_collected(self) -> None:
        class Connection:
            scanner: Any

        connection = Connection()
        scanner = self.scanner(tuple, tuple, tuple)
        scanner.open(KEY, 7, 0, connection)
        connection.scanner = scanner
        gone = weakref.ref(connection)
        del connection, scanner
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("rest", [b"", b"\0\0"])
    def test_lanes_keep_no_memory_of_large_messages(self, rest: bytes) -> None:
        """Python's directions do not, either: 8,192 lanes would keep 64 MB each."""
        scanner = self.scanner()
        scanner.learn(self.KIND, ANY, False, (b"\n",))
        frame = frame_of(bytes(400_000)) + rest
        pieces = [frame[at : at + 50_000] for at in range(0, len(frame), 50_000)]
        tracemalloc.start()
        try:
            for source in range(20):
                key = struct.pack(">I", source) + bytes(8)
                scanner.open(key, 0, 0, b"conn")
                data = b"".join(record_of(each, at * 50_000, source) for at, each in enumerate(pieces))
                assert self.scan(scanner, data)[:3] == (len(data), b"\n", 1)
            del data
            kept = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert kept < 400_000
        assert scanner.take(key) == (len(frame), rest, 9)

    def test_lanes_keep_little_memory(self) -> None:
        """Messages of 40 KB on many connections."""
        scanner = self.scanner()
        scanner.learn(self.KIND, ANY, False, (b"\n",))
        frame = frame_of(bytes(40_000))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for source in range(100):
                scanner.open(struct.pack(">I", source) + bytes(8), 0, 0, b"conn")
                data = record_of(frame[:30_000], 0, source) + record_of(frame[30_000:], 30_000, source)
                assert self.scan(scanner, data)[:3] == (len(data), b"\n", 1)
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert kept < 100 * 4096

    def test_keys_of_connections_find_room(self) -> None:
        scanner = self.scanner()
        keys = [
            struct.pack(">IIHH", 0x0A000000 + (at >> 13), 0x0A0000FE, 32768 + at, 16509) for at in range(4096)
        ]
        both = [key for each in keys for key in (each, each[4:8] + each[:4] + each[10:] + each[8:10])]
        assert all(scanner.open(key, 7, 0, b"conn") for key in both)
        assert not scanner.open(bytes(36), 7, 0, b"conn")
        assert all(scanner.take(key) == (7, b"", 0) for key in both)
        assert scanner.open(bytes(36), 7, 0, b"conn"), "lanes that were taken back make room"

    @pytest.mark.parametrize("seed", range(10))
    def test_damaged_records(self, seed: int) -> None:
        """Damaged packets stop a scan, or are read; positions stay inside of the buffer."""
        rng = Random(seed)
        frame = frame_of(bytes(12))
        whole = b"".join(record_of(frame, 7 + 40 * at) for at in range(20))
        for _ in range(200):
            scanner = self.scanner()
            scanner.learn(self.KIND, 1, False, (7, b"\n"))
            scanner.open(KEY, 7, 0, b"conn")
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 0x45, 0x60, 0xFF, rng.getrandbits(8)))
            size = rng.randrange(len(data))
            link = rng.choice((0, 1, 12, 101, 113, 276))
            got = scanner.scan(
                bytes(data[:size]), 0, rng.random() < 0.2, False, 1 << 18, ((link, 1, 0),), 0, 0, 0
            )
            assert 0 <= got[0] <= size


class TestColumns:
    """Rows of messages: their scanner is that of TestScanners."""

    #: dir, prog, program, vers, proc, procedure, type, status, payload_type
    CODES = (0, 0xFFFFFFFF, None, 1, -1, None, 2, 3, 4)
    #: A row of Python: four integers of eight bytes, connection and four of four bytes, codes, texts.
    ROW = (5, None, 7, 0, "conn", 8, 9, None, -42, *CODES, b"{}", None, "problem", None)

    @staticmethod
    def scanner(columns: Any) -> Any:
        return core().Scanner(core().Plan(TestScanners.PLAN, b""), 0, columns=columns)

    @staticmethod
    def unpacked(batch: Any) -> list[list[object]]:
        """The columns of a batch, with None for null."""
        rows, columns, conns = batch
        found: list[list[object]] = []
        for number, (valid, *parts) in enumerate(columns):
            if len(parts) == 1:
                kind = "q" if number < 4 else "i" if number in (8, 13) else "I"
                values: list[object] = list(memoryview(parts[0]).cast(kind))
            else:
                ends = memoryview(parts[0]).cast("i")
                values = [bytes(parts[1])[at:end] for at, end in pairwise(ends)]
            assert len(values) == rows
            for at in range(rows if valid is not None else 0):
                if not bytes(valid)[at // 8] >> at % 8 & 1:
                    values[at] = None
            found.append(values)
        names = [*conns]
        found[4] = [names[code] for code in found[4]]  # type: ignore[index]
        return found

    def test_rejects_other_columns(self) -> None:
        for other in (None, 5, object(), core().Columns, self.scanner(core().Columns())):
            with pytest.raises(TypeError):
                self.scanner(other)
        classes = {"captured": int, "message": int, "header": int}
        with pytest.raises(TypeError):
            core().Scanner(core().Plan(TestScanners.PLAN, b""), 0, **classes, columns=core().Columns())
        with pytest.raises(TypeError):
            core().Columns(5)
        with pytest.raises(TypeError):
            core().Memory()

    @pytest.mark.parametrize(
        "codes", [(1,) * 8, (1,) * 10, (1.5,) * 9, ("x",) * 9, (b"text",), (1, object(), *(1,) * 7)]
    )
    def test_rejects_kinds(self, codes: tuple[object, ...]) -> None:
        scanner = self.scanner(core().Columns())
        with pytest.raises((ValueError, TypeError)):
            scanner.learn(TestScanners.KIND, 1, False, codes)
        assert scanner.learn(TestScanners.KIND, 1, False, self.CODES)

    def test_rows_of_a_scan(self) -> None:
        """A packet that is refused leaves no rows; a kind that is hidden is only counted."""
        columns = core().Columns()
        scanner = self.scanner(columns)
        scanner.learn(TestScanners.KIND, 1, False, self.CODES)
        scanner.learn(bytes(16) + b"\0\0\0\2\0", ANY, False, (*self.CODES[:-1], None))
        scanner.learn(bytes(16) + b"\0\0\0\3\0", 1, True, ())
        scanner.open(KEY, 7, 0, b"one")
        good, data = frame_of(struct.pack(">iii", -1, 2, 3)), bytearray(frame_of(b"\xff"))
        data[27] = 2
        hidden = bytearray(good)
        hidden[27] = 3
        bad = frame_of(bytes(8))
        assert TestScanners.scan(scanner, record_of(good + bad, 7))[:4] == (0, b"", 0, 0)
        assert len(columns) == 0
        records = record_of(good + data + hidden, 7)
        assert TestScanners.scan(scanner, records)[:5] == (len(records), b"", 3, 2, 1)
        columns.append(self.ROW)
        for wrong in (self.ROW[:-1], [*self.ROW], (*self.ROW, None)):
            with pytest.raises(TypeError):
                columns.append(wrong)
        assert len(columns) == 3
        rows = [*zip(*self.unpacked(columns.take()), strict=True)]
        codes = self.CODES
        time = 1_000_000_000
        assert rows == [
            (1, time, 1, 0, "one", 40, 0, None, None, *codes, b"[-1,2,3]", None, None, None),
            (2, time, 1, 0, "one", 29, 0, None, None, *codes[:-1], None, None, b"\xff", None, None),
            (5, None, 7, 0, "conn", 8, 9, None, -42, *codes, b"{}", None, b"problem", None),
        ]
        assert self.unpacked(columns.take()) == [[]] * 22

    @pytest.mark.parametrize(
        ("at", "value"),
        [
            *((0, 1 << 63), (0, 1.0), (0, "5"), (1, -(1 << 63) - 1), (4, None), (4, b"conn"), (5, 1 << 32)),
            *((8, -(1 << 31) - 1), (9, "c2s"), (18, 5), (18, "\udcff"), (21, object())),
        ],
    )
    def test_rejects_values(self, at: int, value: object) -> None:
        """The parts of the row that were written are dropped."""
        columns = core().Columns()
        columns.append(self.ROW)
        with pytest.raises((ValueError, TypeError)):
            columns.append((*self.ROW[:at], value, *self.ROW[at + 1 :]))
        columns.append(self.ROW)
        for column in self.unpacked(columns.take()):
            assert len(column) == 2
            assert column[0] == column[1]

    def test_values_that_use_the_columns(self) -> None:
        """No code of theirs runs."""
        columns = core().Columns()

        class Name(str):
            __slots__ = ()

            def __hash__(self) -> int:
                columns.take()
                return 5

        class Index:
            def __index__(self) -> int:
                columns.take()
                return 5

        for at, value in ((4, Name("conn")), (18, Name("{}")), (0, Index()), (5, Index())):
            with pytest.raises((ValueError, TypeError)):
                columns.append((*self.ROW[:at], value, *self.ROW[at + 1 :]))
        assert len(columns) == 0

    def test_module_with_another_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for other in (int, object(), bytes):
            monkeypatch.setattr(core(), "Memory", other)
            with pytest.raises(TypeError):
                core().Columns()

    def test_batches_outlive_their_columns(self) -> None:
        columns = core().Columns()
        for _ in range(3000):
            columns.append(self.ROW)
        views = [memoryview(part) for column in columns.take()[1] for part in column if part is not None]
        for _ in range(3000):
            columns.append(self.ROW)
        del columns
        assert all(view.readonly for view in views)
        assert bytes(views[0].cast("q")) == struct.pack("q", 5) * 3000

    def test_names_of_connections_are_those_of_a_batch(self) -> None:
        columns = core().Columns()
        scanner = self.scanner(columns)
        scanner.learn(TestScanners.KIND, 1, False, self.CODES)
        scanner.open(KEY, 7, 0, b"one")
        frame = frame_of(bytes(12))
        names = []
        for at in range(3):
            TestScanners.scan(scanner, record_of(frame, 7 + 40 * at))
            names.append([*columns.take()[2]])
        scanner.take(KEY)
        scanner.open(KEY, 7, 0, b"two")
        TestScanners.scan(scanner, record_of(frame, 7))
        assert [*names, [*columns.take()[2]]] == [["one"], ["one"], ["one"], ["two"]]
        scanner.take(KEY)
        scanner.open(KEY, 7, 0, b"\xff")
        with pytest.raises(UnicodeDecodeError):
            TestScanners.scan(scanner, record_of(frame, 7))
        assert len(columns) == 0

    def test_full_columns_end_a_scan(self) -> None:
        columns = core().Columns()
        scanner = self.scanner(columns)
        scanner.learn(TestScanners.KIND, ANY, False, self.CODES)
        scanner.open(KEY, 7, 0, b"one")
        frame = frame_of(bytes(60_000))
        data = b"".join(record_of(frame, 7 + len(frame) * at) for at in range(300))
        got = TestScanners.scan(scanner, data)
        assert got[0] < len(data)
        assert columns.is_full()
        assert TestScanners.scan(scanner, data[got[0] :])[0] == 0
        columns.take()
        assert not columns.is_full()
        assert TestScanners.scan(scanner, data[got[0] :])[0] > 0

    def test_large_text(self) -> None:
        """More than a message that the core reads."""
        columns = core().Columns()
        text = bytes(257 << 20)
        columns.append((*self.ROW[:18], text, *self.ROW[19:]))
        columns.append(self.ROW)
        assert columns.is_full()
        _, values, _ = columns.take()
        assert len(memoryview(values[18][2])) == len(text) + 2

    def test_reference_counts(self) -> None:
        columns, name = core().Columns(), "x" * 50
        conns = sys.getrefcount(name)
        for _ in range(100):
            columns.append((*self.ROW[:4], name, *self.ROW[5:]))
            with pytest.raises(ValueError, match="range"):
                columns.append((*self.ROW[:5], -(1 << 40), *self.ROW[6:]))
            columns.take()
        assert sys.getrefcount(name) == conns
        before = sys.getrefcount(columns)
        scanner = self.scanner(columns)
        del scanner
        assert sys.getrefcount(columns) == before

    @pytest.mark.parametrize("seed", range(5))
    def test_damaged_records(self, seed: int) -> None:
        rng, columns = Random(seed), core().Columns()
        frame = frame_of(bytes(12))
        whole = b"".join(record_of(frame, 7 + 40 * at) for at in range(20))
        for _ in range(200):
            scanner = self.scanner(columns)
            scanner.learn(TestScanners.KIND, 1, rng.random() < 0.5, self.CODES)
            scanner.open(KEY, 7, 0, b"conn")
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 0x45, 0xFF, rng.getrandbits(8)))
            before = len(columns)
            got = TestScanners.scan(scanner, bytes(data))
            assert len(columns) - before == got[2]
            if rng.random() < 0.2:
                self.unpacked(columns.take())


class TestCaptures:
    @pytest.mark.parametrize(
        "ticks", [(2**63, 10**15), (2**64 - 1, 2**64 - 1), (10**15, 2**64 - 1), (0, 10**15)]
    )
    @pytest.mark.parametrize("form", ["monitor", "jsonl"])
    def test_times_of_any_size(
        self, ticks: tuple[int, int], form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ticks of 64 bits give times that exceed them; lines count from the first one."""
        monkeypatch.setattr(native_kinds, "WORTH", (0, 0))
        talk = packets.Talk()
        start = talk.handshake()
        call, reply = packets.message(proc=59), packets.message(b"\0\0\0\4host", proc=59, type=1)
        every = [*start, *(talk.packet(*each) for _ in range(20) for each in (("c2s", call), ("s2c", reply)))]
        blocks = [packets.enhanced(each, ticks[at > len(start)], "<") for at, each in enumerate(every)]
        file = tmp_path / "times.pcapng"
        file.write_bytes(b"".join((packets.section("<"), packets.interface("<"), *blocks)))
        found = []
        for pure in ("1", "0"):
            monkeypatch.setenv(native.PURE, pure)
            found.append(CliRunner().invoke(cli.main, ["decode", "--format", form, str(file)]))
        assert found[0].exit_code == found[1].exit_code == 0, found[1].output
        assert found[0].stdout == found[1].stdout
        assert len(found[1].stdout.splitlines()) == 40
