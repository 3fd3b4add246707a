"""VERSION_SKEW: procedures, programs, events and flags that one side uses and the other lacks.

A daemon refuses an unknown procedure or program (virnetserverprogram.c), an unknown event
(remote_daemon_dispatch.c), and flags that its driver does not check for (virCheckFlags in internal.h). The
history of the definitions, and of the public API, gives the release that a daemon is older than. Clients try
newer procedures first and continue with older ones; that is a note.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..bounded import BoundedDict
from ..codec.history import Facts, version_key
from ..definitions import history
from ..events import LogLine
from ..names import public
from ..names.fields import Bits, OneOf, meanings
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..rpc.reported import LibvirtError
from ..rpc.statements import Statement
from ..rpc.wire import REMOTE_PROGRAM
from ..session import Exchange
from ..text import amount
from .detector import Recording
from .errors import ErrorDetector, Failure, Group, described
from .findings import Certainty, Evidence, Finding, Severity
from .peers import MAX_PEERS, Peer

#: Unknown things and used procedures that are kept, and that a finding lists.
_MAX_THINGS: Final = 64
_MAX_USED: Final = 4096
_LISTED: Final = 5
_CONNECT_CLOSE: Final = 2
#: virErrorNumber: INTERNAL_ERROR, INVALID_ARG, RPC.
_CODES: Final = frozenset((1, 8, 39))
#: Reply → the field with the release of the daemon's libvirt: 1,000,000 * major + 1,000 * minor + micro.
_VERSIONS: Final = {
    "remote_connect_get_lib_version_ret": "lib_ver",
    "admin_connect_get_lib_version_ret": "libVer",
}
#: Program → the daemon and the socket that serve it.
_SERVED_BY: Final = {
    "admin": "the admin socket of a daemon (libvirt-admin-sock; virt-admin -c libvirtd:///system)",
    "lock": "virtlockd (virtlockd-sock)",
    "log": "virtlogd (virtlogd-sock)",
    "qemu": "libvirtd and virtqemud",
    "lxc": "libvirtd and virtlxcd",
}


class _Thing(NamedTuple):
    """Something that a daemon does not know. `release` is the first that does, None if unknown. `sure` is
    False for flags, which a driver may lack in any release."""

    kind: str
    name: str
    release: str | None
    sure: bool = True

    @property
    def text(self) -> str:
        """`domain_graphics_reload (since libvirt 10.2.0)`."""
        return self.name + (f" (since libvirt {self.release})" if self.release else "")


class VersionSkew(ErrorDetector):
    """Errors about unknown things, and procedures that are newer than the definitions."""

    rules = ("VERSION_SKEW",)
    kinds = frozenset(
        ("unknown-procedure", "unknown-program", "unsupported-event", "unsupported-flags", "unexpected-event")
    )

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._things: BoundedDict[_Thing, Group] = BoundedDict(_MAX_THINGS)
        #: Things whose refusal ended what their client did.
        self._fatal: BoundedDict[_Thing, None] = BoundedDict(_MAX_THINGS)
        #: Connection → the things refused since the last call that succeeded.
        self._last: BoundedDict[int, list[_Thing]] = BoundedDict(MAX_PEERS)
        #: Procedures that were answered, and those of them without a definition.
        self._used: BoundedDict[tuple[int, int, int], None] = BoundedDict(_MAX_USED)
        self._newer: BoundedDict[tuple[int, int, int], Group] = BoundedDict(_MAX_THINGS)
        self._stated: str | None = None

    def wants(self, _header: Header) -> bool:
        """Return True: each answered procedure is one that a daemon knows."""
        return True

    def takes(self, header: Header) -> bool:
        """Return whether a procedure does not return a version."""
        procedure = self.recording.registry.procedure(header.prog, header.vers, header.proc)
        return procedure is not None and (procedure.ret_place or "").partition(".")[2] not in _VERSIONS

    def ready(self, peer: Peer, exchanges: RoutineExchanges) -> bool:
        """Return whether all procedures are known to be answered, and nothing was refused before."""
        return (
            not self._newer
            and peer.connection.id not in self._last
            and all(exchanges.kinds[kind].number in self._used for kind in exchanges.latencies)
        )

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at errors, and note what a daemon knows."""
        super().exchange(peer, exchange)
        if exchange.outcome != "ok":
            return
        header = exchange.header
        key = header.prog, header.vers, header.proc
        if key not in self._used:
            self._used.put(key, None)
            if self._is_newer(key):
                self._newer.put(key, Group(Failure(peer, exchange, None, ())))
        if self._newer and key in self._newer:
            self._newer[key].add(Failure(peer, exchange, None, ()))
        if self._last and peer.connection.id in self._last and not self._closes(header):
            self._last.pop(peer.connection.id)
        assert exchange.reply is not None
        message = exchange.reply.message
        if message.payload_type in _VERSIONS:
            number = getattr(message.payload, _VERSIONS[message.payload_type], None)
            if number is not None:
                self._stated = f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

    def line(self, line: LogLine) -> None:
        """Note the release of the daemon, and errors."""
        if line.kind == "started" and self.recording.sides <= {"server"}:
            self._stated = line.details.get("version")
        super().line(line)

    def concerns(self, error: LibvirtError, exchange: Exchange) -> bool:
        """Return whether something is unknown to the daemon."""
        found = self.stated(error) if error.code in _CODES else None
        return found is not None and self._fits(found.kind, found.details, exchange)

    def explains(self, line: LogLine, exchange: Exchange) -> bool:
        """Return whether a line is about the procedure of a call."""
        return self._fits(line.kind, line.details, exchange)

    def failed(self, failure: Failure) -> None:
        """Group refusals by what is unknown."""
        found = failure.statement
        assert found is not None
        thing = self._thing(found, failure.exchange)
        if thing not in self._things:
            self._things.put(thing, Group(failure))
        self._things[thing].add(failure)
        if failure.peer is None:
            self._fatal.put(thing, None)
            return
        id_ = failure.peer.connection.id
        if id_ not in self._last and (ended := self._last.put(id_, [])):
            self._end(ended[1])
        if len(self._last[id_]) < _MAX_THINGS:
            self._last[id_].append(thing)

    def findings(self) -> Iterator[Finding]:
        """Report what a daemon lacks, by kind, and what is newer than the definitions."""
        self.end()
        for things in self._last.values():
            self._end(things)
        lacks = [thing for thing in self._things if thing.kind in ("procedure", "event", "flag")]
        known = self._known(lacks)
        if known:
            yield self._of_older(known)
        unknown = [thing for thing in lacks if thing.release is None and thing.sure]
        if unknown:
            yield self._of_unknown(unknown)
        flags = [thing for thing in lacks if thing.release is None and not thing.sure]
        if flags:
            yield self._of_flags(flags)
        for thing in self._things:
            if thing.kind == "program":
                yield self._of_program(thing)
            elif thing.kind == "client":
                yield self._of_client(thing)
        if self._newer:
            yield self._of_newer()

    # Refusals

    def _fits(self, kind: str, details: dict[str, str], exchange: Exchange) -> bool:
        header = exchange.header
        match kind:
            case "unknown-procedure":
                return _number(details, "number") == header.proc
            case "unknown-program":
                return _number(details, "program") & 0xFFFFFFFF == header.prog
            case "unsupported-event":
                return "event" in self.recording.procedure(header)
            case "unexpected-event":
                return False
            case _:
                return kind in self.kinds

    def _thing(self, found: Statement, exchange: Exchange | None) -> _Thing:
        """Return what is unknown."""
        details = found.details
        header = exchange.header if exchange is not None else None
        match found.kind:
            case "unknown-procedure":
                number = _number(details, "number")
                header = header or Header(REMOTE_PROGRAM, 1, number, 0, 0, 0)
                known = self.recording.registry.procedure(header.prog, header.vers, header.proc)
                facts = history.procedure(header.prog, header.proc) if known is not None else None
                return _Thing("procedure", self.recording.procedure(header), _release(facts))
            case "unknown-program":
                program = _number(details, "program") & 0xFFFFFFFF
                known_program = self.recording.registry.find(program, _number(details, "version"))
                name = known_program.name if known_program is not None else f"{program:#010x}"
                facts = history.program(program) if known_program is not None else None
                return _Thing("program", name, _release(facts))
            case "unsupported-event":
                number = _number(details, "number")
                event = self._names(header, "eventID").get(number)
                since = public.first_since(event) if event is not None else None
                return _Thing("event", event or f"event {number}", since)
            case "unexpected-event":
                header = Header(REMOTE_PROGRAM, 1, _number(details, "procedure", 16), 2, 0, 0)
                facts = history.procedure(header.prog, header.proc)
                return _Thing("client", self.recording.procedure(header), _release(facts))
            case _:
                bits = _number(details, "flags", 16)
                names = self._names(header, "flags")
                newest = max(
                    (name for bit, name in names.items() if bit & bits and public.first_since(name)),
                    key=lambda name: version_key(public.first_since(name) or "0"),
                    default=None,
                )
                release = public.first_since(newest) if newest is not None else None
                function = f" of {details['function']}" if "function" in details else ""
                return _Thing("flag", newest or f"the flags {bits:#x}{function}", release, sure=False)

    def _names(self, header: Header | None, field: str) -> dict[int, str]:
        """Return the names of the numbers in a field of a call's arguments."""
        if header is None:
            return {}
        procedure = self.recording.registry.procedure(header.prog, header.vers, header.proc)
        if procedure is None or procedure.args is None:
            return {}
        meaning = meanings(procedure.args.name).get(field)
        return dict(meaning.names) if isinstance(meaning, OneOf | Bits) else {}

    def _end(self, things: list[_Thing]) -> None:
        """Note refusals after which a client gave up."""
        for thing in things:
            self._fatal.put(thing, None)

    def _closes(self, header: Header) -> bool:
        """Return whether a call only ends a connection."""
        return header.proc == _CONNECT_CLOSE or "unregister" in self.recording.procedure(header)

    def _is_newer(self, key: tuple[int, int, int]) -> bool:
        """Return whether the newest definitions of libvirt lack a procedure of a program that they have."""
        program = self.recording.registry.find(key[0], key[1])
        return program is not None and key[2] not in program.by_number

    def _known(self, things: list[_Thing]) -> list[_Thing]:
        """Return the things with a release that the daemon can be older than. A driver may lack a flag in any
        release: it counts only if it is newer than what the daemon is known to be."""
        released = {thing: version_key(thing.release) for thing in things if thing.release is not None}
        sure = [key for thing, key in released.items() if thing.sure]
        if self._stated is not None:
            least = version_key(self._stated)
        elif sure:
            least = min(sure)
        else:
            newest = (_release(history.procedure(prog, proc)) for prog, _, proc in self._used)
            least = max((version_key(each) for each in newest if each is not None), default=version_key("0"))
        return [thing for thing, key in released.items() if thing.sure or key > least]

    # Findings

    def _of_older(self, things: list[_Thing]) -> Finding:
        things = sorted(things, key=lambda thing: (not thing.sure, version_key(thing.release or "0")))
        first = things[0]
        certainty: Certainty = "certain" if first.sure else "possible"
        severity: Severity | None = None if first.sure else "warning"
        if not any(thing in self._fatal for thing in things):
            severity = "note"
        if self._stated is not None:
            certainty, severity = "certain", severity if severity == "note" else None
        what = _listed([thing.name for thing in things])
        on = "; the client went on without" if severity == "note" else ""
        if first.sure or self._stated is not None:
            summary = (
                f"The daemon is older than libvirt {first.release}: it does not know {what}, which the client"
                f" used{on}."
            )
        else:
            summary = (
                f"The daemon refused a flag, {what}: it is older than libvirt {first.release}, or its"
                " driver lacks the"
                f" flag{on}."
            )
        newest = max(version_key(thing.release or "0") for thing in things)
        release = next(thing.release for thing in things if version_key(thing.release or "0") == newest)
        return self._finding(things, summary, certainty, severity, release)

    def _of_unknown(self, things: list[_Thing]) -> Finding:
        newest = self.recording.registry.release
        what = _listed([thing.name for thing in things])
        lacks = f", and libvirt {newest} does not have" if newest else ""
        summary = (
            f"The client used {what}, which the daemon does not know{lacks}: the client is newer, or not"
            " libvirt's."
        )
        severity: Severity | None = None if any(thing in self._fatal for thing in things) else "note"
        return self._finding(things, summary, "likely", severity, None)

    def _of_flags(self, things: list[_Thing]) -> Finding:
        """Report flags that the definitions do not name, as in a log without the call."""
        what = _listed([thing.name for thing in things])
        summary = f"The daemon refused {what}: it is too old for them, or its driver does not have them."
        fatal = any(thing in self._fatal for thing in things)
        return self._finding(things, summary, "possible", "warning" if fatal else "note", None)

    def _of_program(self, thing: _Thing) -> Finding:
        since = f" (since libvirt {thing.release})" if thing.release else ""
        served = _SERVED_BY.get(thing.name)
        group = self._things[thing]
        evidence = [*self._evidence(thing, group)]
        return self.finding(
            "VERSION_SKEW",
            f"The client called the program {thing.name}{since}, which the daemon does not serve on this"
            " socket.",
            evidence,
            subject=thing.name,
            advice=(
                *((f"connect to what serves it: {served}",) if served else ()),
                *((f"or upgrade the daemon to libvirt {thing.release} or later",) if thing.release else ()),
                "see what serves which socket: ss -xlp | grep libvirt",
            ),
        )

    def _of_client(self, thing: _Thing) -> Finding:
        group = self._things[thing]
        older = f" is older than libvirt {thing.release}:" if thing.release else ""
        summary = f"The client{older} does not know the event {thing.name}, which the daemon sent."
        if older:
            summary = f"The client{older} it does not know the event {thing.name}, which the daemon sent."
        return self.finding(
            "VERSION_SKEW",
            summary,
            [*self._evidence(thing, group)],
            subject="client",
            severity="warning",
            advice=("upgrade libvirt on the client's host",),
        )

    def _of_newer(self) -> Finding:
        names = [self.recording.procedure(Header(*key, 0, 0, 0)) for key in self._newer]
        newest = self.recording.registry.release
        evidence: list[Evidence] = []
        for name, group in [*zip(names, self._newer.values(), strict=True)][:_LISTED]:
            evidence += group.evidence(
                self.recording, amount(group.count, f"call of {name}", f"calls of {name}")
            )
        known = f"libvirt {newest}, the newest that these definitions know" if newest else "these definitions"
        return self.finding(
            "VERSION_SKEW",
            f"Both sides know {_listed(names)}, which {known} lacks: both are newer.",
            evidence,
            subject="both",
            severity="note",
            advice=("update libvirt-proto, or import the definitions of that release: libvirt-proto import",),
        )

    def _finding(
        self,
        things: list[_Thing],
        summary: str,
        certainty: Certainty,
        severity: Severity | None,
        release: str | None,
    ) -> Finding:
        evidence: list[Evidence] = []
        for thing in things[:_LISTED]:
            evidence += self._evidence(thing, self._things[thing])
        if self._stated is not None:
            evidence.append(Evidence(f"the daemon states its release: {self._stated}", self.recording.file))
        upgrade = (f"upgrade the daemon's libvirt to {release} or later",) if release else ()
        return self.finding(
            "VERSION_SKEW",
            summary,
            evidence,
            subject="daemon",
            certainty=certainty,
            severity=severity,
            advice=(
                *upgrade,
                "or use a client of the daemon's release; virsh version --daemon shows both",
            ),
        )

    def _evidence(self, thing: _Thing, group: Group) -> Iterator[Evidence]:
        text = f"{thing.text} refused {amount(group.count, 'time')}".replace("refused 1 time", "refused once")
        if thing.kind == "client":
            text = f"{thing.text} not expected {amount(group.count, 'time')}"
        if group.first.error is not None:
            text += f": {described(group.first.error)}"
        yield from group.evidence(self.recording, text)


def _listed(names: list[str]) -> str:
    """Return `one`, `one and two`, `one and 2 more`."""
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _number(details: dict[str, str], name: str, base: int = 10) -> int:
    """Return a number of a statement; -1 if it is missing."""
    return int(details.get(name, "-1"), base)


def _release(facts: Facts | None) -> str | None:
    """Return the first release that certainly has something; None for what the oldest known one has."""
    if facts is None:
        return None
    if facts.function is not None:
        return facts.function[1]
    if facts.since.release is not None:
        return facts.since.release
    return facts.since.by if facts.since.after is not None else None
