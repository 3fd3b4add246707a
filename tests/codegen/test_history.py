"""The history: the bundled one, and folding releases into one."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.history import KINDS, Event, Span
from libvirt_proto.definitions import history as shown
from libvirt_proto_codegen import releases
from libvirt_proto_codegen.definitions import load_release, load_schema, schema_of
from libvirt_proto_codegen.pipeline import generate
from libvirt_proto_codegen.releases import renames
from libvirt_proto_codegen.releases.archive import Release
from libvirt_proto_codegen.releases.changes import Changes
from libvirt_proto_codegen.releases.facts import Facts, History, HistoryError, read_history, write_history
from libvirt_proto_codegen.releases.fold import difference, fold
from libvirt_proto_codegen.releases.functions import Functions, read_functions
from libvirt_proto_codegen.releases.narrow import narrowed
from libvirt_proto_codegen.releases.provenance import Origins
from libvirt_proto_codegen.releases.unfold import unfold
from libvirt_proto_codegen.releases.version import version_key
from libvirt_proto_codegen.schema import Schema
from tests.support.work import assert_linear, grown

REMOTE = 0x20008086

# The bundled history: facts by hand, from libvirt's change logs.


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("remote", "0.9.7 or earlier"),
        ("lxc_monitor", "0.10.0"),
        ("remote.domain_open_graphics", "0.9.7 or earlier"),
        ("keepalive.ping", "0.9.8"),
        ("domain_pm_wakeup", "0.9.11"),
        ("REMOTE_PROC_CONNECT_GET_ALL_DOMAIN_STATS", "1.2.8"),
        ("remote.domain_get_messages", "7.1.0"),
        ("admin.connect_daemon_shutdown", "11.2.0"),
        ("domain_graphics_reload", "10.2.0"),
        ("remote_typed_param_value", "0.9.7 or earlier"),
        ("remote_typed_param_value.s", "0.9.8"),
        ("remote_typed_param_value.d", "0.9.7 or earlier"),
        ("remote_domain_get_fsinfo_ret.info", "1.2.11"),
        ("remote_domain_migrate_perform_args.bandwidth", "0.9.7 or earlier"),
        ("REMOTE_STRING_MAX", "0.9.7 or earlier"),
        ("VIR_NET_MESSAGE_NUM_FDS_MAX", "0.9.7 or earlier"),
        ("REMOTE_DOMAIN_JOB_STATS_MAX", "1.1.2"),
        ("VIR_NET_STREAM_HOLE", "3.4.0"),
        ("virNetMessageType.VIR_NET_STREAM_HOLE", "3.4.0"),
        ("VIR_LXC_MONITOR_EXIT_STATUS_ERROR", "0.10.0"),
    ],
)
def test_registry_reports_since(name: str, since: str) -> None:
    assert str(registry.default().since(name)) == since


def test_span_has_data_fields() -> None:
    since = registry.default().since("remote.domain_get_messages")
    assert (since.release, since.after, since.by) == ("7.1.0", None, None)
    span = registry.default().since("remote_nonnull_domain")
    assert (span.release, span.after, span.by) == (None, None, "0.9.7")


@pytest.mark.parametrize(
    ("procedure", "event"),
    [
        # The derived states date these, by the API's versions and NEWS.
        ("domain_snapshot_get_xml_desc",
         "acl changed in 5.1.0 (derived), was domain:read, domain:read_secure:VIR_DOMAIN_XML_SECURE"),
        ("domain_managed_save_get_xml_desc",
         "acl changed in 5.1.0 (derived), was domain:read, domain:read_secure:VIR_DOMAIN_XML_SECURE"),
        ("domain_save_image_get_xml_desc",
         "acl changed in 5.5.0 (derived), was domain:read, domain:read_secure:VIR_DOMAIN_XML_SECURE"),
        ("domain_get_hostname", "acl changed in 5.3.0 (derived), was domain:read"),
        ("domain_get_time", "acl changed in 5.3.0 (derived), was domain:read"),
        # They do not know when these changed.
        ("domain_interface_addresses", "acl changed after 4.5.0, by 7.0.0, was domain:read"),
        ("connect_register_close_callback", "priority changed after 7.0.0, by 9.0.0, was nothing"),
        ("connect_unregister_close_callback", "priority changed after 7.0.0, by 9.0.0, was nothing"),
    ],
)  # fmt: skip
def test_dates_of_annotations(procedure: str, event: str) -> None:
    events = registry.default().history(f"remote.{procedure}").events
    assert [str(each) for each in events][-1:] == [event] * bool(event)


@pytest.mark.parametrize("name", ["nonsense", "remote.nonsense", "remote_typed_param_value.x", "", "."])
def test_unknown_objects_have_no_history(name: str) -> None:
    with pytest.raises(KeyError):
        registry.default().since(name)


def test_custom_definitions_have_no_history(tmp_path: Path) -> None:
    (tmp_path / "own.x").write_text("const REMOTE_STRING_MAX = 5;")
    with pytest.raises(KeyError):
        registry.load(tmp_path).since("REMOTE_STRING_MAX")


def test_older_release_uses_its_own_names() -> None:
    older = registry.release("0.9.12")
    assert older.history("remote_get_type_ret") == registry.default().history("remote_connect_get_type_ret")
    assert str(older.since("remote_typed_param_value.s")) == "0.9.8"
    assert older.history("qemu_monitor_command_args").events[0].before == "qemu_monitor_command_args"
    (renamed,) = older.history("remote_domain_migrate_perform_args.resource").events
    assert str(renamed) == "renamed in 11.6.0, was resource"


@pytest.mark.parametrize(
    ("procedure", "name", "release"),
    [
        ("domain_event_memory_failure", "VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE", "6.9.0"),
        ("network_event_callback_metadata_change", "VIR_NETWORK_EVENT_ID_METADATA_CHANGE", "9.8.0"),
        ("domain_event_vcpu_removed", "VIR_DOMAIN_EVENT_ID_VCPU_REMOVED", "12.4.0"),
    ],
)
def test_ids_of_events_confirm_derived_dates(procedure: str, name: str, release: str) -> None:
    for each in (f"remote.{procedure}", f"remote_{procedure}_msg"):
        assert registry.default().history(each).function == (name, release)
    # The ids are of 0.8.0, these messages of 0.5.0; and genuine definitions date the others.
    for genuine in ("domain_event_lifecycle", "domain_event_callback_tunable"):
        assert registry.default().history(f"remote.{genuine}").function is None


def test_numbers_of_the_public_api_have_a_history() -> None:
    assert registry.default().since("VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE") == Span("6.9.0")
    assert str(registry.default().history("VIR_ERR_NO_SECRET")) == "0.7.1"
    with pytest.raises(KeyError):
        registry.default().since("VIR_DRV_FEATURE_REMOTE")


def test_lists_every_raised_limit() -> None:
    """The last change of each limit ends at the newest release's value."""
    checked = 0
    for module in registry.default().modules():
        for name, value in module.constants.items():
            changes = [event for event in shown.lookup(("constant", name)).events if event.kind == "changed"]
            if changes:
                assert changes[-1].after == value, name
                checked += 1
    assert checked > 20


def test_lists_procedures_renamed_in_1_0_5() -> None:
    renamed = [
        (procedure.number, str(event.before))
        for procedure in registry.program("remote").procedures
        for event in shown.procedure(REMOTE, procedure.number).events
        if event.kind == "renamed" and event.when.release == "1.0.5"
    ]
    assert (3, "REMOTE_PROC_GET_TYPE") in renamed
    assert (1, "REMOTE_PROC_OPEN") in renamed
    assert len(renamed) > 40


def test_procedures_were_added_with_their_api_functions() -> None:
    """Compared if both are known. Exceptions: four messages are newer than their functions, and the first
    admin procedures are older than their functions, which became public in 2.0.0."""
    functions = read_functions((releases.root() / "functions.json").read_text()).by_procedure
    agreed, different = 0, {}
    for program in registry.default().programs():
        for procedure in program.procedures:
            key = ("procedure", f"{program.number:#010x}", str(procedure.number))
            release = shown.lookup(key).since.release
            if release is not None and key in functions:
                api = functions[key][1]
                agreed += release == api
                if release != api and not (program.name == "admin" and api == "2.0.0"):
                    different[procedure.name] = (api, release)
    assert agreed >= 109
    assert different == {
        "connect_register_close_callback": ("0.10.0", "1.3.3"),
        "connect_unregister_close_callback": ("0.10.0", "1.3.3"),
        "domain_block_copy": ("1.2.8", "1.2.9"),
        "domain_set_block_threshold": ("3.1.0", "3.2.0"),
    }


def test_functions_narrow_open_spans_and_confirm_derived_states() -> None:
    narrow = confirmed = 0
    for program in registry.default().programs():
        for procedure in program.procedures:
            facts = shown.procedure(program.number, procedure.number)
            if facts.function is not None:
                if facts.since.release is not None:
                    confirmed += 1
                    assert facts.since.provenance in ("derived", "rebuilt")
                    assert facts.function[1] == facts.since.release
                    continue
                narrow += 1
                assert facts.since.by is not None
                low, high = facts.since.after or "0.3.0", facts.since.by
                assert version_key(low) < version_key(facts.function[1]) <= version_key(high)
    assert narrow > 150
    # remote 402 to 446, qemu 7, admin 18 and 19, and remote 454 to 456.
    assert confirmed == 45 + 3 + 3


def test_provenance_of_dates() -> None:
    def words(name: str) -> str:
        return registry.default().since(name).words

    assert words("remote.connect_get_all_domain_stats") == "1.2.8"
    assert words("remote.domain_event_memory_failure") == "6.9.0 (derived)"
    assert words("remote.network_event_callback_metadata_change") == "9.8.0 (derived)"
    assert words("remote.domain_graphics_reload") == "10.2.0"
    assert words("remote.domain_announce_interface") == "12.5.0 (rebuilt)"
    assert registry.default().since("remote_domain_event_memory_failure_msg").provenance == "derived"


def test_generated_classes_document_history() -> None:
    union = registry.default().type("remote_typed_param_value")
    text = inspect.getdoc(union.python_class) or ""  # Python 3.13 removes the indentation by itself
    assert text.endswith(
        "Since: 0.9.7 or earlier.\n"
        "s: since 0.9.8.\n"
        "type: numbers of virTypedParameterType.\n"
        "VIR_TYPED_PARAM_STRING: since 0.9.8."
    )
    assert union.text.endswith("};")
    args = registry.default().type("remote_domain_backup_begin_args").python_class.__doc__ or ""
    assert "Since: 6.0.0, by virDomainBackupBegin of the public API." in args
    args = registry.default().type("remote_domain_get_hostname_args").python_class.__doc__ or ""
    assert "remote.domain_get_hostname: acl changed in 5.3.0 (derived), was domain:read.\n" in args


def test_generated_classes_document_numbers_of_the_public_api() -> None:
    register = registry.default().type("remote_connect_domain_event_callback_register_any_args")
    text = inspect.getdoc(register.python_class) or ""
    assert "Since: 1.2.2.\neventID: numbers of virDomainEventID.\n" in text
    assert "VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2: since 1.2.6." in text  # the first that is newer than the class
    assert "VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE: since 6.9.0." in text
    assert "VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE" not in text
    open_ = registry.default().type("remote_connect_supports_feature_args").python_class
    assert (inspect.getdoc(open_) or "").endswith("feature: numbers of virDrvFeature.")


def test_every_fact_has_an_object() -> None:
    """Every object in the bundled history is in the newest release or recorded as removed."""
    known = set(_keys(load_release()))
    history = read_history((releases.root() / "history.json").read_text())
    assert {" ".join(key) for key, facts in history.facts.items() if not facts.gone} <= known
    assert (history.first, history.last) == ("0.9.7", releases.newest())


def _keys(schema: Schema) -> list[str]:
    from libvirt_proto_codegen.releases.symbols import symbols

    return [" ".join(key) for key in symbols(schema)]


# Folding, with hand-made releases.

PROGRAM = "const X_PROGRAM = 0x20000001; const X_PROTOCOL_VERSION = 1; enum x_procedure {{ {} }};"
ONE = (
    "const X_MAX = 16; struct x_open_args { string name<X_MAX>; unsigned int flags; };"
    "enum x_kind { X_KIND_A = 1, X_KIND_B = 2 };"
) + PROGRAM.format("X_PROC_OPEN = 1")


def history_of(texts: Mapping[str, str], **ranges: tuple[str, str]) -> History:
    made = [Release(name, *ranges.get("v" + name.replace(".", "_"), (name, name))) for name in texts]
    schemas = {name: schema_of({"x_protocol.x": text.encode()}, name) for name, text in texts.items()}
    return fold(made, difference(lambda release: schemas[release.name]))


def told(history: History) -> dict[str, list[str]]:
    """Key → release and events, in short form."""

    def when(span: Span) -> str:
        return span.release or f"{span.after}-{span.by}"

    return {
        " ".join(key): [
            *([when(facts.since) + "".join(f"+{each}" for each in facts.also)] if facts.since else []),
            *(
                f"{event.kind} {event.what or ''} {event.before}>{event.after} {when(event.when)}"
                + "".join(f"+{each}" for each in event.also)
                for event in facts.events
            ),
        ]
        for key, facts in history.facts.items()
    }


def test_empty_history_has_no_facts() -> None:
    assert told(history_of({"1.0.0": ONE, "1.0.1": ONE, "1.1.0": ONE})) == {}


def test_records_additions_changes_and_removals() -> None:
    two = (
        "const X_MAX = 32; const X_MORE_MAX = 4;"
        "struct x_open_args { string name<X_MAX>; unsigned int flags; };"
        "enum x_kind { X_KIND_A = 1, X_KIND_C = 3 };"
        "struct x_close_args { int how<X_MORE_MAX>; }; struct x_close_ret { int done; };"
    ) + PROGRAM.format("/** @priority: high */ X_PROC_OPEN = 1, X_PROC_CLOSE = 2")
    three = two.replace("X_PROC_CLOSE = 2", "X_PROC_CLOSE = 2 ").replace(
        "X_KIND_C = 3", "X_KIND_C = 3, X_KIND_B = 2"
    )
    three = three.replace("int done;", "int done; hyper more;").replace("unsigned int flags", "hyper flags")
    assert told(history_of({"1.0.0": ONE, "1.0.1": two, "1.1.0": three})) == {
        "constant X_MAX": ["changed number 16>32 1.0.1"],
        "constant X_MORE_MAX": ["1.0.1"],
        "type x_close_args": ["1.0.1"],
        "type x_close_ret": ["1.0.1"],
        "member x_kind X_KIND_B": ["left  None>None 1.0.1", "came  None>None 1.1.0"],
        "member x_kind X_KIND_C": ["1.0.1"],
        "procedure 0x20000001 1": ["changed priority None>high 1.0.1"],
        "procedure 0x20000001 2": ["1.0.1"],
        "field x_close_ret more": ["1.1.0"],
        "field x_open_args flags": ["changed xdr unsigned int flags;>hyper flags; 1.1.0"],
    }


def test_renamed_object_keeps_its_history() -> None:
    two = ONE.replace("X_MAX = 16", "X_MAX = 32").replace(
        "unsigned int flags", "unsigned int flags; int more"
    )
    three = (
        two.replace("X_PROC_OPEN", "X_PROC_START")
        .replace("x_open_args", "x_start_args")
        .replace("X_MAX", "X_NAME_MAX")
        .replace("string name", "string label")
    )
    four = three.replace("unsigned int flags", "hyper flags").replace("X_NAME_MAX = 32", "X_NAME_MAX = 64")
    assert told(history_of({"1.0.0": ONE, "1.0.1": two, "1.0.2": three, "1.0.3": four})) == {
        "constant X_NAME_MAX": [
            "changed number 16>32 1.0.1",
            "renamed  X_MAX>None 1.0.2",
            "changed number 32>64 1.0.3",
        ],
        "procedure 0x20000001 1": ["renamed  X_PROC_OPEN>None 1.0.2"],
        "type x_start_args": ["renamed  x_open_args>None 1.0.2"],
        "field x_start_args label": ["renamed  name>None 1.0.2"],
        "field x_start_args more": ["1.0.1"],
        "field x_start_args flags": ["changed xdr unsigned int flags;>hyper flags; 1.0.3"],
    }


def fields(count: int, prefix: str) -> str:
    return "struct s { " + " ".join(f"int {prefix}{number};" for number in range(count)) + " };"


class CountedKey(tuple[str, ...]):
    """A key whose comparisons are calls that tests.support.work counts."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other)

    __hash__ = tuple.__hash__


def test_renamed_fields_are_found_in_linear_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of all that were found before would compare each key with each other one."""
    key = renames._key
    monkeypatch.setattr(renames, "_key", lambda symbol: CountedKey(key(symbol) or ()))

    def act(count: int) -> Callable[[], object]:
        old, new = (schema_of({"a.x": fields(count, prefix).encode()}, "") for prefix in "ab")
        assert len(renames.renames(old, new)) == count
        return lambda: renames.renames(old, new)

    assert_linear(*grown(act, 100))


def test_gaps_and_ranges_give_spans() -> None:
    two, three = ONE.replace("X_MAX = 16", "X_MAX = 32"), ONE.replace("X_MAX = 16", "X_MAX = 64")
    texts = {"4.5.0": ONE, "10.0.0": two, "10.2.0": three, "11.2.0": ONE}
    ranges = {"v10_0_0": ("9.8.0", "10.0.0"), "v10_2_0": ("10.2.0", "11.1.0")}
    assert told(history_of(texts, **ranges)) == {
        "constant X_MAX": [
            "changed number 16>32 4.5.0-9.8.0",
            "changed number 32>64 10.0.0-10.2.0",
            "changed number 64>16 11.2.0",
        ]
    }


def test_maintenance_releases_are_listed_separately() -> None:
    two = ONE.replace("X_MAX = 16", "X_MAX = 32").replace("X_KIND_B = 2", "X_KIND_B = 2, X_KIND_C = 3")
    own = two.replace("unsigned int flags", "hyper flags")
    texts = {"1.1.3": ONE, "1.1.3.1": two, "1.1.3.2": own, "1.1.4": ONE, "1.2.0": two}
    assert told(history_of(texts)) == {
        "constant X_MAX": ["changed number 16>32 1.2.0+1.1.3.1"],
        "member x_kind X_KIND_C": ["1.2.0+1.1.3.1"],
        "field x_open_args flags": ["changed xdr unsigned int flags;>hyper flags; 1.1.3.2"],
    }


def test_maintenance_release_from_before_a_rename() -> None:
    two = ONE.replace("X_MAX = 16", "X_MAX = 32")
    renamed = (
        ONE.replace("X_MAX", "X_NAME_MAX").replace("x_open_args", "x_start_args").replace("_OPEN", "_START")
    )
    own = ONE.replace("unsigned int flags", "hyper flags")
    texts = {
        "1.1.3": ONE,
        "1.1.3.1": two,
        "1.1.4": renamed,
        "1.1.5": renamed.replace("16", "32"),
        "1.1.3.2": own,
    }
    assert told(history_of(dict(sorted(texts.items(), key=lambda pair: version_key(pair[0]))))) == {
        "constant X_NAME_MAX": [
            "renamed  X_MAX>None 1.1.4",
            "changed number 16>32 1.1.5+1.1.3.1",
            "changed number 32>16 1.1.3.2",
        ],
        "type x_start_args": ["renamed  x_open_args>None 1.1.4"],
        "procedure 0x20000001 1": ["renamed  X_PROC_OPEN>None 1.1.4"],
        "field x_start_args flags": ["changed xdr unsigned int flags;>hyper flags; 1.1.3.2"],
    }


VARIANTS = st.lists(
    st.tuples(st.sampled_from([16, 32]), st.sampled_from(["", "int a;", "int b;"]), st.booleans()), max_size=4
)


def variant(limit: int, field: str, more: bool) -> str:
    text = ONE.replace("X_MAX = 16", f"X_MAX = {limit}").replace("unsigned int", f"{field} unsigned int")
    return text.replace("OPEN = 1", "OPEN = 1, X_PROC_MORE = 2") if more else text


@given(VARIANTS)
def test_final_state_equals_last_release(variants: list[tuple[int, str, bool]]) -> None:
    texts = {f"1.0.{number}": variant(*each) for number, each in enumerate([(16, "", False), *variants])}
    history = history_of(texts)
    there = set(_keys(schema_of({"x_protocol.x": list(texts.values())[-1].encode()}, "")))
    assert {" ".join(key) for key, facts in history.facts.items() if not facts.gone} <= there
    assert not {" ".join(key) for key, facts in history.facts.items() if facts.gone} & there


FIELD = ("; unsigned int flags", "")
LIMIT = ("16", "32")
#: Renames of a type, of a field and of a constant, and a procedure with a permission.
EDITS = st.lists(
    st.sampled_from(
        [
            ("open", "start"),
            ("string name", "string label"),
            FIELD,
            ("X_MAX", "X_NAME_MAX"),
            ("X_KIND_B = 2", "X_KIND_C = 3"),
            ("X_PROC_", "/** @acl: domain:read */ X_PROC_"),
            LIMIT,
        ]
    ),
    max_size=3,
)
schema_of_text = cache(lambda text: schema_of({"x_protocol.x": text.encode()}, ""))
NAMES_OF_RELEASES = ("1.0.0", "1.0.1", "1.0.1.1", "1.0.1.2", "1.0.2", "1.2.0", "1.2.0.1", "2.0.0")


def unfolded(history: History, releases: list[Release]) -> Mapping[tuple[str, str], Changes] | None:
    """The changes of a history; None if two things had the same name."""
    came_back = any("left" in [event.kind for event in facts.events[:-1]] for facts in history.facts.values())
    with suppress(HistoryError) if came_back else nullcontext():
        return unfold(history, releases)
    return None


@given(st.lists(EDITS, min_size=len(NAMES_OF_RELEASES), max_size=len(NAMES_OF_RELEASES)), st.data())
def test_unfolds_into_the_changes_that_were_folded(
    edits: list[list[tuple[str, str]]], data: st.DataObject
) -> None:
    """So a release that is taken out and put back, anywhere, gives the same history; only it, its neighbours
    and the branch that starts from it are compared."""
    texts = {}
    for name, edit in zip(NAMES_OF_RELEASES, edits, strict=True):
        # A branch starts with the text of its release; a branch that renames may have to be compared again.
        start = name.rpartition(".")[0]
        text = texts.get(start, ONE)
        for old, new in edit if start not in texts else [each for each in edit if each in (FIELD, LIMIT)]:
            text = text.replace(old, new).replace(old.upper(), new.upper())
        texts[name] = text
    schemas = {name: schema_of_text(text) for name, text in texts.items()}
    provenances = st.sampled_from([Origins(), Origins("derived")])
    made = [Release(name, name, name, data.draw(provenances)) for name in texts]
    compare = difference(lambda release: schemas[release.name])
    whole = fold(made, compare)
    out = data.draw(st.sampled_from(made[1:]))
    others = [release for release in made if release is not out]
    known, rest = unfolded(whole, made), unfolded(fold(others, compare), others)
    if known is None or rest is None:  # all are compared again
        return

    def again(old: Release, new: Release) -> Changes:
        if (old.name, new.name) in rest:
            return rest[old.name, new.name]
        assert out in (old, new) or old.name.startswith(f"{out.name}.")
        return compare(old, new)

    assert fold(made, again) == whole


def test_thing_keeps_its_history_if_another_takes_its_name() -> None:
    """The events of both have one key, so the changes cannot be recovered."""
    other = ONE.replace("X_MAX", "X_NAME_MAX").replace("16", "32")
    texts = {"1.0.0": ONE, "1.0.1": other, "1.0.2": ONE.replace("16", "32")}
    history = history_of(texts)
    assert [str(event) for event in history.facts["constant", "X_MAX"].events] == [
        "left in 1.0.1",
        "came in 1.0.1",
        "renamed in 1.0.2, was X_NAME_MAX",
    ]
    with pytest.raises(HistoryError, match="two things had the same name"):
        unfold(history, [Release(name, name, name) for name in texts])


def test_branch_without_its_start_is_compared_again() -> None:
    """The names on the branch depend on the missing release."""
    one, two = ONE, ONE.replace("open", "start").replace("OPEN", "START")
    texts = {"1.0.0": one, "1.0.1": two, "1.0.1.1": two, "1.0.1.2": two.replace(*FIELD), "1.0.2": two}
    made = [Release(name, name, name) for name in texts]
    compare = difference(lambda release: schema_of_text(texts[release.name]))
    others = [release for release in made if release.name != "1.0.1"]
    rest = unfold(fold(others, compare), others)
    assert ("1.0.1.1", "1.0.1.2") not in rest
    assert ("1.0.1.1", "1.0.1.2") in unfold(fold(made, compare), made)


def test_history_of_other_releases_is_not_used() -> None:
    made = [Release(name, name, name) for name in ("1.0.0", "1.0.1", "1.0.2")]
    for history in (
        History("1.0.0", "1.0.1"),
        History("1.0.0", "1.0.2", {("constant", "X_MAX"): Facts(Span("1.0.7"))}),
        History("1.0.0", "1.0.2", {("constant", "X_MAX"): Facts(Span("1.0.1"), also=("1.0.0.1",))}),
    ):
        with pytest.raises(HistoryError, match="not that of these releases"):
            unfold(history, made)
    assert unfold(History("1.0.0", "1.0.2"), made) == {
        ("1.0.0", "1.0.1"): Changes(),
        ("1.0.1", "1.0.2"): Changes(),
    }


# The file

NAMES = st.text(st.characters(codec="utf-8"), max_size=8)
RELEASES = st.sampled_from(["0.9.7", "1.0.5", "9.8.0"])
SPANS = RELEASES.map(Span) | st.tuples(st.none() | RELEASES, RELEASES).map(lambda after: Span(None, *after))
VALUES = st.none() | st.integers(-(2**70), 2**70) | NAMES
EVENTS = st.builds(
    Event, st.sampled_from(KINDS), SPANS, st.none() | NAMES, VALUES, VALUES, st.lists(RELEASES).map(tuple)
)
FACTS = st.builds(
    Facts, st.none() | SPANS, st.lists(EVENTS, max_size=3).map(tuple), st.lists(RELEASES).map(tuple)
)
KEYS = st.lists(st.from_regex(r"[A-Za-z0-9_]{1,6}", fullmatch=True), min_size=1, max_size=3).map(tuple)


@given(st.builds(History, RELEASES, RELEASES, st.dictionaries(KEYS, FACTS, max_size=4)))
def test_history_round_trips(history: History) -> None:
    assert read_history(write_history(history)) == history


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["1.0.5", "left", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["since", "events", "also", "kind", "in", "before", "what"]), inner)
    ),
    max_leaves=12,
)


@given(
    st.text()
    | JSON.map(json.dumps)
    | JSON.map(lambda x: json.dumps({"first": "1", "last": "2", "facts": {"a b": x}}))
)
def test_any_text_parses_or_raises(text: str) -> None:
    try:
        history = read_history(text)
    except HistoryError:
        return
    assert read_history(write_history(history)) == history


def test_history_texts_stay_inside_string_literals(tmp_path: Path) -> None:
    """Texts in a history file remain data in generated code, whatever they contain."""
    (tmp_path / "x.x").write_text("struct s { int a; };")
    schema = load_schema([tmp_path])
    evil = '"""\nraise SystemExit(1)\n"""\\'
    facts = {
        ("type", "s"): Facts(Span(evil), (Event("renamed", Span(evil), None, evil),), (evil,), (evil, evil)),
        (evil,): Facts(Span("1")),
    }
    for artefact in generate(replace(schema, history=History(evil, evil, facts)), "python"):
        space: dict[str, object] = {"__name__": "x", "__package__": "x"}
        code = compile(artefact.text, artefact.path, "exec")
        if artefact.path == "history.py":
            exec(code, space)
            assert space["FIRST"] == evil
            assert evil in space["FACTS"]  # type: ignore[operator]


def test_rejects_invalid_functions() -> None:
    for text in (
        "",
        "[]",
        "{}",
        '{"functions": 5}',
        '{"functions": {"a": 5}, "others": {}}',
        '{"functions": {"a": [1]}, "others": {}}',
        '{"functions": {}}',
        '{"functions": {}, "others": {"f": []}}',
        '{"functions": {}, "others": {"f": ["1.0.0", 5]}}',
    ):
        with pytest.raises(ValueError, match=r"\w"):
            read_functions(text)


def test_functions_narrow_spans() -> None:
    text = ONE.replace("X_PROC_OPEN = 1", "X_PROC_OPEN = 1, X_PROC_CLOSE = 2")
    schema = schema_of({"x_protocol.x": text.encode()}, "9.8.0")
    one, two = ("procedure", "0x20000001", "1"), ("procedure", "0x20000001", "2")
    history = History("1.0.0", "9.8.0", {two: Facts(Span(after="4.5.0", by="9.8.0"))})
    for function, first, second in [
        ("0.2.9", False, False),  # older than the remote protocol
        ("0.9.2", True, False),
        ("1.0.0", True, False),
        ("1.0.1", False, False),
        ("4.5.0", False, False),
        ("6.0.0", False, True),
        ("9.8.0", False, True),
        ("9.9.0", False, False),
    ]:
        found = narrowed(history, Functions({one: ("f", function), two: ("f", function)}), schema)
        assert [found.facts.get(key, Facts()).function is not None for key in (one, two)] == [first, second]
        assert found.since(two) == history.since(two)


def test_text_of_spans_and_events() -> None:
    assert str(shown.Span(after="4.5.0", by="9.8.0")) == "after 4.5.0, by 9.8.0"
    span = shown.Span("1.0.5")
    for event, words in [
        (shown.Event("changed", span, "number", 4, 2), "lowered from 4 to 2 in 1.0.5"),
        (shown.Event("changed", span, "args", None, "a"), "args changed in 1.0.5, was void"),
        (shown.Event("changed", span, "priority", None, "high"), "priority changed in 1.0.5, was nothing"),
        (shown.Event("changed", span, "acl", "a:b", "a:c"), "acl changed in 1.0.5, was a:b"),
        (shown.Event("left", span, also=("1.0.5.1",)), "left in 1.0.5 (also in 1.0.5.1)"),
        (shown.Event("came", shown.Span(by="1.0.0")), "came in 1.0.0 or earlier"),
    ]:
        assert str(event) == words
    assert str(shown.Facts(span, ("f", "1.0"))) == "1.0, by f of the public API (the definitions say: 1.0.5)"
