"""tracefs as files: writes and removals, in a plain folder in its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libvirt_proto.capture.probes import tracefs
from libvirt_proto.capture.probes.errors import TraceError
from libvirt_proto.capture.probes.plan import Plan

#: No process has this number: it exceeds the kernel's maximum.
NOBODY = 1 << 23


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "uprobe_events").touch()
    (tmp_path / "instances").mkdir()
    return tmp_path


def plan() -> Plan:
    return Plan(tracefs.own_group(), (), 64)


def test_kernel_without_uprobe_events(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="CONFIG_UPROBE_EVENTS"), tracefs.armed(tmp_path, plan()):
        pytest.fail("it is armed")


def test_a_tracing_that_lacks_a_file_leaves_no_instance(root: Path) -> None:
    """The folder that is made is empty here, where the kernel would fill it."""
    words = r"instances/libvirt_proto_.* does not exist: this kernel's tracing"
    with pytest.raises(TraceError, match=words), tracefs.armed(root, plan()):
        pytest.fail("it is armed")
    assert os.listdir(root / "instances") == []


def test_reports_rejected_write(root: Path) -> None:
    (root / "instances").rmdir()
    (root / "instances").write_text("a file, where a folder should be")
    words = r"the kernel rejects .*instances/.*: not a directory"
    with pytest.raises(TraceError, match=words), tracefs.armed(root, plan()):
        pytest.fail("it is armed")


def test_removes_remains_of_dead_processes(root: Path) -> None:
    mine, dead, other = tracefs.own_group(), f"libvirt_proto_{NOBODY}_17", "of_somebody_else"
    reused = f"libvirt_proto_{os.getpid()}_1"  # an older process of the same number
    for name in (mine, dead, other, reused):
        (root / "instances" / name).mkdir()
    events = f"p:{dead}/client_new /x:0x10 a=%ax:u64\np:{mine}/socket_new /x:0x20\np:{other}/e /y:0x1\n"
    (root / "uprobe_events").write_text(events)
    assert tracefs.remove_leftovers(root) == sorted([dead, reused])
    assert sorted(os.listdir(root / "instances")) == sorted([mine, other])
    # Removing appends a line; a plain file keeps the others.
    assert (root / "uprobe_events").read_text() == events + f"-:{dead}/client_new"


def test_counts_only_removed_instances(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"libvirt_proto_{NOBODY}_17"
    (root / "instances" / dead / "is not empty").mkdir(parents=True)
    assert tracefs.remove_leftovers(root) == []
    (root / "instances" / dead / "is not empty").rmdir()
    (root / "uprobe_events").unlink()
    (root / "uprobe_events").mkdir()  # it can be neither read nor written
    assert tracefs.remove_leftovers(root) == [dead]


def test_removes_nothing_without_tracefs(tmp_path: Path) -> None:
    assert tracefs.remove_leftovers(tmp_path / "missing") == []


def test_failed_mount_reports_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mount program that fails, and without one."""
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\necho 'mount: permission  denied.' >&2\nexit 32\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TraceError, match=r"cannot be mounted at .* \(mount: permission denied\.\)"):
        tracefs.mount()
    program.unlink()
    with pytest.raises(TraceError, match="mount cannot be run: no such file or directory"):
        tracefs.mount()


def test_rejects_folder_that_is_not_tracefs() -> None:
    """The user chooses the name of a FUSE file system; Unicode blanks do not separate fields."""
    table = (
        "40 23 0:13 / /sys/kernel/tracing rw,nosuid - tracefs tracefs rw\n"
        "41 23 0:13 / /mnt/a\\040b\\134\\012 rw shared:1 - tracefs x rw\n"
        "42 23 0:13 /instances /mnt/part rw - tracefs tracefs rw\n"
        "43 23 0:44 / /srv/user/m rw - fuse x\u2003/evil\u2003tracefs\u2028y rw\n"
        "44 23 0:45 / /srv/user/-\u2003-\u2003tracefs rw - fuse.x y rw\n"
        "45 23 0:46 / /mnt/other rw - fuse tracefs rw\n"
        "\n"
    )
    device = os.makedev(0, 13)
    assert list(tracefs._mounts(table.encode())) == [
        (device, Path("/sys/kernel/tracing")),
        (device, Path("/mnt/a b\\\n")),
    ]


def test_incomplete_listing_leaves_no_events(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's list may lack events while another trace removes its own."""
    dead = f"libvirt_proto_{NOBODY}_17"
    first, second = f"p:{dead}/client_new /x:0x10\n", f"p:{dead}/socket_new /x:0x20\n"
    listings = iter([first, first, second, first + second])
    monkeypatch.setattr(tracefs, "_read", lambda path: next(listings, ""))
    assert tracefs.remove_leftovers(root) == [dead]
    removed = (root / "uprobe_events").read_text()
    assert removed == f"-:{dead}/client_new-:{dead}/socket_new"
