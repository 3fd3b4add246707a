"""`libvirt-proto extcap`: a capture interface of Wireshark with the messages of live libvirt RPC.

Source: extcap(4), and the chapter about extcap in Wireshark's Developer's Guide. Wireshark asks for the
interfaces, their link types and their options with one call each, and then starts a capture into a FIFO. It
shows what a capture writes to standard error as an error, so that there is nothing else.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing, redirect_stderr, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

import click
import msgspec

from ...capture.stop import Stop
from ...errors import reason
from ...events import Item, Notice, NoticeCode, Seen
from ...rpc.wire import MAX_FRAME, MIN_FRAME
from ...text import printable
from ...wireshark_folders import NoFoldersError, extcap_folder
from .. import options
from ..output import stoppable
from ..tracing import Tracing, buffer_size, comparable, failing_in_words
from ..wireshark import LAUNCHER, WiresharkError, install, uninstall

if TYPE_CHECKING:
    from pathlib import Path

    from ...capture.probes.plan import Sides
    from ...redact.redactor import What

INTERFACE: Final = "libvirt"
_DISPLAY: Final = "libvirt RPC (live)"
#: Raw IP, as the recorder writes it: number and name from tcpdump.org's list.
_LINK_TYPE: Final = (101, "RAW", "Raw IP")
#: What Wireshark's choices are for `trace`.
_SIDES: Final[dict[str, Sides]] = {"both": "both", "client": "client", "daemon": "server"}
_REDACTIONS: Final[dict[str, What | None]] = {"none": None, "secrets": "secrets", "all": "all"}
_MAX_MESSAGE: Final = 65_536
#: Numbers of processes: the kernel's PID_MAX_LIMIT.
_MAX_PID: Final = 1 << 22
_PIDS: Final = "[0-9]+( *, *[0-9]+)*"
_MAX_PIDS: Final = 64
#: Seconds that Wireshark has to open the FIFO, to get an error.
_PATIENCE: Final = 5.0
#: Where programs are found (mount): Wireshark's environment does not decide that.
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


class Options(msgspec.Struct, frozen=True):
    """The options of a capture. `limit` is the maximum number of bytes of a message."""

    side: str
    pids: tuple[int, ...]
    comm: str
    limit: int
    redact: str


def _pids(_ctx: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    """Parse numbers of processes, separated by commas."""
    if not text:
        return ()
    words = text.split(",", _MAX_PIDS) if re.fullmatch(_PIDS, text) else []
    numbers = tuple(int(word) for word in words[:_MAX_PIDS] if len(word) < 100)
    if not words or len(numbers) < len(words) or not all(1 <= number <= _MAX_PID for number in numbers):
        raise click.BadParameter(
            f"expected up to {_MAX_PIDS} numbers from 1 to {_MAX_PID:,}, separated by commas, got {text!r}"
        )
    return numbers


def _interface(_ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    if name not in (None, INTERFACE):
        raise click.BadParameter(f"expected {INTERFACE}, got {name!r}")
    return name


class _Call(click.Command):
    """A command that Wireshark calls. In a capture, it waits for a writer of the FIFO, and shows what is on
    standard error by the time that the FIFO has none. So the FIFO is opened before anything can fail, and
    stays open until the process ends, after errors were written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options; if they are wrong, open the FIFO."""
        words = [*args]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            if "--capture" in words and "--fifo" in words[:-1]:
                from pathlib import Path  # slow to load

                from ... import private_files

                with suppress(OSError):
                    private_files.open_fifo(Path(words[words.index("--fifo") + 1]), _PATIENCE)
            raise


@click.command(cls=_Call)
@click.option("--install", "installing", is_flag=True, help="Add the interface to Wireshark.")
@click.option("--uninstall", "uninstalling", is_flag=True, help="Remove it.")
@click.option(
    "--folder",
    metavar="PATH",
    type=options.PathOption(file_okay=False),
    help="Wireshark's extcap folder. Default: your own, which tshark names.",
)
@click.option("--pid", "pids", metavar="N,N…", default="", callback=_pids, help="Only these processes.")
@click.option("--comm", metavar="NAME", default="", help="Only processes of this name (ps -o comm).")
@click.option(
    "--side",
    type=click.Choice(tuple(_SIDES)),
    default="both",
    metavar="SIDE",
    help="Messages that clients see (client), daemons (daemon), or both: then each message between processes"
    " of this machine appears twice, on two interfaces.",
)
@click.option(
    "--max-message",
    "limit",
    metavar="BYTES",
    type=click.IntRange(MIN_FRAME, MAX_FRAME),
    default=_MAX_MESSAGE,
    help=f"Maximum size of a message in the capture; the rest is cut off. Default: {_MAX_MESSAGE}.",
)
@click.option(
    "--redact",
    type=click.Choice(tuple(_REDACTIONS)),
    default="none",
    metavar="WHAT",
    help="Blank secrets and what cannot be decoded (secrets), or all but headers, names and lengths (all).",
)
@click.option("--extcap-interfaces", "list_interfaces", is_flag=True, help="List the interface.")
@click.option("--extcap-version", metavar="VERSION", expose_value=False, help="The version of Wireshark.")
@click.option(
    "--extcap-interface", "interface", metavar="NAME", callback=_interface, help=f"Its name, {INTERFACE}."
)
@click.option("--extcap-dlts", "list_link_types", is_flag=True, help="List the link type.")
@click.option("--extcap-config", "list_options", is_flag=True, help="List the options of a capture.")
@click.option("--extcap-reload-option", "reloaded", metavar="NAME", help="List the values of an option.")
@click.option("--extcap-capture-filter", "filter", metavar="TEXT", help="Not supported: it must be empty.")
@click.option("--extcap-control-in", metavar="FIFO", expose_value=False, help="Not used.")
@click.option("--extcap-control-out", metavar="FIFO", expose_value=False, help="Not used.")
@click.option("--capture", "capturing", is_flag=True, help="Capture until SIGTERM, or until nobody reads.")
@click.option("--fifo", metavar="FIFO", type=options.PathOption(), help="Where the capture is written.")
@click.pass_context
def extcap(
    ctx: click.Context,
    installing: bool,
    uninstalling: bool,
    folder: Path | None,
    pids: tuple[int, ...],
    comm: str,
    side: str,
    limit: int,
    redact: str,
    list_interfaces: bool,
    interface: str | None,
    list_link_types: bool,
    list_options: bool,
    reloaded: str | None,
    filter: str | None,
    capturing: bool,
    fifo: Path | None,
) -> None:
    """Make live libvirt RPC a capture interface of Wireshark.

    --install writes a launcher into Wireshark's extcap folder. Wireshark then has the interface "libvirt RPC
    (live)", with the options of a trace, and tshark has it as -i libvirt. It shows messages of unix sockets
    and TLS connections in the clear; stopping the capture removes the probes.

    Tracing needs root, and Wireshark should not run as root. Without root, or for another host, start a trace
    and give Wireshark its recording:

    \b
      sudo libvirt-proto trace -w - | wireshark -k -i -
      ssh root@HOST libvirt-proto trace -w - | wireshark -k -i -

    \b
    Examples:
      libvirt-proto extcap --install
      tshark -i libvirt -o extcap.libvirt.side:daemon
      libvirt-proto extcap --uninstall

    Wireshark uses the other options (extcap(4)).
    """
    chosen = Options(side, pids, comm, limit, redact)
    if installing or uninstalling:
        _change(folder, installing, uninstalling)
    elif capturing:
        if interface is None or fifo is None:
            raise click.UsageError("--capture requires --extcap-interface and --fifo")
        _capture(fifo, chosen, filter or "")
    elif list_interfaces:
        click.echo("\n".join(_interfaces()))
    elif interface is not None and list_link_types:
        number, name, display = _LINK_TYPE
        click.echo(_sentence("dlt", number=number, name=name, display=display))
    elif interface is not None and list_options:
        click.echo("\n".join(_arguments()))
    elif interface is not None and filter is not None:
        if filter.strip():  # any text means that it is invalid
            click.echo("capture filters are not supported: use a display filter")
    elif reloaded is None:
        raise click.UsageError("expected --install, --uninstall, or the options of a call by Wireshark")


def _change(folder: Path | None, installing: bool, uninstalling: bool) -> None:
    """Install or remove the launcher."""
    if installing and uninstalling:
        raise click.UsageError("--install and --uninstall exclude each other")
    try:
        folder = extcap_folder() if folder is None else folder.absolute()
        changed = install(folder) if installing else uninstall(folder)
    except NoFoldersError as error:
        raise click.ClickException(printable(f"{error}. Name the folder with --folder")) from None
    except WiresharkError as error:
        raise click.ClickException(printable(str(error))) from None
    did = "installed" if installing else "removed"
    state = "is already installed" if installing else "is not installed"
    click.echo(printable(f"{folder / LAUNCHER} {did if changed else state}"))
    if installing:
        click.echo(f'In Wireshark: "{_DISPLAY}" (Capture › Refresh Interfaces). In tshark: -i {INTERFACE}')


def _interfaces() -> Iterator[str]:
    from ... import __version__

    yield _sentence("extcap", version=__version__, display="libvirt-proto")
    yield _sentence("interface", value=INTERFACE, display=_DISPLAY)


def _arguments() -> Iterator[str]:
    """Yield the sentences about the options of a capture."""
    yield _sentence(
        "arg", number=0, call="--side", display="Side", type="selector", default="both",
        tooltip="Whose messages: those of clients, of daemons, or both",
    )  # fmt: skip
    yield from _values(0, {"both": "Clients and daemons", "client": "Clients", "daemon": "Daemons"})
    yield _sentence(
        "arg", number=1, call="--pid", display="Process numbers", type="string",
        validation=f"^({_PIDS})?$", tooltip="Only these processes, separated by commas; all if empty",
    )  # fmt: skip
    yield _sentence(
        "arg", number=2, call="--comm", display="Process name", type="string",
        tooltip="Only processes of this name (ps -o comm), also later ones; all if empty",
    )  # fmt: skip
    yield _sentence(
        "arg", number=3, call="--max-message", display="Maximum message size (bytes)", type="unsigned",
        range=f"{MIN_FRAME},{MAX_FRAME}", default=_MAX_MESSAGE, tooltip="The rest of a message is cut off",
    )  # fmt: skip
    yield _sentence(
        "arg", number=4, call="--redact", display="Redaction", type="selector", default="none",
        tooltip="What is blanked before Wireshark sees it",
    )  # fmt: skip
    names = ("Nothing", "Secrets, and what cannot be decoded", "Everything but headers, names and lengths")
    yield from _values(4, dict(zip(_REDACTIONS, names, strict=True)))


def _values(number: int, names: dict[str, str]) -> Iterator[str]:
    """Yield the values of a selector; the first is the default."""
    first = next(iter(names))
    for value, display in names.items():
        yield _sentence(
            "value", arg=number, value=value, display=display, default=str(value == first).lower()
        )


def _sentence(word: str, **parts: object) -> str:
    """Return a sentence in the grammar of extcap."""
    return " ".join([word, "".join(f"{{{name}={value}}}" for name, value in parts.items())])


def _capture(fifo: Path, chosen: Options, filter: str) -> None:
    """Capture into a FIFO until Wireshark ends it. Problems go to standard error, at the end."""
    from ... import private_files

    try:
        file = private_files.open_fifo(fifo)
    except OSError as error:
        raise click.ClickException(printable(f"--fifo {fifo}: {reason(error)}")) from None
    if filter.strip():
        raise click.UsageError(f"capture filters are not supported, got {filter!r}: use a display filter")
    if os.geteuid() != 0:
        raise click.ClickException(_remedy(chosen))
    os.environ["PATH"] = _PATH
    problems: dict[NoticeCode, str] = {}
    stop = Stop()
    # The end of the reader is the end of the capture.
    with failing_in_words(), suppress(BrokenPipeError), stoppable(file, stop) as out:
        for item in _recorded(out, stop, chosen):
            if isinstance(item, Notice) and item.severity == "error":
                problems[item.code] = item.text
    for text in problems.values():
        click.echo(printable(f"libvirt-proto: {text}"), err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _recorded(out: BinaryIO, stop: Stop, chosen: Options) -> Iterator[Item | Seen]:
    """Yield what a trace sees, each after it was recorded. Raises TraceError, and BrokenPipeError."""
    from ... import registry
    from ...api.capture import decoded
    from ...capture.pcap.recorder import Recorder, recorded
    from ...capture.probes.live import Selection, live
    from ...capture.probes.rpc_events import RpcReader

    parent, sides, what = os.getppid(), _SIDES[chosen.side], _REDACTIONS[chosen.redact]
    comms = (comparable(chosen.comm),) if chosen.comm else ()
    # Without BPF, the default is less: see Tracing.
    limit = None if chosen.limit == _MAX_MESSAGE else chosen.limit
    tracing = Tracing("rpc", (), chosen.pids, comms, buffer_size(), False, False, "auto", limit)
    recorder = Recorder(out, options.redacted_note(what))
    out.flush()  # Wireshark waits for the beginning of the file
    with ExitStack() as stack:
        with redirect_stderr(io.StringIO()):  # warnings are not about what Wireshark shows
            found = stack.enter_context(tracing.probes())
            source, wait = stack.enter_context(tracing.armed(found, stop, [out], sides))
        wanted = Selection(chosen.pids, comms, sides)

        def wait_or_end(seconds: float) -> bool:
            """Wait. A Wireshark that was killed leaves dumpcap, which reads on until there is a packet."""
            return wait(seconds) or os.getppid() != parent

        events = live(source, RpcReader, wanted, wait_or_end, out.flush, lambda: None)
        items = stack.enter_context(closing(events))
        if what is None:
            yield from recorded(items, recorder, live=True)
        else:
            yield from decoded(items, registry.default(), recorder=recorder, redact=what, live=True)


def _remedy(chosen: Options) -> str:
    """Return the error for a user who is not root, with the command that shows the same."""
    only = {"client": ["--client-only"], "daemon": ["--server-only"]}.get(chosen.side, [])
    words = ["libvirt-proto", "trace", *only, *(f"--pid={pid}" for pid in chosen.pids)]
    words += [f"--comm={chosen.comm}"] if chosen.comm else []
    words += {"none": [], "secrets": ["--redact"], "all": ["--redact=all"]}[chosen.redact]
    command = shlex.join([*words, "-w", "-"])
    return (
        "tracing requires root, and Wireshark should not run as root. Start it with a trace instead:"
        f" sudo {command} | wireshark -k -i - (on another host: ssh root@HOST {command} | wireshark -k -i -)"
    )
