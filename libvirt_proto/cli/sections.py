"""The options of every command in sections of its help."""

from __future__ import annotations

from types import MethodType
from typing import Final

import click

#: Section → the options in it, in this order. An option of several commands may have its metavar.
SECTIONS: Final = {
    "Input": (
        "--port", "--keylog", "--follow", "--merge", "--jobs", "--offset", "--length", "--input-format",
        "--listen", "--connect", "--readonly", "--no-open", "--timeout", "--password-file", "--mode",
        "--dir", "--same", "--provenance", "--ignore",
    ),
    "Answers": ("--order", "--timing"),
    "Arguments": ("--dom", "--net", "--pool", "--vol", "--template"),
    "Streams and events": ("--upload", "--download", "--follow EVENTS", "--count"),
    "Probes": (
        "--library", "--all-probes", "--pid", "--comm", "--client-only", "--server-only", "--side",
        "--max-message", "--method", "--buffer", "--probes", "--print-commands",
    ),
    "Filters": (
        "--message", "--frame", "--serial", "--since", "--until", "--slower-than", "--object", "--program",
        "--procedure", "--type", "--acl PERMISSION", "--conn", "--errors-only", "--context",
    ),
    "Output": (
        "--format", "--exchanges", "--stats", "--diagnose", "--rule", "--ignore RULE", "--time", "--acl",
        "--as-of", "--sort", "--window", "--interval", "--count", "--top", "--all", "--full", "--wide",
        "--json-schema", "--pretty-json", "--list-releases", "--list-rules", "--fail-on", "--redact",
        "--color", "--output", "--write", "--check", "--force", "--quiet", "--debug",
    ),
    "Installation": ("--install", "--uninstall", "--folder"),
    "Calls by Wireshark": (
        "--extcap-interfaces", "--extcap-version", "--extcap-interface", "--extcap-dlts", "--extcap-config",
        "--extcap-reload-option", "--extcap-capture-filter", "--extcap-control-in", "--extcap-control-out",
        "--capture", "--fifo",
    ),
    "Metrics": ("--metrics", "--metrics-file"),
    "Definitions": ("--release", "--defs", "--package", "--define"),
}  # fmt: skip


def sectioned(command: click.Command) -> click.Command:
    """Return a command whose help, and that of its subcommands, has its options in sections."""
    command.format_options = MethodType(_format_options, command)  # type: ignore[method-assign]
    if isinstance(command, click.Group):
        for each in command.commands.values():
            sectioned(each)
    return command


def section(option: click.Parameter) -> str:
    """Return the section of an option; `Other` for one that has none."""
    return next((title for title, names in SECTIONS.items() if _name(option) in names), "Other")


def _name(option: click.Parameter) -> str:
    """Return the name of an option in SECTIONS."""
    name = max(option.opts, key=len)
    with_metavar = f"{name} {option.metavar}"
    return with_metavar if any(with_metavar in names for names in SECTIONS.values()) else name


def _format_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the sections that have options, then the rest, and the commands of a group."""
    rows: dict[str, dict[str, tuple[str, str]]] = {}
    for option in command.get_params(ctx):
        row = option.get_help_record(ctx) if isinstance(option, click.Option) else None
        if row is not None:
            rows.setdefault(section(option), {})[_name(option)] = row
    for title, names in (*SECTIONS.items(), ("Other", tuple(rows.get("Other", ())))):
        there = rows.get(title, {})
        if there:
            with formatter.section(title if len(rows) > 1 else "Options"):
                formatter.write_dl([there[name] for name in names if name in there])
    if isinstance(command, click.Group):
        command.format_commands(ctx, formatter)
