"""Bytes as text: whatever form and dressing they are written in, the reader gives them back."""

from __future__ import annotations

import html
import io
import shutil
import struct
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from libvirt_proto.capture.bytetext.reader import byte_chunks, looks_like_byte_text
from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, Notice
from tests.support.bytewriters import TOOLS, WRITERS
from tests.support.examples import examples

Dress = Callable[[str], str]


def message(payload: bytes) -> bytes:
    """The reply of domain_lookup_by_name, with any payload."""
    return struct.pack(">IIIiiIi", 28 + len(payload), 0x20008086, 1, 23, 1, 7, 0) + payload


#: Payloads in multiples of eight bytes and four more, so that messages consist of words of eight bytes.
PAYLOADS = st.one_of(
    st.binary(max_size=90),
    st.lists(st.sampled_from([b"\0\0\0\0", b"\0\0\0\1", b"test", b"\xff\xff\xff\xff", b"a b ", b"dead"])).map(
        b"".join
    ),
    st.text(st.sampled_from("abcdef 0129|><'\"\\&;:.,-*#{}[]()/\n\t"), max_size=60).map(str.encode),
).map(lambda payload: payload + bytes(-(len(payload) + 28) % 8))
LONG = message(bytes(100) + b"abcdef01 face: beef" + bytes(200) + bytes(range(45)))
#: In base64 of 76 columns, the second line begins with `//`.
SLASHES = bytes(29) + b"\xff\xff\xff" + bytes(36)


def prefixed(prefix: str) -> Dress:
    return lambda text: "".join(f"{prefix}{line}\n" for line in text.split("\n"))


DRESSES: dict[str, Dress] = {
    "nothing": str,
    "quote": prefixed("> "),
    "quotes": prefixed(">> "),
    "indentation": prefixed("    "),
    "tab": prefixed("\t"),
    "fence": lambda text: f"```\n{text}\n```\n",
    "fence with a language": lambda text: f"~~~ hex\n{text}\n~~~\n",
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "BOM": lambda text: "\ufeff" + text,
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "HTML": lambda text: f"<pre>{html.escape(text)}</pre>",
    "HTML with entities": lambda text: f"<pre>\n{html.escape(text).replace(' ', '&nbsp;')}\n</pre>",
    "prose": lambda text: f"Hello,\n\nthis is what we got:\n\n{text}\n",
}


def content(text: str) -> tuple[bytes, list[str]]:
    items = list(read_source(io.BytesIO(text.encode()), "bytes"))
    errors = [item.text for item in items if isinstance(item, Notice) and item.severity == "error"]
    return b"".join(item.data for item in items if isinstance(item, Chunk)), errors


@pytest.mark.parametrize("name", WRITERS)
@given(payload=PAYLOADS)
@example(payload=LONG[28:])
@example(payload=SLASHES)
@settings(max_examples=examples(15))
def test_reads_any_form(name: str, payload: bytes) -> None:
    data = message(payload)
    assert content(WRITERS[name](data)) == (data, [])


@pytest.mark.parametrize("command", TOOLS)
@given(payload=PAYLOADS)
@example(payload=LONG[28:])
@example(payload=SLASHES)
@example(payload=b"\0\0\0\4test" + bytes(3))
@settings(max_examples=examples(4))
def test_reads_output_of_tools(command: str, payload: bytes) -> None:
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"needs {command.split()[0]}")
    data = message(payload)
    found, errors = content(TOOLS[command](data))
    assert not errors
    if "-A n" in command and ("-t x4" in command or "-x" in command):
        found = found[: len(data)]  # a last word without its length
    assert found == data


@pytest.mark.parametrize("dress", DRESSES)
@given(name=st.sampled_from(sorted(WRITERS)), other=st.sampled_from(sorted(DRESSES)), payload=PAYLOADS)
@example(name="kernel", other="BOM", payload=bytes(4))
@settings(max_examples=examples(40))
def test_reads_forms_in_any_dressing(dress: str, name: str, other: str, payload: bytes) -> None:
    data = message(payload)
    text = WRITERS[name](data)
    assert content(DRESSES[dress](text)) == (data, [])
    if {dress, other} <= {"quote", "quotes", "fence", "fence with a language", "CRLF", "prose"}:
        assert content(DRESSES[other](DRESSES[dress](text)))[0] == data


@given(st.lists(PAYLOADS, min_size=1, max_size=4), st.data())
def test_empty_lines_within_messages_do_not_split_them(payloads: list[bytes], draws: st.DataObject) -> None:
    stream = b"".join(map(message, payloads))
    at = draws.draw(st.lists(st.integers(12, len(stream)), max_size=5).map(sorted))
    parts = [stream[start:end].hex(" ") for start, end in zip([0, *at], [*at, len(stream)], strict=True)]
    data, errors = content("\n\n".join(parts))
    assert (data, errors) == (stream, [])


@pytest.mark.parametrize(
    "text",
    [
        "66 182\n",
        "Hello, world\n",
        "[1, 2, 3]\n",
        "0 0 0 56 is the length\n",
        "a = b'hello'\n",
        '"hello, world"\n',
        "commit 48d9db3e26abc\n\n    Merge branch 'r3'\n",
        "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        "aGVsbG8sIHdvcmxkIGhlbGxvLCB3b3JsZA==\n",
        "#include <stdio.h>\n\nint main(void)\n{\n    return 0;\n}\n",
        '1.2.3.4 - - [30/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 56\n',
        "00:1a:2b:3c:4d:5e eth0\n",
        "decade\nfacade\n\nthe deed\n",
    ],
)
def test_other_text_is_not_bytes(text: str) -> None:
    assert not looks_like_byte_text(text.encode())


@given(st.binary(max_size=300))
def test_pieces_do_not_matter(data: bytes) -> None:
    """The same items come out, whatever the sizes of the pieces that are read."""
    file = io.BytesIO(data)
    whole = list(byte_chunks(io.BytesIO(data).read, forced=True))
    assert list(byte_chunks(lambda _: file.read(3), forced=True)) == whole
