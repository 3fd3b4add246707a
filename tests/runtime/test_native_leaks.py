"""Memory of the native core: a million messages need no more than the first ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import packets

pytestmark = pytest.mark.native

MESSAGES = 20_000
#: Reads the capture 26 times as lines, as exchanges, as figures and as messages, and prints the resident
#: memory in KiB after each pass, and how many messages there were.
SCRIPT = """
import gc, re, sys
import libvirt_proto
from libvirt_proto import native, registry
from libvirt_proto.api.capture import lines_of
from libvirt_proto.events import Captured, Lines
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.api.capture import exchange_lines_of, lines_of
from libvirt_proto.presenters.exchanges import JsonLinesExchangePresenter
from libvirt_proto.presenters.native_lines import JsonExchanges, JsonLines, NativeExchanges, NativeLines

def resident():
    gc.collect()
    return int(re.search(r"^VmRSS:\\s+(\\d+)", open("/proc/self/status").read(), re.MULTILINE)[1])

def as_lines():
    presenter = JsonLinesPresenter(registry.default())
    core, count = NativeLines(registry.default(), JsonLines(presenter)), 0
    with libvirt_proto.open(sys.argv[1]) as capture:
        for item in lines_of(capture, core):
            if isinstance(item, Captured):
                presenter(item)
                core.learn(item)
                count += 1
            elif isinstance(item, Lines):
                count += item.messages
                by_core[0] += item.messages
    return count

def as_exchanges():
    presenter = JsonLinesExchangePresenter(registry.default())
    core, count = NativeExchanges(registry.default(), JsonExchanges(presenter)), 0
    with libvirt_proto.open(sys.argv[1]) as capture:
        for item in exchange_lines_of(capture, core):
            if isinstance(item, bytes):
                count += 2 * item.count(b"\\n")
            else:
                presenter(item.exchange)
                core.learn_exchange(item.exchange)
                count += 2
    return count

def as_messages():
    with libvirt_proto.open(sys.argv[1]) as capture:
        return sum(1 for _ in capture.timeline())

def as_figures():
    with libvirt_proto.open(sys.argv[1]) as capture:
        return capture.statistics().totals.messages

assert native.core() is not None
by_core = [0]
for run in (as_lines, as_exchanges, as_figures, as_messages):
    print(*((run(), resident())[1] for _ in range(26)))
print(by_core[0], run())
"""


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="ASan keeps freed memory")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc/self/status")
def test_million_messages_keep_no_memory(tmp_path: Path) -> None:
    """Every 500th message is malformed, so the refusals of the core are measured, too."""
    talk = packets.Talk()
    start = talk.handshake()
    call, reply = packets.message(proc=59), packets.message(b"\0\0\0\4host", proc=59, type=1)
    bad = packets.message(b"\xff\0\0\4host", proc=59, type=1)
    pairs = [
        talk.packet(*each)
        for at in range(MESSAGES // 2)
        for each in (("c2s", call), ("s2c", bad if at % 250 == 249 else reply))
    ]
    file = tmp_path / "many.pcap"
    file.write_bytes(packets.pcap([*start, *pairs]))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(file)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines, exchanges, figures, messages, counts = (
        [int(word) for word in line.split()] for line in done.stdout.splitlines()
    )
    by_core, each = counts
    assert each == MESSAGES
    assert by_core > 26 * MESSAGES * 0.98
    for resident in (lines, exchanges, figures, messages):
        # 400,000 messages lie between these: 16 bytes of each would be 6 MB.
        assert resident[-1] - resident[5] < 2048, f"KiB after each pass: {resident}"
