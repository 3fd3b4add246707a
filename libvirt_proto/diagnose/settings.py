"""Settings of libvirt's daemons that advice names, with their defaults (libvirtd.conf of 11.3.0)."""

from __future__ import annotations

from typing import Final

#: Setting → its default.
DEFAULTS: Final = {
    "max_clients": 5000,
    "max_anonymous_clients": 20,
    "min_workers": 5,
    "max_workers": 20,
    "prio_workers": 5,
    "max_client_requests": 5,
    "admin_max_client_requests": 5,
    "keepalive_interval": 5,
    "keepalive_count": 5,
}
#: Daemons that serve one call of a connection at a time, which no setting changes (log_daemon.c,
#: lock_daemon.c), and the default of their `max_clients`.
ONE_CALL_DAEMONS: Final = frozenset(("virtlogd", "virtlockd"))
_ONE_CALL_MAX_CLIENTS: Final = 1024
#: Daemons with a configuration file of their name (libvirt's meson.build).
DAEMONS: Final = frozenset(
    (
        *("libvirtd", "virtproxyd", "virtqemud", "virtlxcd", "virtxend", "virtvboxd", "virtvzd", "virtchd"),
        *("virtbhyved", "virtinterfaced", "virtnetworkd", "virtnodedevd", "virtnwfilterd", "virtsecretd"),
        *("virtstoraged", "virtlogd", "virtlockd"),
    )
)
_FILE: Final = "/etc/libvirt/libvirtd.conf"


def config_file(daemon: str) -> str:
    """Return the configuration file of a daemon; libvirtd's if it is unknown."""
    return f"/etc/libvirt/{daemon}.conf" if daemon in DAEMONS else _FILE


def advice(setting: str, value: int | str, file: str = _FILE) -> str:
    """Return the advice to change a setting. For libvirtd's file, the modular daemons are mentioned."""
    default: int | None = DEFAULTS.get(setting)
    if setting == "max_clients" and any(f"/{daemon}." in file for daemon in ONE_CALL_DAEMONS):
        default = _ONE_CALL_MAX_CLIENTS
    before = f" (default {default})" if default is not None else ""
    where = f"{file} or virtqemud.conf" if file == _FILE else file
    return f"set {setting} = {value} in {where}{before}, and restart the daemon"
