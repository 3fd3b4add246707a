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


Dress = Callable[[str], str]


def each(change: Callable[[int, str], str]) -> Dress:
    """Change each line, given its number."""
    return lambda text: "".join(change(n, line) + "\n" for n, line in enumerate(text.splitlines(), 1))


#: What precedes a call: times, processes, and the prefixes of loggers and containers.
INSIDE: dict[str, Dress] = {
    "plain": lambda text: text,
    "-f": each(lambda _, line: f"[pid  20567] {line}"),
    "-f -o": each(lambda _, line: f"20567 {line}"),
    "-f -tt": each(lambda _, line: f"[pid 20567] 21:31:50.123456 {line}"),
    "-f -o -ttt": each(lambda _, line: f"20567  1795383891.227176 {line}"),
    "-tt": each(lambda _, line: f"21:31:50.123456 {line}"),
    "-T": each(lambda _, line: f"{line} <0.000012>"),
    "brackets": each(lambda _, line: f"[20567] {line}"),
    "program": each(lambda _, line: f"virsh[20567]: {line}"),
    "slash": each(lambda _, line: f"virsh/20567: {line}"),
    "parentheses": each(lambda _, line: f"(20567) {line}"),
    "word": each(lambda _, line: f"pid 20567: {line}"),
    "colon": each(lambda _, line: f"20567: {line}"),
    "ISO 8601": each(lambda _, line: f"2026-11-22T21:31:50+0100 {line}"),
    "syslog": each(lambda _, line: f"Nov 22 21:31:50 host strace[99]: {line}"),
    "compose": each(lambda _, line: f"libvirt_1  | {line}"),
    "CRI": each(lambda _, line: f"2026-11-22T21:31:50.123456789Z stderr F {line}"),
    "AF_FILE": lambda text: text.replace("AF_UNIX, sun_path", "AF_FILE, path"),
    "padded result": lambda text: text.replace(") = ", ")            = "),
}
#: What mail, chat, web pages and tools add to text.
OUTSIDE: dict[str, Dress] = {
    "quote": each(lambda _, line: f"> {line}"),
    "quotes": each(lambda _, line: f">> > {line}"),
    "bar": each(lambda _, line: f"| {line}"),
    "table": each(lambda _, line: f"| {line} |"),
    "indent": each(lambda _, line: f"      {line}"),
    "tab": each(lambda _, line: f"\t{line}"),
    "no-break spaces": each(lambda _, line: f"\u00a0\u00a0{line}"),
    "star": each(lambda _, line: f"* {line}"),
    "hyphen": each(lambda _, line: f"- {line}"),
    "grep -n": each(lambda n, line: f"{n}:{line}"),
    "grep -n -A": each(lambda n, line: f"{n}-{line}"),
    "grep -Hn": each(lambda n, line: f"a/trace.txt:{n}:{line}"),
    "grep -H": each(lambda _, line: f"trace.txt:{line}"),
    "nl": each(lambda n, line: f"{n:6}\t{line}"),
    "numbers": each(lambda n, line: f"{n:6}  {line}"),
    "ANSI": each(lambda _, line: f"\x1b[32m{line}\x1b[0m"),
    "HTML": html.escape,
    "HTML text": lambda text: html.escape(text, quote=False),
    "pre": lambda text: f"<pre>{html.escape(text)}</pre>",
    "page": lambda text: f"<html><body><pre>\n{html.escape(text)}</pre></body></html>",
    "p": each(lambda _, line: f"<p>{html.escape(line)}</p>"),
    "br": each(lambda _, line: f"{html.escape(line)}<br>"),
    "typographic": lambda text: text.replace('"', "“"),
    "German": lambda text: text.replace('"', "„"),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "fence": lambda text: f"```\n{text}```\n",
    "tildes": lambda text: f"~~~ text\n{text}~~~\n",
    "BOM": lambda text: f"\ufeff{text}",
    "prose": lambda text: f"Hello,\n\nthis is what I get (see below):\n\n{text}\nThanks\n",
    "dots": lambda text: f"...\n{text}[...]\n",
}
#: These need a line that begins with the call.
ALONE: dict[str, Dress] = {
    "bold": each(lambda _, line: f"**{line}**"),
    "code": each(lambda _, line: f"`{line}`"),
    "list of code": each(lambda _, line: f"* `{line}`"),
    "no-break result": lambda text: text.replace(" = ", "\u00a0=\u00a0"),
}


@pytest.mark.parametrize("dress", (INSIDE | OUTSIDE | ALONE).values(), ids=(INSIDE | OUTSIDE | ALONE).keys())
def test_reads_dressed_lines(dress: Dress) -> None:
    text = dress(PLAIN)
    assert file_format(text.encode()) == "strace"
    assert sizes(text) == SIZES


@pytest.mark.parametrize("outside", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_reads_dresses_of_dressed_lines(outside: Dress) -> None:
    unread = [name for name, inside in INSIDE.items() if sizes(outside(inside(PLAIN))) != SIZES]
    assert unread == []


@pytest.mark.parametrize(
    "text",
    [
        f'{CONNECT}\nwritev(3, [{{"{CALL[:9]}", 4}}, {{"{CALL[9:]}", 24}}], 2) = 28\n'
        f'read(3, "{REPLY}", 36) = 36\n',
        f'{CONNECT}\nsendmsg(3, {{msg_name(0)=NULL, msg_iov(1)=[{{"{CALL}", 28}}], msg_flags=0}}, 0) = 28\n'
        f'recvmsg(3, {{msg_name(0)=NULL, msg_iov(1)=[{{"{REPLY}", 2048}}], msg_flags=0}}, 0) = 36\n',
    ],
    ids=["writev", "msg_iov"],
)
def test_reads_calls_of_old_versions(text: str) -> None:
    assert sizes(text) == SIZES


def test_reports_filters() -> None:
    next_call = CALL.replace("B", r"\1")
    text = f'write(3, "{CALL}", 28) = 28\nwrite(3, "{next_call}", 28) = 28\n'
    (notice,) = [item for item in read_source(io.BytesIO(text.encode()), "x") if isinstance(item, Notice)]
    assert notice.code == "hidden-calls"
    assert notice.text.startswith("a filter (-e) hides the calls that receive: read, ")


def exchange(fd: int, serial: int, process: str = "") -> str:
    """A call and its reply on a descriptor."""
    number = f"\\0\\0\\0\\{serial:o}"
    head = r"\0\0\0\34 \0\200\206\0\0\0\1\0\0\0B"
    call, reply = f"{head}\\0\\0\\0\\0{number}\\0\\0\\0\\0", f"{head}\\0\\0\\0\\1{number}\\0\\0\\0\\0"
    return f'{process}write({fd}, "{call}", 28) = 28\n{process}read({fd}, "{reply}", 28) = 28\n'


EXECUTED = 'execve("/usr/bin/virsh", ["virsh"], 0x7ffc0 /* 20 vars */) = 0\n'
ATTACHED = exchange(9, 3) + exchange(9, 4)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (EXECUTED + exchange(4, 2), True),
        (f"{EXECUTED}{CONNECT}\n" + exchange(3, 0) + exchange(5, 1) + exchange(5, 2), True),
        (f"{CONNECT}\n" + exchange(3, 0) + exchange(5, 1) + exchange(5, 2), True),
        (f"{CONNECT}\n" + exchange(3, 0) + "dup(3) = 5\n" + exchange(5, 1), False),
        (f"{CONNECT}\n" + exchange(3, 0) + exchange(5, 1) + exchange(3, 1), False),
        (f"{CONNECT}\n" + exchange(3, 0) + exchange(5, 0), False),
        (f"{CONNECT}\n" + exchange(3, 0) + exchange(5, 7), False),
        (EXECUTED + exchange(4, 0) + exchange(4, 1), False),
        (EXECUTED + exchange(1, 5), False),
        (f"{ATTACHED}{CONNECT}\n" + exchange(3, 0) + exchange(9, 5), False),
    ],
)
def test_reports_hidden_copies_of_descriptors(text: str, hidden: bool) -> None:
    """Both directions of each descriptor are there."""
    notices = [item for item in read_source(io.BytesIO(text.encode()), "x") if isinstance(item, Notice)]
    assert [notice.code for notice in notices] == ["hidden-calls"] * hidden
    assert all("hides dup, dup2, dup3 or fcntl" in notice.text for notice in notices)


def test_names_of_sockets_need_no_copies() -> None:
    """With -y the copy has the name of the same socket."""
    text = EXECUTED + exchange(5, 3).replace("(5,", "(5<UNIX-STREAM:[1->2]>,")
    assert not [item for item in read_source(io.BytesIO(text.encode()), "x") if isinstance(item, Notice)]


def test_does_not_claim_that_unparsed_calls_have_no_bytes() -> None:
    text = f'write(3, [unknown "{CALL}"], 28) = 28\n' + 'write(3, "\\q", 28) = 28\n'
    (notice,) = [item for item in read_source(io.BytesIO(text.encode()), "x") if isinstance(item, Notice)]
    assert notice.code == "bad-strace"
