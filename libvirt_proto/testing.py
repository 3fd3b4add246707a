"""Servers for tests of libvirt clients, in any language: recorded and scripted answers, without a daemon.

    pytest_plugins = ["libvirt_proto.testing"]        # in conftest.py, for the fixture

    def test_list(libvirt_replay):
        server = libvirt_replay("list.pcap")
        subprocess.run(["virsh", "-c", server.uri(), "list"], check=True)

Servers run in a thread and listen on a free port of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import pytest

from .api.capture import open as open_capture
from .capture.address import Address, parse
from .registry import Registry, default
from .rpc.message import Header, Message, Status, Type, encode_message
from .server.answers import Answer, Await, Recorded, Send, Setup, Unanswered
from .server.core import Call, error_frame, reply_header
from .server.recording import record
from .server.replay import MAX_FRAME, Server
from .session import stream_direction

if TYPE_CHECKING:
    from .codec.xdrtype import XdrType
    from .definitions.program import Procedure, Program
    from .server.answers import Answers, Order

__all__ = [
    "Drop",
    "Failure",
    "Raw",
    "ReplayServer",
    "Reply",
    "ScriptedServer",
    "libvirt_replay",
    "replay_server",
]

#: Where servers listen.
ANYWHERE: Final = "tcp:127.0.0.1:0"
#: Seconds to wait for the thread of a server.
_PATIENCE: Final = 30.0
#: VIR_FROM_TEST of virErrorDomain.
_FROM_TEST: Final = 12
#: Maximum number of calls that a scripted server remembers.
_MAX_CALLS: Final = 100_000
_EVENT_SERIAL: Final = 1


class _Background:
    """A server in a thread."""

    def __init__(self, answers: Answers, listen: str, *, timing: bool, max_frame: int = MAX_FRAME) -> None:
        #: Sentences about connections that were refused or ended because of what the client sent.
        self.problems: list[str] = []
        self._server = Server(answers, timing=timing, max_frame=max_frame, report=self.problems.append)
        self._listen = parse(listen)
        self._ready = threading.Event()
        self._address: Address | None = None
        self._failed: BaseException | None = None
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="libvirt server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def ready(address: Address) -> None:
            self._address = address
            self._stop = lambda: None if loop.is_closed() else loop.call_soon_threadsafe(stop.set)
            self._ready.set()

        await self._server.run(self._listen, stop, ready)

    @property
    def address(self) -> Address:
        """The address where it listens: `transport`, `name` (the host or the path) and `port`."""
        assert self._address is not None, "the server is not running"
        return self._address

    def uri(self, driver: str = "test", path: str = "/default") -> str:
        """Return a URI for libvirt clients. `driver` and `path` are those of the recorded connection, where
        clients look at them."""
        address = self.address
        if address.transport == "unix":
            return f"{driver}+unix://{path}?socket={address.name}"
        host = f"[{address.name}]" if ":" in address.name else address.name or "localhost"
        return f"{driver}+tcp://{host}:{address.port}{path}"


class ReplayServer(_Background):
    """A server that answers as a capture recorded it: see `replay_server`."""

    def __init__(
        self,
        capture: str | os.PathLike[str] | bytes,
        *,
        order: Order = "any",
        timing: bool = False,
        listen: str = ANYWHERE,
        ports: Iterable[int] = (),
        registry: Registry | None = None,
    ) -> None:
        with open_capture(capture, ports=ports, registry=registry) as opened:
            recording = record(opened)
            self._answers = Recorded(recording, opened.registry, order)
        super().__init__(self._answers, listen, timing=timing, max_frame=recording.longest)

    @property
    def unrecorded(self) -> Mapping[str, int]:
        """Name of the procedure → number of calls that got an error because they were not recorded."""
        return dict(self._answers.unrecorded)


@contextmanager
def replay_server(capture: str | os.PathLike[str] | bytes, **options: Any) -> Iterator[ReplayServer]:
    """Run a server that answers as a capture recorded it: a path, or the bytes of a capture.

    Options: `order` ("any" or "recorded") and `timing` as in `libvirt-proto replay`, `listen` (its --listen),
    `ports` and `registry` as in `libvirt_proto.open`. Raises the errors of `libvirt_proto.open`, and
    RecordingError for a capture without calls.
    """
    with ReplayServer(capture, **options) as server:
        yield server


@pytest.fixture
def libvirt_replay() -> Iterator[Callable[..., ReplayServer]]:
    """A function that starts a `replay_server`, with its parameters. The servers end with the test, which
    fails if a client made a call that was not recorded; with `strict=False` it does not."""
    with ExitStack() as stack:
        checked: list[ReplayServer] = []

        def start(
            capture: str | os.PathLike[str] | bytes, *, strict: bool = True, **options: Any
        ) -> ReplayServer:
            server = stack.enter_context(ReplayServer(capture, **options))
            if strict:
                checked.append(server)
            return server

        yield start
        missing: Counter[str] = Counter()
        for server in checked:
            missing.update(server.unrecorded)
    if missing:
        pytest.fail("calls that were not recorded: " + ", ".join(f"{k} ({n})" for k, n in missing.items()))


class Reply(msgspec.Struct, frozen=True):
    """A reply after `delay` seconds.

    `value` is a value of the procedure's type, a mapping of its fields, None for a reply without a payload,
    or bytes, which are sent as the payload whatever they are. `stream` is the data that the server sends
    through the stream that the call opens; streams from the client are read to their end. `events` are
    procedures and values, which follow the reply.
    """

    value: Any = None
    delay: float = 0.0
    stream: Sequence[bytes] = ()
    events: Sequence[tuple[str, Any]] = ()


class Failure(msgspec.Struct, frozen=True):
    """An error after `delay` seconds: numbers of virErrorNumber and virErrorDomain, and the text."""

    code: int
    message: str
    domain: int = _FROM_TEST
    delay: float = 0.0


class Raw(msgspec.Struct, frozen=True):
    """Bytes instead of a reply, after `delay` seconds: they may violate the protocol. With `drop`, the
    connection ends after them."""

    data: bytes
    delay: float = 0.0
    drop: bool = False


class Drop(msgspec.Struct, frozen=True):
    """The end of the connection instead of a reply, after `delay` seconds."""

    delay: float = 0.0


Scripted = Reply | Failure | Raw | Drop


class ScriptedServer(_Background):
    """A server whose answers a test defines, by procedure (`domain_get_info`, `qemu.domain_monitor_command`).

    Several answers to a procedure are given one after the other, then the last one again. The calls with
    which connections begin and end need none; other calls get VIR_ERR_RPC.

        with ScriptedServer({"connect_get_hostname": [Reply({"hostname": "a"}), Drop()]}) as server:
            ...
            assert server.calls == [("connect_get_hostname", None)]
    """

    def __init__(
        self,
        script: Mapping[str, Scripted | Sequence[Scripted]],
        *,
        listen: str = ANYWHERE,
        registry: Registry | None = None,
    ) -> None:
        self._registry = registry or default()
        self._setup = Setup(self._registry)
        self._unscripted = Unanswered(self._registry)
        #: Program, version, procedure → the answers that are left.
        self._script: dict[tuple[int, int, int], deque[Answer]] = {}
        for name, scripted in script.items():
            program, procedure = self._find(name)
            several = scripted if isinstance(scripted, Sequence) else [scripted]
            answers = [self._answer(program, procedure, each) for each in several]
            self._script[program.number, program.version, procedure.number] = deque(answers)
        #: Name of the procedure and arguments of each call, without those at both ends of a connection.
        self.calls: deque[tuple[str, Any]] = deque(maxlen=_MAX_CALLS)
        super().__init__(self, listen, timing=True)

    def session(self) -> Self:
        """Return the choice of answers for one connection: the same for all."""
        return self

    def answer(self, call: Call) -> Answer | str:
        """Return what follows a call."""
        header = call.header
        answers = self._script.get((header.prog, header.vers, header.proc))
        if not answers and (default := self._setup.default(header)) is not None:
            return default
        name = self._unscripted.name(header)
        procedure = self._registry.procedure(header.prog, header.vers, header.proc)
        args = None if procedure is None else procedure.args
        self.calls.append((name, call.payload or None if args is None else args.read(call.payload, 0).value))
        if not answers:
            return f"{name}: the script has no answer"
        return answers.popleft() if len(answers) > 1 else answers[0]

    def _find(self, name: str) -> tuple[Program, Procedure]:
        program_name, _, procedure = name.rpartition(".")
        program = self._registry.program(program_name or "remote")
        return program, program.procedure(procedure)

    def _answer(self, program: Program, procedure: Procedure, scripted: Scripted) -> Answer:
        header = reply_header(program, procedure)
        match scripted:
            case Drop(delay):
                return Answer([Send(b"", delay, verbatim=True)], closes=True)
            case Raw(data, delay, drop):
                return Answer([Send(data, delay, verbatim=True)], closes=drop)
            case Failure(code, message, domain, delay):
                return Answer([Send(error_frame(header, message, code=code, domain=domain), delay)])
        steps: list[Send | Await] = [
            Send(self._encoded(header, procedure.ret, scripted.value), scripted.delay)
        ]
        if (direction := stream_direction(procedure)) is not None:
            pieces = [*scripted.stream, b""] if direction == "s2c" else []
            steps += [Send(_stream_frame(header, Status.VIR_NET_CONTINUE, piece)) for piece in pieces]
            steps += [Await(0, finish=True), Send(_stream_frame(header, Status.VIR_NET_OK))]
        events = [
            Send(self._event(*self._find(name), value), verbatim=True) for name, value in scripted.events
        ]
        return Answer(steps, events)

    def _event(self, program: Program, procedure: Procedure, value: Any) -> bytes:
        numbers = program.number, program.version, procedure.number
        header = Header(*numbers, Type.VIR_NET_MESSAGE, _EVENT_SERIAL, Status.VIR_NET_OK)
        return self._encoded(header, procedure.msg, value)

    def _encoded(self, header: Header, type_: XdrType | None, value: Any) -> bytes:
        if isinstance(value, bytes) or type_ is None or type_.python_class is None:
            return encode_message(Message(header, 0, data=value or b""))
        if isinstance(value, Mapping):
            value = type_.python_class(**value)
        return encode_message(
            Message(header, 0, payload_type=type_.name, payload=value), registry=self._registry
        )


def _stream_frame(call: Header, status: Status, data: bytes = b"") -> bytes:
    header = Header(call.prog, call.vers, call.proc, Type.VIR_NET_STREAM, call.serial, status)
    return encode_message(Message(header, 0, data=data))
