"""SASL mechanisms: the examples of the RFCs, and servers that lie."""

from __future__ import annotations

import pytest

from libvirt_proto.client.errors import ConnectError
from libvirt_proto.client.sasl import Plain, Scram, choose, mechanism, prepared


def test_scram_sha_1_of_rfc_5802() -> None:
    scram = Scram("sha1", "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL")
    assert scram.first() == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    challenge = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    assert scram.next(challenge) == (
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    assert not scram.complete
    assert scram.next(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
    assert scram.complete


def test_scram_sha_256_of_rfc_7677() -> None:
    scram = Scram("sha256", "user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert scram.next(challenge) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    scram.next(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert scram.complete


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        (b"r=abcdef,s=AAAA,i=4096", "nonce"),
        (b"r=abc,s=AAAA,i=4096", "nonce"),
        (b"r=abcd,s=AAAA,i=4095", "iterations"),
        (b"r=abcd,s=AAAA,i=1000001", "iterations"),
        (b"r=abcd,s=AAAA,i=99999999999", "expected a nonce"),
        (b"r=abcd,s=A,i=4096", "base64"),
        (b"e=other-error", "expected a nonce"),
        (b"\xff\0", "expected a nonce"),
        (b"", "expected a nonce"),
    ],
)
def test_scram_rejects_challenges(challenge: bytes, problem: str) -> None:
    nonce = "abcdeg" if b"abcdef" in challenge else "abc"
    with pytest.raises(ConnectError, match=problem):
        Scram("sha256", "user", "pencil", nonce).next(challenge)


@pytest.mark.parametrize("final", [b"v=AAAA", b"e=invalid-proof", b"", b"v=\xff"])
def test_scram_rejects_a_server_without_the_password(final: bytes) -> None:
    scram = Scram("sha256", "user", "pencil", "abc")
    scram.next(b"r=abcd,s=AAAA,i=4096")
    with pytest.raises(ConnectError, match="does not know the password"):
        scram.next(final)
    assert not scram.complete


def test_nonces_differ() -> None:
    assert Scram("sha1", "u", "p").first() != Scram("sha1", "u", "p").first()


def test_user_name_is_escaped() -> None:
    assert Scram("sha1", "a=b,c", "p", "n").first() == b"n,,n=a=3Db=2Cc,r=n"


def test_plain() -> None:
    plain = mechanism("PLAIN", "user", "secret")
    assert isinstance(plain, Plain)
    assert plain.first() == b"\0user\0secret"
    with pytest.raises(ConnectError):
        plain.next(b"more")


@pytest.mark.parametrize(
    ("offered", "encrypted", "chosen"),
    [
        (["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"], True, "SCRAM-SHA-256"),
        (["SCRAM-SHA-1", "GSSAPI"], False, "SCRAM-SHA-1"),
        (["PLAIN", "LOGIN"], True, "PLAIN"),
    ],
)
def test_chooses_the_best_mechanism(offered: list[str], encrypted: bool, chosen: str) -> None:
    assert choose(offered, encrypted=encrypted) == chosen


@pytest.mark.parametrize(
    ("offered", "problem"),
    [(["PLAIN"], "use TLS"), (["GSSAPI"], "Kerberos"), (["X"], "offers X"), ([], "none")],
)
def test_refuses_mechanisms(offered: list[str], problem: str) -> None:
    with pytest.raises(ConnectError, match=problem):
        choose(offered, encrypted=False)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
    ],
)
def test_prepares_text_as_rfc_4013_does(text: str, result: str) -> None:
    assert prepared(text) == result


@pytest.mark.parametrize("text", ["\u0007", "\u06271", "\u0627x\u0627", "\u0221"])
def test_rejects_prohibited_text(text: str) -> None:
    with pytest.raises(ConnectError):
        prepared(text)
