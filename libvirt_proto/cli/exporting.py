"""`--metrics` and `--metrics-file`: what commands with endless inputs export to Prometheus meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource
from msgspec.structs import replace

from ..errors import reason
from ..text import printable
from . import options

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from ..capture.address import Address
    from ..metrics.exposition import Exposition
    from ..registry import Registry
    from .output_options import OutputOptions

Command = TypeVar("Command", bound=Callable[..., Any])

#: Seconds between writes of the file.
INTERVAL: Final = 15
#: Parameters that ask for messages in addition to the metrics.
_SHOWING: Final = ("format_", "exchanges", "output")


def exporting(command: Command) -> Command:
    """Add `--metrics` and `--metrics-file`, as parameter `export`: a context manager that opens the port and
    writes the file. Goes below `show`, whose parameter it changes. Requires a RedactingCommand or
    RedactingGroup."""

    @click.option(
        "--metrics",
        "address",
        metavar="[ADDRESS]",
        callback=_address,
        help=f"Serve only metrics, for Prometheus ({options.METRICS_ADDRESS}).",
    )
    @click.option(
        "--metrics-file",
        metavar="FILE",
        type=options.PathOption(dir_okay=False),
        help=f"Write only metrics, for node_exporter, every {INTERVAL} s.",
    )
    @wraps(command)
    def with_metrics(
        *args: Any,
        address: Address | None,
        metrics_file: Path | None,
        show: OutputOptions,
        **rest: Any,
    ) -> Any:
        if address is None and metrics_file is None:
            return command(*args, show=show, export=nullcontext(), **rest)
        ctx = click.get_current_context()
        silent = all(
            ctx.get_parameter_source(name) in (None, ParameterSource.DEFAULT) for name in _SHOWING
        ) and not (show.figures_of or show.diagnosis_of)
        if silent and show.filter.active:
            raise click.UsageError(
                "filters select messages to show, and metrics count all: leave the filter out, or show the"
                " messages (--format)"
            )
        exposition = _exposition(show.registry, diagnose=show.diagnosis_of is not None)
        export = _exported(exposition, address, metrics_file)
        show = replace(show, metrics=exposition.metrics, silent=silent)
        return command(*args, show=show, export=export, **rest)

    return with_metrics  # type: ignore[return-value]


def _exposition(registry: Registry, *, diagnose: bool) -> Exposition:
    """Return the exposition of new metrics. Raises click.ClickException without prometheus-client."""
    from ..metrics.counts import Metrics

    try:
        from ..metrics.exposition import Exposition
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "prometheus_client":
            raise
        raise click.ClickException(
            "metrics require prometheus-client: pip install 'libvirt-proto[metrics]'"
        ) from None
    return Exposition(Metrics(registry, diagnose=diagnose))


@contextmanager
def _exported(exposition: Exposition, address: Address | None, file: Path | None) -> Iterator[None]:
    with ExitStack() as stack:
        if file is not None:
            stack.enter_context(written(file, exposition.file))
        if address is not None:
            stack.enter_context(_served(address, exposition))
        yield


def _address(_ctx: click.Context, _option: click.Parameter, text: str | None) -> Address | None:
    if text is None:
        return None
    from ..capture.address import AddressError, parse

    try:
        return parse(f"tcp:{text}")
    except AddressError:
        raise click.BadParameter(f"expected HOST:PORT, :PORT or [::1]:PORT, got {text!r}") from None


@contextmanager
def _served(address: Address, exposition: Exposition) -> Iterator[None]:
    """Serve the metrics."""
    from ..capture.address import listen
    from ..metrics.server import PATH, MetricsServer

    name = str(address).removeprefix("tcp:")
    try:
        sockets = listen(address)
    except OSError as error:
        raise click.ClickException(
            printable(
                f"cannot listen on {name}: {reason(error)}; choose another address for --metrics, such as :0"
            )
        ) from None
    with MetricsServer(sockets, exposition.served):
        places = [_place(each) for each in sockets]
        click.echo(f"metrics: {' and '.join(f'http://{place}{PATH}' for place in places)}", err=True)
        if not all(map(_is_local, sockets)):
            click.echo(
                "libvirt-proto: warning: everybody who reaches this address can read the metrics, without"
                " encryption or authentication (docs/metrics.md)",
                err=True,
            )
        yield


def _place(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_local(listener: socket.socket) -> bool:
    import ipaddress

    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


@contextmanager
def written(path: Path, text: Callable[[], bytes], interval: float = INTERVAL) -> Iterator[None]:
    """Write the file now, at each interval, and at the end."""
    from threading import Event, Thread

    from .. import private_files

    def write() -> None:
        private_files.replace(path, text())

    def go_on() -> None:
        failed = False
        while not ended.wait(interval):
            try:
                write()
                failed = False
            except OSError as error:
                if not failed:
                    _warn(path, error)
                failed = True

    try:
        write()
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {reason(error)}") from None
    ended = Event()
    thread = Thread(target=go_on, name="metrics file", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            write()
        except OSError as error:
            _warn(path, error)


def _warn(path: Path, error: OSError) -> None:
    click.echo(printable(f"libvirt-proto: warning: cannot write {path}: {reason(error)}"), err=True)
