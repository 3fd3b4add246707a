"""virsh's messages, edited as JSON and encoded again, are sent to a real libvirtd, whose replies show the
values that it read."""

from __future__ import annotations

import copy
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.differential import ours, tshark
from tests.differential.libvirtd import PATIENCE, Libvirtd

pytestmark = pytest.mark.system("libvirtd", "virsh", "tcpdump")

Line = dict[str, Any]

INTERFACE = "aa:bb:cc:dd:ee:ff"
#: virsh commands that give a call of every kind to edit, in one connection.
SCRIPT = f"""\
dominfo test
domname 1
net-uuid default
setvcpus test 2
setmem test 1000000
memtune test --hard-limit 5000000
memtune test
domiftune test {INTERFACE} --inbound 100
domiftune test {INTERFACE}
desc test --title hello
desc test --title
vcpupin test 0 0-3
vcpupin test
domstats test
list --all
autostart test
"""


@pytest.fixture(scope="module")
def recorded(libvirtd: Libvirtd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    capture = tmp_path_factory.mktemp("session") / "session.pcap"
    with libvirtd.recorded(capture):
        libvirtd.virsh(SCRIPT)
    return capture


@pytest.fixture(scope="module")
def calls(recorded: Path, libvirtd: Libvirtd) -> dict[str, Line]:
    """virsh's first call of each procedure, as decoded."""
    found: dict[str, Line] = {}
    for line in ours.decode(recorded, "--port", str(libvirtd.port)):
        if line["type"] == "call":
            found.setdefault(line["procedure"], line)
    return found


def without_names(fields: dict[str, Any]) -> dict[str, Any]:
    """The object without the names after its numbers."""
    return {key: value for key, value in fields.items() if not key.endswith("_name")}


class Session:
    """A connection to the daemon for sending edited lines."""

    def __init__(self, port: int, calls: dict[str, Line]) -> None:
        self._port = port
        self._calls = calls

    def call(self, procedure: str, edit: Callable[[Any], object] = lambda payload: None) -> Line:
        """virsh's call, with its payload edited in place."""
        line = copy.deepcopy(self._calls[procedure])
        edit(line["payload"])
        return line

    def answers(self, *lines: Line) -> list[Line]:
        """The replies to the lines, in order, over a new connection."""
        script = [self.call("auth_list"), self.call("connect_open"), *lines, self.call("connect_close")]
        for serial, line in enumerate(script):
            line["serial"] = serial
        text = "".join(json.dumps(line) + "\n" for line in script)
        done = subprocess.run([ours.COMMAND, "encode"], input=text.encode(), capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
        replies = self._decode(b"".join(self._talk(list(ours.split(done.stdout)))))
        assert [reply["serial"] for reply in replies] == list(range(len(script)))
        assert [reply["status"] for reply in (*replies[:2], replies[-1])] == ["ok"] * 3
        return replies[2:-1]

    def _talk(self, frames: list[bytes]) -> list[bytes]:
        replies = []
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as connection:
            stream = connection.makefile("rb")
            for frame in frames:
                connection.sendall(frame)
                length = stream.read(4)
                replies.append(length + stream.read(int.from_bytes(length) - 4))
        return replies

    @staticmethod
    def _decode(replies: bytes) -> list[Line]:
        done = subprocess.run([ours.COMMAND, "decode", "-"], input=replies, capture_output=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, b"")
        lines = [json.loads(line, object_hook=without_names) for line in done.stdout.splitlines()]
        assert {line["type"] for line in lines} == {"reply"}
        return lines


@pytest.fixture(scope="module")
def session(libvirtd: Libvirtd, calls: dict[str, Line]) -> Session:
    return Session(libvirtd.port, calls)


def errors(replies: list[Line]) -> list[tuple[int, str] | None]:
    """Code and message of the error replies."""
    return [
        (each["payload"]["code"], each["payload"]["message"]) if each["status"] == "error" else None
        for each in replies
    ]


@pytest.mark.system("tshark")
def test_virsh_session_round_trips(recorded: Path, libvirtd: Libvirtd, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    ours.run("decode", "--port", str(libvirtd.port), "-o", lines, recorded)
    for direction, data in zip(("c2s", "s2c"), tshark.stream(recorded, 0), strict=True):
        ours.run("encode", "--dir", direction, "-o", tmp_path / direction, lines)
        assert (tmp_path / direction).read_bytes() == data


@pytest.mark.system("tshark")
def test_tshark_reads_the_encoded_capture(recorded: Path, libvirtd: Libvirtd, tmp_path: Path) -> None:
    lines, capture = tmp_path / "lines", tmp_path / "copy.pcapng"
    ours.run("decode", "--port", str(libvirtd.port), "-o", lines, recorded)
    ours.run("encode", "--format", "pcapng", "-o", capture, lines)
    assert tshark.stream(capture, 0) == tshark.stream(recorded, 0)


def test_strings(session: Session) -> None:
    """The error names the unknown network; lengths from 0 to 8 need every amount of padding."""
    names = ["", "x", "xy", "xyz", "xyzz", "häß", "日本", "a'b\"c\\", "\t\n", "x" * 5000, "default"]
    replies = session.answers(
        *(session.call("network_lookup_by_name", lambda p, n=n: p.update(name=n)) for n in names)
    )
    *unknown, known = errors(replies)
    assert known is None
    for name, error in zip(names, unknown, strict=False):
        assert error is not None
        assert error[0] in (43, 8), "VIR_ERR_NO_NETWORK, VIR_ERR_INVALID_ARG for an empty name"
        assert name[:500] in error[1]


def test_uuids(session: Session) -> None:
    uuids = [f"{n:08x}-0000-4000-8000-{n * 7919:012x}" for n in range(1, 11)]
    replies = session.answers(
        *(
            session.call("domain_get_info", lambda p, u=u: p["dom"].update(uuid=u, name=f"vm {u}"))
            for u in uuids
        )
    )
    for uuid, error in zip(uuids, errors(replies), strict=True):
        assert error is not None
        assert error[0] == 42, "VIR_ERR_NO_DOMAIN"
        assert f"'{uuid}' (vm {uuid})" in error[1]


def test_signed_integers(session: Session) -> None:
    """The procedure is edited, too, by its name only."""
    numbers = [0, 1, 7, 16384, 16385, 20000, 2**31 - 1, -1, -2, -(2**31)]
    lines = [
        session.call("domain_lookup_by_id", lambda p, n=n: (p.clear(), p.update(maxids=n))) for n in numbers
    ]
    for line in lines:
        line["procedure"] = "connect_list_domains"
        del line["proc"], line["payload_type"]
    replies = session.answers(*lines)
    for number, reply, error in zip(numbers, replies, errors(replies), strict=True):
        if number > 16384:
            assert error == (39, "maxids > REMOTE_DOMAIN_LIST_MAX"), "VIR_ERR_RPC"
        elif number < 0:
            assert error is not None
            assert "maxids" in error[1]
        else:
            assert reply["payload"]["ids"] == [1][:number]


def test_unsigned_integers(session: Session) -> None:
    numbers = [1, 2, 3, 4, 255, 256, 1000, 8000, 30000, 32768]
    replies = session.answers(
        *(session.call("domain_set_vcpus", lambda p, n=n: p.update(nvcpus=n)) for n in numbers)
    )
    for number, error in zip(numbers, errors(replies), strict=True):
        if number <= 2:
            assert error is None
        else:
            assert error is not None
            assert f"({number} > " in error[1]


def test_64_bit_integers(session: Session) -> None:
    """Memory of a domain, in KiB; it has 8 GiB at most."""
    numbers = [1, 2, 1000, 65536, 999_999, 1_000_000, 2_000_000, 8_388_607, 8_388_608, 4_194_305]
    lines = []
    for number in numbers:
        lines.append(session.call("domain_set_memory_flags", lambda p, n=number: p.update(memory=n)))
        lines.append(session.call("domain_get_info"))
    replies = session.answers(
        *lines, session.call("domain_set_memory_flags", lambda p: p.update(memory=2**53))
    )
    assert errors(replies[:-1]) == [None] * 20
    assert [reply["payload"]["memory"] for reply in replies[1:-1:2]] == numbers
    assert errors(replies[-1:]) != [None]


def parameter(field: str, **value: Any) -> Any:
    return {"field": field, "value": value}


def values_of(parameters: list[Any]) -> dict[str, Any]:
    """Field → value, without the names that decoding adds to numbers."""
    return {
        each["field"]: {key: part for key, part in each["value"].items() if not key.endswith("_name")}
        for each in parameters
    }


def test_unions_in_arrays(session: Session) -> None:
    """Typed parameters: other arms, other values, more elements; errors name the wrong value."""
    values = [parameter("hard_limit", type=4, ul=n) for n in (2**22, 2**33 + 1, 2**43, 9007199254740991)]
    replies = session.answers(
        *(
            line
            for value in values
            for line in (
                session.call("domain_set_memory_parameters", lambda p, v=value: p.update(params=[v])),
                session.call("domain_get_memory_parameters", lambda p: p.update(nparams=3)),
            )
        )
    )
    assert errors(replies) == [None] * 8
    for value, reply in zip(values, replies[1::2], strict=True):
        assert values_of(reply["payload"]["params"]).items() >= values_of([value]).items()
    wrong = [
        parameter("hard_limit", type=7, s="a lot"),
        parameter("hard_limit", type=1, i=-1),
        parameter("hard_limit", type=2, ui=5),
        parameter("hard_limit", type=3, l=-(2**60)),
        parameter("hard_limit", type=5, d=0.5),
        parameter("hard_limit", type=6, b=1),
        parameter("härd_limit", type=4, ul=5),
    ]
    replies = session.answers(
        *(session.call("domain_set_memory_parameters", lambda p, v=v: p.update(params=[v])) for v in wrong)
    )
    kinds = ["string", "int", "uint", "llong", "double", "boolean", None]
    for kind, value, error in zip(kinds, wrong, errors(replies), strict=True):
        assert error is not None
        assert value["field"] in error[1]
        assert kind is None or f"'{kind}'" in error[1]


def test_arrays(session: Session) -> None:
    """Interface bandwidth, with one to six parameters."""
    names = [f"{way}.{what}" for way in ("inbound", "outbound") for what in ("average", "peak", "burst")]
    arrays = [
        [parameter(name, type=2, ui=10 * n + i) for i, name in enumerate(names[:n], 1)] for n in range(1, 7)
    ]
    arrays += [arrays[2][::-1], arrays[5][::-1], arrays[5][3:], arrays[5][::2]]
    lines = []
    for array in arrays:
        lines.append(session.call("domain_set_interface_parameters", lambda p, a=array: p.update(params=a)))
        lines.append(session.call("domain_get_interface_parameters", lambda p: p.update(nparams=7)))
    replies = session.answers(*lines)
    for array, (done, got) in zip(arrays, zip(replies[::2], replies[1::2], strict=True), strict=True):
        assert errors([done, got]) == [None, None]
        read = values_of(got["payload"]["params"])
        assert values_of(array).items() <= read.items()


def test_arrays_of_structs(session: Session) -> None:
    counts = [1, 2, 3, 4, 5, 8, 13, 21, 34, 55]
    replies = session.answers(
        *(
            session.call("connect_get_all_domain_stats", lambda p, n=n: p.update(doms=p["doms"] * n))
            for n in counts
        )
    )
    assert errors(replies) == [None] * 10
    assert {len(reply["payload"]["retStats"]) for reply in replies} <= {1, *counts}


def test_optional_data(session: Session) -> None:
    """A title is set and removed (null); then it cannot be read."""
    titles = ["a", None, "ab", None, "ü", None, "title of ten", None, "x" * 100, None]
    lines = []
    for title in titles:
        lines.append(session.call("domain_set_metadata", lambda p, t=title: p.update(metadata=t)))
        lines.append(session.call("domain_get_metadata"))
    for title, reply in zip(titles, session.answers(*lines)[1::2], strict=True):
        if title is None:
            assert reply["payload"]["code"] == 80, "VIR_ERR_NO_DOMAIN_METADATA"
        else:
            assert reply["payload"]["metadata"] == title


def test_opaque(session: Session) -> None:
    """A CPU map; there are eight CPUs."""
    maps = ["01", "02", "03", "0f", "80", "ff", "55", "aa", "7f", "0100"]
    lines = []
    for text in maps:
        lines.append(session.call("domain_pin_vcpu", lambda p, m=text: p.update(cpumap=m)))
        lines.append(session.call("domain_get_vcpu_pin_info", lambda p: p.update(maplen=1, ncpumaps=2)))
    replies = session.answers(*lines)
    assert errors(replies) == [None] * 20
    assert [reply["payload"]["cpumaps"][:2] for reply in replies[1::2]] == [text[:2] for text in maps]


def test_flags(session: Session) -> None:
    """Active, inactive and other domains; the error names an unknown flag."""
    flags = [0, 1, 2, 3, 4, 8, 16, 32, 1 << 30, 1 << 31]
    replies = session.answers(
        *(session.call("connect_list_all_domains", lambda p, f=f: p.update(flags=f)) for f in flags)
    )
    found = [reply["payload"].get("ret") for reply in replies[:8]]
    #: all, active, inactive, both, persistent, transient, running, paused: there is one running domain.
    assert found == [1, 1, 0, 1, 1, 0, 1, 0]
    for flag, error in zip(flags[8:], errors(replies[8:]), strict=True):
        assert error is not None
        assert f"{flag:#x}" in error[1]


def test_integers_that_are_booleans(session: Session) -> None:
    numbers = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0]
    lines = []
    for number in numbers:
        lines.append(session.call("domain_set_autostart", lambda p, n=number: p.update(autostart=n)))
        lines.append(session.call("domain_get_autostart"))
    assert [reply["payload"] for reply in session.answers(*lines)[1::2]] == [
        {"autostart": n} for n in numbers
    ]
