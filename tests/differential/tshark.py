"""tshark with libvirt's dissector as a reference: its PDML of a capture."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

HEADER = ("length", "program", "version", "procedure", "type", "serial", "status")


@dataclass(frozen=True)
class Field:
    """A field of the dissector's tree. `label` is the line that Wireshark shows, `value` its bytes (None for
    a field of fields), `size` their number, `name` the last part of its filter name."""

    name: str
    size: int
    label: str
    value: bytes
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Found:
    """A message. `header` has the number and the name (empty if unknown) of each header field; `payload` is
    None if the dissector shows nothing after the header."""

    time_ns: int
    stream: int
    to_port: int
    header: dict[str, tuple[int, str]]
    payload: Field | None


def has_dissector() -> bool:
    """Report whether libvirt's dissector, a separate plugin, is installed."""
    done = subprocess.run(["tshark", "-G", "protocols"], capture_output=True, text=True, check=True)
    return "\tlibvirt" in done.stdout


def messages(capture: Path, *options: str) -> list[Found]:
    """All messages of a capture, in tshark's order."""
    found = []
    for packet in _packets(capture, *options):
        protocols = {protocol.get("name", ""): protocol for protocol in packet}
        for protocol in packet:
            if protocol.get("name") != "libvirt":
                continue
            fields = [_field(element) for element in protocol]
            assert tuple(field.name for field in fields[:7]) == HEADER
            tcp = {field.name: field for field in map(_field, protocols["tcp"].iter("field"))}
            stamp = protocols["geninfo"].find("field[@name='timestamp']")
            assert stamp is not None
            found.append(
                Found(
                    time_ns=int(stamp.get("value", "").replace(".", "")),
                    stream=int(re.findall(r"\d+", tcp["stream"].label)[0]),
                    to_port=int.from_bytes(tcp["dstport"].value),
                    header={field.name: _number(field) for field in fields[:7]},
                    payload=fields[7] if fields[7:] else None,
                )
            )
    return found


def stream(capture: Path, number: int) -> tuple[bytes, bytes]:
    """The bytes of a TCP connection as tshark reassembles them, from and to the side that opened it."""
    text = _tshark(capture, "-q", "-z", f"follow,tcp,raw,{number}")
    lines = re.findall(r"^(\t?)([0-9a-f]+)$", text, re.MULTILINE)
    sides = ("", "\t")
    return tuple(bytes.fromhex("".join(data for tab, data in lines if tab == side)) for side in sides)  # type: ignore[return-value]


def _tshark(capture: Path, *arguments: str) -> str:
    return subprocess.run(
        ["tshark", "-n", "-r", str(capture), *arguments], capture_output=True, text=True, check=True
    ).stdout


def _packets(capture: Path, *options: str) -> Iterator[ElementTree.Element]:
    text = _tshark(capture, *options, "-Y", "libvirt", "-T", "pdml", "-J", "frame tcp libvirt")
    for packet in ElementTree.fromstring(text):
        assert packet.tag == "packet"
        yield packet


def _field(element: ElementTree.Element) -> Field:
    try:
        value = bytes.fromhex(element.get("value", ""))
    except ValueError:
        value = b""
    return Field(
        element.get("name", "").rpartition(".")[2],
        int(element.get("size", "0")),
        element.get("showname", ""),
        value,
        tuple(_field(child) for child in element),
    )


def _number(field: Field) -> tuple[int, str]:
    name = re.fullmatch(r"\w+: (\w+) \(.*\)", field.label)
    signed = field.name in ("procedure", "type", "status")
    return int.from_bytes(field.value, signed=signed), name[1].lower() if name else ""
