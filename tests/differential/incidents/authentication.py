"""Incidents of authentication and access: SASL, polkit, certificates, read-only connections."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Final

from tests.differential import certificates, sasl
from tests.differential.incidents.direct import Direct
from tests.differential.incidents.scene import Incident, Scene
from tests.differential.installation import MACHINE

#: The realm of a user is the name of the daemon's host.
CREDENTIALS: Final = """\
[credentials-admin]
authname=admin
password={password}
realm={realm}
[auth-libvirt-127.0.0.1]
credentials=admin
"""
#: A message bus that allows everything.
BUS: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow receive_type="method_call"/>
    <allow send_type="method_return"/>
    <allow receive_type="method_return"/>
    <allow send_type="error"/>
    <allow receive_type="error"/>
    <allow send_type="signal"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"""
#: A client that connects when a file exists.
LATE: Final = """\
import os, sys, time, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
try:
    libvirt.open(sys.argv[1])
except libvirt.libvirtError as error:
    print(error)
"""
POLKITD: Final = "/usr/lib/polkit-1/polkitd"
#: A rule of an administrator that asks a slow service.
SLOW_RULE: Final = """\
polkit.addRule(function(action, subject) {
    if (action.id == "org.libvirt.unix.manage") {
        polkit.spawn(["/bin/sleep", "4"]);
        return polkit.Result.YES;
    }
});
"""


def _sasl(mechanism: str) -> Callable[[Scene], None]:
    """Have the daemon use a SASL mechanism, and know one user."""

    def prepare(scene: Scene) -> None:
        scene.environment |= sasl.make(scene.folder / "sasl", mechanism)

    return prepare


def _log_in(scene: Scene, password: str) -> str:
    """Run `virsh list` with a password, and return its output."""
    credentials = scene.folder / f"{password}.conf"
    credentials.write_text(CREDENTIALS.format(password=password, realm=gethostname()))
    return scene.output(scene.client("list", environment={"LIBVIRT_AUTH_FILE": str(credentials)}))


def _sasl_refused(scene: Scene) -> None:
    for _ in range(2):
        output = _log_in(scene, "wrong")
        assert "authentication failed" in output, output
    output = _log_in(scene, "right")
    assert "running" in output, output


def _sasl_without_tls(scene: Scene) -> None:
    output = _log_in(scene, "right")
    assert "authentication failed" in output, output
    assert "no SASL mechanisms are available" in scene.log


def _polkit(rules: str = "") -> Callable[[Scene], None]:
    """Start a message bus and polkit, whose rules are the machine's and `rules`."""

    def prepare(scene: Scene) -> None:
        # Unlike the daemon's folder, every user can enter this one.
        folder = Path(scene.afterwards.enter_context(TemporaryDirectory()))
        folder.chmod(0o755)
        (folder / "bus.conf").write_text(BUS.format(folder=folder))
        (folder / "rules.d").mkdir()
        (folder / "rules.d" / "10-slow.rules").write_text(rules)
        scene.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={folder}/bus"
        _serve(scene, "dbus-daemon", "--nofork", "--nopidfile", f"--config-file={folder}/bus.conf")
        scene.wait_for((folder / "bus").exists)
        (folder / "bus").chmod(0o777)
        mounted = f"mount --bind {folder}/rules.d /etc/polkit-1/rules.d && exec {POLKITD} --no-debug"
        _serve(scene, "unshare", "--mount", "sh", "-c", mounted)
        scene.wait_for(lambda: "PolicyKit1" in _names(scene))

    return prepare


def _serve(scene: Scene, *command: str) -> None:
    """Run a program until the end of the incident."""
    process = subprocess.Popen(
        command,
        env=os.environ | scene.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    scene.afterwards.callback(process.wait)
    scene.afterwards.callback(process.terminate)


def _names(scene: Scene) -> str:
    """The names on the bus."""
    command = ["dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
    done = subprocess.run(
        [*command, "org.freedesktop.DBus.ListNames"],
        env=os.environ | scene.environment,
        capture_output=True,
        text=True,
    )
    return done.stdout


def _polkit_refused(scene: Scene) -> None:
    for _ in range(2):
        output = scene.output(scene.client("list", uri=scene.unix_uri, user="nobody"))
        assert "no polkit agent available" in output, output


def _polkit_waiting(scene: Scene) -> None:
    output = scene.output(scene.client("list", uri=scene.unix_uri, user="nobody"))
    assert "running" in output, output


def _polkit_password(scene: Scene) -> None:
    """The user has an agent in a terminal, and types a wrong password after some time."""
    registered = scene.folder / "registered"
    client = scene.python(LATE, scene.unix_uri, str(registered), user="nobody")
    ready, notify = os.pipe()
    agent, terminal = pty.fork()
    if agent == 0:
        os.set_inheritable(notify, True)
        words = ("pkttyagent", "--notify-fd", str(notify), "--process", str(client.pid))
        command = MACHINE.command(*words, user="nobody")
        os.execvpe(command[0], command, os.environ | scene.environment)
    os.close(notify)
    os.read(ready, 1)  # until the agent closes its end
    os.close(ready)
    registered.touch()
    shown = b""
    while b"Password:" not in shown:
        shown += os.read(terminal, 1024)
    time.sleep(3)
    os.write(terminal, b"wrong\n")
    output = scene.output(client)
    os.close(terminal)
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    assert "authentication" in output, output


def _read_only(scene: Scene) -> None:
    output = scene.virsh("-r", "suspend", "test", log=True)
    assert "read only access prevents virDomainSuspend" in output, output
    # libvirt's own clients refuse it before they send it; others leave it to the daemon.
    with Direct(scene.port) as client:
        client.open(flags=1)
        reply = client.call("domain_suspend", client.lookup(b"test"))
        assert b"read only access prevents virDomainSuspend" in reply, reply


def _access_denied(scene: Scene) -> None:
    for _ in range(2):
        output = scene.virsh("list", uri=f"qemu+tcp://127.0.0.1:{scene.port}/session")
        assert "access denied: 'QEMU' denied access" in output, output


def _certificate_refused(scene: Scene, pki: Callable[[Scene], Path], expected: str) -> None:
    folder = pki(scene)
    uri = f"test+tls://localhost:{scene.tls_port}/default?pkipath={folder}"
    for _ in range(2):
        output = scene.virsh("list", uri=uri, log=True)
        assert "error: failed to connect" in output, output
    assert expected in scene.log + output, output


def _no_certificate(scene: Scene) -> Path:
    """The folder of a client that knows the authority, and has no certificate of its own."""
    folder = scene.folder / "pki"
    folder.mkdir()
    shutil.copy(scene.folder / "cacert.pem", folder)
    return folder


def _other_authority(scene: Scene) -> Path:
    """The folder of a client that knows another authority, and has a certificate of it."""
    folder = scene.folder / "pki"
    folder.mkdir()
    certificates.make(folder)
    return folder


POLKIT_TOOLS: Final = ("dbus-daemon", "dbus-send", POLKITD, "unshare")

INCIDENTS = (
    Incident(
        "auth-sasl-refused",
        frozenset({"AUTH_REFUSED"}),
        _sasl_refused,
        settings={"auth_tcp": '"sasl"'},
        prepare=_sasl("digest-md5"),
        tools=("saslpasswd2",),
        probes=True,
    ),
    Incident(
        "sasl-without-tls",
        frozenset({"SASL_WITHOUT_TLS"}),
        _sasl_without_tls,
        settings={"auth_tcp": '"sasl"'},
        prepare=_sasl("scram-sha-256"),
        tools=("saslpasswd2",),
        probes=True,
    ),
    Incident(
        "auth-polkit-refused",
        frozenset({"AUTH_REFUSED"}),
        _polkit_refused,
        settings={"auth_unix_rw": '"polkit"'},
        prepare=_polkit(),
        tools=POLKIT_TOOLS,
        probes=True,
    ),
    Incident(
        "auth-polkit-waiting",
        frozenset({"AUTH_WAITING"}),
        _polkit_waiting,
        settings={"auth_unix_rw": '"polkit"'},
        prepare=_polkit(SLOW_RULE),
        tools=POLKIT_TOOLS,
        probes=True,
    ),
    Incident(
        "auth-polkit-password",
        frozenset({"AUTH_REFUSED", "AUTH_WAITING"}),
        _polkit_password,
        settings={"auth_unix_rw": '"polkit"'},
        prepare=_polkit(),
        tools=(*POLKIT_TOOLS, "pkttyagent"),
        probes=True,
    ),
    Incident("read-only", frozenset({"READ_ONLY"}), _read_only, probes=True),
    Incident(
        "access-denied",
        frozenset({"ACCESS_DENIED"}),
        _access_denied,
        settings={"access_drivers": '[ "polkit" ]'},
        probes=True,
    ),
    Incident(
        "tls-no-certificate",
        frozenset({"CERTIFICATE_REFUSED"}),
        lambda scene: _certificate_refused(scene, _no_certificate, "No certificate was found"),
        tools=("certtool",),
        tls=True,
    ),
    Incident(
        "tls-other-authority",
        frozenset({"CERTIFICATE_REFUSED"}),
        lambda scene: _certificate_refused(scene, _other_authority, "known issuer"),
        tools=("certtool",),
        tls=True,
    ),
    Incident(
        "tls-name-not-allowed",
        frozenset({"CERTIFICATE_REFUSED"}),
        lambda scene: _certificate_refused(scene, lambda scene: scene.folder, "not on the list of allowed"),
        settings={"tls_allowed_dn_list": '[ "CN=admin" ]'},
        tools=("certtool",),
        tls=True,
    ),
)
