"""Options that several commands share: where definitions come from, and colour."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from ..presenters.style import COLOUR, PLAIN, Palette
from ..text import amount, number

if TYPE_CHECKING:
    from ..redact.redactor import What
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
    """`--release`, `--defs`, `--package` and `--define`, which give the command a parameter `registry`."""

    @click.option(
        "--release", metavar="R", help="Use the definitions of this libvirt release instead of the newest."
    )
    @click.option(
        "--defs",
        metavar="PATH",
        type=click.Path(exists=True, path_type=Path),
        help="Use custom definitions: a folder of .x files, or a .x file. No code in the folder is run.",
    )
    @click.option(
        "--package",
        metavar="PATH",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Use a package that `generate python` wrote. This RUNS THE CODE in the folder PATH.",
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
        *args: Any,
        release: str | None,
        defs: Path | None,
        package: Path | None,
        defines: dict[str, int],
        **rest: Any,
    ) -> Any:
        return command(*args, registry=open_registry(release, defs, package, defines), **rest)

    return with_registry  # type: ignore[return-value]


def open_registry(
    release: str | None,
    defs: Path | None = None,
    package: Path | None = None,
    defines: Mapping[str, int] | None = None,
) -> Registry:
    """The registry that the options ask for.

    Raises click.UsageError for options that exclude each other and for a release that is not there,
    and click.ClickException for definitions that cannot be used, after showing their problems.
    """
    from .. import registry

    given = {"--release": release, "--defs": defs, "--package": package}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise click.UsageError(f"{names[0]} and {names[1]} exclude each other.")
    if defines and defs is None:
        raise click.UsageError("--define belongs to --defs.")
    if release is not None:
        try:
            return registry.release(release)
        except LookupError as error:
            raise click.UsageError(str(error)) from None
    if package is not None:
        try:
            return registry.load(package, package=True)
        except ImportError as error:
            raise click.ClickException(str(error)) from None
    if defs is None:
        return registry.default()
    return _custom(defs, defines)


def _custom(defs: Path, defines: Mapping[str, int] | None) -> Registry:
    from .. import registry
    from ..errors import NotDefinitions

    try:
        return registry.load(defs, defines=defines)
    except NotDefinitions as error:
        raise click.UsageError(f"{error} (to run its code: --package {shlex.quote(str(defs))})") from None
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
    help="Record what was seen, as a pcapng capture that only you can read.",
)


def redact(command: Command) -> Command:
    """`--redact`, as parameter `redact`: a What, or None. For a RedactingCommand or RedactingGroup."""
    return click.option(
        "--redact",
        type=click.Choice(["secrets", "all"]),
        metavar="[=all]",
        help="Blank secrets (passwords, secret values, SASL data) and what cannot be decoded, in the output"
        " and in -w, so that both can be attached to a bug report. Lengths stay. --redact=all keeps only"
        " headers, names and lengths.",
    )(command)


class RedactingCommand(click.Command):
    """A command with a `--redact` whose value may be left out, and then is `secrets`.

    click's own optional values would take the next word, a FILE.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the value out."""
        end = args.index("--") if "--" in args else len(args)
        given = ["--redact=secrets" if word == "--redact" else word for word in args[:end]]
        return super().parse_args(ctx, given + args[end:])


class RedactingGroup(RedactingCommand, click.Group):
    """As RedactingCommand, with subcommands."""


def redacted_note(what: What | None) -> str:
    """A note for people in redacted output; "" for other output."""
    return "" if what is None else "redacted by libvirt-proto --redact" + ("=all" if what == "all" else "")


def palette(choice: str, stream: IO[Any]) -> Palette:
    """The colours for a stream (https://no-color.org: NO_COLOR counts when it is not empty)."""
    if choice == "auto":
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return PLAIN if plain or not stream.isatty() else COLOUR
    return COLOUR if choice == "always" else PLAIN


def stdout_palette(choice: str) -> Palette:
    """The colours for standard output."""
    return palette(choice, sys.stdout)
