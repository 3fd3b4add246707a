"""Authentication with a server in the test, whose offers and answers are scripted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from libvirt_proto.client import tls
from libvirt_proto.client.authentication import authenticate
from libvirt_proto.client.connection import Connection
from libvirt_proto.client.credentials import Credentials
from libvirt_proto.client.errors import ConnectError
from libvirt_proto.client.uri import parse
from tests.runtime.client.test_connection import Server, run
from tests.support.frames import error_payload, text, word

NONE, SASL, POLKIT = 0, 1, 2
REFUSED = error_payload(45, 7, b"authentication failed")


def offer(*types: int) -> bytes:
    """The reply to auth_list."""
    return word(len(types)) + b"".join(map(word, types))


def said(complete: int, data: bytes = b"") -> bytes:
    """The reply to a step of SASL: each byte is a char, which takes four."""
    return word(complete) + word(0) + word(len(data)) + b"".join(map(word, data))


def authenticated(*answers: tuple[bytes, int], encrypted: bool = True) -> None:
    """Authenticate with a server that gives these answers, each with its status."""

    async def ask(host: str, user: str) -> Credentials:
        return Credentials(user or "me", "secret")

    async def serve(server: Server) -> None:
        for payload, status in answers:
            await server.answer(payload, status=status)

    async def test(connection: Connection, server: Server) -> None:
        serving = asyncio.create_task(serve(server))
        await authenticate(connection, "host", "", encrypted=encrypted, ask=ask)
        await serving

    run(test)


@pytest.mark.parametrize("types", [(), (NONE,), (SASL, NONE)])
def test_nothing_is_needed(types: tuple[int, ...]) -> None:
    authenticated((offer(*types), 0))


def test_polkit() -> None:
    authenticated((offer(POLKIT), 0), (word(1), 0))
    with pytest.raises(ConnectError, match="polkit refused access"):
        authenticated((offer(POLKIT), 0), (REFUSED, 1))


def test_unknown_authentication() -> None:
    with pytest.raises(ConnectError, match="unknown authentication: 9"):
        authenticated((offer(9), 0))


def test_plain() -> None:
    authenticated((offer(SASL), 0), (text(b"PLAIN"), 0), (said(1), 0))


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([(REFUSED, 1)], "the server refused SASL"),
        ([(text(b"GSSAPI"), 0)], "Kerberos"),
        ([(text(b"PLAIN"), 0), (REFUSED, 1)], "refused the user or the password"),
        ([(text(b"PLAIN"), 0), (said(0, b"more"), 0)], "one message"),
        # The server has not proved that it knows the password.
        ([(text(b"SCRAM-SHA-256"), 0), (said(1, b"v=AAAA"), 0)], "expected a nonce"),
    ],
)
def test_sasl_that_fails(answers: list[tuple[bytes, int]], problem: str) -> None:
    with pytest.raises(ConnectError, match=problem):
        authenticated((offer(SASL), 0), *answers)


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    uri = parse(f"test+tls://host/default?pkipath={tmp_path}")
    with pytest.raises(ConnectError, match=r"cannot read the certificate of the authority, .*cacert\.pem"):
        tls.context(uri)
    (tmp_path / "cacert.pem").write_text("not a certificate")
    with pytest.raises(ConnectError, match="cannot use the certificates"):
        tls.context(uri)
