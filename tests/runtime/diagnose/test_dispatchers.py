"""Names of dispatchers in logs and errors → procedures."""

from __future__ import annotations

import pytest

from libvirt_proto import registry
from libvirt_proto.diagnose.dispatchers import Dispatchers

DISPATCHERS = Dispatchers(registry.default())


@pytest.mark.parametrize(
    ("dispatcher", "program", "procedure"),
    [
        ("remoteDispatchDomainBlockJobAbort", "remote", "domain_block_job_abort"),
        ("remoteDispatchConnectGetCPUModelNames", "remote", "connect_get_cpu_model_names"),
        ("remoteDispatchDomainMigratePrepare3Params", "remote", "domain_migrate_prepare3_params"),
        ("remoteDispatchDomainGetXMLDesc", "remote", "domain_get_xml_desc"),
        ("qemuDispatchDomainMonitorCommand", "qemu", "domain_monitor_command"),
        ("lxcDispatchDomainOpenNamespace", "lxc", "domain_open_namespace"),
        ("virLogManagerProtocolDispatchDomainOpenLogFile", "log_manager", "domain_open_log_file"),
        # libvirt 0.9.7: REMOTE_PROC_LIST_DOMAINS, QEMU_PROC_MONITOR_COMMAND
        ("remoteDispatchListDomains", "remote", "connect_list_domains"),
        ("qemuDispatchMonitorCommand", "qemu", "domain_monitor_command"),
        ("remoteDispatchDomainBlockStatsHelper", "remote", "domain_block_stats"),
    ],
)
def test_finds_procedure_of_dispatcher(dispatcher: str, program: str, procedure: str) -> None:
    wanted = registry.program(program).procedure(procedure)
    found = DISPATCHERS.find(dispatcher)
    assert found == (registry.program(program).number, wanted.number, procedure)


@pytest.mark.parametrize(
    "name", ["qemuProcessReconnect", "remoteDispatchDomainUnheardOf", "Dispatch", "remoteDispatch", ""]
)
def test_keeps_other_names(name: str) -> None:
    assert DISPATCHERS.find(name) is None
    assert DISPATCHERS.name(name) == name


def test_finds_every_procedure_of_the_definitions() -> None:
    for program in registry.default().programs():
        for procedure in program.procedures:
            camel = "".join(word.capitalize() for word in procedure.name.split("_"))
            prefix = {"log_manager": "virLogManagerProtocol", "lock_space": "virLockSpaceProtocol"}
            name = f"{prefix.get(program.name, program.name.replace('_', ''))}Dispatch{camel}"
            found = DISPATCHERS.find(name)
            assert found == (program.number, procedure.number, procedure.name)
