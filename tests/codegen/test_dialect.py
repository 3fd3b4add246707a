"""libvirt's conventions: programs from constants and enums, types by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.codec.annotations import AccessRule, Annotations
from libvirt_proto.codec.types import Named
from libvirt_proto_codegen.dialect import Dialect, short_procedure, short_program, type_key
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Procedure, Program, Schema
from libvirt_proto_codegen.source import Source


def schema(text: str, dialect: Dialect = "auto") -> Schema:
    specification = read_specification(Source("demo_protocol.x", text))
    return resolve([specification], externals={}, release=None, inputs=(), dialect=dialect)


def program(text: str) -> Program:
    (module,) = schema(text).modules
    (only,) = module.programs
    return only


@pytest.mark.parametrize(
    ("constant", "short"),
    [
        # The names in libvirt's own tapset.
        ("REMOTE_PROGRAM", "remote"),
        ("QEMU_PROGRAM", "qemu"),
        ("LXC_PROGRAM", "lxc"),
        ("ADMIN_PROGRAM", "admin"),
        ("KEEPALIVE_PROGRAM", "keepalive"),
        ("VIR_LOCK_SPACE_PROTOCOL_PROGRAM", "lock_space"),
        ("VIR_LOG_MANAGER_PROTOCOL_PROGRAM", "log_manager"),
        ("VIR_LXC_MONITOR_PROGRAM", "lxc_monitor"),
    ],
)
def test_short_names_of_programs(constant: str, short: str) -> None:
    assert short_program(constant) == short


@pytest.mark.parametrize(
    ("member", "short"),
    [
        ("REMOTE_PROC_AUTH_LIST", "auth_list"),
        ("VIR_LOCK_SPACE_PROTOCOL_PROC_REGISTER", "register"),
        ("VIR_LXC_MONITOR_PROC_EXIT_EVENT", "exit_event"),
        ("KEEPALIVE_PROC_PING", "ping"),
        ("REMOTE_PROC_DOMAIN_GET_PROC_INFO", "domain_get_proc_info"),
        ("SOMETHING", "something"),
    ],
)
def test_short_names_of_procedures(member: str, short: str) -> None:
    assert short_procedure(member) == short


DEMO = """
const DEMO_PROGRAM = 0x20008086;
const DEMO_PROTOCOL_VERSION = 1;

struct demo_open_args { int flags; };
struct demo_open_ret { int handle; };
struct demo_nonnull_secret { int no_ret; };
struct demo_changed_msg { int what; };

enum demo_procedure {
    /**
     * @generate: both
     * @priority: high
     * @acl: domain:read
     */
    DEMO_PROC_OPEN = 4,
    /**
     * @generate: none
     */
    DEMO_PROC_CHANGED = 2,
    DEMO_PROC_CLOSE = 3
};
"""


def test_program_like_remote() -> None:
    assert program(DEMO) == Program(
        "DEMO_PROGRAM",
        "demo",
        0x20008086,
        1,
        (
            Procedure(
                2,
                "DEMO_PROC_CHANGED",
                "changed",
                msg=Named("demo", "demo_changed_msg"),
                annotations=Annotations(generate="none"),
            ),
            Procedure(3, "DEMO_PROC_CLOSE", "close"),
            Procedure(
                4,
                "DEMO_PROC_OPEN",
                "open",
                Named("demo", "demo_open_args"),
                Named("demo", "demo_open_ret"),
                annotations=Annotations("both", "high", acl=(AccessRule("domain", "read"),)),
            ),
        ),
    )


def test_names_in_camel_case() -> None:
    found = program(
        """
        struct virLXCMonitorExitEventMsg { int status; };
        const VIR_LXC_MONITOR_PROGRAM = 0x12341234;
        const VIR_LXC_MONITOR_PROGRAM_VERSION = 7;
        enum virLXCMonitorProcedure { VIR_LXC_MONITOR_PROC_EXIT_EVENT = 1 };
        """
    )
    assert (found.version, found.short) == (7, "lxc_monitor")
    assert found.procedures[0].msg == Named("demo", "virLXCMonitorExitEventMsg")


def test_two_programs_in_one_file() -> None:
    (module,) = schema(
        """
        const ONE_PROGRAM = 1; const ONE_PROTOCOL_VERSION = 1;
        const TWO_PROGRAM = 2; const TWO_PROGRAM_VERSION = 3;
        enum two_procedure { TWO_PROC_X = 1 };
        enum one_procedure { ONE_PROC_X = 1 };
        struct two_x_args { int a; };
        """
    ).modules
    one, two = module.programs
    assert (one.short, one.version, one.procedures[0].args) == ("one", 1, None)
    assert (two.short, two.version, two.procedures[0].args) == ("two", 3, Named("demo", "two_x_args"))


def test_dialect_can_be_selected() -> None:
    assert schema(DEMO, "rfc").modules[0].programs == ()
    assert len(schema(DEMO, "libvirt").modules[0].programs) == 1
    half = "const DEMO_PROGRAM = 1; const DEMO_PROTOCOL_VERSION = 1; struct demo_x_args { int a; };"
    assert schema(half).modules[0].programs == ()
    assert schema("struct demo_x_args { int a; };", "libvirt").modules[0].programs == ()
    with pytest.raises(DefinitionError) as caught:
        schema(half, "libvirt")
    assert [problem.rule for problem in caught.value.problems] == ["incomplete-program", "unclaimed-type"]


WORDS = st.lists(st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), min_size=1, max_size=5)


@given(WORDS)
def test_both_type_spellings_find_the_procedure(words: list[str]) -> None:
    symbol = "X_PROC_" + "_".join(words).upper()
    plain = "x_" + "_".join(words)
    camel = "x" + "".join(word.capitalize() for word in words)
    assert type_key(plain) == type_key(camel) == type_key(symbol.replace("PROC_", "", 1))
    text = f"""
        const X_PROGRAM = 1; const X_PROTOCOL_VERSION = 1;
        enum x_procedure {{ {symbol} = 1 }};
        struct {plain}_args {{ int a; }};
        struct {camel}Ret {{ int a; }};
    """
    (procedure,) = program(text).procedures
    assert procedure.args == Named("demo", f"{plain}_args")
    assert procedure.ret == Named("demo", f"{camel}Ret")
    assert procedure.short == "_".join(words)


def two(first: str, second: str) -> list[str]:
    """The short names of two files' programs."""
    texts = {"lxc_protocol.x": first, "lxc_monitor_protocol.x": second}
    specifications = [read_specification(Source(file, text)) for file, text in texts.items()]
    found = resolve(specifications, externals={}, release=None, inputs=())
    return [program.short for module in found.modules for program in module.programs]


def test_programs_with_equal_short_names_use_file_names() -> None:
    """As in libvirt 1.0.2 and 1.0.3."""
    public = "const LXC_PROGRAM = 1; const LXC_PROTOCOL_VERSION = 1; enum lxc_procedure { LXC_PROC_A = 1 };"
    monitor = (
        "const VIR_LXC_PROTOCOL_PROGRAM = 2; const VIR_LXC_PROTOCOL_PROGRAM_VERSION = 1;"
        "enum virLXCProtocolProcedure { VIR_LXC_PROTOCOL_PROC_A = 1 };"
    )
    assert two(public, monitor) == ["lxc", "lxc_monitor"]
    assert two("const X = 1;", monitor) == ["lxc"], "alone it keeps the tapset's name"
    with pytest.raises(DefinitionError, match="LXC_PROGRAM and VIR_LXC_PROTOCOL_PROGRAM would both be named"):
        two(public + monitor, "const X = 1;")
