"""The checks of `doctor`: features that work on this machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import msgspec

from ..text import amount

Status = Literal["ok", "missing", "absent"]

_LIBRARY: Final = "libvirt.so.0"
#: Places of the library, for a machine on which no process has loaded it.
_PLACES: Final = ("/usr/lib64", "/usr/lib", "/usr/lib/*-linux-gnu", "/usr/local/lib", "/usr/local/lib64")
_SOCKETS: Final = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
#: Programs that commands run or write for: name, use, and package by the name of the package manager.
_PROGRAMS: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("tshark", "decode --keylog", {"dnf": "wireshark-cli", "pacman": "wireshark-cli", "zypper": "wireshark"}),
    ("stap", "scripts of generate systemtap", {"": "systemtap"}),
    ("bpftrace", "scripts of generate bpftrace", {}),
    ("strace", "recordings without root", {}),
    ("git", "diff git:REV:PATH", {}),
)
#: The file of `generate wireshark`.
_DISSECTOR: Final = "libvirt_rpc.lua"
#: Package manager → the command that installs.
_INSTALL: Final = {
    "apt": "apt install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "pacman": "pacman -S",
    "apk": "apk add",
}
#: Package manager → the packages with the headers of Python and of the C library, besides gcc.
_HEADERS: Final = {
    "apt": "python3-dev",
    "dnf": "python3-devel",
    "zypper": "python3-devel",
    "apk": "python3-dev musl-dev",
}


class Check(msgspec.Struct, frozen=True):
    """One thing that a command may need.

    `status` is `ok`, `missing` (`fix` is the command or the step that helps), or `absent`: this version does
    not have it. `found` states what there is, `use` what needs it.
    """

    name: str
    status: Status
    found: str
    use: str
    fix: str | None = None


def checks() -> Iterator[Check]:
    """Yield all checks. Nothing is changed or mounted; only tshark is run, for its folders."""
    yield _definitions()
    yield _generator()
    yield _root()
    yield _tracefs()
    yield _bpf()
    yield from _probes()
    yield _socket()
    yield from map(_program, _PROGRAMS)
    yield from _wireshark()
    yield _native()


def _native() -> Check:
    from .. import native

    use = "decode, five times as fast"
    if native.is_active():
        return Check("native core", "ok", native.state(), use)
    if native.is_switched_off() or native.state() == native.NO_GIL:
        return Check("native core", "absent", native.state(), use)
    fix = "make native"
    if native.state() != native.STALE:
        headers = _HEADERS.get(_manager(), "")
        fix = f"{_install(f'gcc {headers}'.rstrip())}, then pip install --force-reinstall libvirt-proto"
    return Check("native core", "missing", native.state(), use, fix)


def _definitions() -> Check:
    from .. import registry

    known = registry.default()
    procedures = sum(len(program.procedures) for program in known.programs())
    found = f"libvirt {known.release}, {procedures:,} procedures"
    return Check("definitions", "ok", found, "all commands")


def _generator() -> Check:
    use = "--release, --defs, generate, import, diff, lint"
    missing = [name for name in ("libvirt_proto_codegen", "lark", "jinja2") if find_spec(name) is None]
    if missing:
        found = f"{', '.join(missing)} not installed"
        return Check("generator", "missing", found, use, "pip install --force-reinstall libvirt-proto")
    return Check("generator", "ok", "lark and Jinja2 are installed", use)


def _root() -> Check:
    if os.geteuid() == 0:
        return Check("root", "ok", "user 0", "trace")
    return Check("root", "missing", f"user {os.geteuid()}", "trace", "sudo libvirt-proto trace")


def _tracefs() -> Check:
    from ..capture.probes import tracefs
    from ..capture.probes.errors import TraceError

    use = "trace"
    try:
        tracefs.check_pid_namespace()
    except TraceError:
        found = "a container with its own process ids"
        return Check("tracefs", "missing", found, use, "run the command on the host")
    root = tracefs.find()
    if root is None:
        fix = f"mount -t tracefs tracefs {tracefs.MOUNT_POINT}"
        return Check("tracefs", "missing", "not mounted", use, fix)
    if not os.access(root, os.X_OK):
        return Check("tracefs", "ok", f"{root}, which only root can read", use)
    if not (root / "uprobe_events").exists():
        fix = "boot a kernel with CONFIG_UPROBE_EVENTS"
        return Check("tracefs", "missing", f"{root} without uprobe events", use, fix)
    return Check("tracefs", "ok", str(root), use)


def _bpf() -> Check:
    from ..capture.probes import bpf

    use = "trace of whole messages; without it, trace uses tracefs"
    if os.geteuid() != 0:
        return Check("BPF", "ok", "which only root can use", use)
    problem = bpf.problem()
    if problem is None:
        return Check("BPF", "ok", "the kernel runs programs at probes", use)
    fix = "boot Linux 5.8 or newer with CONFIG_BPF_EVENTS, without lockdown"
    return Check("BPF", "missing", problem, use, fix)


def _probes() -> Iterator[Check]:
    """Check the probes of the libraries that processes have loaded, or of the installed one."""
    from ..capture.probes.errors import TraceError
    from ..capture.probes.loaded import loaded, named
    from ..capture.probes.plan import probes

    use = "trace"
    with ExitStack() as files:
        binaries = loaded(files, _LIBRARY).binaries
        origin = "loaded by running processes"
        if not binaries:
            installed = [path for place in _PLACES for path in Path("/").glob(f"{place[1:]}/{_LIBRARY}")]
            origin = "installed, but not loaded by a process" + ("" if os.geteuid() == 0 else " of yours")
            try:
                binaries = named(files, tuple(map(str, installed[:1])))
            except TraceError as error:
                yield Check("probes", "missing", str(error), use, "reinstall libvirt")
                return
        found = [probe for probe in probes(binaries) if probe.subject == "rpc"]
        usable = [probe for probe in found if not probe.problem]
        others = sorted({binary.notes.machine for binary in binaries} - {platform.machine()})
        if not binaries:
            fix = f"{_start()}, or trace --library PATH"
            yield Check("probes", "missing", f"no {_LIBRARY}", use, fix)
        elif not usable:
            fix = "install a libvirt that is built with probes (-Ddtrace=enabled)"
            yield Check("probes", "missing", f"{binaries[0].path} has none that can be used", use, fix)
        elif others and not any(binary.notes.machine == platform.machine() for binary in binaries):
            fix = f"install a libvirt for {platform.machine()}"
            yield Check("probes", "missing", f"for {', '.join(others)} processors", use, fix)
        else:
            count = amount(len(usable), "RPC probe")
            yield Check("probes", "ok", f"{count} in {amount(len(binaries), 'file')}, {origin}", use)


def _socket() -> Check:
    there = [path for path in _SOCKETS if Path(path).exists()]
    use = "relay --connect unix:PATH"
    if there:
        return Check("socket", "ok", there[0], use)
    return Check("socket", "missing", "no socket of a daemon", use, _start())


def _start() -> str:
    """Return the command that starts a daemon."""
    return "systemctl start libvirtd.socket" if shutil.which("systemctl") else "libvirtd --daemon"


def _program(program: tuple[str, str, dict[str, str]]) -> Check:
    name, use, packages = program
    path = shutil.which(name)
    if path is not None:
        return Check(name, "ok", path, use)
    manager = _manager()
    return Check(
        name, "missing", "not installed", use, _install(packages.get(manager, packages.get("", name)))
    )


def _wireshark() -> Iterator[Check]:
    """Check the parts for Wireshark, if it is installed."""
    from ..wireshark_folders import NoFoldersError, extcap_folder, lua_folder
    from . import wireshark

    with suppress(NoFoldersError):
        script = lua_folder() / _DISSECTOR
        yield _part("dissector", script, script.is_file(), "messages", "libvirt-proto generate wireshark")
    with suppress(NoFoldersError):
        folder = extcap_folder()
        there = wireshark.is_installed(folder)
        yield _part("interface", folder / wireshark.LAUNCHER, there, "live messages", "libvirt-proto extcap")


def _part(name: str, file: Path, there: bool, use: str, command: str) -> Check:
    """Check a file for Wireshark, which a command installs."""
    use = f"{use} in Wireshark"
    if there:
        return Check(name, "ok", str(file), use)
    return Check(name, "missing", f"no {file.name} in {file.parent}", use, f"{command} --install")


def _manager() -> str:
    """Return the package manager; "" for an unknown one."""
    return next((each for each in _INSTALL if shutil.which(each)), "")


def _install(package: str) -> str:
    """Return the command that installs a package."""
    manager = _manager()
    return f"{_INSTALL[manager]} {package}" if manager else f"install {package}"
