"""The meaning of the reasons in libvirt's messages about the end of a connection.

`Cannot recv data: REASON` and `End of file while reading data: REASON` (virnetsocket.c): the reason is
strerror's text, GnuTLS's, or what the program of a tunnel (ssh, nc) wrote to its standard error.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..events import LogLine
from .findings import Certainty, Severity

_DAEMON: Final = re.compile(r"libvirtd|virt[a-z]{2,16}d")


class Meaning(NamedTuple):
    """A sentence without a full stop, its certainty, and what to do."""

    summary: str
    certainty: Certainty
    advice: tuple[str, ...]
    severity: Severity | None = None


_SEE_DAEMON: Final = (
    "see what the daemon states at that time: journalctl -u libvirtd -u virtqemud --since -1h | grep -E"
    " 'keepalive|max requests|terminated|Main process'"
)
_RECORD: Final = (
    "record it: libvirt-proto trace --diagnose as root on the daemon's host; or tcpdump -i any -w"
    " capture.pcap 'tcp port 16509', then libvirt-proto diagnose capture.pcap"
)
_NO_TUNNEL: Final = "run the tunnel alone until it works: ssh USER@HOST virsh -c qemu:///system list"

CLOSED_BEFORE: Final = Meaning(
    "The client made a call on a connection that had ended before: the daemon or a firewall closed it while"
    " it was idle, and the client noticed only then",
    "possible",
    (
        "let the client send keepalive messages: virConnectSetKeepAlive(conn, 5, 5) with a running event"
        " loop; connect again when a call fails so",
        _SEE_DAEMON,
        _RECORD,
    ),
)
_CLOSED: Final = Meaning(
    "The daemon closed the connection while the client waited: its keepalive pings had no answer in time (a"
    " long call or reply, too many calls at once), or it ended",
    "possible",
    (
        _SEE_DAEMON,
        '"connection closed due to keepalive timeout" there: set max_client_requests = 20 and keepalive_count'
        " = 10 in /etc/libvirt/libvirtd.conf (virtqemud.conf), and restart the daemon",
        _RECORD,
    ),
)
_RESET: Final = Meaning(
    "The connection was reset: the daemon ended or closed it with data unread (keepalive timeout, too many"
    " clients, a port that expects TLS), or a firewall dropped it",
    "possible",
    (
        _SEE_DAEMON,
        "if it fails at once, check the port: qemu+tls:// needs listen_tls (16514), qemu+tcp:// needs"
        " listen_tcp (16509)",
        _RECORD,
    ),
)
_ABORTED: Final = Meaning(
    "The connection ended because the network between client and daemon failed",
    "likely",
    (
        "check route, firewall and MTU between the hosts: ping and nc -vz HOST 16509",
        "let both sides send keepalive messages, so that firewalls keep the connection and failures are"
        " noticed soon",
    ),
)
_TLS_ENDED: Final = Meaning(
    "The other side ended the TLS connection without a word: it refused the certificate, or ended",
    "possible",
    (
        "see the daemon's log for its reason: journalctl -u libvirtd -u virtproxyd | grep -i -E"
        " 'tls|certificate'",
    ),
)

#: Part of a reason → its meaning, the most specific first.
_CLIENT: Final[tuple[tuple[re.Pattern[str], Meaning], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), meant)
    for pattern, meant in (
        (
            r"permission denied|too many authentication failures|no supported authentication",
            Meaning(
                "ssh could not log in to the daemon's host, so the connection ended before it began",
                "certain",
                ("give the user a key that the host accepts (ssh-copy-id USER@HOST)", _NO_TUNNEL),
            ),
        ),
        (
            r"host key verification failed|authenticity of host",
            Meaning(
                "ssh does not know the key of the daemon's host, or another one, and ended the connection",
                "certain",
                ("connect once by hand and check the key: ssh USER@HOST", _NO_TUNNEL),
            ),
        ),
        (
            r"could not resolve|name or service not known|temporary failure in name resolution",
            Meaning(
                "The name of the daemon's host cannot be resolved",
                "certain",
                ("check the name in the URI: getent hosts HOST",),
            ),
        ),
        (
            r"ssh: connect to host .*refused|port 22.*refused",
            Meaning(
                "Nothing accepts ssh connections on the daemon's host",
                "certain",
                (
                    "start sshd there, or give its port in the URI: qemu+ssh://USER@HOST:PORT/system",
                    _NO_TUNNEL,
                ),
            ),
        ),
        (
            r"command not found|not found|invalid option|unrecognized option|unknown option|usage: nc"
            r"|requires an argument",
            Meaning(
                "The tunnel's helper on the daemon's host is missing or of another kind: it needs"
                " virt-ssh-helper, or an nc with -U",
                "certain",
                (
                    "install libvirt's client there (virt-ssh-helper) or netcat-openbsd, or name it in the"
                    " URI: ?proxy=netcat&netcat=/usr/bin/nc",
                    _NO_TUNNEL,
                ),
            ),
        ),
        (
            r"no such file|unix connect failed|failed to connect socket|n(?:et)?c(?:at)?: .*refused",
            Meaning(
                "The daemon's socket does not exist on its host: the daemon does not run there, or it uses"
                " another path",
                "certain",
                (
                    "start it: systemctl enable --now libvirtd.socket (or virtqemud.socket)",
                    "or give its path in the URI: ?socket=/run/libvirt/virtqemud-sock",
                ),
            ),
        ),
        (
            r"kex_exchange_identification|connection closed by|connection to \S+ closed|remote host",
            Meaning(
                "sshd on the daemon's host closed the connection before or after the login",
                "likely",
                (
                    "see its log: journalctl -u ssh -u sshd; many connections at once exceed its MaxStartups"
                    " or MaxSessions, and fail2ban and TCP wrappers refuse hosts",
                    _NO_TUNNEL,
                ),
            ),
        ),
        (r"\bg?(?:nu)?tls\b", _TLS_ENDED),
        (r"timed out|no route|unreachable|software caused|host is down", _ABORTED),
        (r"reset by peer|broken pipe|transport endpoint", _RESET),
    )
)
_CLIENT_LEFT: Final = Meaning(
    "A client ended its connection without closing it: it exited, was killed, or lost its network; for the"
    " daemon this is harmless",
    "certain",
    (
        "look at the client if it reported an error at that time; else ignore it, or close connections with"
        " virConnectClose",
    ),
    "note",
)
_CLIENT_RESET: Final = Meaning(
    "A client reset its connection: it ended without reading what the daemon had sent, or a firewall dropped"
    " it",
    "likely",
    ("look at the client if it reported an error at that time; else ignore it",),
    "note",
)


def is_daemon(line: LogLine) -> bool:
    """Return whether a daemon wrote a line. Clients seldom have a log of their own, whose lines have a thread
    and no program."""
    return _DAEMON.fullmatch(line.program) is not None or (line.thread is not None and not line.program)


def meaning(line: LogLine) -> Meaning:
    """Return what a line about the end of a connection means."""
    reason = line.details.get("reason", "")
    if is_daemon(line):
        if line.kind == "end-of-file":
            return _CLIENT_LEFT
        return _ABORTED if re.search(r"timed out|no route|unreachable|software", reason) else _CLIENT_RESET
    for pattern, meant in _CLIENT:
        if pattern.search(reason):
            return meant
    return _CLOSED
