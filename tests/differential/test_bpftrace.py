"""The bpftrace scripts, run by the real bpftrace: with a real libvirtd and a packet capture, and with a
program that fires probes with arguments at every place that a compiler uses."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.cli.main import main
from tests.differential import ours
from tests.differential.bpftrace import running
from tests.differential.libvirtd import Libvirtd

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("domname", "1"),
    ("list", "--all"),
    ("dominfo", "test"),
    ("dumpxml", "test"),
)
FAILURES = (("domname", "77"), ("domname", "78"), ("domid", "nosuch"))
HEAD = r"^ *\d+\.\d{3} "
MESSAGE = re.compile(
    HEAD + r"(C [<>]|[<>] S) (0x\w+) +msg=(\w+)\.(\d+)\.(\w+)\((\w+), (\w+), (\d+)\) len=(\d+)$", re.MULTILINE
)
CONNECTION = re.compile(
    HEAD + r"(C [+-]|[+-] S) (0x\w+) +local=127\.0\.0\.1;(\d+) remote=127\.0\.0\.1;(\d+)$", re.MULTILINE
)


def generate(folder: Path, *options: str) -> Path:
    result = CliRunner().invoke(main, ["generate", "bpftrace", "-o", str(folder), *options])
    assert result.exit_code == 0, result.output
    return folder


def session(daemon: Libvirtd) -> int:
    """Run several conversations, some with errors; return how many."""
    for command in COMMANDS:
        daemon.virsh(*command)
    for command in FAILURES:
        daemon.virsh(*command, fails=True)
    return len(COMMANDS) + len(FAILURES)


def on_the_wire(capture: Path) -> list[dict[str, str]]:
    """The messages of a capture, with the monitor's field names."""
    return [{name: str(value) for name, value in line.items()} for line in ours.decode(capture)]


@pytest.mark.releases
@pytest.mark.system("bpftrace", "libvirtd", "virsh", "tcpdump")
def test_monitor_matches_capture(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """Each message on the wire is seen once by the client and once by the server, with its whole header, and
    connections have their addresses."""
    script = generate(tmp_path / "bt", *libvirtd.installation.library_options) / "rpc-monitor.bt"
    capture = tmp_path / "capture.pcap"
    with libvirtd.recorded(capture), running(script, tmp_path) as trace:
        conversations = session(libvirtd)
    names = ("program", "vers", "procedure", "type", "status", "serial", "length")
    wire = [(line["dir"], *(line[name] for name in names)) for line in on_the_wire(capture)]
    assert {line[5] for line in wire} == {"ok", "error"}
    # Other daemons and clients may be running; connections of this one have its port.
    found: Counter[str] = Counter()
    ports: dict[str, set[str]] = {"C": set(), "S": set()}
    pointers: set[str] = set()
    for way, pointer, local, remote in CONNECTION.findall(trace.output):
        side = "C" if "C" in way else "S"
        listening, other = (remote, local) if side == "C" else (local, remote)
        if listening == str(libvirtd.port):
            found[way] += 1
            ports[side].add(other)
            pointers.add(pointer)
    # virsh may exit before it disposes of its client.
    assert found.pop("C -", 0) <= conversations
    assert found == dict.fromkeys(("C +", "+ S", "- S"), conversations)
    assert ports["C"] == ports["S"]
    assert len(ports["C"]) == conversations
    seen: dict[str, Counter[tuple[str, ...]]] = {"C": Counter(), "S": Counter()}
    for way, pointer, *message in MESSAGE.findall(trace.output):
        if pointer in pointers:
            seen["C" if "C" in way else "S"]["c2s" if ">" in way else "s2c", *message] += 1
    assert seen == {"C": Counter(wire), "S": Counter(wire)}


@pytest.mark.system("bpftrace", "libvirtd", "virsh")
def test_monitor_reports_descriptors(libvirtd: Libvirtd, tmp_path: Path) -> None:
    """A client sends descriptors to the daemon over its unix socket, more than any other client would."""
    script = generate(tmp_path / "bt", *libvirtd.installation.library_options) / "rpc-monitor.bt"
    passed = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    with running(script, tmp_path) as trace:
        uri = f"test+unix:///default?socket={libvirtd.socket}"
        command = f"destroy test; start test --pass-fds {','.join(map(str, passed))}"
        subprocess.run(
            libvirtd.installation.command("virsh", "-q", "-c", uri, command),
            pass_fds=passed,
            check=True,
            capture_output=True,
        )
    for descriptor in passed:
        os.close(descriptor)
    lines = re.findall(r"(C >|> S) (0x\w+) +fd=\d+$", trace.output, re.MULTILINE)
    of_ours = [side for side, count in Counter(lines).items() if count == len(passed)]
    assert sorted(way for way, _ in of_ours) == ["> S", "C >"]
    for way, pointer in of_ours:
        assert re.search(
            rf"{way} {pointer} +msg=remote\.1\.domain_create_with_files\(call_with_fds,", trace.output
        )


@pytest.mark.system("bpftrace", "libvirtd", "virsh", "tcpdump")
@pytest.mark.releases
@pytest.mark.parametrize("name", ["rpc-latency", "rpc-errors"])
def test_daemon_figures_match_capture(libvirtd: Libvirtd, tmp_path: Path, name: str) -> None:
    """Each reply on the wire is counted in its procedure's histogram, each error for its procedure."""
    script = generate(tmp_path / "bt", *libvirtd.installation.library_options) / f"{name}.bt"
    capture = tmp_path / "capture.pcap"
    pid = (libvirtd.folder / "pid").read_text().strip()
    with libvirtd.recorded(capture), running(script, tmp_path, "-p", pid) as trace:
        session(libvirtd)
    replies = [line for line in on_the_wire(capture) if line["type"] == "reply"]
    if name == "rpc-errors":
        expected = Counter(line["procedure"] for line in replies if line["status"] == "error")
        found = dict(re.findall(r"^@server\[remote, (\w+)\]: (\d+)$", trace.output, re.MULTILINE))
        # `dominfo` of newer clients also calls a procedure that the test driver lacks.
        lookups = expected["domain_lookup_by_id"] + expected["domain_lookup_by_name"]
        assert lookups == len(FAILURES)
    else:
        expected = Counter(line["procedure"] for line in replies)
        found = {
            procedure: str(sum(map(int, re.findall(r"\) +(\d+) \|", bars))))
            for procedure, bars in re.findall(
                r"^@server_us\[remote, (\w+)\]: *\n((?:[\[(].*\n)+)", trace.output, re.MULTILINE
            )
        }
    assert {procedure: int(count) for procedure, count in found.items()} == expected
    # Nothing else is printed.
    assert set(re.findall(r"^@(\w+)", trace.output, re.MULTILINE)) == {
        "server" if name == "rpc-errors" else "server_us"
    }


@pytest.mark.system("bpftrace", "libvirtd", "virsh")
def test_client_latencies_and_errors_match_capture(libvirtd: Libvirtd, tmp_path: Path) -> None:
    folder = generate(tmp_path / "bt", *libvirtd.installation.library_options)
    with (
        running(folder / "rpc-latency.bt", tmp_path) as latency,
        running(folder / "rpc-errors.bt", tmp_path) as errors,
    ):
        libvirtd.virsh("domname", "77", fails=True)
    assert re.search(r"^@client_us\[remote, domain_lookup_by_id\]: *\n[\[(]", latency.output, re.MULTILINE)
    assert re.search(r"^@client\[remote, domain_lookup_by_id\]: \d+$", errors.output, re.MULTILINE)


#: Fires message probes at several places: arguments on the stack, in registers, and as constants.
PROGRAM = """
#include <stdint.h>
#include <sys/sdt.h>
typedef uint64_t u;
#define MESSAGE u c, u len, u prog, u vers, int proc, u type, int status, unsigned serial
#define PROBE(...) DTRACE_PROBE8(libvirt, __VA_ARGS__)
__attribute__((noinline, optimize("O0"))) void stack(MESSAGE)
{
    PROBE(rpc_client_msg_rx, c, len, prog, vers, proc, type, status, serial);
}
__attribute__((noinline, optimize("O2"))) void registers(MESSAGE)
{
    PROBE(rpc_client_msg_rx, c, len, prog, vers, proc, type, status, serial);
}
__attribute__((noinline, optimize("O2"))) void array(u *c, u n, unsigned *serials)
{
    PROBE(rpc_client_msg_rx, *c, c[1], 0x20008086, 1, 66, 1, (int)serials[n], serials[n + 1]);
}
int main(void)
{
    u few[] = {4, 28};
    unsigned serials[] = {0, 1, 2, 1, 11};
    /* On the stack: what is not in memory yet, bpftrace does not read. */
    char here[] = "localhost;2", there[] = "nobody;1";
    stack(1, 28, 0x20008086, 1, 66, 1, 1, 4294967295u);
    registers(2, 36, 0x87539319, 1, 3, 0, 0, 2147483648u);
    PROBE(rpc_client_msg_rx, 3, 40, 0x20008086, 1, 1, 0, 2, 77);
    array(few, 3, serials);
    stack(5, 0, 0, 0, 0, 0, 0, 0);
    stack(6, 28, 0x20008086, 1, -1, 7, 9, 5);
    stack(7, 28, 0xFFFFFFFF20008086, 2, 66, 1, 0, 6);
    PROBE(rpc_client_msg_tx_queue, 0, 0, 0, 0, 0, 0, 0, 0);
    PROBE(rpc_server_client_msg_tx_queue, 0, 0, 0, 0, 0, 0, 0, 0);
    PROBE(rpc_server_client_msg_rx, 0, 0, 0, 0, 0, 0, 0, 0);
    DTRACE_PROBE7(libvirt, rpc_socket_new, 0x50, 1, 7, -1, 0, here, there);
    DTRACE_PROBE3(libvirt, rpc_client_new, 0x51, 1, 0x50);
    DTRACE_PROBE2(libvirt, rpc_socket_send_fd, 0x50, 8);
    DTRACE_PROBE2(libvirt, rpc_client_free, 0x51, 2);
    DTRACE_PROBE2(libvirt, rpc_socket_free, 0x50, 2);
    DTRACE_PROBE2(libvirt, rpc_socket_recv_fd, 0x50, 9);
    DTRACE_PROBE2(libvirt, rpc_socket_free, 0x50, 1);
    DTRACE_PROBE2(libvirt, rpc_socket_recv_fd, 0x50, 10);
    DTRACE_PROBE2(libvirt, rpc_client_free, 0x51, 1);
    DTRACE_PROBE3(libvirt, rpc_server_client_new, 0x52, 1, 0x50);
    DTRACE_PROBE2(libvirt, rpc_server_client_free, 0x52, 1);
    return 0;
}
"""
FIRED = """\
C < 0x1              msg=remote.1.auth_list(reply, error, 4294967295) len=28
C < 0x2              msg=2270401305.1.3(0, 0, 2147483648) len=36
C < 0x3              msg=remote.1.open(call, continue, 77) len=40
C < 0x4              msg=remote.1.auth_list(reply, error, 11) len=28
C < 0x6              msg=536903814.1.-1(7, 9, 5) len=28
C < 0x7              msg=536903814.2.66(1, 0, 6) len=28
C + 0x51             local=localhost;2 remote=nobody;1
C > 0x51             fd=8
C < 0x51             fd=9
C - 0x51             local=localhost;2 remote=nobody;1
+ S 0x52             local= remote=
- S 0x52             local= remote=
"""


@pytest.mark.system("bpftrace", "gcc", "dtrace")  # dtrace is installed with <sys/sdt.h>
def test_reads_arguments_from_every_operand(tmp_path: Path) -> None:
    """With the probes of the first release."""
    program, source = tmp_path / "program", tmp_path / "program.c"
    source.write_text(PROGRAM)
    subprocess.run(["gcc", "-o", str(program), str(source)], check=True)
    folder = generate(tmp_path / "bt", "--release", "0.9.7", "--library", str(program))
    with running(folder / "rpc-monitor.bt", tmp_path) as trace:
        # On one processor, to keep the lines in order.
        subprocess.run(["taskset", "-c", "0", str(program)], check=True)
    lines = re.findall(r"^ *\d+\.\d{3} ([C+-].*)$", trace.output, re.MULTILINE)
    assert lines == FIRED.splitlines()
