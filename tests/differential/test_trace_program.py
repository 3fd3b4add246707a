"""Traces of a custom program: possible behaviour of other libvirt builds, and its limits."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import pytest

from libvirt_proto.capture.probes import bpf, tracefs
from libvirt_proto.capture.probes.bpf_ring import BpfRing
from libvirt_proto.capture.probes.formats import event_id
from libvirt_proto.capture.probes.loaded import named
from libvirt_proto.capture.probes.plan import probes
from libvirt_proto.capture.sources import open_source
from libvirt_proto.events import Chunk
from tests.differential import ours
from tests.differential.tracing import METHODS, ours_in_tracefs, trace
from tests.support.frames import frame, text
from tests.support.probes import program

pytestmark = [pytest.mark.system("gcc"), pytest.mark.usefixtures("tracing")]

Options = Sequence[str | Path]

SECRET = b"not for anybody's eyes"
CALL = frame(proc=66, serial=3)
#: REMOTE_PROC_DOMAIN_GET_XML_DESC's reply.
LONG = frame(text(b"<domain>" * 400), proc=14, type_=1, serial=4)


def waiting(pipe: IO[str]) -> int:
    """The number of unread bytes."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def talk(binary: Path, *said: tuple[str, int, bytes]) -> int:
    """Run the program and let it report these; return its process id."""
    sent = "".join(f"{kind} {length} {data.hex()}\n" for kind, length, data in said)
    with subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(sent, timeout=60)
    assert (process.returncode, out) == (0, "done\n" * len(said))
    return process.pid


class Traced(Protocol):
    """The lines of a trace of only this program, and its standard error."""

    def __call__(
        self,
        binary: Path,
        folder: Path,
        *said: tuple[str, int, bytes],
        status: int = 0,
        options: Options = (),
    ) -> tuple[list[dict[str, Any]], str]: ...


def _traced(
    method: str,
    binary: Path,
    folder: Path,
    *said: tuple[str, int, bytes],
    status: int = 0,
    options: Options = (),
) -> tuple[list[dict[str, Any]], str]:
    output, record = folder / "out", folder / "record"
    selection = ("--library", binary, "--comm", binary.name[:15], "--method", method)
    with trace(*selection, "--format", "jsonl", "-o", output, "-w", record, *options) as tracer:
        talk(binary, *said)
        # Earlier events are read before the end.
        ended, err = tracer.end()
    assert ended == status, err
    assert SECRET not in output.read_bytes()
    assert SECRET not in record.read_bytes()
    return [json.loads(line) for line in output.read_text().splitlines()], err


@pytest.fixture(params=METHODS)
def traced(request: pytest.FixtureRequest) -> Traced:
    """With each method."""
    return partial(_traced, request.param)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("good"), name="traced-program")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("other"), "-DOTHER", name="other-program")


def test_messages_at_every_probe_site(traced: Traced, good: Path, tmp_path: Path) -> None:
    found, err = traced(good, tmp_path, *[(kind, len(CALL), CALL) for kind in "tur"])
    messages = [line for line in found if "event" not in line]
    assert [(line["dir"], line["serial"], line["procedure"]) for line in messages] == [
        ("c2s", 3, "auth_list"),
        ("c2s", 3, "auth_list"),
        ("s2c", 3, "auth_list"),
    ]
    assert "no problems" in err


@pytest.mark.parametrize("limit", [200, 256, 300, 2560, 3000, 66560])
def test_reads_no_byte_after_a_message(traced: Traced, good: Path, tmp_path: Path, limit: int) -> None:
    """For short messages, long ones, and messages with a false length."""
    said = [
        ("t", len(CALL), CALL + SECRET),
        ("r", len(LONG), LONG + SECRET),
        ("r", len(CALL) + 4, CALL + SECRET),
    ]
    found, _ = traced(good, tmp_path, *said, options=("--max-message", str(limit)))
    messages = [line for line in found if "event" not in line]
    assert [line["length"] for line in messages] == [len(CALL), len(LONG), len(CALL) + 4]
    assert [line.get("missing", 0) for line in messages] == [0, max(0, len(LONG) - limit), 4]
    chunks = [item for item in open_source(str(tmp_path / "record")) if isinstance(item, Chunk) and item.data]
    assert [chunk.data for chunk in chunks] == [CALL, LONG[:limit], b"\0\0\0\x20" + CALL[4:]]


def test_ring_buffer_has_no_byte_after_a_message(good: Path) -> None:
    """The memory that the kernel shares, not only what is read of it. Lengths may be any."""
    said = [
        *((kind, len(data), data + SECRET) for kind in "tur" for data in (CALL, LONG)),
        *(("t", length, CALL + SECRET) for length in (0, 27, 28, -1, 1 << 63, (1 << 64) - 28)),
        ("s", 0, b"text\0" + SECRET),
        ("a", 0, SECRET),
    ]
    with ExitStack() as files:
        found = probes(named(files, (str(good),)))
        with bpf.armed(bpf.plan(found, 64, limit=bpf.LIMIT)) as (source, rejected):
            assert rejected == []
            talk(good, *said)
            source.disarm()
            assert isinstance(source.buffer, BpfRing)
            shared = bytes(source.buffer._words)
            records = source.buffer.rest()
            assert source.buffer.lost() == 0
    known = {format_.id: name for name, format_ in source.formats.items()}
    names = [re.sub(r"_\d+$", "", known[event_id(record.data)]) for record in records]
    # Messages of length 0 are left out; those of an impossible length have no bytes.
    assert names.count("client_msg_tx_queue") + names.count("client_msg_rx") == 6 + 5
    assert {"socket_new", "server_client_auth_allow"} <= set(names)
    assert SECRET not in shared
    assert LONG in shared


def test_both_methods_give_the_same(good: Path, tmp_path: Path) -> None:
    """Messages of any length and number, texts, and processes that fork."""
    rng = random.Random(7)
    lengths = [28, 29, 255, 256, 257, 2559, 2560, 2561, 5120, 5121, 40_504, 66_559, 66_560, 66_561, 90_000]
    said: list[tuple[str, int, bytes]] = []
    for length in [*lengths, *(rng.randrange(28, 70_000) for _ in range(20))]:
        data = frame(rng.randbytes(length - 28), proc=rng.randrange(600), type_=3, status=2)
        said.append((rng.choice("tur"), length, data))
        said.append((rng.choice("sad"), 0, rng.randbytes(40).hex().encode()))
        said.append(("f", len(CALL), CALL))
    found = {}
    for method in METHODS:
        (folder := tmp_path / method).mkdir()
        lines, _ = _traced(method, good, folder, *said, options=("--max-message", "66560"))
        for line in lines:
            line.pop("time_ns")
            for name in ("process", "thread", "client", "sock"):
                line.get("details", {}).pop(name, None)
            line["conn"] = re.sub(r"\[\d+\]:0x\w+", "", line["conn"] or "")
        found[method] = lines
    assert found["bpf"] == found["tracefs"]
    cut = [line["length"] for line in found["bpf"] if line.get("missing")]
    assert cut == [66_561, 90_000]


def test_shows_the_beginning_of_a_string(traced: Traced, good: Path, tmp_path: Path) -> None:
    """In each format, marked."""
    for format_, shown in (
        ("jsonl", '"xml":{"cut":"' + "<domain>" * 35 + '<doma"}'),
        ("pretty", '<doma" … 2,915 bytes missing'),
        ("monitor", f" len={len(LONG)} missing={len(LONG) - 317}"),
    ):
        (folder := tmp_path / format_).mkdir()
        options = ("--max-message", "317", "--format", format_, "--full")
        with suppress(json.JSONDecodeError):
            traced(good, folder, ("r", len(LONG), LONG + SECRET), options=options)
        assert shown in (folder / "out").read_text()


def test_skips_dummy_messages(traced: Traced, good: Path, tmp_path: Path) -> None:
    found, err = traced(good, tmp_path, ("t", 0, bytes(28)), ("r", 0, bytes(28)), ("t", len(CALL), CALL))
    assert [line["serial"] for line in found if "event" not in line] == [3]
    assert "no problems" in err


def test_unknown_build_gives_only_headers(traced: Traced, other: Path, tmp_path: Path) -> None:
    found, err = traced(other, tmp_path, ("r", len(LONG), LONG + SECRET), ("t", len(CALL), CALL))
    messages = [line for line in found if "event" not in line]
    assert [(line["length"], line["serial"], line.get("missing", 0)) for line in messages] == [
        (len(LONG), 4, len(LONG) - 28),
        (len(CALL), 3, 0),
    ]
    assert err.count("[no-payloads]") == 1


def test_invalid_message_length(traced: Traced, good: Path, tmp_path: Path) -> None:
    found, err = traced(good, tmp_path, ("t", 27, CALL), ("t", len(CALL), CALL), status=1)
    assert [line["serial"] for line in found if "event" not in line] == [3]
    assert "expected len from 28 to 33554436, got 27" in err


def test_texts_and_constants(traced: Traced, good: Path, tmp_path: Path) -> None:
    """Text that is present, missing or written for a terminal; negative constants."""
    found, _ = traced(good, tmp_path, *[(kind, 0, b"\x1b[31m;7\n") for kind in "sad"])
    events = {line["event"]: line["details"] for line in found}
    new = events["socket_new"]
    assert (new["fd"], new["errfd"], new["pid"]) == ("7", "-1", "0")
    assert (new["localAddr"], new["remoteAddr"]) == ("127.0.0.1;5", "\x1b[31m;7\n")
    allow, deny = events["server_client_auth_allow"], events["server_client_auth_deny"]
    assert (allow["authtype"], allow["identity"]) == ("1", "somebody")
    assert (deny["authtype"], deny["identity"]) == ("2", "")


def test_process_exit_closes_connections(good: Path, tmp_path: Path) -> None:
    """Unanswered calls are shown then, and another process has a separate connection."""
    output = tmp_path / "out"
    options = ("--library", good, "--comm", good.name[:15], "--exchanges", "--format", "jsonl", "-o", output)
    with trace(*options) as tracer:
        pids = [talk(good, ("t", len(CALL), CALL)) for _ in range(2)]
        assert tracer.end()[0] == 0
    names = [json.loads(line)["conn"] for line in output.read_text().splitlines()]
    assert [f"[{pid}]" in name for pid, name in zip(pids, names, strict=True)] == [True, True]


def test_recording_keeps_names_and_sides(good: Path, tmp_path: Path) -> None:
    """`decode` shows the recording as the trace showed the messages."""
    output, record = tmp_path / "out", tmp_path / "record"
    options = ("--library", good, "--comm", good.name[:15], "--format", "monitor", "--time", "none")
    with trace(*options, "-o", output, "-w", record) as tracer:
        talk(good, *[(kind, len(CALL), CALL) for kind in "tur"], ("r", len(LONG), LONG))
        assert tracer.end()[0] == 0
    shown = [line for line in output.read_text().splitlines() if " msg=" in line]
    again = ours.run("decode", "--format", "monitor", "--time", "none", record).stdout
    assert again.splitlines() == shown
    assert len(shown) == 4
    assert all(line.startswith("C ") for line in shown)
    assert all(f"client@{good.name[:15]}[" in line for line in shown)


def test_printed_commands_work_in_a_shell(good: Path, tmp_path: Path) -> None:
    """A shell sets, reads and removes them, under a unique name."""
    said = ours.run("trace", "--library", good, "--print-commands").stdout
    name = f"by_hand_{os.getpid()}"
    set_up, rest = said.replace("libvirt_proto", name).split("\n# Show", 1)
    remove = rest.split("\n# Remove", 1)[1].partition("\n")[2]
    root = tracefs.find()
    assert root is not None
    try:
        subprocess.run(["sh", "-e", "-c", set_up], check=True)
        talk(good, ("t", len(CALL), CALL), ("r", len(LONG), LONG))
        found = (root / "instances" / name / "trace").read_text()
        assert re.search(r" client_msg_tx_queue_\d: .* len=28 ", found)
        assert re.search(rf" client_msg_rx_\d_long: .* len={len(LONG)} ", found)
    finally:
        subprocess.run(["sh", "-c", f"cd {root}; {remove}"], check=True)
    assert name not in (root / "uprobe_events").read_text()
    assert not (root / "instances" / name).exists()


@pytest.mark.parametrize("said", [(), (("t", len(CALL), CALL),)])
def test_stops_when_reader_closes_output(good: Path, said: tuple[tuple[str, int, bytes], ...]) -> None:
    """As with `| head -1`: the trace ends, even without further events, and leaves nothing."""
    words = [ours.COMMAND, "trace", "--library", good, "--format", "jsonl"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "begin\n"
        if said:
            talk(good, *said)
        process.stdout.close()
        assert process.wait(60) == 141
    assert [name for name in ours_in_tracefs() if f"_{process.pid}_" in name] == []


def test_blocked_reader_does_not_keep_the_probes(good: Path) -> None:
    """As with `| less` after Ctrl-C: libvirt is not slowed down meanwhile."""
    words = [ours.COMMAND, "trace", "--library", good, "--format", "jsonl"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "begin\n"
        talk(good, *[("t", len(LONG), LONG)] * 100)  # more than a pipe holds
        room = fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ) // 2  # a line takes a page of the pipe
        end = time.monotonic() + 60
        while waiting(process.stdout) < room and time.monotonic() < end:
            time.sleep(0.1)
        process.terminate()
        assert process.wait(60) == 141
        assert [name for name in ours_in_tracefs() if f"_{process.pid}_" in name] == []
        process.communicate(timeout=60)
