"""Certificates for TLS on loopback, and the daemon's configuration for them."""

from __future__ import annotations

import subprocess
from pathlib import Path

AUTHORITY = 'cn = "test"\nca\ncert_signing_key\n'
HOST = (
    'cn = "localhost"\ndns_name = "localhost"\nip_address = "127.0.0.1"\n'
    "tls_www_server\ntls_www_client\nencryption_key\nsigning_key\n"
)
CONFIGURATION = """\
listen_tls = 1
tls_port = "{port}"
auth_tls = "none"
key_file = "{folder}/clientkey.pem"
cert_file = "{folder}/clientcert.pem"
ca_file = "{folder}/cacert.pem"
"""


def make(folder: Path) -> None:
    """Make a folder usable as virsh's pkipath, with one certificate for both sides."""
    (folder / "authority").write_text(AUTHORITY)
    (folder / "host").write_text(HOST)

    def certtool(*arguments: str) -> None:
        subprocess.run(["certtool", *arguments], cwd=folder, check=True, capture_output=True)

    signed = ("--load-ca-certificate", "cacert.pem", "--load-ca-privkey", "ca.pem", "--template", "host")
    for name in ("ca.pem", "clientkey.pem"):
        certtool("--generate-privkey", "--key-type", "rsa", "--bits", "2048", "--outfile", name)
    certtool(
        *("--generate-self-signed", "--load-privkey", "ca.pem", "--template", "authority"),
        *("--outfile", "cacert.pem"),
    )
    certtool(
        *("--generate-certificate", "--load-privkey", "clientkey.pem", *signed, "--outfile", "clientcert.pem")
    )
    (folder / "clientkey.pem").chmod(0o644)
