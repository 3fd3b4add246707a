"""Options that select messages: the conditions of a Filter."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

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


def _condition(option: str, name: str, help: str, **more: Any) -> tuple[str, Callable[[Command], Command]]:
    return name, click.option(option, name, help=help, **more)


#: The conditions: parameter of Filter → option.
CONDITIONS: Final = dict(
    (
        _condition(
            "--message",
            "messages",
            "Messages with these numbers (n in JSON).",
            metavar="N[-M]",
            multiple=True,
            callback=_numbers,
        ),
        _condition(
            "--frame",
            "frames",
            "Messages in these packets, numbered as in Wireshark.",
            metavar="N[-M]",
            multiple=True,
            callback=_numbers,
        ),
        _condition(
            "--serial",
            "serials",
            "Calls with these serials, and their replies and streams.",
            metavar="N[-M]",
            multiple=True,
            callback=_numbers,
        ),
        _condition(
            "--since",
            "since",
            "From this time on: 1.5s after the beginning, 13:28:31, or 2026-11-30T13:28:31Z.",
            metavar="TIME",
            callback=_checked(moment),
        ),
        _condition("--until", "until", "Up to this time.", metavar="TIME", callback=_checked(moment)),
        _condition(
            "--slower-than",
            "slower_than",
            "Calls that took at least this (50ms), or lack a reply.",
            metavar="TIME",
            callback=_checked(duration_ns),
        ),
        _condition(
            "--object",
            "objects",
            "Messages about a domain, network, pool, … of this name or UUID (pool:default).",
            metavar="NAME",
            multiple=True,
            callback=_checked(WantedObject),
        ),
        _condition(
            "--program",
            "programs",
            "Only this program.",
            metavar="NAME",
            multiple=True,
            shell_complete=names.programs,
        ),
        _condition(
            "--procedure",
            "procedures",
            "Only this procedure, in any program.",
            metavar="NAME",
            multiple=True,
            shell_complete=names.procedures,
        ),
        _condition(
            "--type",
            "types",
            "call, reply, message, stream, call_with_fds, reply_with_fds or stream_hole.",
            metavar="TYPE",
            multiple=True,
            shell_complete=names.message_types,
        ),
        _condition("--conn", "connections", "Only this connection.", metavar="TEXT", multiple=True),
        _condition(
            "--errors-only", "errors_only", "Error replies, and messages that are malformed.", is_flag=True
        ),
    )
)

#: `--context`, for commands that show messages. Goes next to `filters`, which uses it.
context = click.option(
    "--context",
    metavar="N",
    type=click.IntRange(0, 10_000),
    default=0,
    help="Also N messages before and after each.",
)


def filters(command: Command) -> Command:
    """Add the conditions, as parameter `filter`. Goes below `options.definitions`, whose parameter it
    uses."""

    @wraps(command)
    def with_filter(*args: Any, registry: Registry, **rest: Any) -> Any:
        conditions = {name: rest.pop(name) for name in CONDITIONS}
        if rest.get("exchanges") and conditions["types"]:
            raise click.UsageError(
                "--type selects messages; it cannot be combined with --exchanges, which have several types"
            )
        try:
            selected = Filter(registry, **conditions, context=rest.pop("context", 0))
        except UnknownName as error:
            raise click.UsageError(str(error)) from None
        return command(*args, registry=registry, filter=selected, **rest)

    decorated: Any = with_filter
    for option in reversed(CONDITIONS.values()):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
