"""Snapshots of the public API, of every command's output, and of the modules that short commands load.

`make snapshots` writes them; test_snapshots.py compares. A commit that changes structure leaves them
unchanged; a commit that changes words or behaviour shows the difference.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from libvirt_proto import native

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
COMMANDS: Final = HERE / "commands"
API: Final = HERE / "api.txt"
STARTUP: Final = HERE / "startup.txt"
#: Commands that take little more time than to start.
SHORT_COMMANDS: Final = (
    "lookup 66",
    "decode --format jsonl tests/captures/virsh-domname.pcap",
    "decode --format monitor tests/captures/virsh-domname.pcap",
)
#: Longer output is kept up to this length, with its number of lines and its hash.
MAX_LINES: Final = 120


def commands() -> Mapping[str, str]:
    """Name → command for bash."""
    return tomllib.loads((HERE / "commands.toml").read_text(encoding="utf-8"))


def run(command: str) -> str:
    """The output of a command, standard output and standard error, and its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": folder,
            "T": folder,
            "COLUMNS": "100",
            "LC_ALL": "C.UTF-8",
            native.PURE: os.environ.get(native.PURE, ""),
        }
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail\n{command}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )
        texts = [text.decode("utf-8", "backslashreplace") for text in (done.stdout, done.stderr)]
        out, err = (_shortened(_neutral(text, folder)) for text in texts)
    parts = [f"$ {command}\n", out]
    if err:
        parts.append(f"-- standard error\n{err}")
    return "".join((*parts, f"-- exit status {done.returncode}\n"))


def _neutral(text: str, folder: str) -> str:
    """The text without differences between machines."""
    python = f"(Python {'.'.join(map(str, sys.version_info[:3]))}, native core "
    text = text.replace(folder, "$T").replace(python, "(Python 3.x.y, native core ")
    return text.replace(f"native core {native.state()})", "native core STATE)")


def _shortened(text: str) -> str:
    lines = text.splitlines(keepends=True)
    if len(lines) <= MAX_LINES:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return "".join(lines[:MAX_LINES]) + f"-- {len(lines)} lines in all, SHA-256 {digest}\n"


def api() -> str:
    """Every public name of the package and of the modules that it exports, with its signature."""
    import libvirt_proto

    return "\n".join(_described("libvirt_proto", libvirt_proto)) + "\n"


def startup() -> str:
    """The package's modules that short commands load with the native core."""
    return "\n".join(
        f"{command}\n" + "".join(f"  {name}\n" for name in sorted(modules(command)) if _is_ours(name))
        for command in SHORT_COMMANDS
    )


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == "libvirt_proto"


def modules(command: str) -> set[str]:
    """The modules that a command loads."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"sys.argv = ['libvirt-proto', *{command.split()!r}]\n"
        "from libvirt_proto.__main__ import main\n"
        "try: main()\n"
        "finally: print(*{*sys.modules} - before, file=sys.stderr)"
    )
    python = [sys.executable, "-c", code]
    # PYTHONUNBUFFERED loads private_files.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(python, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    return set(done.stderr.split())


def _described(name: str, thing: Any) -> Iterator[str]:
    if isinstance(thing, ModuleType):
        yield f"module {name}"
        public = getattr(thing, "__all__", None) or _own(thing)
        for each in sorted(public):
            yield from _described(f"{name}.{each}", getattr(thing, each))
    elif isinstance(thing, type):
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        # The signature of an enum depends on Python's version.
        yield f"class {name}({bases}){'' if issubclass(thing, Enum) else _signature(thing)}"
        for each in sorted(vars(thing)):
            if not each.startswith("_"):
                yield from _member(f"{name}.{each}", inspect.getattr_static(thing, each))
    elif callable(thing):
        yield f"function {name}{_signature(thing)}"
    else:
        yield f"value {name}: {type(thing).__name__}"


def _member(name: str, member: Any) -> Iterator[str]:
    if isinstance(member, property):
        yield f"property {name}"
    elif isinstance(member, classmethod | staticmethod):
        yield f"{type(member).__name__} {name}{_signature(member.__func__)}"
    elif inspect.isfunction(member):
        yield f"method {name}{_signature(member)}"
    else:
        yield f"attribute {name}"


def _own(module: ModuleType) -> list[str]:
    """The public names defined in a module."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _signature(thing: Any) -> str:
    try:
        return str(inspect.signature(thing))
    except (TypeError, ValueError):
        return "(…)"


def main() -> None:
    """Write all snapshots."""
    API.write_text(api(), encoding="utf-8")
    if native.is_active():
        STARTUP.write_text(startup(), encoding="utf-8")
    COMMANDS.mkdir(exist_ok=True)
    cases = commands()
    for stale in {path.stem for path in COMMANDS.glob("*.txt")} - set(cases):
        (COMMANDS / f"{stale}.txt").unlink()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, text in zip(cases, pool.map(run, cases.values()), strict=True):
            (COMMANDS / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
