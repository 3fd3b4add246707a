"""`libvirt-proto diagnose`: findings about captures, traces and logs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..inputs import READING, Inputs
from ..inputs import inputs as inputs_option
from ..output import destination
from ..signals import stopping
from ..status import Status
from ..views import diagnosis_lines

if TYPE_CHECKING:
    from ...diagnose.findings import Diagnosis
    from ...redact.redactor import What
    from ...registry import Registry

#: The --fail-on value that no finding meets.
_NONE = "none"


def _list_rules(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the rules, and exit."""
    if not wanted or ctx.resilient_parsing:
        return
    from ...diagnose.rules import RULES

    width = max(map(len, RULES))
    for rule in RULES.values():
        click.echo(f"{rule.id:{width}}  {rule.severity:7}  {rule.summary}")
    ctx.exit()


def _rule(_ctx: click.Context, _option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Reject unknown rules."""
    from ...diagnose.rules import RULES
    from ...similar import did_you_mean

    upper = tuple(name.upper() for name in names)
    for name in upper:
        if name not in RULES:
            raise click.BadParameter(f"unknown rule {name}.{did_you_mean(name, RULES)} (--list-rules)")
    return upper


def _rules(_ctx: click.Context, _option: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the names of rules."""
    from click.shell_completion import CompletionItem

    from ...diagnose.rules import RULES

    start = incomplete.upper()
    return [
        CompletionItem(rule.id, help=rule.summary) for rule in RULES.values() if rule.id.startswith(start)
    ]


@click.command(cls=options.RedactingCommand)
@inputs_option
@click.option(
    "--format",
    "format_",
    type=options.Format("text", "json", "github", text="text"),
    help="text: for people; json: one JSON object; github: workflow commands. Default: text on a terminal,"
    " otherwise json.",
)
@click.option(
    "--rule",
    "only",
    metavar="RULE",
    multiple=True,
    callback=_rule,
    shell_complete=_rules,
    help="Only findings of this rule. Repeatable.",
)
@click.option(
    "--ignore",
    metavar="RULE",
    multiple=True,
    callback=_rule,
    shell_complete=_rules,
    help="No findings of this rule. Repeatable.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", _NONE]),
    default="error",
    show_default=True,
    help="Exit with status 1 if there is a finding of this severity or a higher one.",
)
@click.option(
    "--list-rules",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_rules,
    help="List the rules.",
)
@options.redact
@options.definitions
@options.colour
@options.output
@click.pass_context
def diagnose(
    ctx: click.Context,
    inputs: Inputs,
    format_: str | None,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: str,
    redact: What | None,
    registry: Registry,
    color: str,
    output: Path | None,
) -> None:
    """Find out what went wrong between clients and daemons, and why. Inputs are those of `decode`; what
    several files show of the same incident is one finding. A capture next to the daemon's log shows most.

    Each finding has its cause in one sentence, its certainty, the evidence with the command that shows
    exactly these messages, and what to do. A log shows more with these lines in the daemon's configuration:
    log_filters="1:rpc 1:util.threadjob 1:qemu.qemu_monitor" and a log_outputs at level 1.

    \b
    Examples:
      libvirt-proto diagnose capture.pcap
      libvirt-proto diagnose capture.pcap /var/log/libvirt/libvirtd.log
      libvirt-proto diagnose --format json libvirtd.log | jq -r '.findings[].summary'
      libvirt-proto diagnose --fail-on warning --ignore POLLING nightly.pcap
      journalctl -u virtqemud -o json --since -1h | libvirt-proto diagnose -
      libvirt-proto trace --diagnose

    The exit status is 1 if there are findings of --fail-on or above, or an input had errors.
    """
    inputs.check(output)
    from ...diagnose.diagnoser import Diagnoser
    from ...diagnose.rules import RULES

    on_terminal = output is None and sys.stdout.isatty()
    palette = options.stdout_palette("never" if output and color == "auto" else color)
    status = Status(options.palette(color, sys.stderr), bar=sys.stderr.isatty(), summary=False)
    diagnoser = Diagnoser(
        registry,
        decode=("libvirt-proto", "decode", *options.given(ctx, READING)),
        rules=[rule for rule in RULES if (not only or rule in only) and rule not in ignore],
        redacted=options.redacted_note(redact) or None,
    )
    interrupted = False
    with destination(output) as out:
        with status:
            try:
                with stopping(inputs.follow):
                    for file in inputs.files:
                        diagnoser.source(file)
                        with inputs.open(file, registry, status, redact=redact) as capture:
                            capture.examine(diagnoser)
            except KeyboardInterrupt:
                interrupted = True
        diagnosis = diagnoser.finish()
        out.writelines(diagnosis_lines(diagnosis, format_ or ("text" if on_terminal else "json"), palette))
        out.flush()
    if interrupted:
        raise KeyboardInterrupt
    ctx.exit(1 if status.problems or _fails(diagnosis, fail_on) else 0)


def _fails(diagnosis: Diagnosis, fail_on: str) -> bool:
    """Return whether a finding is at least as severe as a severity."""
    from ...diagnose.findings import SEVERITIES

    if fail_on == _NONE:
        return False
    wanted = SEVERITIES[: [*SEVERITIES].index(fail_on) + 1]  # type: ignore[arg-type]
    return any(finding.severity in wanted for finding in diagnosis.findings)
