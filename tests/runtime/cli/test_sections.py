"""The help of every command: sections, and not more than two screens."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from libvirt_proto.cli.main import COMMANDS, GROUPS, main
from libvirt_proto.cli.sections import section

TWO_SCREENS = 100


def commands() -> Iterator[tuple[list[str], click.Command]]:
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield [name], command
        if isinstance(command, click.Group):
            yield from (([name, below], each) for below, each in command.commands.items())


ALL = list(commands())


@pytest.mark.parametrize(("words", "command"), ALL, ids=[" ".join(words) for words, _ in ALL])
def test_every_option_has_a_section(words: list[str], command: click.Command) -> None:
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert [option.name for option in options if section(option) == "Other"] == []


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("words", [[], *(words for words, _ in ALL)], ids=" ".join)
def test_help_fits_two_screens(words: list[str], columns: int) -> None:
    if words[:1] == ["trace"] and len(words) == 2:
        words = [*words, "--help"]
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=columns)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= TWO_SCREENS


def test_sections_are_in_order() -> None:
    output = CliRunner().invoke(main, ["decode", "--help"]).stdout
    titles = [line for line in output.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Input:", "Filters:", "Output:", "Metrics:", "Definitions:", "Other:"]


def test_every_command_is_in_a_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


@pytest.mark.parametrize("command", ["decode", "stats", "guess", "lookup", "list", "describe", "identify"])
@pytest.mark.parametrize("format_", ["json", "text"])
def test_format_means_the_same_everywhere(command: str, format_: str) -> None:
    """`json` and `text` are accepted, whatever the command calls its formats."""
    context = click.Context(main)
    found = main.get_command(context, command)
    assert found is not None
    [option] = [each for each in found.params if "--format" in each.opts]
    accepted = option.type.convert(format_, option, context)
    assert accepted in {"json": ("json", "jsonl"), "text": ("text", "table", "pretty")}[format_]


def test_old_json_option_warns() -> None:
    result = CliRunner().invoke(main, ["list", "programs", "--json"])
    assert result.stderr == "libvirt-proto: warning: --json is deprecated; use --format json\n"
    assert result.stdout == CliRunner().invoke(main, ["list", "programs", "--format", "json"]).stdout


def test_output_goes_to_a_file(tmp_path: object) -> None:
    file = f"{tmp_path}/found.txt"
    for words, text in ((["lookup", "66"], None), (["guess"], "00000004746573740000000000000000")):
        printed = CliRunner().invoke(main, words, input=text)
        result = CliRunner().invoke(main, [*words, "-o", file], input=text)
        assert (result.exit_code, result.stdout) == (printed.exit_code, "")
        with open(file, encoding="utf-8") as written:
            assert written.read() == printed.stdout != ""
