"""A real session, as a capture and as the client's log, merged into one timeline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.differential import ours
from tests.differential.libvirtd import Libvirtd

pytestmark = pytest.mark.system("libvirtd", "virsh", "tcpdump")


def test_merges_capture_with_client_log(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Every message is in both; the capture has the payloads, and both have the same clock."""
    capture, log = tmp_path / "virsh.pcap", tmp_path / "client.log"
    logging = {"LIBVIRT_LOG_FILTERS": "2:rpc", "LIBVIRT_LOG_OUTPUTS": f"2:file:{log}"}
    with libvirtd.recorded(capture):
        for command in (["domname", "1"], ["dumpxml", "test"], ["domname", "1"]):
            libvirtd.virsh(*command, **logging)
    alone = ours.decode(capture, "--port", str(libvirtd.port))
    done = ours.run("decode", "--merge", "--format", "jsonl", "--port", str(libvirtd.port), log, capture)
    lines = [line for line in map(json.loads, done.stdout.splitlines()) if "event" not in line]
    assert len(lines) == len(alone) > 40
    assert all(len(line["sightings"]) == 2 and "missing" not in line for line in lines)

    def content(line: dict[str, object]) -> str:
        return json.dumps([line["dir"], line["procedure"], line["serial"], line["payload"]])

    assert sorted(map(content, lines)) == sorted(map(content, alone))
    # The log counts milliseconds.
    found = re.search(r"the clock of virsh\.pcap is (\d\.\d{6}) s (?:ahead of|behind)", done.stderr)
    assert found, done.stderr
    assert float(found[1]) < 0.005
