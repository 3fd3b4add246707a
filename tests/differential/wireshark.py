"""tshark with the generated dissector: its messages, read from its PDML."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from libvirt_proto_codegen.targets.wireshark import FILE
from tests.differential import ours
from tests.differential.installation import Installation

#: The prefix of the dissector's filter names.
PREFIX: Final = "virrpc."
_USER: Final = "nobody:nogroup"


@dataclass(frozen=True)
class Item:
    """An item of the tree. `name` is its filter name without the prefix, empty for an item without one;
    `label` is the line that Wireshark shows, `show` the value, `data` its bytes."""

    name: str
    label: str
    show: str
    data: bytes
    items: tuple[Item, ...]
    #: Names of the number in the public API, or of the enumeration's member.
    constants: tuple[str, ...]
    #: (name, text) of expert infos.
    experts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Found:
    """A message, or a run of bytes that belong to none. `fields` has the items below the protocol by name."""

    frame: int
    label: str
    fields: Mapping[str, Item]
    #: (name, text) of all expert infos in the message, in order.
    experts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tshark:
    """tshark of an installation, with a dissector in a folder that its user can read.

    It does not run as root, for whom Wireshark 4.4 loads no scripts in Lua."""

    installation: Installation
    folder: Path
    script: Path

    def run(self, capture: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Read a capture, with port 16509 for the dissector."""
        return self.read(capture, "-o", "virrpc.ports:16509", *options)

    def read(self, capture: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Read a capture with the default preferences."""
        copy = self.folder / "capture"
        shutil.copyfile(capture, copy)
        copy.chmod(0o644)
        return self.start("-r", str(copy), *options)

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run tshark with the dissector."""
        user = _USER if os.geteuid() == 0 else ""
        command = self.installation.command(
            "tshark", "-n", "-X", f"lua_script:{self.script}", *words, user=user
        )
        environment = os.environ | {"HOME": str(self.folder)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    def with_definitions(self, definitions: Path) -> Tshark:
        """Return the same tshark with the dissector of other definitions instead."""
        folder = self.folder / "other"
        ours.run("generate", "wireshark", "--defs", definitions, "-o", folder)
        return replace(self, script=_readable(folder))

    def messages(self, capture: Path, *options: str) -> list[Found]:
        """Return all messages, and all other bytes that were given to the dissector."""
        done = self.run(capture, *options, "-Y", "virrpc", "-T", "pdml", "-J", "virrpc")
        assert "Lua Error" not in done.stdout + done.stderr
        found = []
        for packet in ElementTree.fromstring(done.stdout):
            number = packet.find("proto[@name='geninfo']/field[@name='num']")
            assert number is not None
            for protocol in packet.iterfind("proto[@name='virrpc']"):
                items = {item.name: item for item in _items(protocol)}
                experts = tuple(_experts(protocol.iter("field")))
                found.append(Found(int(number.get("show", "")), protocol.get("showname", ""), items, experts))
        return found


def tshark(installation: Installation, folder: Path) -> Tshark:
    """Return a tshark, with the dissector in a folder below a temporary one, which installations share."""
    ours.run("generate", "wireshark", "-o", folder)
    return Tshark(installation, folder, _readable(folder))


def _readable(folder: Path) -> Path:
    """Return the dissector in a folder, readable by tshark's user."""
    folder.chmod(0o755)
    (folder / FILE).chmod(0o644)
    return folder / FILE


def _items(element: ElementTree.Element) -> Iterator[Item]:
    for child in element.iterfind("field"):
        name = child.get("name", "")
        if name == f"{PREFIX}constant" or name.startswith("_ws."):
            continue
        yield Item(
            name.removeprefix(PREFIX),
            # The sign of a cut label.
            child.get("showname", "").removeprefix("[…] "),
            child.get("show", ""),
            bytes.fromhex(child.get("value", "")),
            tuple(_items(child)),
            tuple(each.get("show", "") for each in child.iterfind(f"field[@name='{PREFIX}constant']")),
            tuple(_experts(child.iterfind("field"))),
        )


def _experts(elements: Iterable[ElementTree.Element]) -> Iterator[tuple[str, str]]:
    for element in elements:
        if element.get("name") == "_ws.expert":
            kind, text = element.find("field"), element.find("field[@name='_ws.expert.message']")
            assert kind is not None
            assert text is not None
            yield kind.get("name", "").removeprefix(PREFIX), text.get("show", "")
