"""The generated table of the releases of procedures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto import registry
from libvirt_proto.since import since

DESCRIPTION = Path("/usr/share/libvirt/api/libvirt-api.xml")


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
