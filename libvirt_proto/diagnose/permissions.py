"""READ_ONLY and ACCESS_DENIED: calls that need rights that their connection lacks.

A connection is read-only by the flags of connect_open or by its socket (libvirt-sock-ro). Each function that
changes something refuses such a connection (libvirt-domain.c and others). The permissions of a call are its
@acl annotations; the polkit driver checks the action `org.libvirt.api.OBJECT.PERMISSION` for each of them
(viraccessdriverpolkit.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..bounded import BoundedDict
from ..definitions import functions
from ..rpc.message import Header
from ..rpc.reported import LibvirtError
from ..rpc.wire import REMOTE_PROGRAM
from ..session import Exchange
from ..text import amount, listed
from .detector import Recording
from .ends import over_tcp, read_only_socket
from .errors import ErrorDetector, Failure, Group, described
from .findings import Evidence, Finding
from .peers import MAX_PEERS, Peer

#: virErrorNumber.
_OPERATION_DENIED: Final = 29
_ACCESS_DENIED: Final = 88
_CONNECT_OPEN: Final = 1
#: VIR_CONNECT_RO.
_READ_ONLY_FLAG: Final = 1
#: The beginning of all errors with this code, in English; few are about read-only connections.
_FORBIDDEN: Final = "operation forbidden: "
#: Different calls that evidence lists, and that are kept.
_LISTED: Final = 3
_MAX_GROUPS: Final = 64


class Permissions(ErrorDetector):
    """Errors 29 and 88 of replies, and the same errors in logs."""

    rules = ("READ_ONLY", "ACCESS_DENIED")
    kinds = frozenset(("read-only", "access-denied", "auth-failed"))

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        #: By what was called.
        self._read_only: BoundedDict[str, Group] = BoundedDict(_MAX_GROUPS)
        self._denied: BoundedDict[str, Group] = BoundedDict(_MAX_GROUPS)
        #: The actions of polkit that a log names, by what was called.
        self._actions: BoundedDict[str, str] = BoundedDict(_MAX_GROUPS)
        #: The numbers of connections that were opened read-only.
        self._opened: BoundedDict[int, None] = BoundedDict(MAX_PEERS)

    def wants(self, header: Header) -> bool:
        """Return whether a procedure opens connections."""
        return header.proc == _CONNECT_OPEN and header.prog == REMOTE_PROGRAM

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Note how connections are opened."""
        super().exchange(peer, exchange)
        header = exchange.header
        if self.wants(header) and exchange.call is not None:
            flags = getattr(exchange.call.message.payload, "flags", None)
            if (flags or 0) & _READ_ONLY_FLAG:
                self._opened.put(peer.connection.id, None)

    def concerns(self, error: LibvirtError, _exchange: Exchange) -> bool:
        """Return whether a right is missing."""
        if error.code == _OPERATION_DENIED:
            return not (error.message or "").startswith(_FORBIDDEN) or "read only" in (error.message or "")
        return error.code == _ACCESS_DENIED

    def failed(self, failure: Failure) -> None:
        """Group failures by what was called."""
        kinds = {line.kind for line in failure.lines}
        action = next((line.details["action"] for line in failure.lines if "action" in line.details), None)
        if failure.error is not None:
            denied = failure.error.code == _ACCESS_DENIED
        elif "read-only" in kinds:
            denied = False
        elif "access-denied" in kinds or (action or "").startswith("org.libvirt.api."):
            denied = True
        else:
            return  # an authentication that was refused
        name = self._called(failure)
        groups = self._denied if denied else self._read_only
        if name not in groups:
            groups.put(name, Group(failure))
        groups[name].add(failure)
        if denied and action is not None:
            self._actions.put(name, action)

    def findings(self) -> Iterator[Finding]:
        """Report each kind of missing right once."""
        self.end()
        if self._read_only:
            yield self._of_read_only()
        if self._denied:
            yield self._of_denied()

    def _called(self, failure: Failure) -> str:
        """Return the procedure of the call that failed, or the function that a log names."""
        if failure.exchange is not None:
            return self.recording.procedure(failure.exchange.header)
        for line in failure.lines:
            name = line.details.get("function") or line.details.get("older")
            if name is not None:
                function = functions.find(name)
                if function is None or not function.procedures:
                    return name
                number, procedure = function.procedures[0]
                return self.recording.procedure(Header(number, 1, procedure, 0, 0, 0))
        return ""

    def _of_read_only(self) -> Finding:
        groups = self._read_only
        connections = {each.id: each for group in groups.values() for each in group.connections.values()}
        by_socket = any(map(read_only_socket, connections.values()))
        called = _names(groups)
        who = "A read-only connection" if len(connections) < 2 else "Read-only connections"
        change = "which changes something" if len(groups) == 1 else "which change something"
        asked = f"called {called}, {change}" if called else "asked for a change"
        evidence = [*self._evidence(groups)]
        opened = [each for each in connections if each in self._opened]
        if opened:
            flagged = amount(len(opened), "connection")
            evidence.append(
                Evidence(f"{flagged} opened with the flag VIR_CONNECT_RO", self.recording.file, len(opened))
            )
        socket = (
            "use the read-write socket: add the user to the group of unix_sock_group in"
            " /etc/libvirt/libvirtd.conf, or allow org.libvirt.unix.manage in polkit",
        )
        return self.finding(
            "READ_ONLY",
            f"{who} {asked}; libvirt refused it.",
            evidence,
            subject=_subject(groups),
            advice=(
                *(socket if by_socket else ()),
                "connect for writing: virsh without -r, virConnectOpen instead of virConnectOpenReadOnly, or"
                " connect_open without VIR_CONNECT_RO (1)",
            ),
        )

    def _of_denied(self) -> Finding:
        groups = self._denied
        called = _names(groups)
        needs: dict[str, None] = {}
        for name, group in groups.items():
            for permission in self._permissions(group):
                needs[permission] = None
            if name in self._actions:
                needs[_permission(self._actions[name])] = None
        permissions = [*needs][:_LISTED]
        what = called or "a call"
        verb = "need" if len(groups) > 1 else "needs"
        needed = f", which {verb} {', '.join(permissions)}" if permissions else ""
        times = sum(group.count for group in groups.values())
        often = "" if times == 1 else f"{',' if needed else ''} {times:,} times"
        actions = " and ".join(map(_action, permissions))
        network = any(over_tcp(each) for group in groups.values() for each in group.connections.values())
        rule = (
            f"allow {actions} for the user of the client in a rule in /etc/polkit-1/rules.d"
            if permissions
            else "allow the action for the user of the client in a rule in /etc/polkit-1/rules.d; pkaction"
            " lists those of libvirt (org.libvirt.api.…)"
        )
        unix = (
            "polkit can only identify clients of unix sockets: connect locally or over SSH (qemu+ssh://), not"
            " over TCP",
        )
        return self.finding(
            "ACCESS_DENIED",
            f"The access control of the daemon denied {what}{needed}{often}.",
            [*self._evidence(groups)],
            subject=_subject(groups),
            advice=(
                *(unix if network else ()),
                rule,
                "see which access control is on: access_drivers in /etc/libvirt/libvirtd.conf (default:"
                " none)",
            ),
        )

    def _evidence(self, groups: BoundedDict[str, Group]) -> Iterator[Evidence]:
        """Yield the messages and lines of the calls, the most frequent first."""
        for name, group in _by_count(groups)[:_LISTED]:
            failure = group.first
            subject = None
            if failure.exchange is not None and failure.exchange.call is not None:
                subject = self.recording.subject(failure.exchange.call.message)
            of = f"{name or 'calls'}{f' ({subject})' if subject is not None else ''}"
            text = amount(group.count, f"failed call of {of}", f"failed calls of {of}")
            if failure.error is not None:
                text += f": {described(failure.error)}"
            yield from group.evidence(self.recording, text)

    def _permissions(self, group: Group) -> tuple[str, ...]:
        """Return the permissions that a call needs, by the definitions."""
        exchange = group.first.exchange
        if exchange is None:
            return ()
        header = exchange.header
        procedure = self.recording.registry.procedure(header.prog, header.vers, header.proc)
        acl = procedure.annotations.acl if procedure is not None else None
        return tuple(f"{rule.object}:{rule.permission}" for rule in acl or ())


def _by_count(groups: BoundedDict[str, Group]) -> list[tuple[str, Group]]:
    return sorted(groups.items(), key=lambda row: -row[1].count)


def _names(groups: BoundedDict[str, Group]) -> str:
    """Return what was called, the most frequent first: `domain_suspend and 3 other procedures`."""
    names = [name for name, _ in _by_count(groups) if name]
    return listed(names) if len(names) <= _LISTED else f"{names[0]} and {len(names) - 1} other procedures"


def _subject(groups: BoundedDict[str, Group]) -> str:
    names = [name for name in groups if name]
    return names[0] if len(names) == 1 else ""


def _action(permission: str) -> str:
    """Return polkit's action for a permission: `org.libvirt.api.storage-vol.data-read`."""
    return f"org.libvirt.api.{permission.replace(':', '.').replace('_', '-')}"


def _permission(action: str) -> str:
    """Return the permission of an action."""
    return action.removeprefix("org.libvirt.api.").replace(".", ":", 1).replace("-", "_")
