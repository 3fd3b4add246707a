"""`libvirt-proto lookup`, `list` and `describe`."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto import registry
from libvirt_proto.cli import main as cli
from libvirt_proto.definitions import functions
from tests.support.terminal import on_terminal


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


def lookup(*words: str) -> list[dict[str, Any]]:
    result = run("lookup", "--format", "json", *words)
    assert result.exit_code == 0
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_looks_up_procedure() -> None:
    [found] = lookup("auth_list")
    assert found == {
        "query": "auth_list",
        "kind": "procedure",
        "name": "remote.auth_list",
        "number": 66,
        "symbol": "REMOTE_PROC_AUTH_LIST",
        "program": "remote",
        "args": None,
        "ret": "remote_auth_list_ret",
        "msg": None,
        "since": "0.9.7 or earlier",
        "generate": "none",
        "priority": "high",
        "acl": [],
    }


@pytest.mark.parametrize(
    "word", ["remote.auth_list", "remote.66", "REMOTE_PROC_AUTH_LIST", "remote_proc_auth_list", "AUTH_LIST"]
)
def test_looks_up_procedure_by_other_names(word: str) -> None:
    assert [found["name"] for found in lookup(word)] == ["remote.auth_list"]


def test_number_finds_every_match() -> None:
    found = {(meaning["kind"], meaning["name"]) for meaning in lookup("2")}
    assert {
        ("procedure", "remote.connect_close"),
        ("procedure", "admin.connect_close"),
        ("procedure", "keepalive.pong"),
        ("enum member", "VIR_NET_MESSAGE"),
        ("enum member", "VIR_NET_CONTINUE"),
        ("error code", "VIR_ERR_NO_MEMORY"),
        ("error level", "VIR_ERR_ERROR"),
    } <= found
    assert not any(kind == "constant" for kind, _ in found)


def test_looks_up_other_kinds() -> None:
    program, member, type_, constant, error = lookup(
        "0x20008086", "VIR_NET_REPLY", "remote_nonnull_domain", "REMOTE_STRING_MAX", "VIR_ERR_NO_DOMAIN"
    )
    assert (program["kind"], program["name"], program["version"]) == ("program", "remote", 1)
    assert (member["kind"], member["enum"], member["number"]) == ("enum member", "virNetMessageType", 1)
    # name: 4 to 4 + 4194304 bytes; uuid: 16; id: 4.
    assert (type_["kind"], type_["min_size"], type_["max_size"]) == ("struct", 24, 4194328)
    assert " ".join(type_["text"].split()) == (
        "struct remote_nonnull_domain { remote_nonnull_string name; remote_uuid uuid; int id; };"
    )
    assert (constant["kind"], constant["number"]) == ("constant", 4194304)
    assert (error["kind"], error["number"]) == ("error code", 42)


def test_looks_up_api_names() -> None:
    state, feature, enum = lookup("VIR_DOMAIN_RUNNING", "vir_drv_feature_remote", "virDomainBlockedReason")
    assert state == {
        "query": "VIR_DOMAIN_RUNNING",
        "kind": "API enum member",
        "name": "VIR_DOMAIN_RUNNING",
        "number": 1,
        "enum": "virDomainState",
        "file": "libvirt/libvirt-domain.h",
        "since": "0.0.1",
        "fields": ["remote_domain_get_info_ret.state", "remote_domain_get_state_ret.state"],
    }
    assert (feature["kind"], feature["number"]) == ("driver feature", 2)
    assert (enum["kind"], enum["file"]) == ("API enum", "libvirt/libvirt-domain.h")
    assert enum["text"] == "enum virDomainBlockedReason {\n    VIR_DOMAIN_BLOCKED_UNKNOWN = 0,\n};"


def test_looks_up_releases_of_api_names() -> None:
    names = ("VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE", "VIR_DOMAIN_GUEST_INFO_DEVICES", "VIR_ERR_NO_SECRET")
    assert [meaning["since"] for meaning in lookup(*names)] == ["6.9.0", "12.7.0", "0.7.1"]
    state, feature, enum = lookup("virDomainState", "VIR_DRV_FEATURE_REMOTE", "virDrvFeature")
    assert state["since"] == "0.0.1"
    assert state["text"].splitlines()[-3:] == [
        "    VIR_DOMAIN_CRASHED = 6, /* since 0.0.2 */",
        "    VIR_DOMAIN_PMSUSPENDED = 7, /* since 0.9.11 */",
        "};",
    ]
    assert state["history"][1] == {
        "part": "VIR_DOMAIN_PMSUSPENDED",
        "event": "came",
        "in": {"release": "0.9.11"},
        "text": "VIR_DOMAIN_PMSUSPENDED: since 0.9.11",
    }
    assert (feature["since"], enum["since"]) == (None, None)  # not public, so unknown
    assert "since" not in run("lookup", "virDrvFeature").stdout
    assert run("lookup", "VIR_DOMAIN_GUEST_INFO_DEVICES").stdout.splitlines()[4] == "  since   12.7.0"


def test_number_finds_members_of_the_api() -> None:
    found = [meaning for meaning in lookup("5") if meaning["kind"] == "API enum member"]
    assert {meaning["number"] for meaning in found} == {5}
    fields = {meaning["name"]: meaning["fields"] for meaning in found}
    assert fields["VIR_DOMAIN_SHUTOFF"] == [
        "remote_domain_get_info_ret.state",
        "remote_domain_get_state_ret.state",
    ]
    lines = run("lookup", "5").stdout.splitlines()
    table = lines[lines.index("API enum members with this number") + 1 :]
    assert len(table) == 13
    assert table[-1].endswith(" more (--all)")
    assert all(line.startswith("  VIR_") for line in table[:-1])
    assert len(run("lookup", "--all", "5").stdout.splitlines()) == len(lines) + len(found) - 13


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("virDomainState.5", "VIR_DOMAIN_SHUTOFF"),
        ("virErrorNumber.42", "VIR_ERR_NO_DOMAIN"),
        ("virDomainEventID.28", "VIR_DOMAIN_EVENT_ID_VCPU_REMOVED"),
        ("virNetMessageStatus.2", "VIR_NET_CONTINUE"),
    ],
)
def test_looks_up_number_of_an_enum(word: str, name: str) -> None:
    assert [meaning["name"] for meaning in lookup(word)] == [name]


def test_looks_up_constants_by_value() -> None:
    now, *_ = lookup("33554432")
    assert (now["kind"], now["name"]) == ("constant", "VIR_NET_MESSAGE_MAX")
    [before] = lookup("16777216")
    assert before == {
        "query": "16777216",
        "kind": "former value",
        "name": "VIR_NET_MESSAGE_MAX",
        "number": 16777216,
        "first": "1.0.6",
        "last": "3.3.0",
        "now": 33554432,
    }
    assert "  releases  1.0.6 to 3.3.0\n  now       33554432\n" in run("lookup", "16777216").stdout
    names = [meaning["name"] for meaning in lookup("16384") if meaning["kind"] == "constant"]
    assert "REMOTE_DOMAIN_LIST_MAX" in names
    assert len(names) == 15
    [older] = json.loads(run("lookup", "--json", "--release", "3.3.0", "16777216").stdout)
    assert (older["kind"], older["name"]) == ("constant", "VIR_NET_MESSAGE_MAX")
    assert "  releases  1.1.2\n" in run("lookup", "--all", "16").stdout


@pytest.mark.parametrize(
    "word",
    [
        *("0x20008086", "536903814", "0b100000000000001000000010000110", "0o4000100206", "04000100206"),
        *("20008086", "20008086h", "0x20008086u", "536903814UL", "536_903_814", "536,903,814"),
    ],
)
def test_numbers_in_any_base(word: str) -> None:
    assert [meaning["name"] for meaning in lookup(word)] == ["remote"]


@pytest.mark.parametrize(
    "word",
    ["-2024565991", "\N{MINUS SIGN}2024565991", "18446744071684985625", "0xffffffff87539319", "87539319"],
)
def test_numbers_with_any_sign(word: str) -> None:
    """A program with the high bit, as C prints it: signed, or sign-extended to 64 bits."""
    assert [meaning["name"] for meaning in lookup(word)] == ["log_manager"]


def test_negative_numbers_are_words() -> None:
    names = {meaning["name"]: meaning["query"] for meaning in lookup("-1")}
    assert names["VIR_CPU_COMPARE_ERROR"] == "-1"
    assert run("lookup", "--jsno", "-1").exit_code == 2


def test_looks_up_functions_of_the_api() -> None:
    function, procedure = lookup("virDomainBlockCommit")
    assert function == {
        "query": "virDomainBlockCommit",
        "kind": "API function",
        "name": "virDomainBlockCommit",
        "since": "0.10.2",
        "calls": ["remote.domain_block_commit"],
    }
    assert (procedure["kind"], procedure["number"]) == ("procedure", 290)
    assert procedure["acl"] == ["domain:block_write"]
    assert [meaning["name"] for meaning in lookup("VIRDOMAINGETSTATE")] == [
        "virDomainGetState",
        "remote.domain_get_state",
    ]


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        ("virDomainGetName", "nothing: it only uses what the client has"),
        ("virStreamSend", "messages of a stream that another call opened"),
        ("virConnectOpen", "remote.auth_list, remote.connect_open"),
        ("virConnectOpenReadOnly", "remote.auth_list, remote.connect_open"),
        ("virConnectGetURI", "nothing: it only uses what the client has"),
        ("virDomainLookupByUUIDString", "remote.domain_lookup_by_uuid"),
        ("virConnectSetKeepAlive", "keepalive.ping"),
        ("virConnectIsEncrypted", "remote.connect_is_secure"),
        ("virDomainQemuMonitorCommand", "qemu.domain_monitor_command"),
        ("virAdmServerListClients", "admin.server_list_clients"),
        ("virDomainLxcOpenNamespace", "lxc.domain_open_namespace"),
    ],
)
def test_shows_what_functions_call(function: str, calls: str) -> None:
    assert f"  calls  {calls}\n" in run("lookup", function).stdout


def test_function_without_its_procedure_in_old_release() -> None:
    [function] = json.loads(run("lookup", "--json", "--release", "1.0.4", "virDomainRename").stdout)
    assert function["calls"] == ["0x20008086.358"]


def test_suggests_functions() -> None:
    result = run("lookup", "virDomainGetStat")
    assert result.exit_code == 1
    assert "Did you mean 'virDomainGetState'" in result.stderr


def test_every_function_of_the_api_has_its_procedure() -> None:
    """401 of 568 functions call the procedure of their name, 365 of them of the remote program in 9.0.0."""
    names, calls = [*functions.names()], Counter[str]()
    for name in names:
        found = functions.find(name)
        assert found is not None
        for program, number in found.procedures:
            procedure = registry.program(program).by_number[number]
            infix = {"qemu": "qemu", "lxc": "lxc", "admin": "adm"}.get(registry.program(program).name, "")
            own = "vir" + infix + procedure.name.replace("_", "")
            plain = name.lower().replace("qemu", "").replace("lxc", "").replace("adm", "")
            if plain == own.replace(infix, "", 1):
                calls[registry.program(program).name] += 1
    assert len(names) == 568
    assert calls == {"remote": 374, "admin": 20, "qemu": 6, "lxc": 1}


@pytest.mark.parametrize(
    ("dispatcher", "procedure"),
    [
        ("remoteDispatchConnectListAllDomains", "remote.connect_list_all_domains"),
        ("remoteDispatchDomainGetStateHelper", "remote.domain_get_state"),
        ("qemuDispatchDomainMonitorCommand", "qemu.domain_monitor_command"),
        ("adminDispatchServerGetThreadpoolParameters", "admin.server_get_threadpool_parameters"),
        ("virLockSpaceProtocolDispatchAcquireResource", "lock_space.acquire_resource"),
        ("virLogManagerProtocolDispatchDomainOpenLogFile", "log_manager.domain_open_log_file"),
    ],
)
def test_looks_up_functions_of_daemons(dispatcher: str, procedure: str) -> None:
    assert [meaning["name"] for meaning in lookup(dispatcher)] == [procedure]


def test_looks_up_permissions() -> None:
    [found] = lookup("domain:read")
    assert found["action"] == "org.libvirt.api.domain.read"
    assert "remote.domain_get_state" in found["procedures"]
    assert found["filtered"] == ["remote.connect_get_all_domain_stats"]
    for word in ("org.libvirt.api.storage-pool.search-storage-vols", "storage-pool:search-storage-vols"):
        assert [meaning["name"] for meaning in lookup(word)] == ["storage_pool:search_storage_vols"]
    assert "Did you mean 'domain:read'" in run("lookup", "domain:raed").stderr


def test_shows_annotations_and_streams() -> None:
    [found] = lookup("storage_vol_upload")
    assert found["writestream"] == 1
    assert found["acl"] == ["storage_vol:data_write"]


@pytest.mark.parametrize(
    ("word", "release"),
    [
        # The releases of the API functions (libvirt-api.xml), where no gap hides them.
        ("remote.domain_open_graphics", "0.9.7 or earlier"),
        ("keepalive.ping", "0.9.8"),
        ("remote.domain_pm_wakeup", "0.9.11"),
        ("remote.connect_get_all_domain_stats", "1.2.8"),
        ("remote.domain_get_messages", "7.1.0"),
        ("remote.456", "12.5.0"),
    ],
)
def test_shows_since(word: str, release: str) -> None:
    [found] = lookup(word)
    assert found["since"] == release


@pytest.mark.parametrize(
    ("word", "lines"),
    [
        (
            "domain_backup_begin",
            ["since     6.0.0, by virDomainBackupBegin of the public API\n"],
        ),
        ("connect_get_type",
         ["since     0.9.7 or earlier", "history   renamed in 1.0.5, was REMOTE_PROC_GET_TYPE"]),
        (
            "REMOTE_STRING_MAX",
            ["history  raised from 65536 to 1048576 in 0.9.13",
             "         raised from 1048576 to 4194304 in 1.0.6"],
        ),
        ("VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX",
         ["since    1.1.3", "history  lowered from 262144 to 262120 in 1.1.4 (also in 1.1.3.1)"]),
        ("remote_typed_param_value", ["since    0.9.7 or earlier", "history  s: since 0.9.8"]),
        ("remote_domain_migrate_perform_args", ["history  bandwidth: renamed in 11.6.0, was resource"]),
        ("VIR_NET_STREAM_HOLE", ["since   3.4.0"]),
        ("lxc_monitor", ["since       0.10.0", "history     renamed in 1.0.4, was VIR_LXC_PROTOCOL_PROGRAM"]),
        ("get_type", ["older procedure get_type", "now      remote.connect_get_type"]),
        ("remote_open_args", ["older type remote_open_args", "now      remote_connect_open_args"]),
        ("REMOTE_DOMAIN_ID_LIST_MAX", ["older constant", "now      nothing", "history  left in 1.1.2"]),
        ("resource", ["older field resource", "now      remote_domain_migrate_perform_args.bandwidth"]),
        ("keepalive.ping", ["since   0.9.8"]),
    ],
)  # fmt: skip
def test_shows_history(word: str, lines: list[str]) -> None:
    shown = run("lookup", word).stdout
    assert all(line in shown for line in lines), shown


def test_history_as_json() -> None:
    backup, limit, union, older = lookup(
        "domain_backup_begin", "VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX", "remote_typed_param_value", "GET_TYPE"
    )
    assert (backup["since"], backup["provenance"]) == ("6.0.0", "derived")
    assert backup["function"] == {"name": "virDomainBackupBegin", "since": "6.0.0"}
    assert limit["history"] == [
        {
            "event": "changed",
            "in": {"release": "1.1.4"},
            "what": "number",
            "before": 262144,
            "after": 262120,
            "also": ["1.1.3.1"],
            "text": "lowered from 262144 to 262120 in 1.1.4 (also in 1.1.3.1)",
        }
    ]
    assert union["history"] == [
        {"part": "s", "event": "came", "in": {"release": "0.9.8"}, "text": "s: since 0.9.8"}
    ]
    assert (older["kind"], older["now"]) == ("older procedure", "remote.connect_get_type")


def test_custom_definitions_have_no_history(tmp_path: Path) -> None:
    (tmp_path / "own.x").write_text(
        "const REMOTE_STRING_MAX = 5; struct remote_typed_param_value { int i; };"
    )
    result = run("lookup", "--defs", str(tmp_path), "REMOTE_STRING_MAX", "remote_typed_param_value")
    assert "since" not in result.stdout
    assert run("lookup", "--defs", str(tmp_path), "get_type").exit_code == 1


def test_description_includes_history() -> None:
    shown = run("describe", "domain_migrate_perform").stdout
    assert "/* raised from 16384 to 4194304 in 1.2.6 */" in shown
    assert " *     bandwidth: renamed in 11.6.0, was resource\n" in shown
    assert "since libvirt 5.6.0" in run("describe", "remote_nonnull_domain_checkpoint").stdout


def test_text_output() -> None:
    assert run("lookup", "--release", "12.9.0", "auth_list", "0x20008086").stdout == (
        "procedure remote.auth_list\n"
        "  number    66\n"
        "  symbol    REMOTE_PROC_AUTH_LIST\n"
        "  args      void\n"
        "  ret       remote_auth_list_ret\n"
        "  msg       void\n"
        "  since     0.9.7 or earlier\n"
        "  generate  none\n"
        "  priority  high\n"
        "  acl       none\n"
        "\n"
        "program remote\n"
        "  number      0x20008086 (536903814)\n"
        "  symbol      REMOTE_PROGRAM\n"
        "  version     1\n"
        "  procedures  456\n"
        "  since       0.9.7 or earlier\n"
    )


def test_reports_unknown_word() -> None:
    result = run("lookup", "auth_lst", "auth_list", "\x1b[31m", "987654321", "\N{ARABIC-INDIC DIGIT THREE}")
    assert result.exit_code == 1
    assert "unknown number or name 'auth_lst'. Did you mean 'remote.auth_list'" in result.stderr
    assert "unknown number or name '987654321'." in result.stderr
    assert "unknown number or name '\N{ARABIC-INDIC DIGIT THREE}'." in result.stderr
    assert "\x1b" not in result.output
    assert result.stdout.startswith("procedure remote.auth_list\n")


def test_list_programs() -> None:
    rows = [line.split("\t") for line in run("list", "programs", "--release", "12.9.0").stdout.splitlines()]
    assert ["remote", "0x20008086", "1", "456", "REMOTE_PROGRAM"] in rows
    assert ["log_manager", "0x87539319", "1", "4", "VIR_LOG_MANAGER_PROTOCOL_PROGRAM"] in rows
    assert len(rows) == 8


def test_list_procedures() -> None:
    rows = [line.split("\t") for line in run("list", "procedures", "--release", "12.9.0").stdout.splitlines()]
    assert ["66", "remote.auth_list", "-", "remote_auth_list_ret", "-"] in rows
    assert sum(row[1].startswith("remote.") for row in rows) == 456
    narrowed = run("list", "procedures", "--program", "keepalive").stdout
    assert narrowed == "1\tkeepalive.ping\t-\t-\t-\n2\tkeepalive.pong\t-\t-\t-\n"
    older = run("list", "procedures", "--program", "remote", "--release", "0.9.7").stdout
    assert "\tremote.supports_feature\t" in older


def test_list_procedures_by_permission() -> None:
    def listed(*words: str) -> list[str]:
        rows = run("list", "procedures", *words).stdout.splitlines()
        return [row.split("\t")[1] for row in rows]

    assert listed("--acl", "domain:open_graphics") == [
        "remote.domain_open_graphics",
        "remote.domain_open_graphics_fd",
    ]
    assert listed("--acl", "org.libvirt.api.domain.open-graphics") == listed("--acl", "domain:open_graphics")
    # As a filter of the reply (@aclfilter), too.
    assert "remote.connect_get_all_domain_stats" in listed("--acl", "domain:read")
    # With conditions: domain:save:!VIR_DOMAIN_AFFECT_CONFIG|VIR_DOMAIN_AFFECT_LIVE.
    assert "remote.domain_set_metadata" in listed("--acl", "domain:save")
    both = listed("--acl", "secret:*", "--acl", "domain:open_graphics")
    assert set(both) == {*listed("--acl", "secret:*"), *listed("--acl", "domain:open_graphics")}
    assert "remote.auth_list" in listed("--acl", "none")
    assert "remote.domain_get_info" not in listed("--acl", "none")


def test_list_types_and_enums() -> None:
    types = {row["name"]: row for row in json.loads(run("list", "types", "--format", "json").stdout)}
    assert types["remote_uuid"]["kind"] == "typedef"
    assert types["remote_uuid"]["min_size"] == types["remote_uuid"]["max_size"] == 16
    assert types["virNetMessageHeader"]["min_size"] == 24
    enums = {
        row["name"]: row["members"] for row in json.loads(run("list", "enums", "--format", "json").stdout)
    }
    assert enums["virNetMessageStatus"] == {"VIR_NET_OK": 0, "VIR_NET_ERROR": 1, "VIR_NET_CONTINUE": 2}
    only = json.loads(run("list", "types", "--format", "json", "--program", "lxc").stdout)
    assert {row["file"] for row in only} == {"lxc_protocol.x"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "nothing"], "'nothing'"),
        (["list", "types", "--program", "remot"], "Did you mean 'remote'?"),
        (["list", "procedures", "--acl", "domain:raed"], "Did you mean 'domain:read'"),
        (["list", "types", "--acl", "domain:read"], "--acl requires procedures"),
        (["list", "programs", "--release", "10"], "(10.x: 10.0.0, 10.1.0, 10.2.0)"),
        (["lookup"], "missing argument"),
        (["describe"], "missing argument"),
    ],
)
def test_wrong_usage(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.output


def test_describes_type() -> None:
    shown = run("describe", "remote_typed_param").stdout
    places = [
        shown.index(f" {name}") for name in ("remote_nonnull_string<", "remote_typed_param_value switch")
    ]
    assert places == sorted(places)
    assert (
        "const REMOTE_STRING_MAX = 4194304; /* raised from 65536 to 1048576 in 0.9.13;"
        " raised from 1048576 to 4194304 in 1.0.6 */\n"
    ) in shown
    # field: 4 to 4 + 4194304; type: 4; arm: 4 to 4 + 4194304.
    assert (
        "/* remote_typed_param: 12 to 8,388,620 bytes on the wire\n *   since libvirt 0.9.7 or earlier */"
    ) in shown
    assert "more (--all) */" in shown
    everyone = run("describe", "remote_typed_param", "--all").stdout
    assert "remote.domain_get_memory_parameters" in everyone
    assert "(--all)" not in everyone


def test_describes_procedure() -> None:
    assert run("describe", "remote.domain_get_state").stdout == (
        "/* REMOTE_PROC_DOMAIN_GET_STATE = 212, remote.domain_get_state\n"
        " *   since libvirt 0.9.2, by virDomainGetState of the public API"
        " (the definitions say: 0.9.7 or earlier)\n"
        " *   @generate: none\n"
        " *   @priority: high\n"
        " *   @acl: domain:read\n"
        " *   args: remote_domain_get_state_args, 28 to 4,194,332 bytes\n"
        " *   ret: remote_domain_get_state_ret, 8 bytes\n"
        " *     VIR_DOMAIN_PMSUSPENDED: since 0.9.11\n"
        " *     VIR_DOMAIN_RUNNING_WAKEUP: since 0.9.11\n"
        " *     VIR_DOMAIN_RUNNING_CRASHED: since 1.1.1\n"
        " *     VIR_DOMAIN_RUNNING_POSTCOPY: since 1.3.3\n"
        " *     VIR_DOMAIN_RUNNING_POSTCOPY_FAILED: since 8.5.0\n"
        " *     VIR_DOMAIN_PAUSED_SNAPSHOT: since 1.0.1\n"
        " *     VIR_DOMAIN_PAUSED_CRASHED: since 1.1.1\n"
        " *     VIR_DOMAIN_PAUSED_STARTING_UP: since 1.2.14\n"
        " *     VIR_DOMAIN_PAUSED_POSTCOPY: since 1.3.3\n"
        " *     VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: since 1.3.3\n"
        " *     VIR_DOMAIN_PAUSED_API_ERROR: since 9.2.0\n"
        " *     VIR_DOMAIN_SHUTOFF_DAEMON: since 4.10.0\n"
        " *     … 2 more (--all) */\n"
        "\n"
        "const REMOTE_STRING_MAX = 4194304; /* raised from 65536 to 1048576 in 0.9.13;"
        " raised from 1048576 to 4194304 in 1.0.6 */\n"
        "const VIR_UUID_BUFLEN = 16;\n"
        "\n"
        "/* remote_protocol.x */\n"
        "typedef string remote_nonnull_string<REMOTE_STRING_MAX>;\n"
        "\n"
        "typedef opaque remote_uuid[VIR_UUID_BUFLEN];\n"
        "\n"
        "struct remote_nonnull_domain {\n"
        "    remote_nonnull_string name;\n"
        "    remote_uuid uuid;\n"
        "    int id;\n"
        "};\n"
        "\n"
        "struct remote_domain_get_state_args {\n"
        "    remote_nonnull_domain dom;\n"
        "    unsigned int flags;\n"
        "};\n"
        "\n"
        "struct remote_domain_get_state_ret {\n"
        "    int state; /* virDomainState */\n"
        "    int reason; /* virDomainNostateReason and 7 more */\n"
        "};\n"
    )


def test_describes_numbers_of_the_public_api() -> None:
    shown = run("describe", "remote_connect_domain_event_callback_register_any_args").stdout
    assert "    int eventID; /* virDomainEventID */\n" in shown
    assert (
        " *   since libvirt 1.2.2\n"
        " *   VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2: since 1.2.6\n"
        " *   VIR_DOMAIN_EVENT_ID_TUNABLE: since 1.2.9\n"
    ) in shown
    assert " *   VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE: since 6.9.0\n" in shown
    assert " *   … 2 more (--all) */\n" in shown
    everything = run("describe", "--all", "remote_connect_domain_event_callback_register_any_args").stdout
    assert " *   VIR_DOMAIN_EVENT_ID_CHANNEL_LIFECYCLE: since 12.4.0 */\n" in everything
    assert "    int cpu; /* virVcpuHostCpuState */\n" in run("describe", "remote.domain_get_vcpus").stdout
    assert "    unsigned int flags; /* virDomainModificationImpact, virTypedParameterFlags */\n" in (
        run("describe", "domain_get_memory_parameters").stdout
    )


def test_describes_numbers_of_the_public_api_as_json() -> None:
    [found] = json.loads(run("describe", "--format", "json", "remote_domain_get_control_info_ret").stdout)
    assert found["enums"] == {"state": ["virDomainControlState"], "details": ["virDomainControlErrorReason"]}
    assert {"name": "VIR_DOMAIN_CONTROL_ERROR_REASON_MONITOR", "since": "1.2.14"} in found["later"]
    [found] = json.loads(run("describe", "--format", "json", "domain_get_vcpus").stdout)
    vcpu = next(type_ for type_ in found["types"] if type_["name"] == "remote_vcpu_info")
    assert vcpu["enums"] == {"state": ["virVcpuState"], "cpu": ["virVcpuHostCpuState"]}
    assert vcpu["later"][0] == {"name": "VIR_VCPU_INFO_CPU_UNAVAILABLE", "since": "6.10.0"}


def test_describes_enum_of_the_public_api() -> None:
    assert run("describe", "virStoragePoolEventID").stdout == (
        "/* libvirt/libvirt-storage.h */\n"
        "enum virStoragePoolEventID {\n"
        "    VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE = 0,\n"
        "    VIR_STORAGE_POOL_EVENT_ID_REFRESH = 1,\n"
        "};\n"
        "\n"
        "/* virStoragePoolEventID\n"
        " *   since libvirt 2.0.0 */\n"
        "/* numbers in 1 field:\n"
        " *   remote_connect_storage_pool_event_register_any_args.eventID */\n"
    )
    assert "since" not in run("describe", "virDrvFeature").stdout
    [found] = json.loads(run("describe", "--format", "json", "virDomainEventID").stdout)
    [looked_up] = lookup("virDomainEventID")
    assert found == {key: value for key, value in looked_up.items() if key != "query"}
    assert run("describe", "--json-schema", "virDomainEventID").exit_code == 1


def test_custom_definitions_have_no_newer_names(tmp_path: Path) -> None:
    """The type may be another one with the name of a libvirt type."""
    (tmp_path / "own.x").write_text("struct remote_domain_get_info_ret { int state; string reason<>; };")
    shown = run("describe", "--defs", str(tmp_path), "remote_domain_get_info_ret").stdout
    assert "    int state; /* virDomainState */\n" in shown
    assert "since" not in shown


def test_describes_types_of_other_files() -> None:
    """qemu's procedures use remote_protocol.x's domain."""
    shown = run("describe", "qemu.domain_monitor_command").stdout
    assert shown.index("/* remote_protocol.x */") < shown.index("/* qemu_protocol.x */")


def test_describe_as_json() -> None:
    [found] = json.loads(run("describe", "remote_nonnull_domain", "--format", "json").stdout)
    assert [type_["name"] for type_ in found["types"]] == ["remote_nonnull_string", "remote_uuid"]
    assert "qemu.domain_monitor_command" in found["used_by"]
    assert "remote.auth_list" not in found["used_by"]
    both = json.loads(run("describe", "connect_open", "--format", "json").stdout)
    assert [procedure["name"] for procedure in both] == ["admin.connect_open", "remote.connect_open"]


def test_describe_reports_unknown_name() -> None:
    result = run("describe", "remote_nonnul_domain")
    assert result.exit_code == 1
    assert "Did you mean 'remote_nonnull_domain'" in result.stderr


def test_lists_on_a_terminal_are_tables() -> None:
    """With a head line, numbers right-aligned, text left-aligned, no padding after the last column."""
    lines = on_terminal("list", "programs", "--color", "never").splitlines()
    assert lines[0].split() == ["name", "number", "version", "procedures", "symbol"]
    remote = next(line for line in lines if line.startswith("remote "))
    assert remote.split()[1:3] == ["0x20008086", "1"]
    assert remote.split()[4] == "REMOTE_PROGRAM"
    ends = {len("".join(re.findall(r"\S+ *", line)[:4]).rstrip()) for line in lines[1:]}
    assert len(ends) == 1
    assert not any(line.endswith(" ") for line in lines)
    assert "\x1b[" in on_terminal("list", "programs", "--color", "always").splitlines()[0]


def test_lists_without_terminal_are_tab_separated() -> None:
    rows = [line.split("\t") for line in run("list", "enums").stdout.splitlines()]
    assert ["virNetMessageStatus", "virnetprotocol.x", "3"] in rows
    procedures = run("list", "procedures", "--program", "keepalive").stdout
    assert procedures == "1\tkeepalive.ping\t-\t-\t-\n2\tkeepalive.pong\t-\t-\t-\n"


def test_list_reports_unknown_program() -> None:
    result = run("list", "types", "--program", "nosuch")
    assert result.exit_code == 2
    assert "nosuch" in result.output


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A generated package of one file, `one.x`."""
    (tmp_path / "one.x").write_text("const A = 1;\n")
    folder = tmp_path / "package"
    assert run("generate", "python", "--defs", str(tmp_path / "one.x"), "-o", str(folder)).exit_code == 0
    return folder


def test_package_is_loaded_only_when_requested(package: Path) -> None:
    trace = package / "was-run"
    with (package / "__init__.py").open("a") as index:
        index.write(f"open({str(trace)!r}, 'w').close()\n")
    refused = run("lookup", "--defs", str(package), "A")
    assert refused.exit_code == 2
    expected = f"expected definitions, got a Python package without .x files: {package}"
    assert f"{expected} (to run its code: --package {package})\n" in refused.stderr
    (package / "two.x").write_text("const B = 2;\n")
    assert "two.x" in run("lookup", "--defs", str(package), "B").stdout
    assert not trace.exists()
    assert "one.x" in run("lookup", "--package", str(package), "A").stdout
    assert trace.exists()


def test_unusable_package_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("raise ImportError('generated for API 99')\n")
    refused = run("lookup", "--package", str(tmp_path), "A")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"libvirt-proto: error: cannot import {tmp_path}: generated for API 99\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--package", "{0}", "--defs", "{0}"], "--defs and --package exclude each other"),
        (["--package", "{0}", "--release", "10.0.0"], "--release and --package exclude each other"),
        (["--defs", "{0}", "--release", "10.0.0"], "--release and --defs exclude each other"),
        (["--package", "{0}", "--define", "A=1"], "--define requires --defs"),
    ],
)
def test_definition_sources_are_mutually_exclusive(package: Path, words: list[str], message: str) -> None:
    refused = run("lookup", *(word.format(package) for word in words), "A")
    assert refused.exit_code == 2
    assert message in refused.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["lookup", "--defs", "{0}", "A"],
        ["list", "--defs", "{0}", "types"],
        ["lint", "{0}"],
        ["diff", "{0}", "{0}"],
        ["generate", "python", "--defs", "{0}", "-o", "{0}/made"],
    ],
    ids=lambda words: words[0],
)
def test_special_files_among_definitions_do_not_block(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "one.x").write_text("const A = 1;\ntypedef int t;\n")
    (tmp_path / "folder.x").mkdir()
    os.mkfifo(tmp_path / "fifo.x")
    (tmp_path / "device.x").symlink_to("/dev/zero")
    assert run(*(word.format(tmp_path) for word in words)).exit_code == 0
    (tmp_path / "loop.x").symlink_to("loop.x")
    failed = run(*(word.format(tmp_path) for word in words))
    assert failed.exit_code == 1
    assert f"error: cannot read {tmp_path / 'loop.x'}: too many levels of symbolic links\n" in failed.stderr
