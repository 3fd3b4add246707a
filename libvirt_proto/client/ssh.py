"""The command of the ssh transport: `ssh HOST virt-ssh-helper URI`, or netcat on the daemon's socket
(virNetClientSSHHelperCommand in src/rpc/virnetclient.c)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from .errors import ConnectError
from .uri import socket_name

if TYPE_CHECKING:
    from .uri import ConnectionUri

PROXIES = ("auto", "native", "netcat")


def command(uri: ConnectionUri, readonly: bool) -> list[str]:
    """Return the arguments of a process whose standard input and output are the connection. Raises
    ConnectError."""
    parameters = uri.parameters
    ssh = [parameters.get("command", "ssh"), "-T", "-e", "none"]
    if uri.port is not None:
        ssh += ["-p", str(uri.port)]
    if uri.user:
        ssh += ["-l", uri.user]
    if keyfile := parameters.get("keyfile"):
        ssh += ["-i", keyfile]
    if known_hosts := parameters.get("known_hosts"):
        ssh += ["-o", f"UserKnownHostsFile={_option(known_hosts)}"]
    if not uri.verifies:
        ssh += ["-o", "StrictHostKeyChecking=no"]
    # Nobody is asked: a missing key or an unknown host is an error at once.
    ssh += ["-o", "BatchMode=yes", "--", uri.host]
    return [*ssh, f"sh -c {shlex.quote(_remote(uri, readonly))}"]


def _remote(uri: ConnectionUri, readonly: bool) -> str:
    """Return the shell command on the remote host."""
    parameters = uri.parameters
    proxy = parameters.get("proxy", "auto")
    if proxy not in PROXIES:
        raise ConnectError(f"expected proxy=auto, native or netcat, got {proxy!r}")
    flags = " -r" if readonly else ""
    helper = f"virt-ssh-helper{flags} -- {shlex.quote(uri.name)}"
    netcat = shlex.quote(parameters.get("netcat", "nc"))
    socket = shlex.quote(parameters.get("socket") or f"/run/libvirt/{socket_name(uri, readonly)}")
    # OpenBSD's netcat ends when its input ends only with -q.
    fallback = (
        f"if {netcat} -q 2>&1 | grep 'requires an argument' >/dev/null 2>&1; then"
        f" exec {netcat} -q 0 -U {socket}; else exec {netcat} -U {socket}; fi"
    )
    if proxy == "native":
        return f"exec {helper}"
    if proxy == "netcat" or "socket" in parameters:
        return fallback
    return f"if command -v virt-ssh-helper >/dev/null 2>&1; then exec {helper}; else {fallback}; fi"


def _option(value: str) -> str:
    """Quote the value of an option of ssh, which splits it at blanks."""
    if '"' in value:
        raise ConnectError(f"expected a path without quotation marks, got {value!r}")
    return f'"{value}"'
