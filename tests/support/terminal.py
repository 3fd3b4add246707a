"""A terminal for tests."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_RUN = "from libvirt_proto.cli.main import main; main()"
#: Runs commands of a JSON list on separate terminals. They are forked, so that no module is imported and no
#: parser is built twice.
_RUN_EACH = """
import gc, json, os, pkgutil, pty, sys
from importlib import import_module
import libvirt_proto, libvirt_proto_codegen
from libvirt_proto.cli import main as cli
from libvirt_proto_codegen.parse import parse
from libvirt_proto_codegen.source import Source
for package in (libvirt_proto, libvirt_proto_codegen):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
parse(Source("none.x", ""))  # builds the parser
gc.freeze()
shown = []
for words in json.load(sys.stdin):
    process, main = pty.fork()
    if not process:
        sys.stdin, sys.stdout = open(0), open(1, "w", 1)
        sys.stderr = open(2, "w", 1, errors="backslashreplace")
        sys.argv = ["libvirt-proto", *words]
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
            status = 99
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    blocks = []
    while True:
        try:
            blocks.append(os.read(main, 65536))
        except OSError:  # the other end is closed
            break
    os.close(main)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    shown.append([status, b"".join(blocks).decode("utf-8", "surrogateescape")])
json.dump(shown, sys.stdout)
"""


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "COLUMNS")}


def on_terminal(*words: str, env: dict[str, str] | None = None, status: int = 0) -> str:
    """The terminal output of a command, standard output and error."""
    main, other = pty.openpty()
    command = [sys.executable, "-c", _RUN, *words]
    environment = _environment() | (env or {"TERM": "xterm"})
    with subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment) as process:
        os.close(other)
        shown = b""
        while True:
            try:
                block = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            shown += block
    os.close(main)
    assert process.returncode == status
    return shown.decode().replace("\r\n", "\n")


def on_terminals(
    commands: Mapping[str, Sequence[str]], folder: Path, env: Mapping[str, str] | None = None
) -> dict[str, tuple[int, str]]:
    """The exit status and terminal output of each command. They run in a folder; bytes that are not UTF-8
    become lone surrogates."""
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join((str(root), str(root / "codegen")))
    done = subprocess.run(
        [sys.executable, "-c", _RUN_EACH],
        cwd=folder,
        env=_environment() | {"TERM": "xterm", "PYTHONPATH": path} | (env or {}),
        input=json.dumps(list(commands.values())),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    shown = json.loads(done.stdout)
    return {name: (status, text) for name, (status, text) in zip(commands, shown, strict=True)}


#: Allowed on a terminal in addition to text: the colours of our own palettes.
_COLOURS = re.compile(r"\x1b\[(?:0|1|2|3[1236]|1;31)m")
#: rich's bars and spinners: hide the cursor, return to the line's start, move up, clear the line.
_PROGRESS = re.compile(r"\x1b\[\?25[lh]|\x1b\[[12]K|\x1b\[1?A|\r|\x1b\[[0-9;]*m(?=[━╸╺⠀-⣿])")


def foreign(shown: str) -> list[str]:
    """The characters in a terminal's output that control it or hide text, with their context."""
    text = _COLOURS.sub("", _PROGRESS.sub("", shown.replace("\r\n", "\n")))
    return [text[i : i + 12] for i, c in enumerate(text) if c != "\n" and not c.isprintable()]
