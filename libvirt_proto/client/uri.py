"""Connection URIs: `DRIVER[+TRANSPORT]://[USER@][HOST][:PORT]/PATH[?PARAMETERS]` (docs/uri.rst of
libvirt)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, cast, get_args
from urllib.parse import parse_qsl, urlsplit

import msgspec

from ..similar import did_you_mean
from .errors import ConnectError

Transport = Literal["unix", "tcp", "tls", "ssh", "ext"]
TCP_PORT: Final = 16509
TLS_PORT: Final = 16514

#: Parameter → the transports that it applies to.
_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "authfile": ("unix", "tcp", "tls", "ssh", "ext"),
    "command": ("ssh", "ext"),
    "keyfile": ("ssh",),
    "known_hosts": ("ssh",),
    "mode": ("unix", "ssh"),
    "name": ("unix", "tcp", "tls", "ssh", "ext"),
    "netcat": ("ssh",),
    "no_verify": ("tls", "ssh"),
    "pkipath": ("tls",),
    "proxy": ("ssh",),
    "socket": ("unix", "ssh"),
}
#: Parameters of libvirt that are refused: why.
_REFUSED: Final = {
    "tls_priority": "it is a setting of GnuTLS, which this client does not use",
    "sshauth": "the ssh program decides how it authenticates",
    "no_sanity": "certificates are always checked",
    "no_tty": "ssh never prompts here; use an agent or keyfile=",
    "known_hosts_verify": "known_hosts= and no_verify= apply to ssh",
}
#: Schemes of daemons with programs of their own → the program, and the name of the socket.
PROGRAM_SCHEMES: Final = {
    "admin": ("admin", "libvirt-admin-sock"),
    "libvirtd": ("admin", "libvirt-admin-sock"),
    "lock": ("lock_space", "virtlockd-sock"),
    "log": ("log_manager", "virtlogd-sock"),
    "virtlockd": ("admin", "virtlockd-admin-sock"),
    "virtlogd": ("admin", "virtlogd-admin-sock"),
    "virtproxyd": ("admin", "virtproxyd-admin-sock"),
}
#: Drivers → their daemon, where these run one per driver.
_DAEMONS: Final = {
    "bhyve": "virtbhyved",
    "ch": "virtchd",
    "interface": "virtinterfaced",
    "libxl": "virtxend",
    "lxc": "virtlxcd",
    "network": "virtnetworkd",
    "nodedev": "virtnodedevd",
    "nwfilter": "virtnwfilterd",
    "qemu": "virtqemud",
    "secret": "virtsecretd",
    "storage": "virtstoraged",
    "vbox": "virtvboxd",
    "vz": "virtvzd",
    "xen": "virtxend",
}


class ConnectionUri(msgspec.Struct, frozen=True):
    """A parsed URI. `driver` is the scheme without the transport; `host` is empty for a local daemon; `port`
    is None for the transport's default; `parameters` are those for the connection."""

    driver: str
    transport: Transport
    user: str
    host: str
    port: int | None
    path: str
    parameters: Mapping[str, str]

    @property
    def name(self) -> str:
        """The URI that the daemon receives: without transport, host and the connection's parameters."""
        if (name := self.parameters.get("name")) is not None:
            return name
        return f"{self.driver}://{self.path}"

    @property
    def program(self) -> str:
        """The program that opens the connection: `remote`, `admin`, `lock_space` or `log_manager`."""
        return PROGRAM_SCHEMES.get(self.driver, ("remote", ""))[0]

    @property
    def verifies(self) -> bool:
        """True if the server's certificate, or host key, is verified."""
        return int(self.parameters.get("no_verify", "0")) == 0

    @property
    def session(self) -> bool:
        """True for the daemon of the user."""
        return self.path == "/session"


def parse(text: str) -> ConnectionUri:
    """Parse a URI. Raises ConnectError for what is not one, and for parameters that are unknown, do not fit
    the transport, or are not supported."""
    if not text.isprintable() or any(ord(character) <= 0x20 for character in text):
        raise ConnectError(f"expected a URI without spaces and control characters, got {text!r}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConnectError(f"expected a URI such as qemu:///system, got {text!r}: {error}") from None
    driver, _, transport = parts.scheme.partition("+")
    if not driver or not text[len(parts.scheme) :].startswith("://"):
        raise ConnectError(f"expected a URI such as qemu:///system, got {text!r}")
    if parts.password is not None:
        raise ConnectError("expected a URI without a password: use authfile= or a prompt")
    host, user = parts.hostname or "", parts.username or ""
    for what, value in (("user", user), ("host", host)):
        if value.startswith("-"):
            raise ConnectError(f"expected a {what} that does not begin with '-', got {value!r}")
    transport = transport or ("tls" if host else "unix")
    if transport not in get_args(Transport):
        known = ", ".join(get_args(Transport))
        raise ConnectError(
            f"unknown transport {transport!r}{did_you_mean(transport, get_args(Transport))}: expected {known}"
        )
    if transport == "unix" and host:
        raise ConnectError(f"expected no host for a unix socket, got {host!r}: use +ssh, +tls or +tcp")
    if transport in ("tcp", "tls", "ssh") and not host:
        raise ConnectError(f"expected a host for {transport}, as in {driver}+{transport}://host{parts.path}")
    if driver in PROGRAM_SCHEMES and transport not in ("unix", "ext"):
        raise ConnectError(f"{driver} is reachable only through its unix socket")
    return ConnectionUri(
        driver,
        cast(Transport, transport),
        user,
        host,
        port,
        parts.path or "/",
        _parameters(parts.query, transport),
    )


def _parameters(query: str, transport: str) -> dict[str, str]:
    """Return the parameters of a query."""
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise ConnectError(f"expected parameters such as name=value, got {query!r}") from None
    parameters: dict[str, str] = {}
    for name, value in given:
        if not value.isprintable():
            raise ConnectError(f"expected a {name}= without control characters, got {value!r}")
        if name in _REFUSED:
            raise ConnectError(f"the parameter {name} is not supported: {_REFUSED[name]}")
        if name not in _PARAMETERS:
            raise ConnectError(f"unknown parameter {name!r}{did_you_mean(name, _PARAMETERS)}")
        if transport not in _PARAMETERS[name]:
            raise ConnectError(f"the parameter {name} does not apply to {transport}")
        if name in parameters:
            raise ConnectError(f"the parameter {name} is given twice")
        if name == "no_verify" and value not in ("0", "1"):
            raise ConnectError(f"expected no_verify=0 or no_verify=1, got {value!r}")
        parameters[name] = value
    return parameters


def socket_name(uri: ConnectionUri, readonly: bool, *, direct: bool = False) -> str:
    """Return the name of a daemon's socket: of the driver's own daemon (`direct`), or of libvirtd. Raises
    ConnectError for a driver without its own daemon."""
    if uri.driver in PROGRAM_SCHEMES:
        return PROGRAM_SCHEMES[uri.driver][1]
    suffix = "-ro" if readonly and not uri.session else ""
    if not direct:
        return f"libvirt-sock{suffix}"
    if uri.driver not in _DAEMONS:
        raise ConnectError(f"the driver {uri.driver} has no daemon of its own: leave out mode=direct")
    return f"{_DAEMONS[uri.driver]}-sock{suffix}"


def unix_socket(uri: ConnectionUri, readonly: bool) -> str:
    """Return the path of the daemon's socket: `socket=`, or libvirt's location (src/remote/remote_sockets.c).

    Raises ConnectError if none of these sockets exists.
    """
    if "socket" in uri.parameters:
        return uri.parameters["socket"]
    folder = _runtime_folder(uri)
    mode = uri.parameters.get("mode", "auto")
    if mode not in ("auto", "direct", "legacy"):
        raise ConnectError(f"expected mode=auto, direct or legacy, got {mode!r}")
    wanted = [direct for direct in (True, False) if mode in ("auto", "direct" if direct else "legacy")]
    if mode == "auto" and uri.driver not in _DAEMONS:
        wanted = [False]
    candidates = [folder / socket_name(uri, readonly, direct=direct) for direct in wanted]
    for path in candidates:
        if path.exists():
            return str(path)
    places = " and ".join(map(str, candidates))
    raise ConnectError(f"no daemon listens at {places}: start it, or name its socket with ?socket=PATH")


def _runtime_folder(uri: ConnectionUri) -> Path:
    if not uri.session or os.geteuid() == 0:
        return Path("/run/libvirt")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return Path(runtime, "libvirt")
