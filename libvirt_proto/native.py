"""The native core, if it is there: `_native.c`, compiled when the package was built.

It is optional. Python code does the same, and is used without it, if LIBVIRT_PROTO_PURE is set (to anything
but 0), and if the compiled module does not belong to the source next to it (an editable installation that was
not built again) or to the plans of this version.
"""

from __future__ import annotations

import os
import sys
import warnings
from binascii import crc32
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._native import Columns, Plan, Scanner

    __all__ = ["PURE", "Columns", "Plan", "Scanner", "core", "state"]

#: The variable that switches the native core off.
PURE: Final = "LIBVIRT_PROTO_PURE"
#: The format of plans: `native_plan`.
FORMAT: Final = 1
#: The state in Python without a GIL: it would load the module, whose objects have another layout.
NO_GIL: Final = "not used: this Python has no GIL"
#: The state of a module that does not belong to the source next to it.
STALE: Final = "compiled from another source: run `make native`"
_SOURCE: Final = os.path.join(os.path.dirname(__file__), "_native.c")  # pathlib is slow to load


def core() -> ModuleType | None:
    """Return the module; None without one. Warns once of one that does not belong to the source."""
    if state() == STALE:
        _warn()
    return _found(is_switched_off())[0]


def is_active() -> bool:
    """Return whether there is a module, without a warning."""
    return _found(is_switched_off())[0] is not None


def state() -> str:
    """Return whether the native core is used, and why not."""
    return _found(is_switched_off())[1]


def is_switched_off() -> bool:
    """Return whether the user wants Python only: PURE has any value except 0 and the empty one."""
    return os.environ.get(PURE, "") not in ("", "0")


@cache
def _found(switched_off: bool) -> tuple[ModuleType | None, str]:
    if switched_off:
        return None, f"switched off by {PURE}"
    if "t" in getattr(sys, "abiflags", ""):
        return None, NO_GIL
    try:
        from . import _native
    except ImportError as error:
        if error.name == __package__:  # the package does not have it
            return None, "not compiled: the package was built without a C compiler"
        return None, f"not loaded: {error}"
    return (_native, "compiled") if _is_current(_native) else (None, STALE)


def _is_current(module: ModuleType) -> bool:
    if getattr(module, "FORMAT", None) != FORMAT:
        return False
    try:
        with open(_SOURCE, "rb") as file:
            source = file.read()
    except OSError:
        return True  # an installed package has no source
    # A check sum detects a change; hashlib is slow to load.
    return f"{crc32(source):08x}" == getattr(module, "SOURCE", None)


@cache
def _warn() -> None:
    warnings.warn(f"the native core is not used: it is {STALE}", RuntimeWarning, stacklevel=3)
