"""Call functions of the libvirt client library by their descriptions (libvirt-api.xml). Run as a program:

    python -m tests.differential.api_calls SOCKET LOG [FUNCTION …]

Each function runs in its own process, connected to the daemon that has the socket and the log. Arguments are
made by their types. The function may fail, crash or hang: only its messages matter, which come between two
calls of virConnectGetHostname. For each function, a line of JSON gives its name, the process's exit status
(negative for a signal), and the part of the log (start and end) that belongs to it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

DESCRIPTIONS = Path("/usr/share/libvirt/api")
#: Description → the library that has its functions.
LIBRARIES = {
    "libvirt-api.xml": "libvirt.so.0",
    "libvirt-qemu-api.xml": "libvirt-qemu.so.0",
    "libvirt-lxc-api.xml": "libvirt-lxc.so.0",
}
#: Parts of names. The test driver supports neither file descriptors nor migration, without which these call
#: nothing, nor the events of secrets and QEMU monitors.
NEED_QEMU = ("Migrate", "WithFiles", "OpenGraphics", "FDAssociate", "SecretEvent", "QemuMonitorEvent")
UUID = bytes(range(16))
UUID_TEXT = b"00010203-0405-0607-0809-0a0b0c0d0e0f"
#: The destination of migrations that the daemon makes: the client does not connect to it.
OTHER_HOST = b"qemu+tcp://192.0.2.1/system"
#: The end of a function that hangs, in seconds.
LIMIT = 3
#: The exit status of a process whose function could not be called.
NOT_CALLED = 9
BUFFER = 65_536

#: Type → the function that makes an object, and its arguments: types, or values.
MAKERS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "virDomainPtr": ("virGetDomain", ("virConnectPtr", b"x", UUID, 1)),
    "virNetworkPtr": ("virGetNetwork", ("virConnectPtr", b"x", UUID)),
    "virNetworkPortPtr": ("virGetNetworkPort", ("virNetworkPtr", UUID)),
    "virInterfacePtr": ("virGetInterface", ("virConnectPtr", b"x", b"00:11:22:33:44:55")),
    "virStoragePoolPtr": ("virGetStoragePool", ("virConnectPtr", b"x", UUID, None, None)),
    "virStorageVolPtr": ("virGetStorageVol", ("virConnectPtr", b"x", b"x", b"x", None, None)),
    "virNodeDevicePtr": ("virGetNodeDevice", ("virConnectPtr", b"x")),
    "virSecretPtr": ("virGetSecret", ("virConnectPtr", UUID, 0, b"x")),
    "virNWFilterPtr": ("virGetNWFilter", ("virConnectPtr", b"x", UUID)),
    "virNWFilterBindingPtr": ("virGetNWFilterBinding", ("virConnectPtr", b"x", b"x")),
    "virDomainSnapshotPtr": ("virGetDomainSnapshot", ("virDomainPtr", b"x")),
    "virDomainCheckpointPtr": ("virGetDomainCheckpoint", ("virDomainPtr", b"x")),
    "virStreamPtr": ("virStreamNew", ("virConnectPtr", 0)),
}
INTEGERS = {"int", "unsigned int", "unsigned long", "unsigned long long", "long long", "size_t"}


class Function(NamedTuple):
    """A function: the library that has it, and the names and types of its arguments."""

    library: str
    arguments: list[tuple[str, str]]


def described() -> dict[str, Function]:
    """Return all functions by name."""
    return {
        function.get("name", ""): Function(
            library, [(each.get("name", ""), each.get("type", "")) for each in function.iter("arg")]
        )
        for file, library in LIBRARIES.items()
        for function in ElementTree.parse(DESCRIPTIONS / file).iter("function")
    }


class Client:
    """A connection, and arguments for functions that use it. Its objects need not exist in the daemon."""

    def __init__(self, uri: bytes) -> None:
        self._lib = ctypes.CDLL("libvirt.so.0")
        self._lib.virSetErrorFunc(None, self._callback)
        self._lib.virEventRegisterDefaultImpl()
        self._uri = uri
        self._conn = self._make("virConnectOpen", uri)
        if not self._conn.value:
            raise OSError(f"no connection to {uri.decode()}")
        self._kept: list[Any] = []
        #: The number of the last registration of a callback.
        self._registered = 1

    def call(self, name: str, function: Function) -> None:
        """Call a function, between two calls of virConnectGetHostname."""
        if (counterpart := _registration(name)) in (functions := described()):
            self._registered = self._call(counterpart, functions[counterpart])
        values = self._values(name, function)
        self._lib.virConnectGetHostname(self._conn)
        getattr(ctypes.CDLL(function.library), name)(*values)
        if name == "virConnectSetKeepAlive":
            # A timer of the event loop, here after one second, sends the ping.
            for _ in range(3):
                self._lib.virEventRunDefaultImpl()
        self._lib.virConnectGetHostname(self._conn)

    def _call(self, name: str, function: Function) -> int:
        result: int = getattr(ctypes.CDLL(function.library), name)(*self._values(name, function))
        return result

    def _values(self, name: str, function: Function) -> list[Any]:
        values = [self._argument(name, *argument) for argument in function.arguments]
        self._kept += values
        return values

    def _make(self, function: str, *arguments: Any) -> ctypes.c_void_p:
        make = getattr(self._lib, function)
        make.restype = ctypes.c_void_p
        return ctypes.c_void_p(make(*arguments))

    def _object(self, kind: str) -> ctypes.c_void_p:
        if kind == "virConnectPtr":
            return self._conn
        maker, words = MAKERS[kind]
        return self._make(maker, *(self._object(word) if isinstance(word, str) else word for word in words))

    @cached_property
    def _callback(self) -> Any:
        """One callback for all, so that functions find what others registered."""
        return ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)

    def _argument(self, function: str, name: str, kind: str) -> Any:
        """Return a value for an argument of a function."""
        if kind == "virConnectPtr" or kind in MAKERS:
            return self._object(kind)
        if kind in INTEGERS:
            return self._integer(function, name)
        if kind == "virFreeCallback":
            return None
        if kind.endswith(("Func", "Callback")):
            return self._callback
        match kind:
            case "const char *" | "char *":
                if name == "name" and function.startswith("virConnectOpen"):
                    return self._uri
                if name in ("dconnuri", "duri"):
                    return OTHER_HOST
                return UUID_TEXT if "uuid" in name.lower() else b"x"
            case "const char **" | "char ** const":
                return (ctypes.c_char_p * 2)(b"x", None)
            case "virDomainPtr *":
                return (ctypes.c_void_p * 2)(self._object("virDomainPtr").value, None)
            case "const unsigned char *":
                return UUID
            case "virTypedParameterPtr":
                # A parameter `x` with a value of type 1 (int): 0.
                return ctypes.create_string_buffer(b"x".ljust(80, b"\0") + (1).to_bytes(4, "little"), BUFFER)
            case _:
                return ctypes.create_string_buffer((1).to_bytes(4, "little"), BUFFER)

    def _integer(self, function: str, name: str) -> ctypes.c_longlong:
        if name == "fd":
            self._kept += socket.socketpair()
            return ctypes.c_longlong(self._kept[-1].fileno())
        if name == "flags" and function.startswith("virDomainMigrateToURI"):
            return ctypes.c_longlong(2)  # VIR_MIGRATE_PEER2PEER
        known = {"flags": 0, "eventID": 0, "type": 2, "callbackID": self._registered}
        return ctypes.c_longlong(known.get(name, 1))


def _registration(name: str) -> str:
    """Return the function that registers what a function of this name removes."""
    for word in ("Deregister", "Unregister"):
        if word in name:
            return name.replace(word, "Register")
    return ""


def run(socket_path: str, log: Path, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Call functions, each in its own process; yield what the lines of the program give."""
    functions = described()
    for library in LIBRARIES.values():
        ctypes.CDLL(library)  # once, instead of in each process
    for name in names or functions:
        driver = "qemu+unix:///session" if any(word in name for word in NEED_QEMU) else "test+unix:///default"
        start = log.stat().st_size
        if (pid := os.fork()) == 0:
            _child(f"{driver}?socket={socket_path}", name, functions[name])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        yield {"name": name, "status": status, "start": start, "end": log.stat().st_size}


def _child(uri: str, name: str, function: Function) -> None:
    """Call a function and exit."""
    signal.alarm(LIMIT)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = NOT_CALLED
    try:
        client = Client(uri.encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        client.call(name, function)
        status = 0
    except Exception as error:
        print(f"{name}: {error!r}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


if __name__ == "__main__":
    for line in run(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]):
        print(json.dumps(line), flush=True)
