"""The command line: which subcommands there are, and how every one of them ends.

A subcommand's module is imported when it is run; what `--help` says of it stands here. Importing
this module takes click and hardly anything else.

Everything that an error quotes is escaped here: `_ends` escapes the messages of errors, and the standard
streams escape whatever else is written to them (`terminal`).
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import click

from ..terminal import guard_standard_streams
from ..text import printable

#: name → (where the command is, what it does).
COMMANDS: Final = {
    "decode": ("libvirt_proto.cli.commands.decode:decode", "Show the messages in captures, traces and logs."),
    "relay": ("libvirt_proto.cli.commands.relay:relay", "Show the messages between clients and a daemon."),
    "trace": ("libvirt_proto.cli.commands.trace:trace", "Show the messages of running daemons and clients."),
    "stats": ("libvirt_proto.cli.commands.stats:stats", "Count and time what is in a capture."),
    "encode": ("libvirt_proto.cli.commands.encode:encode", "Turn JSON lines back into wire bytes."),
    "guess": ("libvirt_proto.cli.commands.guess:guess", "Say what bytes without context may be."),
    "lookup": ("libvirt_proto.cli.commands.lookup:lookup", "Say what a number or a name means."),
    "list": ("libvirt_proto.cli.commands.list:list_", "List programs, procedures, types or enums."),
    "describe": ("libvirt_proto.cli.commands.describe:describe", "Print a type or a procedure as XDR."),
    "generate": ("libvirt_proto_codegen.commands.generate:generate", "Generate code from definitions."),
    "import": ("libvirt_proto_codegen.commands.import_:import_", "Take definitions from a libvirt release."),
    "diff": ("libvirt_proto_codegen.commands.diff:diff", "Say what changed between two sets of definitions."),
    "lint": ("libvirt_proto_codegen.commands.lint:lint_", "Check definitions as libvirt's reviewers do."),
    "completion": ("libvirt_proto.cli.commands.completion:completion", "Print a shell's completion script."),
}

#: Exit statuses beside 0: the input had errors, the command was used wrongly (click's own), and
#: what a shell says of a program that a signal ended (128 + SIGINT, SIGPIPE).
INPUT_ERROR: Final = 1
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Main(click.Group):
    """A group that loads its commands from COMMANDS, and turns every end into a status and a line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Commands that begin with what was typed, without importing them."""
        from click.shell_completion import CompletionItem

        items = [CompletionItem(n, help=t) for n, (_, t) in COMMANDS.items() if n.startswith(incomplete)]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but a wrong name gets a suggestion."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from ..similar import did_you_mean

            ctx.fail(f"there is no command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program; a signal that asks for its end becomes an exception of the command that runs."""
        from .signals import Terminated, interrupting

        with interrupting():
            try:
                return super().main(*args, **extra)
            except Terminated as signal:  # between what _ends covers
                sys.exit(signal.status)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options; `--help` and `--version` write already here."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by whoever started us: what is written goes nowhere
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open
        guard_standard_streams()
        with _ends(traceback=False):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever happens ends in a status, never in a traceback."""
        with _ends(traceback=ctx.params["traceback"]):
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result


@contextmanager
def _ends(*, traceback: bool) -> Iterator[None]:
    """Turns what a command may raise into a line and an exit status."""
    from .signals import Terminated

    try:
        yield
    except Terminated as signal:
        _leave_silently()
        raise click.exceptions.Exit(signal.status) from None
    except KeyboardInterrupt:
        _leave_silently()
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        _leave_silently()
        raise click.exceptions.Exit(BROKEN_PIPE) from None
    except (click.exceptions.Exit, click.Abort):
        raise
    except click.ClickException as error:
        _escape_message(error)
        raise
    except OSError as error:
        if traceback:
            raise
        _complain(printable(f"{_file_of(error)}{error.strerror or error}"))
        _leave_silently()
        raise click.exceptions.Exit(INPUT_ERROR) from None
    except Exception as error:
        if traceback:
            raise
        problem = " ".join(str(error).split()) or "no further words"
        _complain(
            f"internal error: {type(error).__name__}: {problem}\n"
            "This is a fault of libvirt-proto. Please report it with the command, the output of "
            "`libvirt-proto --version`\nand what `libvirt-proto --traceback …` prints."
        )
        raise click.exceptions.Exit(INPUT_ERROR) from None


def _escape_message(error: click.ClickException) -> None:
    """Escape what an error quotes. Line ends are escaped, too, except where click lists choices."""
    message = error.format_message()
    if not isinstance(error, click.MissingParameter):
        message = printable(message)
    setattr(error, "format_message", lambda: message)  # noqa: B010 - every kind of error has its own


def _file_of(error: OSError) -> str:
    """The file of an error, as the beginning of a line. Every file that we write has its name in its errors;
    only standard output has none."""
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: "
    return "standard output: " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""


def _complain(text: str) -> None:
    click.echo(f"libvirt-proto: {text}", err=True)


def _leave_silently() -> None:
    """Nobody takes what is still buffered: it must not raise when Python closes its files."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from .. import __version__

        click.echo(f"libvirt-proto {__version__} (Python {'.'.join(map(str, sys.version_info[:3]))})")
        ctx.exit()


@click.group(
    cls=Main,
    # color: click must not delete what looks like a colour; it is escaped instead.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "color": True},
)
@click.option(
    "--traceback",
    is_flag=True,
    envvar="LIBVIRT_PROTO_TRACEBACK",
    help="Show where an internal error came from.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and exit.",
)
def main(traceback: bool) -> None:
    """Read libvirt's RPC: show its messages from captures, traces and logs or as they happen, look up its
    numbers and names, and generate code from its definitions.

    \b
    Examples:
      libvirt-proto decode capture.pcap
      libvirt-proto decode --errors-only --format monitor strace.txt
      libvirt-proto stats libvirtd.log
      libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:/run/libvirt/libvirt-sock
      libvirt-proto trace --server-only
      libvirt-proto lookup 66 auth_list
      libvirt-proto describe remote_nonnull_domain
      libvirt-proto generate systemtap -o tapset

    `libvirt-proto COMMAND --help` says more about each command. The exit status is 0, 1 if the input
    had errors, or 2 if the command was used wrongly.
    """
    atexit.register(gc.freeze)  # what ends need not be searched for garbage, a tenth of a look-up's time
