"""tracefs as files: what is written where and removed again, in a plain folder in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libvirt_proto.capture.probes import tracefs
from libvirt_proto.capture.probes.errors import TraceError
from libvirt_proto.capture.probes.plan import Event, Plan

#: No process has this number: it is beyond the kernel's largest.
NOBODY = 1 << 23


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "uprobe_events").touch()
    (tmp_path / "instances").mkdir()
    return tmp_path


def plan(*events: Event) -> Plan:
    return Plan(tracefs.own_group(), events, 64)


def test_a_kernel_without_uprobe_events(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="CONFIG_UPROBE_EVENTS"), tracefs.armed(tmp_path, plan()):
        pytest.fail("it is armed")


def test_a_tracing_that_lacks_a_file_leaves_no_instance(root: Path) -> None:
    """The folder that is made is empty here, where the kernel would fill it."""
    words = r"instances/libvirt_proto_.* is not there: this kernel's tracing"
    with pytest.raises(TraceError, match=words), tracefs.armed(root, plan()):
        pytest.fail("it is armed")
    assert os.listdir(root / "instances") == []


def test_a_file_that_takes_nothing(root: Path) -> None:
    (root / "instances").rmdir()
    (root / "instances").write_text("a file, where a folder should be")
    words = r"the kernel does not take .*instances/.*: Not a directory\."
    with pytest.raises(TraceError, match=words), tracefs.armed(root, plan()):
        pytest.fail("it is armed")


def test_what_a_dead_process_left_behind_goes(root: Path) -> None:
    mine, dead, other = tracefs.own_group(), f"libvirt_proto_{NOBODY}_17", "of_somebody_else"
    reused = f"libvirt_proto_{os.getpid()}_1"  # an older process of the same number
    for name in (mine, dead, other, reused):
        (root / "instances" / name).mkdir()
    events = f"p:{dead}/client_new /x:0x10 a=%ax:u64\np:{mine}/socket_new /x:0x20\np:{other}/e /y:0x1\n"
    (root / "uprobe_events").write_text(events)
    assert tracefs.remove_leftovers(root) == sorted([dead, reused])
    assert sorted(os.listdir(root / "instances")) == sorted([mine, other])
    # Removing is a line that is appended; a plain file keeps the others.
    assert (root / "uprobe_events").read_text() == events + f"-:{dead}/client_new"


def test_an_instance_that_cannot_be_removed_is_none_that_was(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"libvirt_proto_{NOBODY}_17"
    (root / "instances" / dead / "is not empty").mkdir(parents=True)
    assert tracefs.remove_leftovers(root) == []
    (root / "instances" / dead / "is not empty").rmdir()
    (root / "uprobe_events").unlink()
    (root / "uprobe_events").mkdir()  # nothing can be read of it or written to it
    assert tracefs.remove_leftovers(root) == [dead]


def test_nothing_to_remove_where_there_is_no_tracefs(tmp_path: Path) -> None:
    assert tracefs.remove_leftovers(tmp_path / "missing") == []


def test_a_mount_that_fails_says_what_mount_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program called mount that refuses, and with none."""
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\necho 'mount: permission  denied.' >&2\nexit 32\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TraceError, match=r"cannot be mounted at .* \(mount: permission denied\.\)"):
        tracefs.mount()
    program.unlink()
    with pytest.raises(TraceError, match="mount cannot be run: No such file or directory"):
        tracefs.mount()
