"""strace output as people paste it."""

from __future__ import annotations

import html
import io
from collections.abc import Callable

import pytest

from libvirt_proto.capture.detect import file_format
from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, Notice

CALL = rb"\0\0\0\34 \0\200\206\0\0\0\1\0\0\0B\0\0\0\0\0\0\0\0\0\0\0\0".decode()
REPLY = rb"\0\0\0$ \0\200\206\0\0\0\1\0\0\0B\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0".decode()
CONNECT = 'connect(3, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 110) = 0'
PLAIN = f'{CONNECT}\nwrite(3, "{CALL}", 28) = 28\nread(3, "{REPLY}", 36) = 36\n'
SIZES = {"c2s": 28, "s2c": 36}


def sizes(text: str) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    for item in read_source(io.BytesIO(text.encode()), "bytes"):
        if isinstance(item, Chunk):
            found[item.direction] = found.get(item.direction, 0) + len(item.data)
    return found


def each(change: Callable[[int, str], str]) -> str:
    return "".join(change(number, line) + "\n" for number, line in enumerate(PLAIN.splitlines(), 1))


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        each(lambda _, line: "> " + line),
        each(lambda _, line: ">> > " + line),
        each(lambda _, line: "      " + line),
        each(lambda _, line: "\t" + line),
        each(lambda n, line: f"{n}:{line}"),
        each(lambda n, line: f"{n}-{line}"),
        each(lambda n, line: f"trace.txt:{n}:{line}"),
        each(lambda _, line: f"trace.txt:{line}"),
        each(lambda n, line: f"{n:6}\t{line}"),
        each(lambda _, line: f"[20567] {line}"),
        each(lambda _, line: f"virsh[20567]: {line}"),
        each(lambda _, line: f"(20567) {line}"),
        each(lambda _, line: f"pid 20567: {line}"),
        each(lambda _, line: f"[pid  20567] {line}"),
        each(lambda _, line: f"20567 {line}"),
        each(lambda _, line: html.escape(line)),
        each(lambda _, line: html.escape(line, quote=False)),
        "<pre>" + html.escape(PLAIN) + "</pre>",
        PLAIN.replace('"', "“"),
        PLAIN.replace("\n", "\r\n"),
        "```\n" + PLAIN + "```\n",
        "\ufeff" + PLAIN,
        f'{CONNECT}\nwritev(3, [{{"{CALL[:9]}", 4}}, {{"{CALL[9:]}", 24}}], 2) = 28\n'
        f'read(3, "{REPLY}", 36) = 36\n',
        f'{CONNECT}\nsendmsg(3, {{msg_name(0)=NULL, msg_iov(1)=[{{"{CALL}", 28}}], msg_flags=0}}, 0) = 28\n'
        f'recvmsg(3, {{msg_name(0)=NULL, msg_iov(1)=[{{"{REPLY}", 2048}}], msg_flags=0}}, 0) = 36\n',
        PLAIN.replace("AF_UNIX, sun_path", "AF_FILE, path"),
    ],
)
def test_reads_dressed_lines(text: str) -> None:
    assert file_format(text.encode()) == "strace"
    assert sizes(text) == SIZES


def test_reports_filters() -> None:
    next_call = CALL.replace("B", r"\1")
    text = f'write(3, "{CALL}", 28) = 28\nwrite(3, "{next_call}", 28) = 28\n'
    (notice,) = [item for item in read_source(io.BytesIO(text.encode()), "x") if isinstance(item, Notice)]
    assert notice.code == "hidden-calls"
    assert notice.text.startswith("a filter (-e) hides the calls that receive: read, ")


def test_does_not_claim_that_unparsed_calls_have_no_bytes() -> None:
    text = f'write(3, [unknown "{CALL}"], 28) = 28\n' + 'write(3, "\\q", 28) = 28\n'
    (notice,) = [item for item in read_source(io.BytesIO(text.encode()), "x") if isinstance(item, Notice)]
    assert notice.code == "bad-strace"
