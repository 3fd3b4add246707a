"""Any bytes and damaged captures give Chunks, messages and Notices; never a traceback."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.sources import FileFormat
from tests.support import packets
from tests.support.oracles import readable

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
FORMATS: tuple[FileFormat, ...] = ("pcap", "pcapng", "raw", "hex", "log", "strace", "monitor", "text")


@cache
def real(name: str) -> bytes:
    return (CAPTURES / name).read_bytes()


@cache
def as_pcapng(name: str) -> bytes:
    """A real capture's packets, in pcapng blocks of each kind."""
    data, pos, blocks = real(name), 24, [packets.section(), packets.interface()]
    while pos < len(data):
        size = int.from_bytes(data[pos + 8 : pos + 12], "little")
        packet = data[pos + 16 : pos + 16 + size]
        make = (packets.enhanced(packet, pos), packets.simple(packet), packets.obsolete(packet, pos))
        blocks.append(make[len(blocks) % 3])
        pos += 16 + size
    return b"".join(blocks)


@given(st.binary(max_size=400))
def test_any_bytes_read_or_raise(data: bytes) -> None:
    readable(data)


@given(st.sampled_from(FORMATS), st.binary(max_size=400))
def test_any_bytes_in_any_format_read_or_raise(format: FileFormat, data: bytes) -> None:
    starts = {"pcap": packets.pcap([]), "pcapng": packets.section() + packets.interface()}
    readable(starts.get(format, b"") + data, format)


@given(st.lists(st.binary(max_size=80), max_size=10), st.sampled_from((0, 1, 12, 108, 113, 276, 5000)))
def test_any_packets_are_read(contents: list[bytes], linktype: int) -> None:
    readable(packets.pcap(contents, linktype=linktype))


@given(st.text(st.sampled_from("0123456789abcdefx:|*# \n\r\t,\\"), max_size=300))
def test_any_hex_text_reads_or_raises(text: str) -> None:
    readable(text.encode(), "hex")
    readable(text.encode())


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Some bytes changed, ranges removed, doubled or filled, the end removed."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(out) - 1)))
        match draw(st.integers(0, 4)):
            case 0:
                out[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                out[at : at + 4] = draw(
                    st.sampled_from((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
                )
            case 2:
                del out[at : at + draw(st.integers(1, 2000))]
            case 3:
                out[at:at] = out[at : at + draw(st.integers(1, 2000))]
            case 4:
                del out[max(at, len(out) // 4) :]
    return bytes(out)


@pytest.mark.parametrize("name", ["virsh-domname.pcap", "stream-events-keepalive.pcap"])
@pytest.mark.parametrize("form", [real, as_pcapng])
@given(data=st.data())
def test_damaged_captures(name: str, form, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    readable(data.draw(damaged(form(name))))


@given(damaged(real("hand-made-messages.hex")))
def test_damaged_hex(data: bytes) -> None:
    readable(data)
