"""Traces next to processes of other users, with hostile files, names and messages.

Other users of the machine may run libvirt, too, so every trace selects its own processes.
"""

from __future__ import annotations

import json
import os
import pty
import random
import re
import shlex
import signal
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from libvirt_proto.capture.probes import tracefs
from libvirt_proto.capture.probes.loaded import loaded
from libvirt_proto.capture.probes.notes import read_notes
from libvirt_proto.capture.probes.plan import plan, probes
from tests.differential import ours
from tests.differential.test_trace_program import CALL
from tests.differential.tracing import METHODS, PATIENCE, ours_in_tracefs, trace
from tests.support.frames import frame
from tests.support.probes import COUNTER, MAPPER, NOTES, OTHERS, note, program

pytestmark = [pytest.mark.system("gcc"), pytest.mark.usefixtures("tracing")]

NOBODY = 65534
LIBRARY = "libvirt.so.0"


class Process:
    """A process that is controlled line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, line: str) -> str:
        """Its answer to a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().decode().rstrip("\n")


@contextmanager
def running(*words: str | bytes | Path, user: int = 0) -> Iterator[Process]:
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=user, group=user, extra_groups=[]
    ) as process:
        yield Process(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(PATIENCE)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder owned by another user, outside pytest's own, which only root can enter."""
    with TemporaryDirectory() as name:
        place = Path(name) / "other"
        place.parent.chmod(0o755)
        place.mkdir()
        os.chown(place, NOBODY, NOBODY)
        yield place


def as_nobody(*words: str | bytes | Path) -> None:
    subprocess.run(words, user=NOBODY, group=NOBODY, extra_groups=[], check=True)


def installed(source: Path, folder: Path | bytes) -> Path:
    """A copy of a program that another user makes, under the library's name."""
    place = Path(os.fsdecode(folder)) / LIBRARY
    as_nobody("mkdir", "-p", place.parent)
    subprocess.run(["install", "-m", "755", "-o", str(NOBODY), source, place], check=True)
    return place


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A program that prints its semaphore, which only root may change and everyone may read."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield program(Path(name), name="victim", text=COUNTER)


@pytest.fixture(scope="module")
def mapper() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield program(Path(name), name="mapper", text=MAPPER)


@pytest.fixture(scope="module")
def good() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield program(Path(name), name=LIBRARY)


@contextmanager
def mapping(mapper: Path, *files: str | bytes | Path) -> Iterator[Process]:
    """A process of another user that has mapped these files."""
    with running(mapper, *files, user=NOBODY) as process:
        assert process._process.stdout is not None
        assert process._process.stdout.readline() == b"mapped\n"
        yield process


@pytest.mark.parametrize("method", METHODS)
def test_library_name_cannot_select_another_file(counter: Path, folder: Path, method: str) -> None:
    """`…/a:0x115b(0x3028)#/libvirt.so.0`: tracefs would parse the part before `#` as file and offsets."""
    with counter.open("rb") as file:
        (site,) = read_notes(file).sites
    (folder / "a").symlink_to(counter)
    place = installed(counter, folder / f"a:{site.offset:#x}({site.semaphore:#x})#")
    with running(counter) as victim, running(place, user=NOBODY) as attacker:
        assert (victim.ask(""), attacker.ask("")) == ("0", "0")
        with trace("--method", method, "--pid", str(attacker.pid)) as tracer:
            assert victim.ask("") == "0"
            assert attacker.ask("") == "1"
            assert tracer.end()[0] == 0


def test_library_swapped_after_reading(counter: Path, folder: Path) -> None:
    """Between reading and arming, a link to a root-owned program replaces the file."""
    place = installed(counter, folder)
    root = tracefs.find()
    assert root is not None
    with running(counter) as victim, running(place, user=NOBODY) as attacker, ExitStack() as files:
        assert (victim.ask(""), attacker.ask("")) == ("0", "0")
        found = probes(loaded(files, LIBRARY, [attacker.pid]).binaries)
        assert len(found) == 1
        as_nobody("ln", "-sf", counter, place)
        steps = plan(tracefs.own_group(), found, 64, pids=(attacker.pid,))
        with tracefs.armed(root, steps) as (_, rejected):
            assert rejected == []
            assert (victim.ask(""), attacker.ask("")) == ("0", "1")


def test_library_swapped_after_printing_commands(counter: Path, folder: Path) -> None:
    """The shell script notices that the path leads to another file, and sets nothing."""
    place = installed(counter, folder)
    root = tracefs.find()
    name = f"by_hand_{os.getpid()}"
    with running(counter) as victim, running(place, user=NOBODY) as attacker:
        said = ours.run("trace", "--print-commands", "--pid", str(attacker.pid)).stdout
        set_up, rest = said.replace("libvirt_proto", name).split("\n# Show", 1)
        as_nobody("ln", "-sf", counter, place)
        try:
            done = subprocess.run(["sh", "-c", set_up], capture_output=True, text=True)
            assert "the file has changed" in done.stderr
            assert (victim.ask(""), attacker.ask("")) == ("0", "0")
            assert f"p:{name}/" not in (root / "uprobe_events").read_text()
        finally:
            remove = rest.split("\n# Remove", 1)[1].partition("\n")[2]
            subprocess.run(["sh", "-c", f"cd {root}; {remove}"], stderr=subprocess.DEVNULL, check=False)
        assert not (root / "instances" / name).exists()


NAMES = [
    b"build#1",
    b"voil\xe0\xa0x",
    b"with blanks\t",
    b"a\nb",
    b"it's $(id) `id`",
    b":0x1(0x2)",
    b"\x1b[31m",
]


def test_traces_library_of_any_name(good: Path, folder: Path) -> None:
    """All of them, in one trace."""
    places = [installed(good, os.fsencode(folder) + b"/" + name) for name in NAMES]
    output = folder.parent / "out"
    with ExitStack() as stack:
        processes = [stack.enter_context(running(place, user=NOBODY)) for place in places]
        options = [word for process in processes for word in ("--pid", str(process.pid))]
        with trace(*options, "--format", "jsonl", "-o", output) as tracer:
            assert tracer.said == "begin\n"
            for process in processes:
                assert process.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
            status, err = tracer.end()
    assert (status, "no problems" in err) == (0, True), err
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    seen = {int(re.search(r"\[(\d+)\]", line["conn"])[1]) for line in lines if "event" not in line}
    assert seen == {process.pid for process in processes}


@pytest.mark.parametrize("name", NAMES)
def test_printed_commands_quote_any_name(good: Path, folder: Path, name: bytes) -> None:
    place = installed(good, os.fsencode(folder) + b"/" + name)
    group = f"by_hand_{os.getpid()}"
    root = tracefs.find()
    with running(place, user=NOBODY) as process:
        said = ours.run("trace", "--print-commands", "--pid", str(process.pid)).stdout
        assert said.replace("\n", "").isprintable()
        set_up, rest = said.replace("libvirt_proto", group).split("\n# Show", 1)
        remove = rest.split("\n# Remove", 1)[1].partition("\n")[2]
        try:
            subprocess.run(["sh", "-e", "-c", set_up], check=True)
            assert process.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
            assert re.search(
                r" client_msg_tx_queue_\d: .* len=28 ", (root / "instances" / group / "trace").read_text()
            )
        finally:
            subprocess.run(["sh", "-c", f"cd {shlex.quote(str(root))}; {remove}"], check=True)


SOCKET_NEW = "8@%rax 8@%rbx 8@%rcx 8@%rdx 8@%rsi 8@%rdi"
MESSAGE = " ".join(["8@%rax"] * 8)
#: By folder: notes, and a part of the report.
FOREIGN = {
    "fewer": (note("rpc_socket_new", "place", "counter", "8@%rax"), "expected 6 arguments, got 1"),
    "nameless": (note("rpc_socket_new", "place", "counter", "%rax @ 8@ = :u64 x=%ax"), "rpc_socket_new"),
    "large": (
        note("rpc_socket_dispose", "place", "counter", "8@18446744073709551615(%rax)"),
        "kernel rejects",
    ),
    "long": (
        note("rpc_socket_dispose", "place", "counter", "[a" + ",a" * 4000),
        "rpc_socket_dispose",
    ),
    "two": (
        note("rpc_socket_dispose", "place", "counter", "8@%rax")
        + note("rpc_socket_new", "place", "counter+2", SOCKET_NEW),
        "socket_new at 0x",
    ),
    "odd": (
        note("rpc_socket_dispose", "place", "counter+1", "8@%rax"),
        "kernel rejects it (invalid argument)",
    ),
    "many": (note("rpc_socket_dispose", "place", "counter", "8@%rax", times=3000), "the limit is 128 places"),
    "absurd": (note("rpc_socket_dispose", "place", "counter", "8@%rax"), "rpc_socket_dispose"),
    "negative": (note("rpc_socket_dispose", "place", "counter", "8@%rax"), "rpc_socket_dispose"),
    "arm": (note("rpc_socket_dispose", "place", "counter", "8@x0"), "is for aarch64 processors"),
    "small": (note("rpc_socket_dispose", "place", "counter", "4@%eax"), "damaged ELF file"),
    "nothing": ("", None),  # a library without probes does not count
}


def foreign(folder: Path, name: str) -> Path:
    """A hostile library that belongs to another user."""
    place = folder / name
    place.mkdir()
    notes, _ = FOREIGN[name]
    binary = program(place, name=LIBRARY, text=NOTES.format(notes=notes))
    data = bytearray(binary.read_bytes())
    if name in ("absurd", "negative"):
        (headers,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
        for at in range(headers, headers + size * count, size):
            kind, flags = struct.unpack_from("<II", data, at)
            if kind == 1 and flags & 1:
                struct.pack_into("<Q", data, at + 8, (1 << 40 if name == "absurd" else 1 << 64) - 0x1000)
    elif name == "arm":
        data[18] = 183
    elif name == "small":
        data[4], data[18] = 1, 3
    binary.write_bytes(data)
    return binary


@pytest.mark.parametrize("method", METHODS)
def test_unusable_libraries_do_not_end_the_trace(
    good: Path, mapper: Path, tmp_path: Path, method: str
) -> None:
    """Each is reported by name, whatever it contains, and the others are traced."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        places = [foreign(Path(name), each) for each in FOREIGN]
        (Path(name) / LIBRARY).write_text("no program at all")
        (Path(name) / "bare").mkdir()
        bare = Path(name) / "bare" / LIBRARY
        bare.touch()
        os.truncate(bare, 1 << 32)
        output = tmp_path / "out"
        with (
            mapping(mapper, *places, Path(name) / LIBRARY, bare) as other,
            running(good, user=NOBODY) as mine,
        ):
            pids = ("--pid", str(other.pid), "--pid", str(mine.pid))
            with trace(*pids, "--method", method, "--format", "jsonl", "-o", output) as tracer:
                assert mine.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
                said = tracer.said
                status, err = tracer.end()
        assert (status, "no problems" in err) == (0, True), err
        (line,) = [each for each in map(json.loads, output.read_text().splitlines()) if "event" not in each]
        assert (line["procedure"], f"[{mine.pid}]" in line["conn"]) == ("auth_list", True)
        for each, (_, words) in FOREIGN.items():
            lines = [line for line in said.splitlines() if f"{name}/{each}/{LIBRARY}: " in line]
            if (each, method) == ("large", "bpf"):
                words = None  # a displacement of 64 bits is possible, and wraps as in the processor
            assert bool(lines) == (words is not None), (each, said)
            assert words is None or any(words in line for line in lines), (each, lines)
            assert len(lines) <= 6
        assert f"{name}/{LIBRARY}: " in said
        assert f"{bare}: " in said


def test_reports_only_unusable_libraries(mapper: Path, folder: Path) -> None:
    """An error with the kernel's reason; nothing remains in tracefs."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with mapping(mapper, foreign(Path(name), "odd")) as other:
            rejected = ours.run("trace", "--pid", str(other.pid), status=1).stderr
        libraries = ("--library", foreign(Path(name), "fewer"), "--library", foreign(Path(name), "arm"))
        unusable = ours.run("trace", *libraries, status=1).stderr
    assert "the kernel rejects all probes, such as socket_dispose of " in rejected
    assert "invalid argument" in rejected
    assert "none of the probes can be used in this trace" in unusable
    assert left_by_ended_traces() == []


def left_by_ended_traces() -> list[str]:
    """The groups and instances of ended traces."""
    return [name for name in ours_in_tracefs() if not Path("/proc", name.split("_")[2]).exists()]


@pytest.mark.parametrize("method", METHODS)
def test_traces_file_on_two_overlays_once(good: Path, tmp_path: Path, method: str) -> None:
    """As with containers of one image. Copies of a file are two files."""
    base = tmp_path / "base"
    base.mkdir()
    with ExitStack() as stack:

        def mount(*words: str | Path) -> None:
            subprocess.run(["mount", *words], check=True)
            stack.callback(subprocess.run, ["umount", words[-1]], check=True)

        mount("-t", "tmpfs", "none", base)
        for name in ("lower", "a/upper", "a/work", "a/merged", "b/upper", "b/work", "b/merged"):
            (base / name).mkdir(parents=True)
        (base / "lower" / LIBRARY).write_bytes(good.read_bytes())
        (base / "lower" / LIBRARY).chmod(0o755)
        for name in "ab":
            layers = f"lowerdir={base}/lower,upperdir={base}/{name}/upper,workdir={base}/{name}/work"
            try:
                mount("-t", "overlay", "overlay", "-o", layers, base / name / "merged")
            except subprocess.CalledProcessError:
                pytest.skip("overlays cannot be mounted")
        places = [base / name / "merged" / LIBRARY for name in "ab"]
        with running(places[0]) as one, running(places[1]) as two, running(good) as copy:
            options = [word for process in (one, two, copy) for word in ("--pid", str(process.pid))]
            with trace("--method", method, *options, "--format", "jsonl", "-o", tmp_path / "out") as tracer:
                for process in (one, two, copy):
                    assert process.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
                assert tracer.end()[0] == 0
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    seen = [int(re.search(r"\[(\d+)\]", line["conn"])[1]) for line in lines if "event" not in line]
    assert seen == [one.pid, two.pid, copy.pid]


def shown_on_terminal(*options: str | Path, during: Callable[[], object]) -> str:
    """The terminal output of a trace while something happens."""
    main, other = pty.openpty()
    words = [ours.COMMAND, "trace", *options]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(words, stdout=other, stderr=other, env=environment) as process:
        os.close(other)
        shown = b""
        told = False
        with suppress(OSError):  # the other end is closed
            while block := os.read(main, 65536):
                shown += block
                if not told and b"begin\r\n" in shown:
                    told = True
                    during()
                    process.terminate()
    os.close(main)
    assert told, shown
    assert process.returncode in (0, 1), shown
    return shown.decode().replace("\r\n", "\n")


def unprintable(shown: str, options: list[str]) -> list[str]:
    """The characters that must be escaped; JSON escapes the ASCII control characters."""
    json_only = "jsonl" in options
    return [c for c in shown.replace("\n", "") if (c < " " if json_only else not c.isprintable())]


#: As long as a process name can be.
COMM = b"\x1b[2J\n#\x9b3\xe2\x80\xae\x7f]"


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "pretty"],
        ["--format", "monitor"],
        ["--format", "jsonl"],
        ["--exchanges"],
        ["--exchanges", "--format", "monitor"],
        ["--stats"],
        ["--client-only", "--comm", os.fsdecode(COMM)],
    ],
)
def test_process_name_is_escaped_on_terminal(good: Path, folder: Path, options: list[str]) -> None:
    """No escape sequence, no new line, no change of writing direction."""
    place = folder / os.fsdecode(COMM)
    subprocess.run(["install", "-m", "755", good, place], check=True)
    new = f"s 0 {b'evil:1;2'.hex()}"
    with running(place, user=NOBODY) as process:
        own = ["--pid", str(process.pid)] if "--comm" not in options else []

        def during() -> None:
            for line in (new, f"t {len(CALL)} {CALL.hex()}", f"r {len(CALL)} {CALL.hex()}", "t 27 "):
                assert process.ask(line) == "done"

        shown = shown_on_terminal(*options, "--color", "never", "--library", place, *own, during=during)
        assert f"[{process.pid}]" in shown
    assert unprintable(shown, options) == []
    assert not any(line.startswith("#") for line in shown.splitlines())


@pytest.mark.parametrize("options", [["--format", "monitor"], ["--pretty-json"], ["--format", "jsonl"]])
def test_monitor_text_is_escaped_on_terminal(folder: Path, options: list[str]) -> None:
    said = [
        ("s", b'{"a": "\x1b]0;title\x07"}\r\n\x1b[1A'),
        ("r", b'{"return": "\xc2\x9b31m\xe2\x80\xae\xe2\x81\xa6", "\\u001b[2J": 1}'),
        ("e", b"\xff\xfe\x9b\x00rest"),
        ("e", b'{"event": "\x7f\x0b\x0c"}'),
    ]
    place = program(folder, name="machine", text=OTHERS)
    with running(place) as process:

        def during() -> None:
            for kind, text in said:
                assert process.ask(f"{kind} 0 {text.hex()}") == "done"

        own = ["--color", "never", "--library", place, "--pid", str(process.pid)]
        shown = shown_on_terminal("qemu-monitor", *options, *own, during=during)
    assert "4 events" in shown
    assert unprintable(shown, options) == []


@pytest.mark.parametrize("method", METHODS)
def test_processes_fork_and_exec(good: Path, folder: Path, tmp_path: Path, method: str) -> None:
    """A child has a separate connection, and after exec there is a new one at the same address; the process
    id stays."""
    place, output = folder / f"again{os.getpid()}", tmp_path / "out"
    place.write_bytes(good.read_bytes())
    place.chmod(0o755)
    call = f"{len(CALL)} {CALL.hex()}"
    options = ("--library", place, "--comm", place.name, "--exchanges", "--format", "jsonl", "-o", output)
    with running(place) as process, trace("--method", method, *options) as tracer:
        for line in (f"t {call}", f"f {call}", "x 0", f"t {call}", "X 0", f"t {call}"):
            assert process.ask(line) == "done"
        status, err = tracer.end()
    assert (status, "no problems" in err) == (0, True), err
    lines = lines_of(output)
    # Only the last call is of a process and program that still run at the end.
    assert sorted(line["outcome"] for line in lines) == ["pending", *["unanswered"] * 3]
    names = [re.fullmatch(r"client@(.*)\[(\d+)\]:(0x\w+)-server(#\d)?", line["conn"]) for line in lines]
    assert [match[1] for match in names if match] == [place.name] * 4
    assert [match[2] for match in names if match].count(str(process.pid)) == 3
    assert len({line["conn"] for line in lines}) == 4


@pytest.mark.parametrize("method", METHODS)
def test_process_exits_during_a_call(good: Path, tmp_path: Path, method: str) -> None:
    """Killed, with the trace going on for another."""
    output = tmp_path / "out"
    call = f"t {len(CALL)} {CALL.hex()}"
    with running(good) as one, running(good) as two:
        options = ("--pid", str(one.pid), "--pid", str(two.pid), "--format", "jsonl", "-o", output)
        with trace("--method", method, *options, "--exchanges") as tracer:
            assert (one.ask(call), two.ask(call)) == ("done", "done")
            os.kill(one.pid, signal.SIGKILL)
            assert two.ask(call) == "done"
            assert tracer.end()[0] == 0
    seen = Counter(int(re.search(r"\[(\d+)\]", line["conn"])[1]) for line in lines_of(output))
    assert seen == {one.pid: 1, two.pid: 2}


def test_traces_32_bit_process(good: Path, folder: Path, tmp_path: Path) -> None:
    """Its library is reported, and others are traced."""
    small = tmp_path / "small"
    small.mkdir()
    try:
        # <sys/sdt.h> is where only the compiler for 64 bits looks.
        source = program(small, "-m32", "-idirafter", "/usr/include/x86_64-linux-gnu", name=LIBRARY)
    except subprocess.CalledProcessError:
        pytest.skip("the compiler has no libraries for 32 bits")
    place = installed(source, folder)
    with running(place, user=NOBODY) as other, running(good) as mine:
        assert other.ask("a 0 ") == "done"
        options = (
            "--pid",
            str(other.pid),
            "--pid",
            str(mine.pid),
            "--format",
            "jsonl",
            "-o",
            tmp_path / "out",
        )
        with trace(*options) as tracer:
            assert f"{place}: " in tracer.said
            assert "32 bits" in tracer.said
            assert other.ask("a 0 ") == "done"
            assert mine.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
            assert tracer.end()[0] == 0
        done = ours.run("trace", "--pid", str(other.pid), status=1)
        assert "32 bits" in done.stderr
    (line,) = [each for each in lines_of(tmp_path / "out") if "event" not in each]
    assert f"[{mine.pid}]" in line["conn"]


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_uses_tracefs_at_other_mount_point(good: Path, tmp_path: Path) -> None:
    """The only mount point, with a blank in its path."""
    place = tmp_path / "another place"
    place.mkdir()
    script = (
        "while umount /sys/kernel/tracing 2>/dev/null; do :; done;"
        "umount /sys/kernel/debug 2>/dev/null;"
        f'mount -t tracefs tracefs {shlex.quote(str(place))} && exec "$@"'
    )
    output = tmp_path / "out"
    with running(good) as process:
        options = ["--pid", str(process.pid), "--format", "jsonl", "-o", output]
        words = ["unshare", "-m", "sh", "-c", script, "sh", ours.COMMAND, "trace", *options]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            assert tracer.stderr.readline() == "begin\n"
            assert process.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
            tracer.terminate()
            assert tracer.wait(PATIENCE) == 0
        said = subprocess.run(
            [*words[:6], ours.COMMAND, "trace", *options[:2], "--print-commands"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert f"\ncd '{place}'\n" in said
    assert [line["procedure"] for line in lines_of(output) if "event" not in line] == ["auth_list"]


CONTAINER = """\
mount -t tmpfs none "$1" && mount -t proc proc /proc && cp "$2" "$1/libvirt.so.0" && exec "$1/libvirt.so.0"
"""


def test_traces_process_in_container(good: Path, folder: Path, tmp_path: Path) -> None:
    """Its library's path leads to another file outside, and process ids differ inside."""
    installed(Path("/bin/true"), folder)
    words = ["unshare", "-m", "-p", "--fork", "sh", "-c", CONTAINER, "sh", folder, good]
    with running(*words) as container:
        assert container.ask("a 0 ") == "done"
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
        (pid,) = map(int, children)
        with trace("--pid", str(pid), "--format", "jsonl", "-o", tmp_path / "out") as tracer:
            assert container.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
            assert tracer.end()[0] == 0
        rows = ours.run("trace", "--pid", str(pid), "--probes").stdout.splitlines()
    assert {row.split("\t")[-1] for row in rows} == {f"{folder}/{LIBRARY} (process {pid})"}
    (line,) = [each for each in lines_of(tmp_path / "out") if "event" not in each]
    assert f"@{LIBRARY}[{pid}]:" in line["conn"]


def test_traces_inside_container(good: Path) -> None:
    """The kernel reports process ids that mean nothing inside."""
    words = [
        "unshare",
        "-m",
        "-p",
        "--fork",
        "--kill-child",
        "--mount-proc",
        ours.COMMAND,
        "trace",
        "--library",
        good,
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "(a PID namespace)" in done.stderr
    assert "run this on the host" in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_forged_messages_do_not_end_the_trace(good: Path, tmp_path: Path, method: str) -> None:
    """Lengths, numbers and payloads that libvirt never sends, and text without an end are reported, and other
    processes' messages are shown."""
    rng = random.Random(11)
    call = f"t {len(CALL)} {CALL.hex()}"
    strange = [
        *(
            f"{kind} {length} {CALL.hex()}"
            for kind in "tur"
            for length in (1, 27, 29, 33554436, 33554437, -1)
        ),
        *(
            f"t {28 + size} {frame(rng.randbytes(size), proc=proc).hex()}"
            for size in (4, 60)
            for proc in (1, 14)
        ),
        *(f"r {size} {rng.randbytes(size).hex()}" for size in (28, 100, 3000)),
        *(f"s 0 {(b'x' * size).hex()}" for size in (0, 100, 4095, 4096, 60_000)),
        f"s 0 {(bytes(range(255, 0, -1)) * 8).hex()}",
    ]
    output = tmp_path / "out"
    with running(good, user=NOBODY) as other, running(good) as mine:
        options = ("--pid", str(other.pid), "--pid", str(mine.pid), "--format", "jsonl", "-o", output)
        with trace("--method", method, *options, "-w", tmp_path / "record") as tracer:
            for line in strange:
                assert (other.ask(line), mine.ask(call)) == ("done", "done")
            status, err = tracer.end()
    assert status == 1
    assert "internal error" not in err
    assert "expected len from 28 to 33554436, got 27" in err
    lines = [each for each in lines_of(output) if "event" not in each and f"[{mine.pid}]" in each["conn"]]
    assert [line["procedure"] for line in lines] == ["auth_list"] * len(strange)


#: Root without the right to load programs; the files of tracefs only need the user.
RIGHTS = "-sys_admin,-bpf,-perfmon"
WITHOUT_BPF = ("setpriv", "--bounding-set", RIGHTS, "--inh-caps", RIGHTS)


@pytest.mark.system("setpriv")
def test_falls_back_to_tracefs(good: Path, tmp_path: Path) -> None:
    """A kernel that allows no programs is not reported; `--method bpf` gives the reason."""
    output = tmp_path / "out"
    options = ("--library", str(good), "--format", "jsonl")
    refused = subprocess.run(
        [*WITHOUT_BPF, ours.COMMAND, "trace", *options, "--method", "bpf"], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "the kernel runs no BPF programs for traces: operation not permitted" in refused.stderr
    checked = subprocess.run([*WITHOUT_BPF, ours.COMMAND, "doctor"], capture_output=True, text=True).stdout
    assert re.search(r"^missing +BPF ", checked, re.MULTILINE)
    words = [*WITHOUT_BPF, ours.COMMAND, "trace", *options, "-o", output]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process, running(good) as mine:
        assert process.stderr is not None
        assert process.stderr.readline() == "begin\n"
        assert len([name for name in ours_in_tracefs() if f"_{process.pid}_" in name]) == 1
        assert mine.ask(f"t {len(CALL)} {CALL.hex()}") == "done"
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert '"auth_list"' in output.read_text()


def test_bpf_writes_nothing_to_tracefs(good: Path, tmp_path: Path) -> None:
    """Nothing stays, also after SIGKILL: neither programs nor breakpoints."""
    with running(good) as mine, trace("--pid", str(mine.pid), "--method", "bpf") as tracer:
        assert tracer.left == []
        assert semaphore(mine.pid, good) == 1
        tracer.kill()
        end = time.monotonic() + PATIENCE
        while semaphore(mine.pid, good):
            assert time.monotonic() < end
            time.sleep(0.05)


def semaphore(pid: int, binary: Path) -> int:
    """The kernel's count of users of a probe, in the memory of a process."""
    with binary.open("rb") as file:
        elf = ELFFile(file)
        symbols = elf.get_section_by_name(".symtab")
        (symbol,) = symbols.get_symbol_by_name("libvirt_rpc_client_msg_rx_semaphore")
        address = symbol["st_value"]
        base = 0
        if elf["e_type"] == "ET_DYN":
            maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
            base = int(next(line for line in maps if line.endswith(str(binary))).partition("-")[0], 16)
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(base + address)
        return int.from_bytes(memory.read(2), "little")
