"""The address where a command listens: its options, and the errors of listening."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ..errors import reason
from ..text import printable

if TYPE_CHECKING:
    from ..capture.address import Address

Command = TypeVar("Command", bound=Callable[..., Any])

#: Mode of a unix socket without --mode: `capture.address.PRIVATE`, which is slow to load.
_PRIVATE: Final = 0o600


def address(_ctx: click.Context, _option: click.Parameter, text: str) -> Address:
    """Parse an address."""
    from ..capture.address import AddressError, parse

    try:
        return parse(text)
    except AddressError as error:
        raise click.BadParameter(str(error)) from None


def _mode(_ctx: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Parse an octal mode, as in chmod(1)."""
    if text is None:
        return None
    if not re.fullmatch("[0-7]{3,4}", text) or int(text, 8) > 0o777:
        raise click.BadParameter(f"expected an octal mode such as 660, got {text!r}")
    return int(text, 8)


def listening(command: Command) -> Command:
    """Add `--listen` and `--mode`, as parameters `listen_at` and `mode`."""

    @click.option(
        "--listen",
        "listen_at",
        metavar="ADDRESS",
        required=True,
        callback=address,
        help="Address where clients connect.",
    )
    @click.option(
        "--mode",
        metavar="OCTAL",
        callback=_mode,
        help="Mode of the unix socket of --listen, as for chmod: 660 for its group, 666 for everybody on"
        " this machine. Default: 600, only you (and root).",
    )
    @wraps(command)
    def with_address(*args: Any, listen_at: Address, mode: int | None, **rest: Any) -> Any:
        if mode is not None and (listen_at.transport != "unix" or listen_at.name.startswith("@")):
            raise click.UsageError("--mode requires a unix socket with a file (--listen unix:PATH)")
        return command(*args, listen_at=listen_at, mode=_PRIVATE if mode is None else mode, **rest)

    return with_address  # type: ignore[return-value]


@contextmanager
def cannot_listen(listen_at: Address, listens: Callable[[], bool]) -> Iterator[None]:
    """Report that listening is not possible. `listens` returns whether it was: then an OSError has another
    cause."""
    from ..capture.address import AddressError

    try:
        yield
    except AddressError as error:
        raise click.UsageError(f"--listen: {error}") from None
    except OSError as error:
        if listens():
            raise
        raise click.ClickException(printable(f"cannot listen on {listen_at}: {reason(error)}")) from None
