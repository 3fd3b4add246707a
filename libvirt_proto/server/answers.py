"""Answers of a server as data: the messages that follow a call, and the choice of them for each call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from ..rpc.message import Header, Message, encode_message
from ..rpc.wire import REMOTE_PROGRAM, TYPES_WITH_FDS, WORD
from .core import reply_header

if TYPE_CHECKING:
    from ..registry import Registry
    from .core import Call
    from .recording import Recording

#: Number of different procedures of unrecorded calls that are counted separately.
_MAX_NAMES: Final = 1000
OTHERS: Final = "others"
#: Calls with which libvirt's client begins and ends each connection, and their replies if they were not
#: recorded: no authentication, no optional feature.
_SETUP: Final = {
    "auth_list": WORD.pack(1) + WORD.pack(0),
    "connect_open": b"",
    "connect_close": b"",
    "connect_supports_feature": WORD.pack(0),
    "connect_register_close_callback": b"",
    "connect_unregister_close_callback": b"",
}
_SETUP_OF: Final = {"remote": tuple(_SETUP), "admin": ("connect_open", "connect_close")}

NO_DESCRIPTORS: Final = "descriptors cannot be replayed"

Order = Literal["any", "recorded"]


class Send(msgspec.Struct, frozen=True):
    """A frame to send, `delay` seconds after the message before it, with the serial of the call; a `verbatim`
    one, such as an event, with its own."""

    frame: bytes
    delay: float = 0.0
    verbatim: bool = False


class Await(msgspec.Struct, frozen=True):
    """Wait until the client has sent `size` bytes through the stream in all, and, with `finish`, its end."""

    size: int
    finish: bool = False


class Answer(msgspec.Struct):
    """The answer to a call: the reply and the stream in order, and the events that came after the reply.

    `refusal` is why the recorded reply cannot be sent. With `closes`, the connection ends after the steps.
    With `open_ended`, the call opens a stream whose end the steps do not have.
    """

    steps: list[Send | Await] = []
    events: list[Send] = []
    refusal: str | None = None
    closes: bool = False
    open_ended: bool = False


class Answers(Protocol):
    """The answers of one server to all its clients."""

    def session(self) -> Session:
        """Return the choice of answers for one connection."""


class Session(Protocol):
    """The choice of answers for the calls of one connection."""

    def answer(self, call: Call) -> Answer | str:
        """Return what follows a call, or why there is nothing."""


class Unanswered:
    """Counts calls without an answer."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        #: Name of the procedure → number of its calls.
        self.counts: Counter[str] = Counter()

    def name(self, header: Header) -> str:
        """Return the name of a call's procedure, or its numbers."""
        program = self._registry.find(header.prog, header.vers)
        procedure = program.by_number.get(header.proc) if program else None
        if program is None or procedure is None:
            return f"program {header.prog:#x}, version {header.vers}, procedure {header.proc}"
        return procedure.name if header.prog == REMOTE_PROGRAM else f"{program.name}.{procedure.name}"

    def add(self, header: Header) -> str:
        """Count a call, and return the name of its procedure."""
        name = self.name(header)
        self.counts[name if name in self.counts or len(self.counts) < _MAX_NAMES else OTHERS] += 1
        return name


class Setup:
    """The calls with which a connection begins and ends. They are answered in any order."""

    def __init__(self, registry: Registry) -> None:
        self._answers: dict[tuple[int, int, int], Answer] = {}
        for program in registry.programs():
            for name in _SETUP_OF.get(program.name, ()):
                if (procedure := program.by_name.get(name)) is None:
                    continue
                numbers = program.number, program.version, procedure.number
                frame = encode_message(Message(reply_header(program, procedure), 0, data=_SETUP[name]))
                self._answers[numbers] = Answer([Send(frame)])

    def default(self, header: Header) -> Answer | None:
        """Return the answer to such a call that is not recorded; None for other calls."""
        return self._answers.get((header.prog, header.vers, header.proc))


class Recorded:
    """The answers of a recording.

    In any `order`, equal calls get the recorded answers one after the other, whatever their connection, and
    then the last one again. In the recorded order, each connection has to make the calls of the next recorded
    connection, one after the other.
    """

    def __init__(self, recording: Recording, registry: Registry, order: Order = "any") -> None:
        self._unrecorded = Unanswered(registry)
        self._setup = Setup(registry)
        self._order = order
        self._by_key: dict[bytes, list[Answer]] = {}
        #: Number of the answers of a call that were given.
        self._given: Counter[bytes] = Counter()
        for calls in recording.connections:
            for key, _, answer in calls:
                self._by_key.setdefault(key, []).append(answer)
        ordered = ([each for each in calls if not self._is_setup(each[1])] for calls in recording.connections)
        self._connections = iter([calls for calls in ordered if calls])

    @property
    def unrecorded(self) -> Mapping[str, int]:
        """Name of the procedure → number of calls that were not recorded."""
        return self._unrecorded.counts

    def session(self) -> Session:
        """Return the choice of answers for one connection."""
        return self if self._order == "any" else _InOrder(self)

    def answer(self, call: Call) -> Answer | str:
        """Return what follows a call in any order."""
        if answers := self._by_key.get(call.key):
            position = self._given[call.key]
            self._given[call.key] = min(position + 1, len(answers) - 1)
            return self.checked(call, answers[position])
        return self._setup.default(call.header) or self.refuse(call, "this call was not recorded")

    def checked(self, call: Call, answer: Answer) -> Answer | str:
        """Return an answer, or why it cannot be sent."""
        if call.header.type in TYPES_WITH_FDS:
            return self.refuse(call, NO_DESCRIPTORS)
        if answer.refusal is None:
            return answer
        return self._setup.default(call.header) or self.refuse(call, answer.refusal)

    def refuse(self, call: Call, why: str) -> str:
        """Count a call that has no answer, and return the text of its error."""
        return f"{self._unrecorded.add(call.header)}: {why}"

    def is_setup(self, call: Call) -> bool:
        """Return whether a call belongs to the beginning or the end of a connection."""
        return self._is_setup(call.header)

    def _is_setup(self, header: Header) -> bool:
        return self._setup.default(header) is not None

    def next_connection(self) -> Iterable[tuple[bytes, Header, Answer]]:
        """Return the calls of the next recorded connection, none after the last."""
        return next(self._connections, ())

    def name(self, header: Header) -> str:
        """Return the name of a call's procedure."""
        return self._unrecorded.name(header)


class _InOrder:
    """The calls of a connection in the recorded order."""

    def __init__(self, answers: Recorded) -> None:
        self._answers = answers
        self._left: list[tuple[bytes, Header, Answer]] | None = None

    def answer(self, call: Call) -> Answer | str:
        """Return what follows a call, if it is the next one."""
        answers = self._answers
        if answers.is_setup(call):
            return answers.answer(call)
        if self._left is None:
            self._left = list(reversed(list(answers.next_connection())))
        if not self._left:
            return answers.refuse(call, "no further call was recorded")
        key, header, answer = self._left[-1]
        if key != call.key:
            expected = answers.name(header)
            if expected == answers.name(call.header):
                return answers.refuse(call, "the next recorded call has other arguments")
            return answers.refuse(call, f"the next recorded call is {expected}")
        self._left.pop()
        return answers.checked(call, answer)
