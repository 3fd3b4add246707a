"""Compile the native core into the wheel, or into the source tree for an editable installation.

LIBVIRT_PROTO_NATIVE=0 leaves it out, 1 makes a failure an error, auto (the default) continues without it.
CC, CPPFLAGS, CFLAGS and LDFLAGS are honoured: distributions set them. The extension uses the limited API of
Python 3.11, so one wheel serves all later versions. Equal sources give equal files: no path and no time gets
into them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from binascii import crc32
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags  # a dependency of hatchling

VARIABLE = "LIBVIRT_PROTO_NATIVE"
SOURCE = "libvirt_proto/_native.c"
TARGET = "libvirt_proto/_native.abi3.so"
FLAGS = (
    *("-std=c11", "-shared", "-fPIC", "-fvisibility=hidden"),
    # gcc 12 only warns of functions outside the limited API.
    *("-Wall", "-Wextra", "-Wconversion", "-Werror=implicit-function-declaration"),
)
FORTIFY, STRIP = "-D_FORTIFY_SOURCE=2", "-Wl,-s"
RELEASE = (
    *("-O2", "-g0", FORTIFY, "-fstack-protector-strong"),
    *("-Wl,-z,relro,-z,now", "-Wl,--build-id=none", STRIP),
)


class NativeHook(BuildHookInterface[Any]):
    """The build hook of hatchling."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the extension, and add it to the wheel."""
        wanted = os.environ.get(VARIABLE, "auto")
        if wanted not in ("0", "1", "auto"):
            raise ValueError(f"{VARIABLE}: expected 0, 1 or auto, got {wanted!r}")
        root = Path(self.root)
        target = root / TARGET
        if version == "editable":
            target.unlink(missing_ok=True)
        if self.target_name != "wheel" or wanted == "0":
            return
        self._folder = TemporaryDirectory(prefix="libvirt-proto-build-")
        built = Path(self._folder.name) / target.name
        problem = build(root, built)
        if problem is not None:
            if wanted == "1":
                raise RuntimeError(f"the native core cannot be compiled: {problem}")
            self.app.display_warning(f"libvirt-proto is built without its native core: {problem}")
            return
        if version == "editable":
            target.write_bytes(built.read_bytes())
            return
        build_data["force_include"][str(built)] = TARGET
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def _platform() -> str:
    """Return the tag of this machine's own wheels; those of Linux distributions come before it."""
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))


def build(
    root: Path, target: Path, flags: tuple[str, ...] = RELEASE, compiler: str = "", include: str = ""
) -> str | None:
    """Compile the extension of a source tree, and return what went wrong, None for nothing.

    `compiler` is a command (default: $CC, or what compiled Python, with the flags of the environment),
    `include` (default: this Python's) the folder of Python.h.
    """
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it needs CPython with a GIL"  # pip would refuse the wheel
    source = f"{crc32((root / SOURCE).read_bytes()):08x}"
    try:
        words = shlex.split(compiler or os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        given = [] if compiler else _given("CPPFLAGS", "CFLAGS")
        linking = [] if compiler else _given("LDFLAGS")
    except ValueError as error:
        return f"CC, CPPFLAGS, CFLAGS or LDFLAGS: {error}"
    if given:  # a distribution keeps the symbols in another package
        flags = tuple(flag for flag in flags if flag != STRIP)
    if any("_FORTIFY_SOURCE" in flag for flag in given):  # two definitions would be a warning
        flags = tuple(flag for flag in flags if flag != FORTIFY)
    command = [
        *words,
        *FLAGS,
        *flags,
        *given,
        f'-DSOURCE_HASH="{source}"',
        f"-ffile-prefix-map={root}=.",
        f"-I{include or sysconfig.get_path('include')}",
        SOURCE,
        "-o",
        str(target),
        *linking,
    ]
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    if done.returncode:
        return f"{shlex.join(words)} failed:\n{done.stderr.strip()}"
    return None


def _given(*names: str) -> list[str]:
    """Return the words of variables of the environment. Raises ValueError."""
    return [word for name in names for word in shlex.split(os.environ.get(name, ""))]
