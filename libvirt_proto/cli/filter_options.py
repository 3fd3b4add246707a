"""Options that select messages: the conditions of a Filter."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UnknownName
from ..filters import Filter, Ranges, WantedObject
from ..moments import duration_ns, moment
from . import complete as names

if TYPE_CHECKING:
    from ..registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])


def _checked(parse: Callable[[str], object]) -> Callable[..., Any]:
    """Return a callback that rejects what `parse` raises ValueError for."""

    def check(_ctx: click.Context, _option: click.Parameter, value: Any) -> Any:
        for word in value if isinstance(value, tuple) else () if value is None else (value,):
            try:
                parse(word)
            except ValueError as error:
                raise click.BadParameter(str(error)) from None
        return value

    return check


_numbers = _checked(lambda word: Ranges([word]))


def filters(command: Command) -> Command:
    """Add the options, as parameter `filter`. Goes below `options.definitions`, whose parameter it uses."""

    @click.option(
        "--message",
        "messages",
        metavar="N[-M]",
        multiple=True,
        callback=_numbers,
        help="Messages with these numbers (n in JSON).",
    )
    @click.option(
        "--frame",
        "frames",
        metavar="N[-M]",
        multiple=True,
        callback=_numbers,
        help="Messages in these packets, numbered as in Wireshark.",
    )
    @click.option(
        "--serial",
        "serials",
        metavar="N[-M]",
        multiple=True,
        callback=_numbers,
        help="Calls with these serials, and their replies and streams.",
    )
    @click.option(
        "--since",
        metavar="TIME",
        callback=_checked(moment),
        help="From this time on: 1.5s after the beginning, 13:28:31, or 2026-11-30T13:28:31Z.",
    )
    @click.option("--until", metavar="TIME", callback=_checked(moment), help="Up to this time.")
    @click.option(
        "--slower-than",
        metavar="TIME",
        callback=_checked(duration_ns),
        help="Calls that took at least this long (50ms), or have no reply.",
    )
    @click.option(
        "--object",
        "objects",
        metavar="NAME",
        multiple=True,
        callback=_checked(WantedObject),
        help="Messages about a domain, network, pool, … of this name or UUID (pool:default).",
    )
    @click.option(
        "--program",
        "programs",
        metavar="NAME",
        multiple=True,
        shell_complete=names.programs,
        help="Only this program.",
    )
    @click.option(
        "--procedure",
        "procedures",
        metavar="NAME",
        multiple=True,
        shell_complete=names.procedures,
        help="Only this procedure, in any program.",
    )
    @click.option(
        "--type",
        "types",
        metavar="TYPE",
        multiple=True,
        shell_complete=names.message_types,
        help="call, reply, message, stream, call_with_fds, reply_with_fds or stream_hole.",
    )
    @click.option("--conn", "connections", metavar="TEXT", multiple=True, help="Only this connection.")
    @click.option("--errors-only", is_flag=True, help="Error replies, and messages that are malformed.")
    @click.option(
        "--context",
        metavar="N",
        type=click.IntRange(0, 10_000),
        default=0,
        help="Also N messages before and after each.",
    )
    @wraps(command)
    def with_filter(
        *args: Any,
        registry: Registry,
        messages: tuple[str, ...],
        frames: tuple[str, ...],
        serials: tuple[str, ...],
        since: str | None,
        until: str | None,
        slower_than: str | None,
        objects: tuple[str, ...],
        programs: tuple[str, ...],
        procedures: tuple[str, ...],
        types: tuple[str, ...],
        connections: tuple[str, ...],
        errors_only: bool,
        context: int,
        **rest: Any,
    ) -> Any:
        if rest.get("exchanges") and types:
            raise click.UsageError(
                "--type selects messages; it cannot be combined with --exchanges, which have several types"
            )
        try:
            selected = Filter(
                registry,
                messages=messages,
                frames=frames,
                serials=serials,
                since=since,
                until=until,
                slower_than=slower_than,
                objects=objects,
                programs=programs,
                procedures=procedures,
                types=types,
                connections=connections,
                errors_only=errors_only,
                context=context,
            )
        except UnknownName as error:
            raise click.UsageError(str(error)) from None
        return command(*args, registry=registry, filter=selected, **rest)

    return with_filter  # type: ignore[return-value]
