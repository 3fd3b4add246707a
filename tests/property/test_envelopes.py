"""Whatever a text is in, its messages come out: every dressing for every kind of text."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import quopri
import textwrap
from unittest.mock import ANY

import pytest

from libvirt_proto.capture.sources import read_source
from libvirt_proto.errors import SourceError
from libvirt_proto.events import Chunk, Notice
from tests.support.bytewriters import WRITERS
from tests.support.dresses import ENCODINGS, PREFIXES, QUOTES, WRAPS, Dress, named
from tests.support.straces import Strace

CALL = bytes.fromhex("0000001c 20008086 00000001 00000042 00000000 00000000 00000000")
REPLY = bytes.fromhex("00000024 20008086 00000001 00000042 00000001 00000000 00000000 00000001 00000000")
MESSAGE = bytes.fromhex(
    "00000038 20008086 00000001 00000017 00000001 00000000 00000000 00000004 74657374"
    "6695eb01f6a4830479aa97f2502e193f 00000001"
)
#: A payload with characters that strace prints, and some that look like the end of a call.
LONG = bytes.fromhex("000000a8 20008086 00000001 00000017 00000001 00000007 00000000") + (
    b'some text, with blanks = 5 and "quotes" and more of it, (really) = 28 of it'.ljust(140, b"\0")
)


def strace(style: str = "c", prefix: str = "{pid} ", form: str = "rw", limit: int = 1 << 30) -> str:
    trace = Strace(style=style, prefix=prefix, limit=limit)
    trace.call('connect(4, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 110)')
    send, receive = {
        "rw": ("write", "read"),
        "send": ("sendto", "recvfrom"),
        "v": ("writev", "readv"),
        "msg": ("sendmsg", "recvmsg"),
    }[form]
    trace.move(send, 4, CALL)
    for data in (REPLY, MESSAGE, LONG):
        trace.move(receive, 4, data)
    return "".join(line + "\n" for line in trace.lines)


KINDS = {
    "strace": strace(),
    "strace -x": strace("x"),
    **{
        f"bytes: {name}": WRITERS[name](MESSAGE) + "\n"
        for name in (
            "hexdump -C",
            "xxd",
            "spaced hex",
            "0x list",
            "gdb x/xw",
            "C string",
            "Go %v",
            "windbg db",
            "Wireshark hex dump",
            "base64 lines",
            "C array with comments",
        )
        if name in WRITERS
    },
}


def entries(**fields: str) -> Dress:
    """JSON lines; a value of `{}` is the line, and `{}n` the line with its end."""
    return lambda text: "".join(
        json.dumps(
            {name: value.replace("{}n", line + "\n").replace("{}", line) for name, value in fields.items()}
        )
        + "\n"
        for line in text.splitlines()
    )


def mail(encoding: str, body: str) -> str:
    return f"From: a@example.com\nContent-Type: text/plain\nContent-Transfer-Encoding: {encoding}\n\n{body}"


def partial(text: str) -> str:
    """As docker writes long lines: in pieces, only the last of which has the line end."""
    pieces = [line[at : at + 40] for line in text.splitlines(keepends=True) for at in range(0, len(line), 40)]
    return "".join(json.dumps({"log": piece, "stream": "stdout"}) + "\n" for piece in pieces)


def partial_cri(text: str) -> str:
    out = []
    for line in text.splitlines():
        pieces = [line[at : at + 40] for at in range(0, max(1, len(line)), 40)]
        for number, piece in enumerate(pieces, 1):
            flag = "F" if number == len(pieces) else "P"
            out.append(f"2026-11-22T21:45:08.274811112Z stdout {flag} {piece}\n")
    return "".join(out)


ENTRIES: dict[str, Dress] = {
    "docker": entries(log="{}n", stream="stderr", time="2026-11-22T21:45:08Z"),
    "logstash": entries(message="{}", host="n1"),
    "journal": entries(__REALTIME_TIMESTAMP="1795383910120000", MESSAGE="{}", _PID="7"),
    "GELF": entries(version="1.1", short_message="{}"),
    "KubeVirt": entries(component="virt-launcher", level="info", msg="{}"),
    "search": lambda text: "".join(json.dumps({"_source": {"message": x}}) + "\n" for x in text.splitlines()),
    "JSON in JSON": lambda text: "".join(
        json.dumps({"log": json.dumps({"msg": x})}) + "\n" for x in text.splitlines()
    ),
    "one entry": lambda text: json.dumps({"message": text}) + "\n",
    "Loki": lambda text: (
        json.dumps({"streams": [{"values": [["1795383910120000000", x] for x in text.splitlines()]}]}) + "\n"
    ),
    "docker, partial": partial,
    "CRI, partial": partial_cri,
    "quoted-printable mail": lambda text: mail(
        "quoted-printable", quopri.encodestring(text.encode()).decode()
    ),
    "base64 mail": lambda text: mail("base64", base64.encodebytes(text.encode()).decode()),
}
#: These change the characters of data, or leave no lines.
LOSSY = {
    *("CSV", "ansible", "python list", "italic", "two a line", "line ends as text", "entities"),
    *("ellipsis", "blank lines", "escaped"),
}
#: Prefixes that could be bytes, too, and marks that base64 could have.
AMBIGUOUS = {
    *((dress, kind) for dress in ("prefix, ts", "prefix, ts -s", "prefix, TSV") for kind in KINDS),
    *(
        (dress, kind)
        for dress in ("prefix, less -N", "encoding, spans", "encoding, cells")
        for kind, text in KINDS.items()
        if text.count("\n") == 1
    ),
    ("quote, table", "bytes: base64 lines"),
}
DRESSES = {
    name: dress
    for name, dress in named(prefix=PREFIXES, quote=QUOTES, encoding=ENCODINGS, entry=ENTRIES).items()
    if name.partition(", ")[2] not in LOSSY
}


def content(text: str) -> tuple[bytes, list[str]]:
    """The bytes, and the codes of errors."""
    try:
        items = list(read_source(io.BytesIO(text.encode()), "text"))
    except SourceError as error:
        return b"", [str(error)]
    errors = [item.text for item in items if isinstance(item, Notice) and item.severity == "error"]
    return b"".join(item.data for item in items if isinstance(item, Chunk)), errors


#: Text after bytes is reported.
PROSE = {"quote, prose", "quote, Jira"}
EXPECTED = {name: CALL + REPLY + MESSAGE + LONG if name.startswith("strace") else MESSAGE for name in KINDS}


@pytest.mark.parametrize("dress", DRESSES)
def test_every_dressing_of_every_kind(dress: str) -> None:
    wrong = {
        kind
        for kind, text in KINDS.items()
        if content(DRESSES[dress](text)) != (EXPECTED[kind], [] if dress not in PROSE else ANY)
        and (dress, kind) not in AMBIGUOUS
    }
    assert wrong == set()


@pytest.mark.parametrize("wrap", WRAPS)
def test_wrapped_traces(wrap: str) -> None:
    wrong = []
    for options in itertools.product(
        ("c", "x", "xx"), ("", "{pid} ", "{pid} {s}.{us} ", "[pid {pid}] "), ("rw", "send", "v", "msg")
    ):
        text = strace(*options)
        if content(WRAPS[wrap](text)) != (CALL + REPLY + MESSAGE + LONG, []):
            wrong.append(options)
    assert wrong == []


@pytest.mark.parametrize("wrap", WRAPS)
def test_wrapped_traces_with_cut_strings(wrap: str) -> None:
    for form in ("rw", "send", "v", "msg"):
        text = strace(form=form, limit=32)
        assert content(WRAPS[wrap](text)) == content(text)


@pytest.mark.parametrize("outer", ["quote, quote", "entry, quoted-printable mail", "encoding, pre"])
@pytest.mark.parametrize(
    "inner", ["entry, docker", "prefix, syslog", "prefix, docker compose", "prefix, CRI"]
)
def test_envelope_in_an_envelope(inner: str, outer: str) -> None:
    for kind in ("strace", "bytes: hexdump -C"):
        text = DRESSES[outer](DRESSES[inner](KINDS[kind]))
        assert content(text) == (EXPECTED[kind], []), kind


def each(line: Dress) -> Dress:
    return lambda text: "".join(line(each) + "\n" for each in text.splitlines())


def around(before: str, after: str) -> Dress:
    return lambda text: before + text + after


def filled(width: int, mark: str = "", *, hard: bool = False) -> Dress:
    return each(
        lambda line: textwrap.fill(
            line,
            width,
            initial_indent=mark,
            subsequent_indent=mark,
            break_long_words=hard,
            break_on_hyphens=False,
            drop_whitespace=not hard,
        )
    )


#: Further forms, of trackers, chats, pages, collectors and tools.
PASTES: dict[str, Dress] = {
    "Slack": each(lambda line: f"`{line}`"),
    "Slack quote": each(lambda line: f"&gt; {line}"),
    "Confluence": around("{code:title=x|theme=y}\n", "{code}\n"),
    "reStructuredText": lambda text: "::\n\n" + each(lambda line: f"    {line}")(text),
    "Org": around("#+BEGIN_SRC\n", "#+END_SRC\n"),
    "AsciiDoc": around("----\n", "----\n"),
    "BBCode": around("[code]\n", "[/code]\n"),
    "IRC": each(lambda line: f"<danpb> {line}"),
    "IRC with times": each(lambda line: f"10:22 <danpb> {line}"),
    "WeeChat": each(lambda line: f"10:22:01   danpb | {line}"),
    "terminal": lambda text: text.replace("\n", "\r\r\n"),
    "old Mac": lambda text: text.replace("\n", "\r"),
    "backslashes": each(lambda line: f"{line}\\"),
    "GitLab page": each(
        lambda line: f'<div class="line" id="LC1"><a href="#L1">1</a> <span>{html.escape(line)}</span></div>'
    ),
    "one line of HTML": lambda text: "<br>".join(html.escape(line) for line in text.splitlines()),
    "escaped twice": lambda text: html.escape(html.escape(text)),
    "diff context": each(lambda line: f" {line}"),
    "diff removal": each(lambda line: f"-{line}"),
    "git grep": each(lambda line: f"HEAD:logs/libvirtd.log:12:{line}"),
    "tail": around("==> /var/log/libvirt/libvirtd.log <==\n", ""),
    "script": around("Script started on 2013-09-16 20:39:03+00:00\n", "\nScript done on x\n"),
    "logcat": each(lambda line: f"09-16 20:39:03.273  1234  1234 I libvirtd: {line}"),
    "klog": each(lambda line: f"I0916 20:39:03.273000   14090 launcher.go:12] {line}"),
    "zap": each(lambda line: json.dumps({"level": "info", "ts": 1379363943.2, "msg": line})),
    "fluentd": each(lambda line: f"2013-09-16 20:39:03.0 +0000 kube.var.log: {json.dumps({'log': line})}"),
    "Splunk": each(lambda line: json.dumps({"result": {"_raw": line, "_time": "x"}})),
    "CloudWatch": lambda text: json.dumps({"events": [{"message": line} for line in text.splitlines()]}),
    "Google Cloud": each(lambda line: json.dumps({"textPayload": line, "timestamp": "2013-09-16T20:39:03Z"})),
    "ansible result": lambda text: json.dumps({"stdout_lines": text.splitlines()}, indent=4),
    "YAML block": lambda text: "log: |\n" + each(lambda line: f"  {line}")(text),
    "YAML list": each(lambda line: "- '{}'".format(line.replace("'", "''"))),
    "Python logging": each(lambda line: f"DEBUG:root:{line}"),
    "Outlook": lambda text: "\n\n".join(text.splitlines()) + "\n",
    "filled and quoted": filled(72, "> "),
    "filled": filled(78),
    "cut": filled(100, hard=True),
    "format=flowed": each(
        lambda line: "\n".join(
            f"{part} " for part in textwrap.wrap(line, 72, break_on_hyphens=False, break_long_words=False)
        )
    ),
    "quoted-printable in a quote": each(lambda line: "> " + quopri.encodestring(line.encode()).decode()),
    "JSON, CRLF": lambda text: entries(message="{}")(text).replace("\n", "\r\n"),
    "pretty JSON": lambda text: "".join(
        json.dumps({"@timestamp": "2013-09-16T20:39:03Z", "message": line}, indent=2) + "\n"
        for line in text.splitlines()
    ),
    "array of JSON": lambda text: json.dumps([{"message": line} for line in text.splitlines()], indent=1),
    "guillemets": each(lambda line: f"» {line}"),
    "emoji": each(lambda line: f"🐛 {line}"),
}
HEAD = "2013-09-16 20:39:03.273+0000: 14090: debug : "
LOG = (
    f"{HEAD}virNetServerClientDispatchRead:889 : RPC_SERVER_CLIENT_MSG_RX: client=0x1c63910 len=64"
    " prog=536903814 vers=1 proc=183 type=0 status=0 serial=8\n"
    f"{HEAD}virNetServerClientSendMessage:1119 : RPC_SERVER_CLIENT_MSG_TX_QUEUE: client=0x1c63910 len=32"
    " prog=536903814 vers=1 proc=183 type=1 status=0 serial=8\n"
)
PASTED = {
    "log": (
        LOG,
        [
            bytes.fromhex("00000040 20008086 00000001 000000b7 00000000 00000008 00000000"),
            bytes.fromhex("00000020 20008086 00000001 000000b7 00000001 00000008 00000000"),
        ],
    ),
    "strace": (KINDS["strace"], [CALL + REPLY + MESSAGE + LONG]),
    "hexdump -C": (KINDS["bytes: hexdump -C"], [MESSAGE]),
}


@pytest.mark.parametrize("name", PASTES)
def test_forms_that_people_paste(name: str) -> None:
    wrong = {
        kind for kind, (text, data) in PASTED.items() if content(PASTES[name](text))[0] != b"".join(data)
    }
    assert wrong == set()


def test_text_is_returned_before_more_is_read() -> None:
    text = ENTRIES["docker"](KINDS["strace"]).encode()
    read: list[bytes] = []

    class Pipe(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            read.append(b"")
            return text if len(read) == 1 else self.fail()

        def fail(self) -> bytes:
            raise AssertionError("more was read")

    items = read_source(Pipe(), "pipe")
    assert next(items) is not None
