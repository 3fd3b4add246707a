"""Errors about wrong length words in logs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from libvirt_proto.capture.log.source import NotALogError, log_chunks
from libvirt_proto.events import Item, Notice

HEAD = "2022-12-07 07:05:31.013+0000: 28481: error : virNetMessageDecodeLength:150 : "
ERROR = "packet %d bytes received from server too large, want 33554432"
MESSAGE = (
    "2022-12-07 07:05:31.013+0000: 28481: info : virNetServerClientDispatchRead:1224 :"
    " RPC_SERVER_CLIENT_MSG_RX: client=0x1 len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0"
)


def read(text: str, *, undecided: bool = False) -> list[Item]:
    return list(log_chunks(io.BytesIO(text.encode()).read, undecided=undecided))


def notices(items: list[Item]) -> list[tuple[str, str, str]]:
    return [(item.code, item.severity, item.text) for item in items if isinstance(item, Notice)]


def test_port_scan_of_a_public_report() -> None:
    with Path(__file__).with_name("wrong-lengths.log").open("rb") as file:
        items = list(log_chunks(file.read, undecided=True))
    assert [(code, severity) for code, severity, _ in notices(items)] == [("wrong-length", "note")] * 5
    assert [text for *_, text in notices(items)] == [
        'line 1: received "\\r\\n\\r\\n" (0x0d0a0d0a): two line ends, not libvirt (a port scan)',
        'line 2: received "GET " (0x47455420): an HTTP request (GET), not libvirt',
        "line 3: received 0x80000028: an ONC RPC record mark of 40 bytes (RFC 5531), not libvirt",
        'line 5: received "HELP" (0x48454c50): a text command, not libvirt (a port scan)',
        "4 wrong length words: several protocols on one port: a port scan",
    ]


@pytest.mark.parametrize("dress", ["%s\n", "> %s\n", "<p>%s</p>\n", "\x1b[31m%s\x1b[0m\r\n", "  12  %s\n"])
def test_finds_errors_in_any_dress(dress: str) -> None:
    [(code, _, text)] = notices(read(dress % (HEAD + ERROR % 1212501068)))
    assert code == "wrong-length"
    assert text.startswith('line 1: received "HELP"')


def test_error_without_a_head_is_libvirts() -> None:
    [(code, _, _)] = notices(read(f"error: {ERROR % 218762502}\n", undecided=True))
    assert code == "wrong-length"


def test_error_next_to_messages() -> None:
    items = read(f"{MESSAGE}\n{HEAD}{ERROR % 536903810}\n{MESSAGE}\n")
    assert [text for *_, text in notices(items)] == [
        "line 2: received 0x20008086: the program number of remote: the stream is out of step"
    ]
    assert [type(item).__name__ for item in items] == ["Chunk", "LogLine", "Notice", "Chunk"]


def test_each_word_is_explained_once() -> None:
    lines = [HEAD + ERROR % (0x7F000000 + word) for word in range(40)] * 50
    assert len(notices(read("\n".join(lines)))) == 16


@pytest.mark.parametrize("text", ["12 bytes received from the kitchen\n", "packet 5 bytes received from \n"])
def test_other_text_is_not_an_error(text: str) -> None:
    with pytest.raises(NotALogError):
        read(text, undecided=True)
    assert [code for code, *_ in notices(read(text))] == ["no-rpc-lines"]
