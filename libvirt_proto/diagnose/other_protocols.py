"""PORT_SCAN, WRONG_TLS and OTHER_PROTOCOL: connections to libvirt's ports that do not speak its protocol, or
speak it without TLS where TLS is expected, and the reverse."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from ..bounded import BoundedDict
from ..events import Captured, Connection, ConnectionEvent, LogLine, Notice, NoticeCode
from ..rpc.message import Header
from ..rpc.wire import WORD_SIZE
from ..rpc.wronglength import explain
from ..session import Exchange
from ..text import amount, listed
from .detector import MAX_NUMBERS, Detector, Recording
from .findings import Evidence, Finding
from .peers import MAX_PEERS, Peer, host

#: libvirt's ports (IANA): plain and TLS.
_PLAIN_PORT: Final = "16509"
_TLS_PORT: Final = "16514"
#: Maximum number of hosts, and of connections of each, that are kept.
_MAX_HOSTS: Final = 1_024
#: Lines of a log about one protocol that are kept.
_MAX_LINES: Final = 256
#: Connections without data from one host: a single one may be a test whether the daemon listens.
_SCAN: Final = 3
#: Protocols that one host tries: only scanners try several.
_PROTOCOLS: Final = 2
#: What a TLS library reports about plain bytes (GnuTLS: GNUTLS_E_UNEXPECTED_PACKET_LENGTH and others).
_PLAIN_BYTES: Final = (
    "unexpected TLS packet",
    "record packet with invalid length",
    "unsupported record version",
    "packet with unexpected length",
)


class _Strangers:
    """Connections without libvirt's messages, from one host to one daemon."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Connection] = []
        self.lines: deque[LogLine] = deque(maxlen=MAX_NUMBERS)
        self.start_ns: int | None = None
        self.end_ns: int | None = None

    def add(self, connection: Connection | None, time_ns: int | None) -> None:
        self.count += 1
        if connection is not None and len(self.first) < MAX_NUMBERS:
            self.first.append(connection)
        if time_ns is not None:
            self.start_ns = time_ns if self.start_ns is None else min(self.start_ns, time_ns)
            self.end_ns = time_ns if self.end_ns is None else max(self.end_ns, time_ns)


#: What GnuTLS reports if the connection ends during the handshake (GNUTLS_E_PULL_ERROR).
_CUT_OFF: Final = "Error in the pull function"
#: The client's host and the daemon's address.
_Pair = tuple[str, str]
_Key = TypeVar("_Key", _Pair, tuple[_Pair, str])


class OtherProtocols(Detector):
    """Connections that do not speak libvirt's protocol on its ports."""

    rules = ("PORT_SCAN", "WRONG_TLS", "OTHER_PROTOCOL")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._silent: BoundedDict[_Pair, _Strangers] = BoundedDict(_MAX_HOSTS)
        self._foreign: BoundedDict[tuple[_Pair, str], _Strangers] = BoundedDict(_MAX_HOSTS)
        #: Whether a log or a probe reported TLS: its messages are those inside of TLS.
        self._uses_tls = False
        #: Plain connections to the TLS port that had no reply.
        self._plain: BoundedDict[_Pair, _Strangers] = BoundedDict(_MAX_HOSTS)
        #: Addresses of daemons that answered without TLS.
        self._answered: BoundedDict[str, None] = BoundedDict(_MAX_HOSTS)
        #: Connections in a log or of a probe without a message so far.
        self._new: BoundedDict[int, Peer] = BoundedDict(MAX_PEERS)
        #: Lines of a log with a length that is the beginning of another protocol, of unknown connections.
        self._named: dict[str, deque[LogLine]] = {}
        self._handshakes: list[LogLine] = []
        self._cut_off: list[LogLine] = []

    def first(self, peer: Peer, captured: Captured) -> None:
        """Note that a daemon answers without TLS."""
        if peer.messages == 1:
            self._new.pop(peer.connection.id, None)
        if peer.messages <= 2 and captured.direction == "s2c" and peer.connection.transport != "tls":
            self._answered.put(peer.server, None)

    def event(self, peer: Peer | None, event: ConnectionEvent) -> None:
        """Note a connection of a daemon's log that ends without a message."""
        if event.kind == "tls_session_new":
            self._uses_tls = True
        if peer is None or peer.connection.side != "server":
            return
        if event.kind == "server_client_new":
            self._new.put(peer.connection.id, peer)
        elif event.kind == "server_client_dispose" and self._new.pop(peer.connection.id, None) is not None:
            pair, line = _pair(peer.connection), peer.reason
            if line is None:
                return
            if line.kind != "wrong-length":  # the client ended it
                self._add(self._silent, pair, peer.connection, event.time_ns)
                return
            protocol = self._protocol(line)
            if protocol is None:
                return
            self._answered.put(peer.server, None)  # it expects plain RPC
            strangers = self._add(self._foreign, (pair, protocol), peer.connection, event.time_ns)
            strangers.lines.append(line)
            lines = self._named.get(protocol)
            if lines and line in lines:
                lines.remove(line)

    def line(self, line: LogLine) -> None:
        """Note plain bytes that a TLS library reports, and lengths that are the first bytes of another
        protocol."""
        if (protocol := self._protocol(line)) is not None:
            self._named.setdefault(protocol, deque(maxlen=_MAX_LINES)).append(line)
        elif line.kind in ("tls-failed", "handshake-failed", "auth-failed"):
            reason = line.details.get("reason", "")
            if any(text in reason for text in _PLAIN_BYTES) and len(self._handshakes) < MAX_NUMBERS:
                self._handshakes.append(line)
            elif _CUT_OFF in reason and len(self._cut_off) < MAX_NUMBERS:
                self._cut_off.append(line)

    def _protocol(self, line: LogLine) -> str | None:
        """Return the protocol that begins with the wrong length in a line; None for any other line."""
        if line.kind != "wrong-length" or not {"size", "fault"} <= line.details.keys():
            return None
        word = int(line.details["size"]) + (WORD_SIZE if line.details["fault"] == "large" else 0)
        return explain(word, self.recording.registry.programs()).protocol

    def wants(self, _header: Header) -> bool:
        """Return False: only calls without a reply matter."""
        return False

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Note a plain call to the TLS port that ended its connection without any reply."""
        if (
            exchange.reply is None
            and peer.connection.transport in ("tcp", "log")
            and peer.connection.server.endswith(f":{_TLS_PORT}")
            and "s2c" not in peer.heard
            and peer.ended_by == "server"
        ):
            self._add(self._plain, _pair(peer.connection), peer.connection, peer.ended_ns)

    def notice(self, notice: Notice) -> None:
        """Note another protocol, or a connection without data."""
        if notice.protocol is None:
            return
        connection = notice.connection
        if connection is None or connection.transport == "raw":
            return
        if notice.code == NoticeCode.NOT_LIBVIRT and not notice.protocol:
            self._add(self._silent, _pair(connection), connection, notice.time_ns)
        elif notice.code == NoticeCode.NOT_LIBVIRT or notice.protocol == "TLS":
            key = _pair(connection), notice.protocol
            self._add(self._foreign, key, connection, notice.time_ns)

    @staticmethod
    def _add(
        known: BoundedDict[_Key, _Strangers], key: _Key, connection: Connection, time_ns: int | None
    ) -> _Strangers:
        if key not in known:
            known.put(key, _Strangers())
        strangers = known[key]
        strangers.add(connection, time_ns)
        return strangers

    def findings(self) -> Iterator[Finding]:
        """Report who did not speak libvirt's protocol, and what was spoken."""
        scanners = dict(self._scanners())
        for pair, (silent, protocols) in scanners.items():
            yield self._scan(pair, silent, protocols)
        for (pair, protocol), strangers in self._foreign.items():
            if protocol == "TLS":
                if self._is_plain(pair[1]):
                    yield self._tls_on_plain(pair, strangers)
            elif pair not in scanners:
                yield self._other(pair, protocol, strangers)
        for pair, strangers in self._plain.items():
            if pair[1] not in self._answered and not self._uses_tls:
                yield self._plain_on_tls(pair, strangers)
        if self._handshakes:
            yield self.finding(
                "WRONG_TLS",
                "A client spoke plain RPC to the daemon's TLS port.",
                [self.recording.lines("the TLS handshake failed on plain bytes", self._handshakes)],
                advice=_PLAIN_ADVICE,
            )
        if self._cut_off:
            yield self.finding(
                "WRONG_TLS",
                "The other side ended the connection during the TLS handshake: its port expects plain RPC, or"
                " it is not libvirt's.",
                [self.recording.lines("the TLS handshake failed without an answer", self._cut_off)],
                certainty="possible",
                advice=_TLS_ADVICE,
            )
        yield from self._of_log()

    def _is_plain(self, server: str) -> bool:
        """Return whether a port is known to be a plain one."""
        return server.endswith(f":{_PLAIN_PORT}") or server in self._answered

    def _scanners(self) -> Iterator[tuple[_Pair, tuple[_Strangers, list[str]]]]:
        protocols: dict[_Pair, list[str]] = {}
        for pair, protocol in self._foreign:
            protocols.setdefault(pair, []).append(protocol)
        for pair in dict.fromkeys([*self._silent, *protocols]):
            silent = self._silent.get(pair, _Strangers())
            if silent.count >= _SCAN or len(protocols.get(pair, ())) >= _PROTOCOLS:
                yield pair, (silent, protocols.get(pair, []))

    def _scan(self, pair: _Pair, silent: _Strangers, protocols: list[str]) -> Finding:
        seen = [strangers for key, strangers in self._foreign.items() if key[0] == pair]
        count = silent.count + sum(each.count for each in seen)
        who = pair[0] or "A local client"
        what = f"spoke {_listed(protocols)}" if protocols else "sent nothing"
        if protocols and silent.count:
            what += " or nothing"
        summary = (
            f"{who} opened {amount(count, 'connection')} to {pair[1]} and {what}:"
            f" {'a port scan' if protocols else 'a port scan or a health check'}, not a libvirt client."
        )
        return self.finding(
            "PORT_SCAN",
            summary,
            self._evidence("connections without libvirt's messages", (silent, *seen)),
            subject=f"{pair[0]} {pair[1]}",
            certainty="likely",
            advice=(
                "admit only the hosts that use libvirt: a firewall rule for the port, or TLS with"
                " tls_allowed_dn_list",
                "let a health check open the connection with libvirt: virsh -c URI version",
            ),
        )

    def _other(self, pair: _Pair, protocol: str, strangers: _Strangers) -> Finding:
        name = "an unknown protocol" if protocol == "unknown" else protocol
        times = f" ({amount(strangers.count, 'connection')})" if strangers.count > 1 else ""
        return self.finding(
            "OTHER_PROTOCOL",
            f"{pair[0] or 'A local client'} spoke {name} to {pair[1]}, which is not libvirt's protocol"
            f"{times}.",
            self._evidence(f"connections with {name}", (strangers,)),
            subject=f"{protocol} {pair[0]} {pair[1]}",
            certainty="certain",
            advice=(
                f"find the program on {pair[0] or 'this host'} that is configured with this address and port",
            ),
        )

    def _tls_on_plain(self, pair: _Pair, strangers: _Strangers) -> Finding:
        return self.finding(
            "WRONG_TLS",
            f"{pair[0] or 'A local client'} spoke TLS to the plain port {pair[1]}, which answers only plain"
            " RPC.",
            self._evidence("connections that begin with TLS", (strangers,)),
            subject=f"TLS {pair[0]} {pair[1]}",
            advice=_TLS_ADVICE,
        )

    def _plain_on_tls(self, pair: _Pair, strangers: _Strangers) -> Finding:
        return self.finding(
            "WRONG_TLS",
            f"{pair[0] or 'A local client'} spoke plain RPC to the TLS port {pair[1]}, which did not answer.",
            self._evidence("connections with a plain call", (strangers,)),
            subject=f"plain {pair[0]} {pair[1]}",
            certainty="likely",
            advice=_PLAIN_ADVICE,
        )

    def _of_log(self) -> Iterator[Finding]:
        """Report protocols that a daemon's log names, in the length of a message that is too large."""
        names = [name for name, lines in self._named.items() if lines]
        if not names:
            return
        named = [name for name in names if name != "TLS"]
        lines = sorted(
            (line for lines in self._named.values() for line in lines), key=lambda each: each.number
        )
        places = self.recording.lines(
            f"lengths of messages that are the first bytes of {_listed(names)}", lines
        )
        if "TLS" in names and len(named) < _PROTOCOLS:
            yield self.finding(
                "WRONG_TLS",
                "A client spoke TLS to the daemon's plain port, which answers only plain RPC.",
                [places],
                advice=_TLS_ADVICE,
            )
        if len(named) >= _PROTOCOLS:
            yield self.finding(
                "PORT_SCAN",
                f"A client tried {_listed(names)} on the daemon's port: a port scan.",
                [places],
                certainty="likely",
                advice=(
                    "admit only the hosts that use libvirt: a firewall rule for the port, or TLS with"
                    " tls_allowed_dn_list",
                ),
            )
        elif named:
            by_client = self.recording.sides != {"client"}
            spoke, why = (
                ("A client sent the daemon", "")
                if by_client
                else ("The client received", ": it connected to another service")
            )
            yield self.finding(
                "OTHER_PROTOCOL",
                f"{spoke} {_listed(named)}, which is not libvirt's protocol{why}.",
                [places],
                certainty="likely",
                advice=("find the client: ss -tn 'sport = :16509', or tcpdump -i any -n 'tcp port 16509'",),
            )

    def _evidence(self, what: str, seen: Iterable[_Strangers]) -> list[Evidence]:
        each = [strangers for strangers in seen if strangers.count]
        connections = [connection for strangers in each for connection in strangers.first]
        starts = [strangers.start_ns for strangers in each if strangers.start_ns is not None]
        ends = [strangers.end_ns for strangers in each if strangers.end_ns is not None]
        names = ", ".join(str(connection) for connection in connections[:3])
        lines = [line for strangers in each for line in strangers.lines]
        stated = [self.recording.lines("lengths that are the first bytes of these", lines)] if lines else []
        shown = Evidence(
            f"{what}: {names}",
            self.recording.file,
            sum(strangers.count for strangers in each),
            (),
            (),
            min(starts, default=None),
            max(ends, default=None),
            str(connections[0]) if len(connections) == 1 else "",
            None,
        )
        return [shown, *stated]


_TLS_ADVICE: Final = (
    "give the client the TLS port (qemu+tls://HOST:16514/system, the default of that URI), and let the daemon"
    " listen on it: systemctl enable --now libvirtd-tls.socket (virtproxyd-tls.socket), or listen_tls = 1",
)
_PLAIN_ADVICE: Final = (
    "give the client a URI with TLS (qemu+tls://HOST/system), or for plain RPC the port 16509 with listen_tcp"
    " = 1 in /etc/libvirt/libvirtd.conf",
)


def _pair(connection: Connection) -> _Pair:
    return host(connection.client), connection.server.partition("@")[0]


def _listed(names: Iterable[str]) -> str:
    """`HTTP, SSH and TLS`."""
    return listed(["an unknown protocol" if name == "unknown" else name for name in names], 20)
