"""SASL mechanisms of a client: SCRAM (RFC 5802, RFC 7677) and PLAIN (RFC 4616), sans-IO."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Collection
from typing import Final, Protocol

from .errors import ConnectError

#: SCRAM mechanisms, the best first, and their hashes.
_HASHES: Final = {"SCRAM-SHA-512": "sha512", "SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
#: RFC 7677 requires at least as many iterations; above the maximum, a server would only waste our time.
MIN_ITERATIONS: Final = 4096
MAX_ITERATIONS: Final = 1_000_000
_SERVER_FIRST: Final = re.compile(r"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,.*)?")
_SERVER_FINAL: Final = re.compile(r"v=([A-Za-z0-9+/=]+)(?:,.*)?")


class Mechanism(Protocol):
    """A mechanism in one authentication."""

    def first(self) -> bytes:
        """Return the first message of the client."""

    def next(self, challenge: bytes) -> bytes:
        """Return the answer to a message of the server. Raises ConnectError."""

    @property
    def complete(self) -> bool:
        """True once nothing is left to be verified, so that the server's success counts."""


def choose(offered: Collection[str], *, encrypted: bool) -> str:
    """Return the best of the mechanisms that a server offers. `encrypted` is whether others cannot read the
    connection. Raises ConnectError if there is none that this client supports."""
    for name in _HASHES:
        if name in offered:
            return name
    if "PLAIN" in offered and encrypted:
        return "PLAIN"
    shown = ", ".join(sorted(offered)) or "none"
    if "PLAIN" in offered:
        raise ConnectError(
            f"the server offers {shown}: PLAIN would show the password on the network; use TLS"
        )
    if "GSSAPI" in offered:
        raise ConnectError(
            f"the server offers {shown}: GSSAPI (Kerberos) is not supported; use virsh or SCRAM"
        )
    raise ConnectError(f"the server offers {shown}: supported are {', '.join(_HASHES)} and PLAIN")


def mechanism(name: str, user: str, password: str) -> Mechanism:
    """Return a mechanism that `choose` returned. Raises ConnectError for text that cannot be used."""
    user, password = prepared(user), prepared(password)
    return Plain(user, password) if name == "PLAIN" else Scram(_HASHES[name], user, password)


class Plain:
    """PLAIN: user and password in the clear."""

    complete = True

    def __init__(self, user: str, password: str) -> None:
        self._first = f"\0{user}\0{password}".encode()

    def first(self) -> bytes:
        """Return user and password."""
        return self._first

    def next(self, challenge: bytes) -> bytes:
        """Raise ConnectError: PLAIN has one message."""
        raise ConnectError("the server continues after PLAIN, which has one message")


class Scram:
    """SCRAM without channel binding. The server proves that it knows the password, too."""

    def __init__(self, hash_name: str, user: str, password: str, nonce: str | None = None) -> None:
        self._hash = hash_name
        self._password = password.encode()
        self._nonce = nonce or secrets.token_urlsafe(24)
        self._bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._signature: bytes | None = None
        self.complete = False

    def first(self) -> bytes:
        """Return user and nonce."""
        return f"n,,{self._bare}".encode()

    def next(self, challenge: bytes) -> bytes:
        """Return the proof for the server's salt; nothing after the server's own proof, which is verified."""
        text = challenge.decode("ascii", errors="replace")
        if self._signature is None:
            return self._proof(text)
        match = _SERVER_FINAL.fullmatch(text)
        if match is None or not hmac.compare_digest(_binary(match[1]), self._signature):
            raise ConnectError("the server does not know the password: it may not be the one it claims to be")
        self.complete = True
        return b""

    def _proof(self, text: str) -> bytes:
        match = _SERVER_FIRST.fullmatch(text)
        if match is None:
            raise ConnectError(f"expected a nonce, a salt and iterations from the server, got {text[:80]!r}")
        nonce, salt, iterations = match[1], _binary(match[2]), int(match[3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ConnectError("the server did not extend the nonce: the connection may be replayed")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise ConnectError(
                f"expected {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations from the server, got {iterations}"
            )
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        final = f"c={b64encode(b'n,,').decode()},r={nonce}"
        message = f"{self._bare},{text},{final}".encode()
        signature = hmac.digest(hashlib.new(self._hash, client_key).digest(), message, self._hash)
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        server_key = hmac.digest(salted, b"Server Key", self._hash)
        self._signature = hmac.digest(server_key, message, self._hash)
        return f"{final},p={b64encode(proof).decode()}".encode()


def prepared(text: str) -> str:
    """Return a user name or password as SASLprep prepares it (RFC 4013). Raises ConnectError for characters
    that it prohibits."""
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    result = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if any(is_prohibited(character) for character in result for is_prohibited in prohibited):
        raise ConnectError("the user name or password has a character that SASL does not allow")
    right_to_left = [character for character in result if stringprep.in_table_d1(character)]
    if right_to_left and (
        any(map(stringprep.in_table_d2, result))
        or not (stringprep.in_table_d1(result[0]) and stringprep.in_table_d1(result[-1]))
    ):
        raise ConnectError("the user name or password mixes directions of writing, which SASL does not allow")
    return result


def _binary(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ConnectError(f"expected base64 from the server, got {text[:80]!r}") from None
