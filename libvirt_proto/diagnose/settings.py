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
    "keepalive_interval": 5,
    "keepalive_count": 5,
}
#: virtlogd's and virtlockd's default of max_client_requests.
LOCK_AND_LOG_REQUESTS: Final = 1


def advice(setting: str, value: int | str, file: str = "/etc/libvirt/libvirtd.conf") -> str:
    """Return the advice to change a setting."""
    before = f" (default {DEFAULTS[setting]})" if setting in DEFAULTS else ""
    return f"set {setting} = {value} in {file}{before}, and restart the daemon"
