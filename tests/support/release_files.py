"""Files of a libvirt release without .x files, as Debian packages have them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from libvirt_proto_codegen.definitions import load_release
from libvirt_proto_codegen.identify import facts
from libvirt_proto_codegen.pipeline import generate
from libvirt_proto_codegen.releases import find, newest, texts
from tests.support.elf import with_symbols

API = b"<function name='virDomainAnnounceInterface' file='libvirt-domain' module='m' version='12.5.0'>"


#: Files whose types are in other libraries and daemons.
ELSEWHERE = ("admin_protocol.x", "lock_protocol.x", "lxc_monitor_protocol.x")


def library(release: str, more: tuple[str, ...] = ()) -> bytes:
    """A library with the types of the newest bundled release."""
    files = texts(find(newest()))
    names = [
        f"xdr_{name}"
        for file, data in sorted(files.items())
        if file.endswith(".x") and file not in ELSEWHERE
        for name in sorted(facts.types(data.decode()))
    ]
    return with_symbols([*names, *more], [f"LIBVIRT_PRIVATE_{release}"])


def tapset() -> bytes:
    (artefact,) = generate(load_release(), "systemtap")
    return artefact.text.encode()


def probes(file: str = "libvirt_probes.d") -> str:
    """A tapset as libvirt's script writes it."""
    lines = []
    for probe in sorted(facts.probes(texts(find(newest()))[file].decode())):
        alias = probe.name.replace("_", ".", 1)
        lines.append(f'probe libvirt.{alias} = process("/usr/lib/libvirt.so").mark("{probe.name}") {{')
        for number, name in enumerate(probe.arguments, 1):
            value = f"user_string($arg{number})" if name.startswith("*") else f"$arg{number}"
            lines.append(f"  {name.removeprefix('*')} = {value};")
        lines.append("}\n")
    return "\n".join(lines)


def release_files(release: str = "99.1.0") -> dict[str, bytes]:
    return {
        "libvirt.so.0.99001.0": library(release),
        "libvirt_functions.stp": tapset(),
        "libvirt_probes.stp": probes().encode(),
        "libvirt-api.xml": API,
    }


def deb(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """Build a package with dpkg-deb."""
    tree = folder / name
    for path, data in files.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a\n"
    )
    subprocess.run(["dpkg-deb", "--build", tree, folder / f"{name}.deb"], check=True, capture_output=True)
    return folder / f"{name}.deb"
