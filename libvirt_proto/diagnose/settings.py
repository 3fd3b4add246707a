"""Parts of advice: names of domains, settings of daemons and their defaults (libvirtd.conf of 11.3.0)."""

from __future__ import annotations

import shlex
from typing import Final

#: The name of an unknown domain in commands.
UNKNOWN_DOMAIN: Final = "DOMAIN"
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


def quoted_domain(name: str | None) -> str:
    """Return the name of a domain, which may be unknown, as a word of virsh that is no other option."""
    word = shlex.quote(name or UNKNOWN_DOMAIN)
    return f"--domain={word}" if name and name.startswith("-") else word


def default(setting: str, daemon: str = "") -> int:
    """Return the default of a setting, for a daemon if it is known."""
    if setting == "max_clients" and daemon in ONE_CALL_DAEMONS:
        return _ONE_CALL_MAX_CLIENTS
    return DEFAULTS[setting]


def advice(setting: str, value: int | str, daemon: str = "") -> str:
    """Return the advice to change a setting, in the file of a daemon if it is known."""
    file = f"{daemon}.conf" if daemon in DAEMONS else "libvirtd.conf or virtqemud.conf"
    before = default(setting, daemon)
    return f"set {setting} = {value} in /etc/libvirt/{file} (default {before}), and restart the daemon"
