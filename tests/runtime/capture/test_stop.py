"""The stop flag of endless readers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from libvirt_proto.capture.stop import Stop

#: Ends with the first signal, which may arrive anywhere in the loop, mostly in `wait`.
LOOP = """\
from libvirt_proto.capture.stop import Stop
from libvirt_proto.cli.signals import stopping
stop = Stop()
with stopping(stop):
    print("begin", flush=True)
    while not stop.wait(0):
        pass
"""


def test_wait_sleeps_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    stop = Stop()
    assert (stop.wait(0.5), stop.is_set()) == (False, False)
    stop.set()
    assert (stop.wait(60), stop.is_set()) == (True, True)
    assert slept == [0.5]


def test_another_thread_can_set_it() -> None:
    stop = Stop()
    threading.Thread(target=stop.set).start()
    while not stop.wait(0.001):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_at_any_point_ends_the_loop(number: signal.Signals) -> None:
    """With threading.Event, which has a lock, every other of these processes would hang."""
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begin\n"
            process.send_signal(number)
            try:
                assert process.wait(30) == 0
            finally:
                process.kill()
