"""Options and exit statuses of the commands that report findings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.text import Text

from ..findings import Categories, Finding, Rules
from ..output import write_output
from ..quoting import printable
from ..reports.github import as_github
from ..reports.ignores import Ignore, IgnoresError, first_match, read_ignores
from ..reports.json import as_json
from ..reports.junit import as_junit
from ..reports.report import Judged, Report
from ..reports.text import as_text

Command = TypeVar("Command", bound=Callable[..., None])

FORMATS: Final[dict[str, Callable[[Report], str | Text]]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "junit": as_junit,
}
#: The --fail-on value that no finding meets.
NEVER: Final = "none"


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes the report of all findings, which are in display order, and ends the command: with 1 if a
    finding is of a category of --fail-on, else with 0."""

    command: str
    rules: Rules
    categories: Categories
    format: str
    fail_on: frozenset[str]
    ignores: tuple[Ignore, ...]
    output: Path | None

    def __call__(self, findings: Iterable[Finding]) -> None:
        """Write the report, and exit."""
        judged = tuple(Judged(finding, first_match(self.ignores, finding)) for finding in findings)
        used = {id(each.ignore) for each in judged}
        unused = tuple(ignore for ignore in self.ignores if id(ignore) not in used)
        report = Report(self.command, self.rules, self.categories, self.fail_on, judged, unused)
        written = FORMATS[self.format](report)
        if self.output is None:
            _print(written)
        else:
            text = written.plain if isinstance(written, Text) else written
            write_output(self.output, text)
            click.echo(printable(f"{report.summary()} (in {self.output})"), err=True)
        click.get_current_context().exit(int(report.failed))


def reporting(rules: Rules, categories: Categories) -> Callable[[Command], Command]:
    """Add the options of reports to a command, and a Reporter as the parameter `report`."""
    fails = [category.id for category in categories.values() if category.level == "error"]
    options = [
        click.option(
            "--format",
            "format_",
            type=click.Choice(list(FORMATS)),
            default="text",
            show_default=True,
            help="text is for people, github annotates files in GitHub Actions, junit is for CI systems.",
        ),
        click.option(
            "--fail-on",
            metavar="CATEGORY",
            multiple=True,
            type=click.Choice([*categories, NEVER], case_sensitive=False),
            help=f"Exit with 1 if there is a finding of this category: {', '.join(categories)}, or {NEVER}. "
            f"May be repeated. [default: {', '.join(fails)}]",
        ),
        click.option(
            "--ignore",
            "ignore_files",
            metavar="FILE",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A TOML file of findings to ignore, each entry with a reason. May be repeated.",
        ),
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
            help="The file for the report, instead of standard output.",
        ),
        click.option(
            "--list-rules",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda ctx, _parameter, wanted: _list_rules(ctx, rules, categories) if wanted else None,
            help="Print the rules with their categories, and exit.",
        ),
    ]

    def with_options(function: Command) -> Command:
        @wraps(function)
        def command(
            *args: Any,
            format_: str,
            fail_on: tuple[str, ...],
            ignore_files: tuple[Path, ...],
            output: Path | None,
            **others: Any,
        ) -> None:
            if NEVER in fail_on and len(fail_on) > 1:
                raise click.UsageError(f"--fail-on {NEVER} excludes all others")
            ignores = tuple(ignore for path in ignore_files for ignore in _ignores(path, rules))
            wanted = frozenset(fail_on or fails) - {NEVER}
            to = None if output == Path("-") else output
            name = click.get_current_context().info_name or ""
            function(*args, report=Reporter(name, rules, categories, format_, wanted, ignores, to), **others)

        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return with_options


def _ignores(path: Path, rules: Rules) -> tuple[Ignore, ...]:
    try:
        return read_ignores(path, rules)
    except IgnoresError as error:
        raise click.BadParameter(str(error), param_hint="--ignore") from None


def _list_rules(ctx: click.Context, rules: Rules, categories: Categories) -> None:
    text = Text()
    width = max(map(len, rules))
    for category in categories.values():
        text.append(category.id, "bold").append(f": {category.summary}\n")
        for rule in rules.values():
            if rule.category == category.id:
                text.append(f"  {rule.id:{width}}  {rule.summary}\n")
    _print(text)
    ctx.exit()


def _print(written: str | Text) -> None:
    """Print text with lines of any length; styled only on a terminal, unless NO_COLOR is set."""
    if isinstance(written, str):
        click.echo(written, nl=False)
    elif os.environ.get("NO_COLOR") or not sys.stdout.isatty():
        click.echo(written.plain, nl=False)
    else:
        Console(highlight=False, soft_wrap=True).print(written, end="")
