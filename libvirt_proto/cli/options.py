"""Options that several commands share: where definitions come from, and colour."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from ..presenters.style import COLOUR, PLAIN, Palette
from ..text import amount
from .numbers import number

if TYPE_CHECKING:
    from ..registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])


def _defines(_ctx: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> dict[str, int]:
    """`NAME=VALUE` words; a value is written as in C."""
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        value = number(text)
        if not name.isidentifier() or value is None:
            raise click.BadParameter(f"{word!r} is not NAME=VALUE with a number for a value.")
        found[name] = value
    return found


def definitions(command: Command) -> Command:
    """`--release`, `--defs` and `--define`, from which the command gets a parameter `registry`."""

    @click.option(
        "--release", metavar="R", help="Use the definitions of this libvirt release instead of the newest."
    )
    @click.option(
        "--defs",
        metavar="PATH",
        type=click.Path(exists=True, path_type=Path),
        help="Use definitions of your own: a folder of .x files, or a .x file.",
    )
    @click.option(
        "--define",
        "defines",
        metavar="NAME=VALUE",
        callback=_defines,
        multiple=True,
        help="A constant that the definitions in --defs take from elsewhere. May be repeated.",
    )
    @wraps(command)
    def with_registry(
        *args: Any, release: str | None, defs: Path | None, defines: dict[str, int], **rest: Any
    ) -> Any:
        return command(*args, registry=open_registry(release, defs, defines), **rest)

    return with_registry  # type: ignore[return-value]


def open_registry(release: str | None, defs: Path | None, defines: dict[str, int]) -> Registry:
    """The registry that the options ask for.

    Raises click.UsageError for options that exclude each other and for a release that is not there,
    and click.ClickException for definitions that cannot be used, after showing their problems.
    """
    from .. import registry

    if release is not None and defs is not None:
        raise click.UsageError("--release and --defs exclude each other.")
    if defines and defs is None:
        raise click.UsageError("--define belongs to --defs.")
    if release is not None:
        try:
            return registry.release(release)
        except LookupError as error:
            raise click.UsageError(str(error)) from None
    if defs is None:
        return registry.default()
    try:
        return registry.load(defs, defines=defines)
    except Exception as error:
        # The compiler is not ours to import; its DefinitionError is known by what it holds.
        problems = getattr(error, "problems", None)
        if problems is None:
            raise
        for problem in problems:
            click.echo(str(problem), err=True)
        raise click.ClickException(
            f"the definitions in {defs} cannot be used: {amount(len(problems), 'problem')}"
        ) from None


def colour(command: Command) -> Command:
    """`--color`, as parameter `color`: see `palette`."""
    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="Use colours; auto: on a terminal, unless NO_COLOR is set.",
    )(command)


#: `-w`, as parameter `record` (which `inputs` puts into Inputs).
record = click.option(
    "-w",
    "--write",
    "record",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Record what was seen, as a pcapng capture.",
)


def palette(choice: str, stream: IO[Any]) -> Palette:
    """The colours for a stream (https://no-color.org: NO_COLOR counts when it is not empty)."""
    if choice == "auto":
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return PLAIN if plain or not stream.isatty() else COLOUR
    return COLOUR if choice == "always" else PLAIN


def stdout_palette(choice: str) -> Palette:
    """The colours for standard output."""
    return palette(choice, sys.stdout)
