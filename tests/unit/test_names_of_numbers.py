"""The generated tables of error names, and of the releases of procedures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from libvirt_proto import registry
from libvirt_proto.errornames import CODES, DOMAINS, LEVELS
from libvirt_proto.since import since

HEADER = Path("/usr/include/libvirt/virterror.h")
DESCRIPTION = Path("/usr/share/libvirt/api/libvirt-api.xml")


def test_numbers_that_every_libvirt_user_knows() -> None:
    assert (CODES[1], CODES[38], CODES[42]) == (
        "VIR_ERR_INTERNAL_ERROR",
        "VIR_ERR_SYSTEM_ERROR",
        "VIR_ERR_NO_DOMAIN",
    )
    assert (DOMAINS[7], DOMAINS[10], DOMAINS[12]) == ("VIR_FROM_RPC", "VIR_FROM_QEMU", "VIR_FROM_TEST")
    assert dict(LEVELS) == {0: "VIR_ERR_NONE", 1: "VIR_ERR_WARNING", 2: "VIR_ERR_ERROR"}


@pytest.mark.skipif(not HEADER.exists(), reason="system test: libvirt's headers are not installed")
def test_the_names_are_the_headers() -> None:
    """Every name and number, counted in virterror.h as C counts."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    counted = {}
    for body in re.findall(r"typedef enum \{(.*?)\}", re.sub(r"(?m)^#.*$", "", text), re.DOTALL):
        value = -1
        for entry in filter(None, map(str.strip, body.split(","))):
            name, _, explicit = map(str.strip, entry.partition("="))
            value = int(explicit, 0) if explicit else value + 1
            counted[name] = value
    for table in (CODES, DOMAINS, LEVELS):
        for number, name in table.items():
            assert counted[name] == number
    named = {*CODES.values(), *DOMAINS.values(), *LEVELS.values()}
    assert {name for name in counted if not name.endswith("_LAST")} == named


@pytest.mark.skipif(
    not DESCRIPTION.exists(), reason="system test: libvirt's API description is not installed"
)
def test_error_names_are_current(root: Path) -> None:
    subprocess.run([sys.executable, root / "tools" / "import_error_names.py", "--check"], check=True)


def test_every_procedure_has_a_release() -> None:
    for program in registry.default().programs():
        for procedure in program.procedures:
            assert since(program.number, procedure.number), (program.name, procedure.name)


def test_what_is_unknown_has_none() -> None:
    assert since(0x20008086, 4711) is None
    assert since(5, 1) is None


@pytest.mark.skipif(
    not DESCRIPTION.exists(), reason="system test: libvirt's API description is not installed"
)
def test_releases_are_those_of_the_api() -> None:
    """Procedures that carry the name of an API function came with it, but for four. (Those before 0.9.8
    and those in the gap have no one release to compare.)"""
    versions = {
        name.lower().removeprefix("vir"): version
        for name, version in re.findall(
            r"<function name='(\w+)'[^>]*? version='([\d.]+)'", DESCRIPTION.read_text()
        )
    }
    compared, different = 0, {}
    for procedure in registry.program("remote").procedures:
        release = since(0x20008086, procedure.number) or ""
        api = versions.get(procedure.name.replace("_", ""))
        if api is not None and re.fullmatch(r"[\d.]+", release):
            compared += 1
            if release != api:
                different[procedure.name] = (api, release)
    assert compared > 40
    assert different == {  # the message came later than the function
        "connect_register_close_callback": ("0.10.0", "1.3.3"),
        "connect_unregister_close_callback": ("0.10.0", "1.3.3"),
        "domain_block_copy": ("1.2.8", "1.2.9"),
        "domain_set_block_threshold": ("3.1.0", "3.2.0"),
    }
