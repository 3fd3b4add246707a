"""Connection URIs, the sockets that they mean, and the command of ssh."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto.client import ssh, uri
from libvirt_proto.client.errors import ConnectError
from libvirt_proto.client.uri import parse, unix_socket


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "name"),
    [
        ("qemu:///system", "unix", "", None, "qemu:///system"),
        ("test:///default", "unix", "", None, "test:///default"),
        ("qemu://host/system", "tls", "host", None, "qemu:///system"),
        ("test+tcp://192.0.2.1:16510/default", "tcp", "192.0.2.1", 16510, "test:///default"),
        ("qemu+tls://[2001:db8::1]/system?no_verify=1", "tls", "2001:db8::1", None, "qemu:///system"),
        ("qemu+ssh://root@host/system?name=test:///default", "ssh", "host", None, "test:///default"),
        ("lxc+ext:///?command=/bin/x", "ext", "", None, "lxc:///"),
    ],
)
def test_parses(text: str, transport: str, host: str, port: int | None, name: str) -> None:
    parsed = parse(text)
    assert (parsed.transport, parsed.host, parsed.port, parsed.name) == (transport, host, port, name)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a URI"),
        ("qemu", "expected a URI"),
        ("qemu:/system", "expected a URI"),
        ("qemu+tcp://host:99999/", "expected a URI"),
        ("qemu:///system\n", "control characters"),
        ("qemu+ssh://-oProxyCommand=x/system", "does not begin with '-'"),
        ("qemu+ssh://-x@host/system", "does not begin with '-'"),
        ("qemu+ssh://user:secret@host/system", "without a password"),
        ("qemu+tcpp://host/", "Did you mean 'tcp'"),
        ("qemu+tcp:///system", "expected a host"),
        ("qemu+unix://host/system", "expected no host"),
        ("qemu:///system?sockett=/x", "Did you mean 'socket'"),
        ("qemu:///system?no_verify=1", "does not apply to unix"),
        ("qemu+tls://host/?no_verify=yes", "expected no_verify"),
        ("qemu+tls://host/?tls_priority=NORMAL", "not supported"),
        ("qemu:///system?socket=/a&socket=/b", "given twice"),
        ("qemu:///system?socket=%00", "control characters"),
        ("qemu:///system?socket", "name=value"),
        ("admin+tcp://host/", "unix socket"),
    ],
)
def test_refuses(text: str, problem: str) -> None:
    with pytest.raises(ConnectError, match=problem):
        parse(text)


class TestSockets:
    @pytest.fixture(autouse=True)
    def runtime(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(uri, "_runtime_folder", lambda _: tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        ("text", "readonly", "name"),
        [
            ("qemu:///system", False, "virtqemud-sock"),
            ("qemu:///system", True, "virtqemud-sock-ro"),
            ("qemu:///session", True, "virtqemud-sock"),
            ("qemu:///system?mode=legacy", False, "libvirt-sock"),
            ("qemu:///system?mode=direct", True, "virtqemud-sock-ro"),
            ("test:///default", False, "libvirt-sock"),
            ("admin:///system", False, "libvirt-admin-sock"),
            ("libvirtd:///system", False, "libvirt-admin-sock"),
            ("virtlogd:///system", False, "virtlogd-admin-sock"),
            ("log:///system", False, "virtlogd-sock"),
            ("lock:///system", False, "virtlockd-sock"),
        ],
    )
    def test_name(self, runtime: Path, text: str, readonly: bool, name: str) -> None:
        for each in (name, "libvirt-sock", "libvirt-sock-ro"):
            (runtime / each).touch()
        assert unix_socket(parse(text), readonly) == str(runtime / name)

    def test_libvirtd_serves_drivers_without_their_daemon(self, runtime: Path) -> None:
        (runtime / "libvirt-sock").touch()
        assert unix_socket(parse("qemu:///system"), False) == str(runtime / "libvirt-sock")

    def test_missing_sockets_are_named(self) -> None:
        with pytest.raises(ConnectError, match=r"virtqemud-sock and .*libvirt-sock"):
            unix_socket(parse("qemu:///system"), False)

    def test_mode_of_a_driver_without_a_daemon(self) -> None:
        with pytest.raises(ConnectError, match="no daemon of its own"):
            unix_socket(parse("test:///default?mode=direct"), False)
        with pytest.raises(ConnectError, match="expected mode="):
            unix_socket(parse("qemu:///system?mode=x"), False)

    def test_socket_parameter(self) -> None:
        assert unix_socket(parse("qemu:///system?socket=/a%20b"), False) == "/a b"


class TestSsh:
    def test_command(self) -> None:
        parsed = parse(
            "qemu+ssh://me@host:2222/system?keyfile=/k&known_hosts=/a%20b&no_verify=1&proxy=native"
        )
        assert ssh.command(parsed, readonly=True) == [
            *("ssh", "-T", "-e", "none", "-p", "2222", "-l", "me", "-i", "/k"),
            *("-o", 'UserKnownHostsFile="/a b"', "-o", "StrictHostKeyChecking=no"),
            *("-o", "BatchMode=yes", "--", "host"),
            "sh -c 'exec virt-ssh-helper -r -- qemu:///system'",
        ]

    def test_remote_words_are_quoted(self) -> None:
        hostile = "%3Btouch%20%2Ftmp%2Fx%3B%27%22%24(id)"
        parsed = parse(f"qemu+ssh://host/system?netcat={hostile}&socket={hostile}&proxy=netcat")
        import shlex

        *_, remote = ssh.command(parsed, readonly=False)
        shell, option, script = shlex.split(remote)
        assert (shell, option) == ("sh", "-c")
        assert shlex.split(script)[-4:] == [";touch /tmp/x;'\"$(id)", "-U", ";touch /tmp/x;'\"$(id);", "fi"]

    def test_refuses_proxies_and_quotes(self) -> None:
        with pytest.raises(ConnectError, match="proxy="):
            ssh.command(parse("qemu+ssh://host/system?proxy=x"), readonly=False)
        with pytest.raises(ConnectError, match="quotation marks"):
            ssh.command(parse("qemu+ssh://host/system?known_hosts=%22"), readonly=False)
