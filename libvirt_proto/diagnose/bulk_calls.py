"""Calls that serve many objects at once, and events that replace repeated questions (libvirt 11.3.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Bulk(NamedTuple):
    """A call that serves all objects: its procedure, and the functions of the API in C and in Python."""

    procedure: str
    function: str
    python: str
    #: What the client asks for, of `objects`.
    what: str
    objects: str


_STATISTICS: Final = Bulk(
    "connect_get_all_domain_stats",
    "virConnectGetAllDomainStats",
    "conn.getAllDomainStats()",
    "the statistics",
    "domains",
)


def _list(procedure: str, function: str, python: str, what: str, objects: str) -> Bulk:
    return Bulk(procedure, f"vir{function}", python, what, objects)


#: Kind of object → the call that lists them: procedure, functions.
_LISTS: Final[Mapping[str, tuple[str, str, str, str]]] = {
    "domain": ("connect_list_all_domains", "ConnectListAllDomains", "conn.listAllDomains()", "domains"),
    "network": ("connect_list_all_networks", "ConnectListAllNetworks", "conn.listAllNetworks()", "networks"),
    "storage_pool": (
        "connect_list_all_storage_pools",
        "ConnectListAllStoragePools",
        "conn.listAllStoragePools()",
        "storage pools",
    ),
    "storage_vol": (
        "storage_pool_list_all_volumes",
        "StoragePoolListAllVolumes",
        "pool.listAllVolumes()",
        "volumes",
    ),
    "interface": (
        "connect_list_all_interfaces",
        "ConnectListAllInterfaces",
        "conn.listAllInterfaces()",
        "interfaces",
    ),
    "node_device": (
        "connect_list_all_node_devices",
        "ConnectListAllNodeDevices",
        "conn.listAllDevices()",
        "node devices",
    ),
    "nwfilter": (
        "connect_list_all_nwfilters",
        "ConnectListAllNWFilters",
        "conn.listAllNWFilters()",
        "network filters",
    ),
    "secret": ("connect_list_all_secrets", "ConnectListAllSecrets", "conn.listAllSecrets()", "secrets"),
    "domain_snapshot": (
        "domain_list_all_snapshots",
        "DomainListAllSnapshots",
        "dom.listAllSnapshots()",
        "snapshots",
    ),
    "domain_checkpoint": (
        "domain_list_all_checkpoints",
        "DomainListAllCheckpoints",
        "dom.listAllCheckpoints()",
        "checkpoints",
    ),
}

#: Procedures whose results connect_get_all_domain_stats has for all domains.
_IN_STATISTICS: Final = (
    "domain_get_state",
    "domain_get_info",
    "domain_get_cpu_stats",
    "domain_get_vcpus",
    "domain_get_vcpus_flags",
    "domain_get_max_memory",
    "domain_memory_stats",
    "domain_block_stats",
    "domain_block_stats_flags",
    "domain_get_block_info",
    "domain_interface_stats",
    "domain_get_perf_events",
    "domain_get_iothread_info",
)
#: Kind of object → questions that the flags of the list's call answer, without the kind.
_IN_FLAGS: Final[Mapping[str, tuple[str, ...]]] = {
    "domain": ("is_active", "is_persistent", "get_autostart", "has_managed_save_image"),
    "network": ("is_active", "is_persistent", "get_autostart"),
    "storage_pool": ("is_active", "is_persistent", "get_autostart"),
    "interface": ("is_active",),
}
#: Kind of object → what a look-up has, and the old calls that list names, whose results need look-ups.
_LOOKUPS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "domain": (("id", "name", "uuid"), ("connect_list_domains", "connect_list_defined_domains")),
    "network": (("name", "uuid"), ("connect_list_networks", "connect_list_defined_networks")),
    "storage_pool": (
        ("name", "uuid"),
        ("connect_list_storage_pools", "connect_list_defined_storage_pools"),
    ),
    "storage_vol": (("name", "key", "path"), ("storage_pool_list_volumes",)),
    "interface": (("name", "mac_string"), ("connect_list_interfaces", "connect_list_defined_interfaces")),
    "node_device": (("name",), ("node_list_devices",)),
    "nwfilter": (("name", "uuid"), ("connect_list_nwfilters",)),
    "secret": (("uuid", "usage"), ("connect_list_secrets",)),
    "domain_snapshot": (("name",), ("domain_snapshot_list_names", "domain_snapshot_list_children_names")),
    "domain_checkpoint": (("name",), ()),
}


def _bulk() -> Mapping[str, Bulk]:
    found = dict.fromkeys(_IN_STATISTICS, _STATISTICS)
    for kind, questions in _IN_FLAGS.items():
        procedure, function, python, objects = _LISTS[kind]
        bulk = _list(procedure, function, python, "the state", objects)
        found.update((f"{kind}_{question}", bulk) for question in questions)
    for kind, (by, _) in _LOOKUPS.items():
        procedure, function, python, objects = _LISTS[kind]
        bulk = _list(procedure, function, python, "the handles", objects)
        found.update((f"{kind}_lookup_by_{each}", bulk) for each in by)
    return found


#: Procedure that is called for each object → the call that serves all.
BULK: Final[Mapping[str, Bulk]] = _bulk()
#: Old call that lists names → kind of the objects, which are then looked up one by one.
NAME_LISTS: Final[Mapping[str, str]] = {name: kind for kind, (_, lists) in _LOOKUPS.items() for name in lists}

_LIFECYCLE: Final = "VIR_DOMAIN_EVENT_ID_LIFECYCLE"
_ANY: Final = "virConnectDomainEventRegisterAny"
#: Procedure → the function that registers for an event that replaces its polling, and that event.
EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(
        (
            "domain_get_state",
            "domain_get_info",
            "domain_is_active",
            "domain_is_persistent",
            "domain_is_updated",
            "connect_num_of_domains",
            "connect_num_of_defined_domains",
            "connect_list_domains",
            "connect_list_defined_domains",
            "connect_list_all_domains",
        ),
        (_ANY, _LIFECYCLE),
    ),
    "domain_get_xml_desc": (_ANY, f"{_LIFECYCLE}, …_DEVICE_ADDED and …_DEVICE_REMOVED"),
    "domain_get_metadata": (_ANY, "VIR_DOMAIN_EVENT_ID_METADATA_CHANGE"),
    "domain_get_disk_errors": (_ANY, "VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON"),
    "domain_get_job_info": (_ANY, "VIR_DOMAIN_EVENT_ID_JOB_COMPLETED"),
    "domain_get_job_stats": (_ANY, "VIR_DOMAIN_EVENT_ID_JOB_COMPLETED"),
    "domain_get_block_job_info": (_ANY, "VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2"),
    **dict.fromkeys(
        (
            "network_is_active",
            "network_is_persistent",
            "connect_num_of_networks",
            "connect_num_of_defined_networks",
            "connect_list_networks",
            "connect_list_defined_networks",
            "connect_list_all_networks",
        ),
        ("virConnectNetworkEventRegisterAny", "VIR_NETWORK_EVENT_ID_LIFECYCLE"),
    ),
    **dict.fromkeys(
        (
            "storage_pool_is_active",
            "storage_pool_is_persistent",
            "connect_num_of_storage_pools",
            "connect_num_of_defined_storage_pools",
            "connect_list_storage_pools",
            "connect_list_defined_storage_pools",
            "connect_list_all_storage_pools",
        ),
        ("virConnectStoragePoolEventRegisterAny", "VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE"),
    ),
    **dict.fromkeys(
        (
            "storage_pool_get_info",
            "storage_pool_num_of_volumes",
            "storage_pool_list_volumes",
            "storage_pool_list_all_volumes",
        ),
        ("virConnectStoragePoolEventRegisterAny", "VIR_STORAGE_POOL_EVENT_ID_REFRESH"),
    ),
    **dict.fromkeys(
        ("node_num_of_devices", "node_list_devices", "connect_list_all_node_devices"),
        ("virConnectNodeDeviceEventRegisterAny", "VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE"),
    ),
    **dict.fromkeys(
        ("connect_num_of_secrets", "connect_list_secrets", "connect_list_all_secrets"),
        ("virConnectSecretEventRegisterAny", "VIR_SECRET_EVENT_ID_LIFECYCLE"),
    ),
}
#: Calls that report the progress of a job: events announce only its end.
PROGRESS: Final = frozenset(("domain_get_job_info", "domain_get_job_stats", "domain_get_block_job_info"))
#: Calls that always have the same result on a connection; clients use them to test the connection.
CONSTANT: Final = frozenset(
    (
        "connect_get_type",
        "connect_get_version",
        "connect_get_lib_version",
        "connect_get_hostname",
        "connect_get_uri",
        "connect_is_secure",
        "connect_supports_feature",
        "connect_get_max_vcpus",
        "connect_get_capabilities",
        "connect_get_sysinfo",
        "node_get_info",
    )
)
