"""A hostile server: any bytes and descriptors leave the client's core consistent."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.client.core import ClientCore, Returned, Unexpected
from libvirt_proto.generated import remote
from tests.support.examples import examples
from tests.support.frames import error_payload, frame, word

REMOTE = registry.program("remote")
VERSION = REMOTE.procedure("connect_get_lib_version")
SCREENSHOT = REMOTE.procedure("domain_screenshot")
ARGS = remote.RemoteDomainScreenshotArgs(remote.RemoteNonnullDomain("vm1", bytes(16), 1), 0, 0)

PAYLOADS = st.sampled_from(
    [b"", word(0), word(1), word(0) + word(9), error_payload(1, 2, b"text"), b"data", bytes(12), word(32)]
)
FRAMES = st.builds(
    frame,
    PAYLOADS,
    prog=st.sampled_from([REMOTE.number, 0x6B656570, 1]),
    vers=st.sampled_from([1, 2]),
    proc=st.sampled_from([VERSION.number, SCREENSHOT.number, 1, 2, 9999]),
    type_=st.integers(0, 7),
    serial=st.integers(0, 4),
    status=st.integers(0, 3),
)
DATA = st.lists(FRAMES | st.binary(max_size=8), max_size=8).map(b"".join)
ACTIONS = st.lists(
    st.sampled_from(["call", "stream", "abandon", "abort", "finish", "poll"])
    | st.tuples(DATA, st.integers(0, 3)),
    max_size=12,
)


@settings(max_examples=examples(400))
@given(ACTIONS, st.booleans())
def test_any_server_leaves_the_core_consistent(actions: list[object], unix: bool) -> None:
    """Each call ends at most once, each descriptor is returned exactly once, and nothing follows an error."""
    core = ClientCore(unix=unix)
    numbers = count(100)
    arrived: list[int] = []
    returned: list[int] = []
    calls: set[int] = set()
    for action in actions:
        opened = [serial for serial in range(8) if core.is_open(serial)]
        match action:
            case "call":
                calls.add(core.call(REMOTE, VERSION))
            case "stream":
                calls.add(core.call(REMOTE, SCREENSHOT, ARGS))
            case "abandon" if calls:
                core.abandon(min(calls))
            case "abort" if opened:
                core.abort(opened[0])
            case "finish" if opened:
                core.finish(opened[0])
            case (bytes() as data, int() as descriptors):
                failed = core.error is not None
                fds = [next(numbers) for _ in range(descriptors)]
                arrived += fds
                for received in core.receive(data, fds):
                    if isinstance(received, Returned | Unexpected):
                        returned += received.fds
                    if isinstance(received, Returned):
                        assert received.serial in calls
                        calls.remove(received.serial)
                    assert not failed or isinstance(received, Unexpected)
        assert core.waiting <= 12
        core.take_output()
    assert sorted(returned + core.take_descriptors()) == arrived


@settings(max_examples=examples(200))
@given(st.lists(FRAMES, max_size=6), st.data())
def test_pieces_give_the_same_as_the_whole(frames: list[bytes], data: st.DataObject) -> None:
    """The sizes of reads change nothing."""
    whole = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    one, many = ClientCore(), ClientCore()
    for core in (one, many):
        core.call(REMOTE, VERSION)
        core.call(REMOTE, SCREENSHOT, ARGS)
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    received = [repr(each) for piece in pieces for each in many.receive(piece)]
    assert [repr(each) for each in one.receive(whole)] == received  # errors have no other equality
    assert repr(one.error) == repr(many.error)
    assert one.take_output() == many.take_output()
