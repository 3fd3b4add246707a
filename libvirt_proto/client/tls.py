"""TLS of a client: libvirt's places of certificates, and its byte that accepts the client
(src/rpc/virnettlscontext.c, virNetClientSetTLSSession in src/rpc/virnetclient.c)."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..capture import address
from ..capture.address import Address
from ..errors import reason
from .errors import ConnectError
from .uri import TLS_PORT

if TYPE_CHECKING:
    from .uri import ConnectionUri

#: Sent by the server once it has accepted the client's certificate.
_ACCEPTED: Final = b"\1"


def context(uri: ConnectionUri) -> ssl.SSLContext:
    """Return the settings of a connection, with the client's certificate if there is one. Raises
    ConnectError."""
    authority, certificate, key = _files(uri.parameters.get("pkipath"))
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.minimum_version = ssl.TLSVersion.TLSv1_2
    if not uri.verifies:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    try:
        if uri.verifies:
            settings.load_verify_locations(authority)
        if certificate.exists():
            settings.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ConnectError(f"cannot use the certificates in {authority.parent}: {error.reason}") from None
    except OSError as error:
        raise ConnectError(
            f"cannot read the certificate of the authority, {authority}: {reason(error)}; ?pkipath=FOLDER"
            " names its folder"
        ) from None
    return settings


def _files(pkipath: str | None) -> tuple[Path, Path, Path]:
    """Return the files of the authority's certificate, the client's, and its key."""
    folder = Path.home() / ".pki" / "libvirt"
    if pkipath is not None:
        folder = Path(pkipath)
    elif os.geteuid() == 0 or not (folder / "cacert.pem").exists():
        system = Path("/etc/pki")
        return (
            system / "CA" / "cacert.pem",
            system / "libvirt" / "clientcert.pem",
            system / "libvirt" / "private" / "clientkey.pem",
        )
    return folder / "cacert.pem", folder / "clientcert.pem", folder / "clientkey.pem"


async def connect(uri: ConnectionUri) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and wait until the server has accepted the client's certificate. Raises ConnectError,
    OSError."""
    settings = context(uri)
    connected = await address.connect(Address("tcp", uri.host, uri.port or TLS_PORT))
    try:
        reader, writer = await asyncio.open_connection(sock=connected, ssl=settings, server_hostname=uri.host)
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(
            f"the certificate of {uri.host} is not valid: {error.verify_message}; no_verify=1 skips the check"
        ) from None
    except ssl.SSLError as error:
        raise ConnectError(
            f"{uri.host} does not speak TLS as expected ({error.reason}): is it a TLS port?"
        ) from None
    try:
        accepted = await reader.read(1)
    except OSError:  # an alert of the server, or its reset
        accepted = b""
    if accepted != _ACCEPTED:
        writer.transport.abort()
        raise ConnectError(
            f"certificate refused: {uri.host} did not accept the client's certificate; the server's authority"
            " must have signed it, and its configuration must allow it (?pkipath=FOLDER names its folder)"
        )
    return reader, writer
