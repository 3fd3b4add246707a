"""Names of the public libvirt API: the data, the table of fields, and the keys that they get."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.history import version_key
from libvirt_proto.codec.types import (
    Array,
    FixedArray,
    Integer,
    Optional,
    Structure,
    UnionType,
    declared_parts,
    part_names,
    resolved,
)
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.jsonlines.encode import to_plain
from libvirt_proto.names import public as publicnames
from libvirt_proto.names.fieldindex import FIELDS
from libvirt_proto.names.fields import Bits, By, OneOf, meanings
from libvirt_proto.names.meanings import key, meanings_of
from libvirt_proto_codegen.releases import folders

HEADERS = Path("/usr/include")
#: The Python that libvirt's binding is installed for.
PYTHON = Path("/usr/bin/python3")
LISTED = "import libvirt; print({n: v for n, v in vars(libvirt).items() if n[:4] == 'VIR_'})"


TOOLS = Path(__file__).resolve().parents[3] / "tools"
FOLDER = Path(publicnames.__file__).parent
IMPORTED = msgspec.json.decode((FOLDER / "publicnames.json").read_bytes())
BY_HAND = tomllib.loads((FOLDER / "fieldnames.toml").read_text())
DESCRIBED = msgspec.json.decode((TOOLS / "described_fields.json").read_bytes())
UNNAMED = tomllib.loads((TOOLS / "unnamed_fields.toml").read_text())
#: `struct.field` → the reason.
UNNAMED_FIELDS = {
    f"{struct}.{field}": reason
    for struct, fields in UNNAMED["fields"].items()
    for field, reason in fields.items()
}
STRUCTS = sorted(IMPORTED["fields"] | BY_HAND["fields"])


@cache
def types(release: str) -> dict[str, XdrType]:
    modules = registry.release(release).modules()
    return {name: type_ for module in modules for name, type_ in module.types.items()}


def integers(type_: XdrType) -> set[str]:
    """The fields of a struct, or the discriminant of a union, that are integers."""
    node = type_.node
    assert isinstance(node, Structure | UnionType)
    fields = node.fields if isinstance(node, Structure) else [node.discriminant]
    return {field.name for field in fields if isinstance(resolved(field.node, type_.types), Integer)}


def name_keys(type_: XdrType) -> set[str]:
    """The keys that the names of a type's numbers have."""
    return {key(field) for field in meanings_of(type_.types, type_.reference)}


# The data


def test_numbers_that_every_libvirt_user_knows() -> None:
    names = publicnames.names
    assert [names("virErrorNumber")[number] for number in (1, 38, 42)] == [
        "VIR_ERR_INTERNAL_ERROR",
        "VIR_ERR_SYSTEM_ERROR",
        "VIR_ERR_NO_DOMAIN",
    ]
    assert [names("virErrorDomain")[number] for number in (7, 10, 12)] == [
        "VIR_FROM_RPC",
        "VIR_FROM_QEMU",
        "VIR_FROM_TEST",
    ]
    assert names("virErrorLevel") == {0: "VIR_ERR_NONE", 1: "VIR_ERR_WARNING", 2: "VIR_ERR_ERROR"}
    assert names("virDomainState")[5] == "VIR_DOMAIN_SHUTOFF"
    assert names("virDomainMemoryStatTags")[9] == "VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE"  # no sentinel
    assert names("virDomainMemoryStatTags").get(13) is None  # one that isn't called LAST


def test_no_two_enums_share_a_name() -> None:
    counted = Counter(name for enum in publicnames.enums().values() for name in enum.names)
    assert max(counted.values()) == 1
    assert not [name for name in counted if name.endswith("_LAST")]


def test_what_is_written_by_hand_is_not_imported() -> None:
    for struct, fields in BY_HAND["fields"].items():
        for field, said in fields.items():
            assert IMPORTED["fields"].get(struct, {}).get(field) != said, (struct, field)


def test_every_public_name_has_a_release() -> None:
    unknown = {
        enum
        for enum in publicnames.enums()
        for name in publicnames.names(enum).values()
        if not publicnames.since(name)
    }
    assert unknown == {"virDrvFeature"}
    assert publicnames.additions("virDrvFeature") == {}
    assert publicnames.since("VIR_NO_SUCH_NAME") is None
    assert publicnames.later("virDomainState", "0.0.1") == {
        "VIR_DOMAIN_CRASHED": "0.0.2",
        "VIR_DOMAIN_PMSUSPENDED": "0.9.11",
    }


@pytest.mark.parametrize("kind", ["Domain", "Network", "StoragePool", "NodeDevice", "Secret"])
def test_event_ids_are_as_old_as_their_messages(kind: str) -> None:
    """The releases of ids come from the API description, those of procedures from the .x files."""
    remote, compared = registry.default().program("remote"), 0
    for name, release in publicnames.additions(f"vir{kind}EventID").items():
        event = name.lower().removeprefix("vir_").replace("_id_", "_")
        wide = event.replace("_event_", "_event_callback_")
        spans = [
            registry.default().since(f"remote.{each}") for each in (event, wide) if each in remote.by_name
        ]
        assert spans, name
        compared += any(
            span.release == release
            or (
                span.by is not None
                and version_key(span.after or "0.3.0") < version_key(release) <= version_key(span.by)
            )
            for span in spans
        )
    assert compared == len(publicnames.additions(f"vir{kind}EventID")) > 0


def test_an_alias_is_as_old_as_its_first_name() -> None:
    assert publicnames.since("VIR_DOMAIN_SETVCPU_AFFECT_LIVE") == "12.4.0"
    assert (
        publicnames.first_since("VIR_DOMAIN_SETVCPU_AFFECT_LIVE") == "0.7.7"
    )  # VIR_DOMAIN_DEVICE_MODIFY_LIVE
    assert publicnames.first_since("VIR_DOMAIN_SETVCPU_ASYNC_UNPLUG") == "12.4.0"
    assert publicnames.first_since("VIR_DRV_FEATURE_REMOTE") is None


@pytest.mark.system("pkg-config")
def test_headers_have_the_names_of_their_release_and_no_newer_ones() -> None:
    headers = [HEADERS / enum.source for enum in publicnames.enums().values()]
    known = {word for path in set(headers) if path.exists() for word in re.findall(r"\w+", path.read_text())}
    if not known:
        pytest.skip("system test: libvirt's headers are not installed")
    asked = subprocess.run(
        ["pkg-config", "--modversion", "libvirt"], capture_output=True, text=True, check=True
    )
    release = version_key(asked.stdout.strip())
    for enum in publicnames.enums().values():
        for name in enum.names:
            if (HEADERS / enum.source).exists() and (since := publicnames.since(name)) is not None:
                assert (name in known) == (version_key(since) <= release), name


@pytest.mark.system("pkg-config")
def test_the_data_is_current(root: Path) -> None:
    if not Path("/usr/share/libvirt/api/libvirt-api.xml").exists():
        pytest.skip("system test: libvirt's API description is not installed")
    subprocess.run([sys.executable, root / "tools" / "import_public_names.py", "--check"], check=True)


@pytest.mark.parametrize("release", ["11.3.0", "12.9.0"])
def test_data_is_that_of_other_descriptions(root: Path, shared: Path, tmp_path: Path, release: str) -> None:
    """Equal for the release of the data; an older one has nothing else, and the same releases of names."""
    with tarfile.open(shared / "libvirt" / "api" / f"api-xml-{release}.tar.xz") as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                (tmp_path / Path(member.name).name).write_bytes(file.read())
    tool = root / "tools" / "import_public_names.py"
    subprocess.run([sys.executable, tool, tmp_path, "--release", release, "--check"], check=True)


def test_index_is_current(root: Path) -> None:
    subprocess.run([sys.executable, root / "tools" / "index_public_names.py", "--check"], check=True)


def test_fields_of_enums() -> None:
    assert publicnames.fields_of("virDomainState") == (
        "remote_domain_get_info_ret.state",
        "remote_domain_get_state_ret.state",
    )
    assert publicnames.fields_of("virErrorNumber") == ("virNetMessageError.code", "remote_error.code")
    assert "remote_domain_create_args.flags" not in publicnames.fields_of("virDomainCreateFlags")
    assert publicnames.fields_of("virNoSuchEnum") == ()
    for enum in publicnames.enums():
        for field in publicnames.fields_of(enum):
            struct, _, name = field.partition(".")
            assert name in meanings(struct)


@pytest.mark.system("gcc")
def test_the_names_are_those_of_the_headers(tmp_path: Path) -> None:
    """Every name and number that the installed headers have, by a C compiler."""
    enums = [enum for enum in publicnames.enums().values() if (HEADERS / enum.source).exists()]
    if not enums:
        pytest.skip("system test: libvirt's headers are not installed")
    texts = {enum.source: set(re.findall(r"\w+", (HEADERS / enum.source).read_text())) for enum in enums}
    names = {
        name: number for enum in enums for name, number in enum.names.items() if name in texts[enum.source]
    }
    headers = ("libvirt", "libvirt-admin", "libvirt-qemu", "virterror")
    program = "".join(f"#include <libvirt/{header}.h>\n" for header in headers)
    program += "#include <stdio.h>\nint main(void) {\n"
    program += "".join(f'printf("{name} %lld\\n", (long long) {name});\n' for name in names) + "}\n"
    (tmp_path / "names.c").write_text(program)
    subprocess.run(["gcc", "-o", tmp_path / "names", tmp_path / "names.c"], check=True)
    printed = subprocess.run([tmp_path / "names"], check=True, capture_output=True, text=True).stdout
    counted = {name: int(number) for name, number in map(str.split, printed.splitlines())}
    assert counted == names
    assert len(counted) > 900


@pytest.mark.skipif(not PYTHON.exists(), reason="system test: no Python of the system")
def test_the_names_are_those_of_libvirts_python_binding() -> None:
    done = subprocess.run([PYTHON, "-c", LISTED], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("system test: libvirt's Python binding is not installed")
    binding: dict[str, Any] = ast.literal_eval(done.stdout)
    compared = 0
    for enum in publicnames.enums().values():
        for name, value in enum.names.items():
            if isinstance(binding.get(name), int):
                # C's int, for the binding.
                assert binding[name] & 0xFFFFFFFF == value & 0xFFFFFFFF, name
                compared += 1
    assert compared > 800


# The table of fields


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_of_the_table_is_an_integer_of_the_newest_release(struct: str) -> None:
    fields = meanings(struct)
    assert fields
    type_ = types(folders()[-1])[struct]
    assert fields.keys() <= integers(type_)
    for meaning in fields.values():
        assert meaning.names
        if isinstance(meaning, By):
            assert meaning.field in integers(type_)
        if isinstance(meaning, Bits):
            assert all(bit.bit_count() == 1 for bit in meaning.names)
    assert name_keys(type_) == {f"{field}_name" for field in fields}


def integer_fields(type_: XdrType) -> Iterator[str]:
    """The parts of a struct or a union that are integers, or arrays of integers."""
    for part in declared_parts(type_.node):
        node = resolved(part.node, type_.types)
        while isinstance(node, Array | FixedArray | Optional):
            node = resolved(node.element, type_.types)
        if part.name is not None and isinstance(node, Integer):
            yield part.name


def enums_of(described: Any) -> set[str]:
    """The enums of an entry of the table of fields."""
    if isinstance(described, str):
        return {described}
    return set(described) if isinstance(described, list) else set(described.values())


def test_every_integer_has_names_or_a_reason_to_have_none() -> None:
    """Candidates are all integers of payloads, whatever the table of fields has."""
    reasons = {name: reason for reason, names in UNNAMED["names"].items() for name in names}
    unexplained = []
    for struct, type_ in types(folders()[-1]).items():
        named = meanings(struct)
        for field in integer_fields(type_):
            full = f"{struct}.{field}"
            by_name = field in reasons and full not in DESCRIBED["enums"]
            if not (field in named or full in UNNAMED_FIELDS or full in DESCRIBED["unused"] or by_name):
                unexplained.append(full)
    assert not unexplained, "add them to fieldnames.toml, or to tools/unnamed_fields.toml with a reason"


def test_fields_have_an_enum_of_their_description() -> None:
    """The API description of an argument, a callback or a struct is evidence for fields that carry it."""
    assert len(DESCRIBED["enums"]) > 200
    for full, enums in DESCRIBED["enums"].items():
        struct, _, field = full.partition(".")
        if full not in UNNAMED_FIELDS:
            assert enums_of(FIELDS[struct][field]) & set(enums), full
    for full in DESCRIBED["unused"]:
        struct, _, field = full.partition(".")
        # The client's library adds the bit that it accepts strings, whatever its user gave.
        assert enums_of(FIELDS.get(struct, {}).get(field, [])) <= {"virTypedParameterFlags"}, full


def test_reasons_are_needed() -> None:
    newest = types(folders()[-1])
    fields = {f"{struct}.{field}" for struct, type_ in newest.items() for field in integer_fields(type_)}
    assert UNNAMED_FIELDS.keys() <= fields
    for full in UNNAMED_FIELDS:
        struct, _, field = full.partition(".")
        assert field not in meanings(struct), full
        assert full not in DESCRIBED["unused"]
    listed = [name for names in UNNAMED["names"].values() for name in names]
    assert max(Counter(listed).values()) == 1
    assert set(listed) <= {full.partition(".")[2] for full in fields}


def test_a_bit_has_two_names_only_where_the_table_says_which() -> None:
    for struct, fields in (IMPORTED["fields"] | BY_HAND["fields"]).items():
        for field, said in fields.items():
            if isinstance(said, list):
                enums = [publicnames.enums()[word].names for word in said if not word.startswith("VIR_")]
                bits = Counter(bit for names in enums for bit in names.values() if bit)
                twice = {bit for bit, count in bits.items() if count > 1}
                settled = {names[word] for word in said for names in enums if word in names}
                assert settled == twice, (struct, field)


def test_what_the_api_description_says_of_flags() -> None:
    assert len([s for s in STRUCTS if "flags" in meanings(s)]) > 150
    for struct, name in [
        ("remote_domain_get_xml_desc_args", "VIR_DOMAIN_XML_SECURE"),
        ("remote_connect_list_all_domains_args", "VIR_CONNECT_LIST_DOMAINS_ACTIVE"),
        ("remote_domain_migrate_perform3_params_args", "VIR_MIGRATE_LIVE"),
        ("remote_domain_get_memory_parameters_args", "VIR_DOMAIN_AFFECT_LIVE"),
        ("remote_domain_snapshot_num_args", "VIR_DOMAIN_SNAPSHOT_LIST_ROOTS"),
        ("remote_domain_snapshot_num_children_args", "VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS"),
    ]:
        meaning = meanings(struct)["flags"]
        assert isinstance(meaning, Bits)
        assert meaning.names[1] == name


def test_network_updates_stay_numbers() -> None:
    """The meaning of `command` depends on an earlier agreement of the peers."""
    assert meanings("remote_network_update_args").keys() == {"flags"}


@given(st.sampled_from(STRUCTS), st.integers(0, 2**64 - 1))
def test_the_bits_of_a_number_are_all_there(struct: str, flags: int) -> None:
    for meaning in meanings(struct).values():
        if isinstance(meaning, Bits):
            values = {name: bit for bit, name in meaning.names.items()}
            shown = meaning.of(flags)
            assert sum(bit if isinstance(bit, int) else values[bit] for bit in shown) == flags
            assert all(isinstance(name, str) for name in shown[:-1])
    assert Bits({1: "A"}).of(-2) == (-2,)


@pytest.mark.parametrize("release", folders()[:-1])
def test_structs_that_had_other_names(release: str) -> None:
    """Procedures keep their numbers: whatever a release calls their structs, the same fields are named."""
    older = registry.release(release)
    renamed = 0
    for program in older.programs():
        for procedure in program.procedures:
            today = registry.default().procedure(program.number, program.version, procedure.number)
            assert today is not None
            for old, new in [(procedure.args, today.args), (procedure.ret, today.ret)]:
                if old is not None and new is not None and old.name != new.name:
                    assert meanings(old.name) == meanings(new.name)
                    renamed += bool(meanings(old.name))
    assert renamed == (len(BY_HAND["renamed"]) if release == "0.9.7" else 0)


# The keys


@pytest.mark.parametrize("release", folders())
def test_no_key_takes_the_place_of_a_field(release: str) -> None:
    """Over all types: with names there is everything that there is without, and the table fits."""
    named = 0
    for name, type_ in types(release).items():
        if not isinstance(type_.node, Structure | UnionType):
            continue
        keys = name_keys(type_)
        named += len(keys)
        members = set(part_names(type_.node))
        assert not keys & members, name
        assert {key.removesuffix("_name") for key in keys} <= integers(type_)
        assert meanings(name).keys() & members == meanings_of(type_.types, type_.reference).keys(), name
    assert named > 60


def definitions(text: str, folder: Path) -> dict[str, Any]:
    (folder / "own.x").write_text(text)
    (module,) = registry.load(folder / "own.x").modules()
    return dict(module.types)


def test_types_of_ones_own_with_the_names_of_libvirts(tmp_path: Path) -> None:
    """Whatever they are: nothing is lost, and nothing that isn't an integer is named."""
    own = definitions(
        """
        struct remote_domain_get_info_ret { int state; string state_name<>; };
        struct remote_domain_get_state_ret { string state<>; int reason; };
        struct remote_domain_event_lifecycle_msg { int detail; unsigned hyper event; };
        struct remote_vcpu_info { bool state; };
        union remote_typed_param_value switch (int type) { case 1: int type_name; default: void; };
        enum remote_error { A = 1 };
        """,
        tmp_path,
    )
    for name, value, shown in [
        ("remote_domain_get_info_ret", (1, "x"), {"state": 1, "state_name": "x"}),
        ("remote_domain_get_state_ret", ("s", 1), {"state": "s", "reason": 1}),
        ("remote_vcpu_info", (True,), {"state": True}),
        ("remote_typed_param_value", (1, 7), {"type": 1, "type_name": 7}),
        (
            "remote_domain_event_lifecycle_msg",
            (0, 2),
            {
                "detail": 0,
                "detail_name": "VIR_DOMAIN_EVENT_STARTED_BOOTED",
                "event": 2,
                "event_name": "VIR_DOMAIN_EVENT_STARTED",
            },
        ),
    ]:
        type_ = own[name]
        made = type_.python_class(*value)
        assert own[name].from_bytes(own[name].to_bytes(made)) == made
        assert to_plain(type_, made, named=True) == shown
        assert {key: part for key, part in shown.items() if key not in name_keys(type_)} == to_plain(
            type_, made
        )
    broken = own["remote_domain_event_lifecycle_msg"]
    partial = broken.read(b"\0\0\0\0").value
    assert to_plain(broken, partial, named=True) == {"detail": 0, "detail_name": None}


def test_names_are_wanted_or_not() -> None:
    [type_] = [registry.default().type("remote_domain_get_info_ret")]
    value = type_.from_bytes(b"\0\0\0\5" + bytes(28))
    assert "state_name" not in to_plain(type_, value)
    assert to_plain(type_, value, named=True)["state_name"] == "VIR_DOMAIN_SHUTOFF"
    meaning = meanings("remote_domain_get_info_ret")["state"]
    assert isinstance(meaning, OneOf)
