"""Options shared by several commands: the source of definitions, redaction and colour."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import wraps
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

from ..presenters.style import COLOUR, PLAIN, Palette
from ..text import amount, number
from . import complete as names

if TYPE_CHECKING:
    from pathlib import Path

    from ..redact.redactor import What
    from ..registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])

#: A word after `--metrics` that is its ADDRESS.
_ADDRESS: Final = re.compile(r"[^/]*:[0-9]+")
#: Width of a terminal that does not report it.
_COLUMNS: Final = 80


class PathOption(click.Path):
    """The type of an option whose value is a pathlib.Path, which is loaded for a value."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        from pathlib import Path  # slow to load

        return Path(os.fsdecode(super().convert(value, param, ctx)))


def _defines(_ctx: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> dict[str, int]:
    """Parse `NAME=VALUE` words, with values as in C."""
    found = {}
    for word in words:
        name, _, text = word.partition("=")
        value = number(text)
        if not name.isidentifier() or value is None:
            raise click.BadParameter(f"expected NAME=VALUE with an integer value, got {word!r}")
        found[name] = value
    return found


def definitions(command: Command) -> Command:
    """Add `--release`, `--defs`, `--package` and `--define`, as parameter `registry`."""

    @click.option(
        "--release",
        metavar="R",
        shell_complete=names.releases,
        help="Definitions of this libvirt release. Default: the newest.",
    )
    @click.option(
        "--defs",
        metavar="PATH",
        type=PathOption(exists=True),
        help="Custom definitions: a folder of .x files, or a .x file. No code in it is run.",
    )
    @click.option(
        "--package",
        metavar="PATH",
        type=PathOption(exists=True, file_okay=False),
        help="A package that `generate python` wrote. This RUNS THE CODE in it.",
    )
    @click.option(
        "--define",
        "defines",
        metavar="NAME=VALUE",
        callback=_defines,
        multiple=True,
        help="A constant that --defs uses but does not define. Repeatable.",
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
    """Open the registry that the options select.

    Raises click.UsageError for conflicting options and for a release that is not bundled, and
    click.ClickException for invalid definitions, after showing their problems.
    """
    from .. import registry

    given = {"--release": release, "--defs": defs, "--package": package}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise click.UsageError(f"{names[0]} and {names[1]} exclude each other")
    if defines and defs is None:
        raise click.UsageError("--define requires --defs")
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

    with invalid_definitions(str(defs)):
        try:
            return registry.load(defs, defines=defines)
        except NotDefinitions as error:
            import shlex

            hint = f"to run its code: --package {shlex.quote(str(defs))}"
            raise click.UsageError(f"{error} ({hint})") from None


@contextmanager
def invalid_definitions(name: str) -> Iterator[None]:
    """Show the problems of definitions that cannot be compiled, and raise click.ClickException.

    The runtime cannot import the compiler; its DefinitionError is recognised by its attribute."""
    try:
        yield
    except Exception as error:
        problems = getattr(error, "problems", None)
        if problems is None:
            raise
        for problem in problems:
            click.echo(problem.diagnostic(), err=True)
        count = amount(len(problems), "problem")
        raise click.ClickException(f"invalid definitions in {name}: {count}") from None


#: `-o`, as parameter `output`.
output = click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=PathOption(dir_okay=False),
    help="Write to a file that only you can read.",
)


if TYPE_CHECKING:
    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # generic only from click 8.2 on


class Format(_Choice):
    """The values of `--format`. Every command accepts `text` and `json`, too, for its form for people and for
    its JSON."""

    def __init__(self, *choices: str, text: str = "text", json: str = "json") -> None:
        super().__init__(choices)
        self._synonyms = {"text": text, "json": json}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, or the one that it is another word for."""
        return super().convert(self._synonyms.get(value, value), param, ctx)


def text_or_json(json: str) -> Callable[[Command], Command]:
    """Add `--format text|json`, as parameter `as_json`, and `-o` as `printed_to_file`. `json` describes the
    JSON."""

    def decorate(command: Command) -> Command:
        @click.option(
            "--format",
            "format_",
            type=Format("text", "json"),
            default="text",
            show_default=True,
            help=f"text: for people; json: {json}.",
        )
        @click.option("--json", "old_json", is_flag=True, hidden=True)
        @printed_to_file
        @wraps(command)
        def with_format(*args: Any, format_: str, old_json: bool, **rest: Any) -> Any:
            if old_json:
                click.echo("libvirt-proto: warning: --json is deprecated; use --format json", err=True)
            return command(*args, as_json=old_json or format_ == "json", **rest)

        return with_format  # type: ignore[return-value]

    return decorate


def printed_to_file(command: Command) -> Command:
    """Add `-o` to a command that prints: its output goes to that file."""

    @output
    @wraps(command)
    def with_output(*args: Any, output: Path | None, **rest: Any) -> Any:
        with nullcontext() if output is None else _redirected(output):
            return command(*args, **rest)

    return with_output  # type: ignore[return-value]


@contextmanager
def _redirected(path: Path) -> Iterator[None]:
    """Write what is printed to a file instead of standard output."""
    from .output import create

    with io.TextIOWrapper(create(path), "utf-8", "backslashreplace") as file, redirect_stdout(file):
        yield


def colour(command: Command) -> Command:
    """Add `--color`, as parameter `color`: see `palette`."""
    return click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        metavar="WHEN",
        help="Colours: always, never, or auto (default: on a terminal).",
    )(command)


#: `--as-of`, as parameter `as_of`: the name of a release.
as_of = click.option(
    "--as-of",
    metavar="R",
    shell_complete=names.releases,
    help="Report at the end what this libvirt release would not understand.",
)


def top(what: str, default: int | None = None) -> Callable[[Command], Command]:
    """Add `--top`, as parameter `top`: the number of rows of each table, None for all."""
    many = "all" if default is None else default
    return click.option(
        "--top", type=click.IntRange(0), metavar="N", default=default, help=f"{what} (default: {many})."
    )


#: `--top` of tables of statistics.
top_figures = top("Rows of each table of statistics", 10)

#: `--wide`, as parameter `wide`.
wide = click.option("--wide", is_flag=True, help="Do not fit tables to the terminal: all columns, uncut.")


def width(*, fit: bool = True) -> int:
    """Return the width for tables on standard output: that of its terminal (80 if it reports none) or of
    COLUMNS; with neither, or without `fit`, one that holds everything."""
    from ..presenters.table import WIDE

    if not fit or not (sys.stdout.isatty() or "COLUMNS" in os.environ):
        return WIDE
    import shutil  # slow to import

    return shutil.get_terminal_size((_COLUMNS, 0)).columns


#: `-w`, as parameter `record` (which `inputs` adds to Inputs).
record = click.option(
    "-w",
    "--write",
    "record",
    metavar="FILE",
    type=PathOption(dir_okay=False),
    help="Record as a private pcapng capture; - is standard output.",
)


def redact(command: Command) -> Command:
    """Add `--redact`, as parameter `redact`: a What, or None. Requires a RedactingCommand or
    RedactingGroup."""
    return click.option(
        "--redact",
        type=click.Choice(["secrets", "all"]),
        metavar="[=all]",
        help="Blank secrets and what cannot be decoded, in the output and in -w. --redact=all keeps only"
        " headers, names and lengths.",
    )(command)


#: Where `--metrics` serves without an ADDRESS. The ports that exporters register (9100 to 9999) are all
#: taken; 9177 is that of another exporter for libvirt.
METRICS_ADDRESS: Final = "127.0.0.1:19177"
#: The values of options that were given without one.
_IMPLIED: Final = {"--redact": "secrets", "--metrics": METRICS_ADDRESS}


class RedactingCommand(click.Command):
    """A command with options whose value is optional: `--redact`, and `--metrics` if it has that.

    click's own optional values would consume the next word, a FILE. Only `--metrics` accepts it, if it is
    `HOST:PORT` or `:PORT`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the implied values."""
        end = args.index("--") if "--" in args else len(args)
        given: list[str] = []
        for word in args[:end]:
            if given and given[-1] == "--metrics" and _ADDRESS.fullmatch(word):
                given[-1] += f"={word}"
            else:
                given.append(word)
        given = [f"{word}={_IMPLIED[word]}" if word in _IMPLIED else word for word in given]
        return super().parse_args(ctx, given + args[end:])


class RedactingGroup(RedactingCommand, click.Group):
    """The same as RedactingCommand, with subcommands."""


def redacted_note(what: What | None) -> str:
    """Return the note that marks redacted output; "" for other output."""
    return "" if what is None else "redacted by libvirt-proto --redact" + ("=all" if what == "all" else "")


def palette(choice: str, stream: IO[Any]) -> Palette:
    """Return the colours for a stream (https://no-color.org: NO_COLOR counts if it is not empty)."""
    if choice == "auto":
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        return PLAIN if plain or not stream.isatty() else COLOUR
    return COLOUR if choice == "always" else PLAIN


def stdout_palette(choice: str) -> Palette:
    """Return the colours for standard output."""
    return palette(choice, sys.stdout)


def given(ctx: click.Context, names: Container[str]) -> Iterator[str]:
    """Yield the options that set these parameters, as they were given, except for flags."""
    for option in ctx.command.params:
        values = ctx.params.get(option.name or "")
        if option.name not in names or not isinstance(option, click.Option) or option.is_flag or not values:
            continue
        if isinstance(values, dict):
            values = [f"{name}={value}" for name, value in values.items()]
        for value in values if isinstance(values, tuple | list) else (values,):
            yield f"{max(option.opts, key=len)}={value}"
