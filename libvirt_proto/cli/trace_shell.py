"""The plan of a trace as commands for a POSIX shell (`--print-commands`).

The shell opens each file, as the trace does, and gives the kernel the open file: `$$` is the shell's process
id. No path reaches tracefs, where `#` begins a comment and the byte 0xA0 is a space.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..capture.probes.loaded import Binary
    from ..capture.probes.plan import Plan, Step


def commands(plan: Plan) -> Iterator[str]:
    """Yield lines that set the probes, show their events, and remove them."""
    from ..capture.probes.tracefs import MOUNT_POINT, find

    yield "# Set the probes, as root:"
    root = find()
    if root is None:
        root = MOUNT_POINT
        yield f"mount -t tracefs tracefs {root}"
    yield f"cd {_word(str(root))}"
    yield from map(_command, plan.preparations())
    for binary, events in plan.files:
        yield f"exec 3< {_word(binary.path)}"
        yield (
            f'[ "$(stat -Lc %d:%i:%Z /proc/$$/fd/3)" = {_state(binary)} ] ||'
            " { echo 'the file has changed' >&2; exec 3<&-; }"
        )
        for event in events:
            yield from map(_command, plan.definition(event, "/proc/$$/fd/3"))
    yield "exec 3<&-"
    yield from map(_command, plan.enabling())
    yield from ("", "# Show their events (Ctrl-C ends it):", f"cat {plan.instance}/trace_pipe", "")
    yield from ("# Remove them:", f"rmdir {plan.instance}")
    for event in plan.events:
        yield f"echo '-:{plan.group}/{event.name}' >> uprobe_events"


def _state(binary: Binary) -> str:
    """Return device, inode and change time. The owner of a path can make it lead to another file at any time,
    where the same places would be different code."""
    state = os.fstat(binary.file.fileno())
    return f"{state.st_dev}:{state.st_ino}:{int(state.st_ctime)}"


def _command(step: Step) -> str:
    path = shlex.quote(step.path)
    if step.text is None:
        return f"mkdir {path}"
    # Put $$, which nothing else in a step contains, outside quotes, for the shell to expand.
    text = shlex.quote(step.text).replace("$$", "'$$'")
    return f"printf '%s\\n' {text} {'>>' if step.append else '>'} {path}"


def _word(path: str) -> str:
    """Quote a path for the shell. printf writes the bytes that must not reach a terminal."""
    if path.isprintable():
        return shlex.quote(path)
    octal = "".join(
        chr(byte) if chr(byte) == "/" or (byte < 0x80 and chr(byte).isalnum()) else f"\\{byte:03o}"
        for byte in os.fsencode(path)
    )
    return f"\"$(printf '{octal}')\""
