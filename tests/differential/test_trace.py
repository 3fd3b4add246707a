"""Live traces of a real libvirtd and virsh, with packet captures of the same conversations.

Other users of the machine may run libvirt, too, so every trace selects its own processes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from libvirt_proto.capture.objects import MESSAGES
from libvirt_proto.capture.pcap.tcp import LIBVIRT_PORTS
from libvirt_proto.capture.probes.chosen import chosen
from libvirt_proto.capture.probes.loaded import named
from libvirt_proto.capture.probes.plan import WINDOW
from libvirt_proto.capture.probes.provider import known_arguments
from libvirt_proto.capture.sources import open_source
from libvirt_proto.events import Chunk
from tests.differential import certificates as tls
from tests.differential import ours
from tests.differential.installation import MACHINE, Installation
from tests.differential.libvirtd import PATIENCE, Libvirtd, free_port, started
from tests.differential.tracing import METHODS, Tracer, trace

pytestmark = [pytest.mark.system("libvirtd", "virsh", "tcpdump", "ss"), pytest.mark.usefixtures("tracing")]

HEADER = ("dir", "length", "prog", "program", "vers", "proc", "procedure", "type", "status", "serial")
PAYLOAD = ("fds", "payload_type", "payload", "data", "spare", "error")

#: Calls that are answered immediately, at full speed, from one connection.
LOOP = """\
import sys, libvirt
connection = libvirt.open(sys.argv[1])
for _ in range(int(sys.argv[2])):
    connection.getLibVersion()
"""
SYSTEM_PYTHON = "/usr/bin/python3"


class Virsh(NamedTuple):
    """A virsh under a name that no other process has."""

    name: str
    command: list[str]


@pytest.fixture
def virsh(installation: Installation, tmp_path: Path) -> Virsh:
    name = f"vsh{os.getpid()}"
    (tmp_path / name).symlink_to("/usr/bin/virsh")
    return Virsh(name, installation.command(str(tmp_path / name)))


def run(virsh: Virsh, uri: str, *command: str, pass_fds: tuple[int, ...] = ()) -> str:
    done = subprocess.run(
        [*virsh.command, "-q", "-c", uri, *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"LC_ALL": "C"},
        pass_fds=pass_fds,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.read_text().splitlines()]


def apart(found: list[dict[str, Any]], fits: int = 1 << 16) -> dict[str, list[dict[str, Any]]]:
    """The messages of each direction: one thread may receive what another sends at the same time. Of those
    over `fits` bytes, the headers."""
    by_direction: dict[str, list[dict[str, Any]]] = {"c2s": [], "s2c": []}
    for line in found:
        if "event" not in line:
            words = (*HEADER, *PAYLOAD) if line["length"] <= fits else HEADER
            by_direction[line["dir"]].append({word: line[word] for word in words})
    return by_direction


def bytes_of(file: Path, *ports: int) -> dict[str, bytes]:
    found = {"c2s": b"", "s2c": b""}
    for item in open_source(str(file), ports=LIBVIRT_PORTS.union(ports)):
        if isinstance(item, Chunk):
            assert item.direction is not None
            assert (item.lost, item.cut) == (0, 0)
            found[item.direction] += item.data
    return found


ALIAS = re.compile(r"mark\(\"rpc_(\w+)\"\) \{(.*?)\}", re.DOTALL)
#: The name of the peer in the daemon's log.
CONTEXT_NEW = re.compile(r"RPC_TLS_CONTEXT_NEW: (.*)")
ALLOWED = re.compile(r": RPC_TLS_CONTEXT_SESSION_ALLOW: .* dname=(.*)$", re.MULTILINE)
#: A number, or a file's name in the folder of the certificates; a null pointer, too.
PATH_OR_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+|\w+\.pem|<null>")
ARGUMENT = re.compile(r"(\w+) = (user_string\()?\$arg\d")


@pytest.mark.releases
def test_names_match_libvirt_tapset(installation: Installation) -> None:
    tapset = installation.tapset / "libvirt_probes.stp"
    if not tapset.exists():
        pytest.skip("libvirt's tapset is not installed")
    aliases = {kind: ARGUMENT.findall(body) for kind, body in ALIAS.findall(tapset.read_text())}
    assert len(aliases) > 25
    with ExitStack() as files:
        (binary,) = named(files, (installation.library,))
        (choice,) = chosen([binary]).values()
    for kind, arguments in aliases.items():
        known = known_arguments(choice, f"rpc_{kind}", len(arguments))
        assert [(a.name, a.meaning == "text") for a in known if a] == [(n, bool(t)) for n, t in arguments]


@pytest.mark.releases
def test_sets_every_probe_of_libvirt(installation: Installation) -> None:
    libraries = ("--library", installation.library, "--library", installation.binaries["libvirtd"])
    done = ours.run("trace", "--probes", *libraries)
    assert done.stderr == ""
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(row) for row in rows} == {6}
    payloads = Counter(row[0] for row in rows if row[3] == "yes")
    assert set(payloads) == {f"rpc_{kind}" for kind in MESSAGES}
    assert payloads["rpc_client_msg_tx_queue"] == 2
    assert sum("=\\1 " in row[4] for row in rows) > 0


def both_sides(
    daemon: Libvirtd,
    virsh: Virsh,
    uri: str,
    *command: str,
    folder: Path,
    capture: Path,
    method: str = "auto",
) -> dict[str, Path]:
    """Trace a command at both of its ends at once; the folder gets NAME.jsonl and NAME.pcapng."""

    def options(name: str, *more: str) -> list[str | Path]:
        files = ("-o", folder / f"{name}.jsonl", "-w", folder / f"{name}.pcapng")
        return ["--format", "jsonl", *files, "--method", method, *more]

    with (
        trace(*options("server", "--server-only", "--pid", str(daemon.pid))) as server,
        # This virsh does not run yet, but the daemon has the same library.
        trace(*options("client", "--client-only", "--comm", virsh.name)) as client,
        daemon.recorded(capture),
    ):
        run(virsh, uri, *command)
        for tracer, name in ((server, "server"), (client, "client")):
            _wait_for(folder / f"{name}.jsonl", '"connect_close","type":"reply"')
            status, err = tracer.end()
            assert (status, err.count("no problems")) == (0, 1), err
    return {name: folder / name for name in ("server", "client")}


def _wait_for(file: Path, text: str) -> None:
    end = time.monotonic() + PATIENCE
    while not file.exists() or text not in file.read_text():
        assert time.monotonic() < end, f"{text} does not come in {file}"
        time.sleep(0.05)


@pytest.mark.releases
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("command", [("domname", "1"), ("dumpxml", "test"), ("capabilities",)])
def test_messages_match_tcpdump(
    libvirtd: Libvirtd, virsh: Virsh, tmp_path: Path, command: tuple[str, ...], method: str
) -> None:
    capture = tmp_path / "capture.pcap"
    uri = f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    sides = both_sides(libvirtd, virsh, uri, *command, folder=tmp_path, capture=capture, method=method)
    captured = ours.decode(capture, "--port", str(libvirtd.port))
    fits = 1 << 16 if method == "bpf" else WINDOW
    expected = apart(captured, fits)
    assert sum(map(len, expected.values())) > 8
    for side in sides.values():
        traced = lines(side.with_suffix(".jsonl"))
        assert apart(traced, fits) == expected
        for line in traced:
            missing = max(0, line.get("length", 0) - fits)
            assert line.get("missing", 0) == missing
        if all(line["length"] <= fits for line in captured):
            assert bytes_of(side.with_suffix(".pcapng")) == bytes_of(capture, libvirtd.port)


@pytest.mark.releases
def test_figures_match_capture(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """`--stats` of the daemon's side, compared with `stats` of the packet capture."""
    capture, output = tmp_path / "capture.pcap", tmp_path / "out"
    options = ("--stats", "--format", "jsonl", "-o", output)
    with libvirtd.recorded(capture), trace("--pid", str(libvirtd.pid), *options) as tracer:
        for command in (["domname", "1"], ["nodeinfo"], ["dominfo", "test"]):
            libvirtd.virsh(*command)
        libvirtd.virsh("domname", "77", fails=True)
        status, err = tracer.end(signal.SIGINT)
    assert status == 0, err
    keys = ("procedure", "calls", "errors", "unanswered", "bytes_c2s", "bytes_s2c")
    done = ours.run("stats", "--format", "json", "--port", str(libvirtd.port), capture)
    traced, captured = (
        sorted(tuple(each[key] for key in keys) for each in figures["procedures"])
        for figures in (json.loads(output.read_text()), json.loads(done.stdout))
    )
    assert traced == captured
    assert ("domain_lookup_by_id", 2, 1) in {each[:3] for each in traced}


def test_table_has_what_was_traced(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """A table of the daemon's side, compared with the packet capture."""
    parquet = pytest.importorskip("pyarrow.parquet")
    capture, output = tmp_path / "capture.pcap", tmp_path / "out.parquet"
    options = ("--format", "parquet", "-o", output)
    with libvirtd.recorded(capture), trace("--pid", str(libvirtd.pid), *options) as tracer:
        libvirtd.virsh("domname", "1")
        status, err = tracer.end(signal.SIGINT)
    assert status == 0, err
    columns = ("dir", "length", "procedure", "type", "serial", "payload_type")
    found = parquet.read_table(output).to_pylist()
    captured = ours.decode(capture, "--port", str(libvirtd.port))
    for direction in ("c2s", "s2c"):
        traced, sent = (
            [tuple(each[name] for name in columns) for each in rows if each["dir"] == direction]
            for rows in (found, captured)
        )
        assert traced == sent
    assert len(found) == len(captured) > 8


@pytest.mark.releases
def test_connection_events(libvirtd: Libvirtd, virsh: Virsh, tmp_path: Path) -> None:
    """Objects match, and addresses match the packets; closing the client ends the connection."""
    capture = tmp_path / "capture.pcap"
    uri = f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    sides = both_sides(libvirtd, virsh, uri, "domname", "1", folder=tmp_path, capture=capture)
    (name,) = {line["conn"] for line in ours.decode(capture, "--port", str(libvirtd.port))}
    client, server = name.split("-")
    for side, path in sides.items():
        traced = lines(path.with_suffix(".jsonl"))
        # A new socket has no connection yet, and only its side is known.
        assert [line["event"] for line in traced if line["conn"] is None] == ["socket_new"]
        (conn,) = {line["conn"] for line in traced} - {None}
        ends = [end.partition("@")[0] for end in conn.split("-")]
        assert ends == [client, server]
        kinds = Counter(line["event"] for line in traced if "event" in line)
        assert kinds["client_new" if side == "client" else "server_client_new"] == 1
        assert kinds["keepalive_new"] == 1


@pytest.mark.releases
@pytest.mark.system("certtool")
def test_traces_tls_in_clear_text(
    installation: Installation, virsh: Virsh, certificates: Path, tmp_path: Path
) -> None:
    """The packet capture shows no message; the trace has the messages of a TCP session."""
    port = free_port()
    configuration = tls.CONFIGURATION.format(port=port, folder=certificates)
    plain, encrypted = tmp_path / "plain.pcap", tmp_path / "tls.pcap"
    uri = f"test+tls://localhost:{port}/default?pkipath={certificates}"
    with started(configuration, installation) as daemon:
        with daemon.recorded(plain):
            run(virsh, f"test+tcp://127.0.0.1:{daemon.port}/default", "domname", "1")
        secure = Libvirtd(port, daemon.folder, daemon.pid, installation)
        sides = both_sides(secure, virsh, uri, "domname", "1", folder=tmp_path, capture=encrypted)
        expected = apart(ours.decode(plain, "--port", str(daemon.port)))
        raw = bytes_of(plain, daemon.port)
        # libvirt 11.3.0 reports an empty name.
        logged = ALLOWED.findall(daemon.log.read_text())
    assert logged in (["CN=localhost"], [""])
    for side in sides.values():
        assert apart(lines(side.with_suffix(".jsonl"))) == expected
        assert bytes_of(side.with_suffix(".pcapng")) == raw
        # Only either side's check of the other's certificate.
        (checked,) = [
            line for line in lines(side.with_suffix(".jsonl")) if "context_session" in line.get("event", "")
        ]
        assert checked["event"] == "tls_context_session_allow"
        assert [checked["details"]["dname"]] == logged
    # Strings are paths; in 12.9.0 two of them are pointers.
    (made,) = [
        line
        for line in lines(sides["client"].with_suffix(".jsonl"))
        if line.get("event") == "tls_context_new"
    ]
    assert made["details"]["cacert"] == f"{certificates}/cacert.pem"
    for name, value in made["details"].items():
        assert name in ("process", "thread") or PATH_OR_NUMBER.fullmatch(
            value.removeprefix(f"{certificates}/")
        )
    done = ours.run("decode", "--port", str(port), encrypted)
    assert done.stdout == ""
    assert "[encrypted]" in done.stderr


#: About 40 KB of XML.
LARGE = "<domain type='test'><name>large</name><memory>8192</memory><os><type>hvm</type></os><description>{}\
</description></domain>"


@pytest.mark.releases
@pytest.mark.system("certtool")
@pytest.mark.parametrize("method", METHODS)
def test_large_domain_over_tls(
    installation: Installation, virsh: Virsh, certificates: Path, tmp_path: Path, method: str
) -> None:
    """Its definition is whole at both sides, and as virsh shows it."""
    port, definition = free_port(), tmp_path / "large.xml"
    definition.write_text(LARGE.format("a line of text &amp; ünicode\n" * 1400))
    uri = f"test+tls://localhost:{port}/default?pkipath={certificates}"
    with started(tls.CONFIGURATION.format(port=port, folder=certificates), installation) as daemon:
        outputs = {side: tmp_path / side for side in ("server", "client")}
        common = ("--format", "jsonl", "--method", method, "--max-message", "66000")
        with (
            trace("--server-only", "--pid", str(daemon.pid), *common, "-o", outputs["server"]) as server,
            trace("--client-only", "--comm", virsh.name, *common, "-o", outputs["client"]) as client,
        ):
            # In one connection: the test driver forgets a domain with its last client.
            said = run(virsh, uri, f"define {definition}; dumpxml large")
            for tracer, output in ((server, outputs["server"]), (client, outputs["client"])):
                _wait_for(output, '"connect_close","type":"reply"')
                status, err = tracer.end()
                assert (status, err.count("no problems")) == (0, 1), err
    shown = said[said.index("<domain") :].rstrip("\n")
    assert len(shown.encode()) > 40_000
    for output in outputs.values():
        found = {(line["procedure"], line["type"]): line for line in lines(output) if "event" not in line}
        assert found["domain_get_xml_desc", "reply"]["payload"]["xml"].rstrip("\n") == shown
        (define,) = [line for (name, type_), line in found.items() if "define" in name and type_ == "call"]
        assert define["payload"]["xml"] == definition.read_text()
        assert not any("missing" in line for line in found.values())


@pytest.mark.parametrize("method", METHODS)
def test_ends_with_its_processes(virsh: Virsh, tmp_path: Path, method: str) -> None:
    """It reports the end, and what happened before it."""
    with ExitStack() as stack:
        daemons = [stack.enter_context(started()) for _ in range(2)]
        pids = [word for daemon in daemons for word in ("--pid", str(daemon.pid))]
        output = tmp_path / "out"
        with trace(*pids, "--method", method, "--format", "jsonl", "-o", output) as tracer:
            run(virsh, f"test+tcp://127.0.0.1:{daemons[0].port}/default", "domname", "1")
            daemons[0].stop()
            run(virsh, f"test+tcp://127.0.0.1:{daemons[1].port}/default", "domname", "1")
            daemons[1].stop()
            _, err = tracer.process.communicate(timeout=PATIENCE)
    assert tracer.process.returncode == 0
    assert f"processes {daemons[0].pid}, {daemons[1].pid} have ended, and the trace with" in err
    assert "[process-ended]" in err
    closed = [line for line in lines(output) if line.get("procedure") == "connect_close"]
    assert len(closed) == 4


@pytest.mark.releases
@pytest.mark.parametrize("method", METHODS)
def test_new_sockets_show_their_side(libvirtd: Libvirtd, virsh: Virsh, tmp_path: Path, method: str) -> None:
    uri, capture = f"test+tcp://127.0.0.1:{libvirtd.port}/default", tmp_path / "capture"
    for number, word in enumerate(("pretty", "monitor")):
        output = tmp_path / word
        options = ("--pid", str(libvirtd.pid), "--method", method, "--format", word, "-o", output)
        with libvirtd.recorded(capture), trace(*options) as tracer:
            run(virsh, uri, "domname", "1")
            _wait_for(output, "server_client_dispose")
            assert tracer.end()[0] == 0, number
    (line,) = [each for each in (tmp_path / "monitor").read_text().splitlines() if " socket_new " in each]
    assert " + S " in line
    # The side is known, so the event belongs to a trace of this side.
    for side, count in (("server", 1), ("client", 0)):
        output = tmp_path / side
        with trace("--pid", str(libvirtd.pid), f"--{side}-only", "--format", "jsonl", "-o", output) as tracer:
            run(virsh, uri, "domname", "1")
            _wait_until_idle(libvirtd)
            assert tracer.end()[0] == 0
        assert output.read_text().count('"socket_new"') == count


@pytest.mark.releases
@pytest.mark.system("certtool")
def test_tls_context_has_the_values_of_the_log(
    installation: Installation, virsh: Virsh, certificates: Path, tmp_path: Path
) -> None:
    """Two of its arguments are text until libvirt 11.3.0, and pointers in 12.9.0, where a trace showed memory
    as text."""
    port, output = free_port(), tmp_path / "out.jsonl"
    configuration = tls.CONFIGURATION.format(port=port, folder=certificates)
    with trace("--library", installation.library, "--format", "jsonl", "-o", output) as tracer:
        assert f"trace: libvirt {installation.version}: arguments of probes as in " in tracer.said
        with started(configuration, installation) as daemon:
            run(virsh, f"test+tls://localhost:{port}/default?pkipath={certificates}", "domname", "1")
            (logged,) = CONTEXT_NEW.findall(daemon.log.read_text())
        status, err = tracer.end()
    assert status == 0, err
    found = [line["details"] for line in lines(output) if line.get("event") == "tls_context_new"]
    (server,) = [each for each in found if each["process"] == f"libvirtd[{daemon.pid}]"]
    words = dict(word.split("=", 1) for word in logged.split(" "))
    # The log of 12.9.0 has another name than its provider file.
    names = ["key" if name == "keys" else name for name in server if name not in ("process", "thread")]
    assert dict(zip(names, list(server.values())[2:], strict=True)) == words
    addresses = [name for name, value in words.items() if value.startswith("0x")]
    assert addresses == (["ctxt", "cert", "key"] if installation.version == "12.9.0" else ["ctxt"])
    (client,) = [each for each in found if each["process"].startswith(virsh.name)]
    assert {name for name, value in client.items() if value.startswith("0x")} >= {"ctxt"}
    for each in found:
        assert all(value.isascii() and value.isprintable() for value in each.values())


@pytest.mark.releases
def test_unix_sockets_and_descriptors(libvirtd: Libvirtd, virsh: Virsh, tmp_path: Path) -> None:
    output = tmp_path / "out"
    passed = tuple(os.open(os.devnull, os.O_RDONLY) for _ in range(3))
    start = f"domname 1; destroy test; start test --pass-fds {','.join(map(str, passed))}"
    with trace("--pid", str(libvirtd.pid), "--format", "jsonl", "-o", output) as tracer:
        run(virsh, f"test+unix:///default?socket={libvirtd.socket}", start, pass_fds=passed)
        for descriptor in passed:
            os.close(descriptor)
        _wait_for(output, '"connect_close","type":"reply"')
        assert tracer.end()[0] == 0
    found = lines(output)
    (reply,) = [
        line for line in found if line.get("procedure") == "domain_lookup_by_id" and line["type"] == "reply"
    ]
    assert reply["payload"]["dom"]["name"] == "test"
    (call,) = [line for line in found if line.get("type") == "call_with_fds"]
    assert (call["procedure"], call["fds"]) == ("domain_create_with_files", len(passed))
    received = [line["conn"] for line in found if line.get("event") == "socket_recv_fd"]
    assert received == [call["conn"]] * len(passed)
    assert "server_client_auth_allow" not in {line.get("event") for line in found}  # the test driver's unix
    (conn,) = {line["conn"] for line in found if "event" not in line}
    assert conn.startswith("client-server@")


def loop(libvirtd: Libvirtd, calls: int) -> float:
    """Seconds for the calls."""
    uri = f"test+tcp://127.0.0.1:{libvirtd.port}/default"
    began = time.monotonic()
    subprocess.run([SYSTEM_PYTHON, "-c", LOOP, uri, str(calls)], check=True, timeout=120)
    return time.monotonic() - began


def needs_bindings() -> None:
    if subprocess.run([SYSTEM_PYTHON, "-c", "import libvirt"], capture_output=True).returncode:
        pytest.skip("python3-libvirt is not installed")


def test_traces_twenty_thousand_messages_at_full_speed(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """No event is lost; or, on a busy machine, exactly the missing number is reported."""
    needs_bindings()
    calls, output = 10_000, tmp_path / "out"
    before = loop(libvirtd, calls)
    with trace("--pid", str(libvirtd.pid), "--format", "jsonl", "-o", output) as tracer:
        during = loop(libvirtd, calls)
        _settled(output)
        status, err = tracer.end()
    print(
        f"{calls} calls took {before:.2f} s, and {during:.2f} s traced: {during / before:.2f} times as long"
    )
    found = [line for line in lines(output) if line.get("procedure") == "connect_get_lib_version"]
    lost = _lost(err)
    assert status == bool(lost), err
    if lost:
        assert len(found) < 2 * calls <= len(found) + lost
        return
    assert Counter(line["type"] for line in found) == {"call": calls, "reply": calls}
    assert [line["serial"] for line in apart(found)["c2s"]] == sorted({line["serial"] for line in found})


@pytest.mark.parametrize("method", METHODS)
def test_lost_events_are_counted_exactly(libvirtd: Libvirtd, tmp_path: Path, method: str) -> None:
    """With a small buffer, and a tracer that is stopped while the daemon continues."""
    needs_bindings()
    few, many = 10, 5_000
    options = ("--pid", str(libvirtd.pid), "--method", method, "--format", "jsonl", "-o")
    with trace(*options, tmp_path / "few") as tracer:
        loop(libvirtd, few)
        _settled(tmp_path / "few")
        assert tracer.end()[0] == 0
    with trace(*options, tmp_path / "many", "--buffer", "64") as tracer:
        tracer.process.send_signal(signal.SIGSTOP)
        loop(libvirtd, many)
        _wait_until_idle(libvirtd)
        tracer.process.send_signal(signal.SIGCONT)
        status, err = tracer.end()
    # One more line is one more event; everything except the looped calls is equal.
    everything = len(lines(tmp_path / "few")) + 2 * (many - few)
    assert status == 1
    assert _lost(err) > 0
    assert len(lines(tmp_path / "many")) + _lost(err) == everything


def _lost(err: str) -> int:
    words = [line.split() for line in err.splitlines() if "[lost-events]" in line]
    return int(words[-1][words[-1].index("in") - 1].lstrip("(").replace(",", "")) if words else 0


def _settled(file: Path) -> None:
    """Wait until the connection is closed, so that everything is written."""
    _wait_for(file, '"server_client_dispose"')


def _wait_until_idle(libvirtd: Libvirtd) -> None:
    """Wait until the client has exited and the daemon has noticed."""
    end = time.monotonic() + PATIENCE
    while True:
        established = subprocess.run(
            ["ss", "-Htn", "state", "established", f"( sport = :{libvirtd.port} )"],
            capture_output=True,
            text=True,
        ).stdout
        if not established:
            return
        assert time.monotonic() < end
        time.sleep(0.05)


def test_removes_remains_of_killed_trace(libvirtd: Libvirtd, tmp_path: Path) -> None:
    pid = str(libvirtd.pid)
    with (
        trace("--pid", pid, "-o", tmp_path / "one", "--method", "tracefs") as other,
        trace("--pid", pid, "-o", tmp_path / "a", "--method", "tracefs") as dead,
    ):
        dead.kill()
        assert len(dead.left) == 1
        options = ("--method", "tracefs", "--format", "jsonl", "-o", tmp_path / "b")
        with trace("--pid", pid, *options) as next_:
            assert "left behind" in next_.said or dead.left == []
            assert dead.left == []
            assert len(other.left) == 1
            libvirtd.virsh("domname", "1")
            for name in ("one", "b"):
                _wait_for(tmp_path / name, "connect_close")
            _ends_well(next_, other)


def _ends_well(*tracers: Tracer) -> None:
    for number, tracer in zip((signal.SIGINT, signal.SIGTERM), tracers, strict=True):
        status, err = tracer.end(number)
        assert (status, "no problems" in err) == (0, True), err


def test_processes_start_and_exit(virsh: Virsh, libvirtd: Libvirtd, tmp_path: Path) -> None:
    """The daemon that runs at the start may exit, and others with the same library may start."""
    output = tmp_path / "out"
    with trace(
        "--comm", virsh.name, "--library", MACHINE.library, "--format", "jsonl", "-o", output
    ) as tracer:
        for _ in range(3):
            with started() as daemon:
                run(virsh, f"test+tcp://127.0.0.1:{daemon.port}/default", "domname", "1")
                _wait_for(output, f":{daemon.port}")
        _wait_for(output, "connect_close")
        assert tracer.end()[0] == 0
    servers = {
        line["conn"].rpartition("-")[2] for line in lines(output) if line["conn"] and "event" not in line
    }
    assert len(servers) == 3
