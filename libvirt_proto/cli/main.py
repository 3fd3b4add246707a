"""The command line: the table of subcommands, and how each of them ends.

The module of a subcommand is imported when it runs; its short help is in the table. Importing this module
needs little more than click.

Everything that an error quotes is escaped: `_ends` escapes error messages, and the standard streams escape
everything else (`terminal`).
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
from .sections import sectioned

#: name → (location of the command, short help).
COMMANDS: Final = {
    "decode": ("libvirt_proto.cli.commands.decode:decode", "Show the messages in captures, traces and logs."),
    "relay": ("libvirt_proto.cli.commands.relay:relay", "Show the messages between clients and a daemon."),
    "trace": ("libvirt_proto.cli.commands.trace:trace", "Show the messages of running daemons and clients."),
    "extcap": ("libvirt_proto.cli.commands.extcap:extcap", "Capture live messages in Wireshark."),
    "top": ("libvirt_proto.cli.commands.top:top", "Show the busiest procedures and clients, live."),
    "stats": ("libvirt_proto.cli.commands.stats:stats", "Count and time the contents of captures."),
    "diagnose": ("libvirt_proto.cli.commands.diagnose:diagnose", "Find out what went wrong, and why."),
    "call": ("libvirt_proto.cli.commands.call:call", "Call a procedure of a daemon."),
    "replay": ("libvirt_proto.cli.commands.replay:replay", "Answer clients as a capture recorded it."),
    "encode": ("libvirt_proto.cli.commands.encode:encode", "Turn JSON lines into wire bytes."),
    "guess": ("libvirt_proto.cli.commands.guess:guess", "Identify unknown bytes."),
    "lookup": ("libvirt_proto.cli.commands.lookup:lookup", "Explain a number or a name."),
    "list": ("libvirt_proto.cli.commands.list:list_", "List programs, procedures, types or enums."),
    "describe": ("libvirt_proto.cli.commands.describe:describe", "Print a type or a procedure as XDR."),
    "identify": ("libvirt_proto.cli.commands.identify:identify", "Find the releases that a file fits."),
    "generate": ("libvirt_proto_codegen.commands.generate:generate", "Generate code from definitions."),
    "import": (
        "libvirt_proto_codegen.commands.import_:import_",
        "Import definitions from a libvirt release.",
    ),
    "diff": ("libvirt_proto_codegen.commands.diff:diff", "Compare two sets of definitions."),
    "lint": ("libvirt_proto_codegen.commands.lint:lint_", "Check definitions as libvirt's reviewers do."),
    "doctor": ("libvirt_proto.cli.commands.doctor:doctor", "Show what works here, and fixes for the rest."),
    "completion": ("libvirt_proto.cli.commands.completion:completion", "Print a shell's completion script."),
}

#: The commands in the groups of the help.
GROUPS: Final = {
    "Messages": ("decode", "stats", "diagnose", "trace", "extcap", "relay", "top", "call", "replay"),
    "Bytes": ("encode", "guess"),
    "Definitions": ("lookup", "list", "describe", "identify", "generate", "import", "diff", "lint"),
    "This tool": ("doctor", "completion"),
}

#: The beginnings of click's own messages, which are lower-cased like ours.
_CLICKS_OWN: Final = ("Got unexpected", "Invalid ", "Missing ", "No such ", "Option ")
#: Exit statuses other than 0 and click's for wrong usage: the input had errors, and the shell's convention
#: for a program ended by a signal (128 + SIGINT, SIGPIPE).
INPUT_ERROR: Final = 1
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


class Main(click.Group):
    """A group that loads its commands from COMMANDS, and turns every end into an exit status and a line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if the name is unknown."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return sectioned(getattr(import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for `--help`, without importing them."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name][1]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands, without importing them."""
        from click.shell_completion import CompletionItem

        items = [CompletionItem(n, help=t) for n, (_, t) in COMMANDS.items() if n.startswith(incomplete)]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does, with a suggestion for an unknown name."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from ..similar import did_you_mean

            ctx.fail(f"unknown command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the options; `--help` and `--version` already write here."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by the caller: output goes nowhere
                setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open
        guard_standard_streams()
        with _ends(traceback=False):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Every end is an exit status, never a traceback. A signal that ends the program
        becomes an exception; before and after, there is nothing to clean up, and it ends the process."""
        from .signals import interrupting

        with _ends(traceback=ctx.params["traceback"]), interrupting():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result


@contextmanager
def _ends(*, traceback: bool) -> Iterator[None]:
    """Turn the errors of a command into a line and an exit status."""
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
    except getattr(click.exceptions, "NoArgsIsHelpError", ()):  # click 8.2: shows the help
        raise
    except click.ClickException as error:
        _report(error)
        raise click.exceptions.Exit(error.exit_code) from None
    except OSError as error:
        if traceback:
            raise
        from ..errors import reason  # every command that opens files has loaded it

        _complain(printable(f"error: {_file_of(error)}{reason(error)}"))
        _leave_silently()
        raise click.exceptions.Exit(INPUT_ERROR) from None
    except Exception as error:
        if traceback:
            raise
        problem = " ".join(str(error).split()) or "no message"
        _complain(
            f"internal error: {type(error).__name__}: {problem}\n"
            "This is a bug in libvirt-proto. Please report it with the command, the output of"
            " `libvirt-proto --version`\nand that of `libvirt-proto --traceback …`."
        )
        raise click.exceptions.Exit(INPUT_ERROR) from None


def _report(error: click.ClickException) -> None:
    """Write an error in our style, after the usage if the command was used wrongly. Line ends are escaped,
    too, except where click lists choices."""
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n", err=True)
    message = error.format_message().removesuffix(".")
    if message.startswith(_CLICKS_OWN):
        message = message[0].lower() + message[1:]
    if not isinstance(error, click.MissingParameter):
        message = printable(message)
    _complain(f"error: {message}")


def _file_of(error: OSError) -> str:
    """Return the file of an error, as the beginning of a line. All errors of files that we write have a name;
    only standard output has none."""
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: "
    return "standard output: " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""


def _complain(text: str) -> None:
    click.echo(f"libvirt-proto: {text}", err=True)


def _leave_silently() -> None:
    """Discard buffered output so that closing cannot raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from .. import __version__, native

        python = ".".join(map(str, sys.version_info[:3]))
        click.echo(f"libvirt-proto {__version__} (Python {python}, native core {native.state()})")
        ctx.exit()


@click.group(
    cls=Main,
    # color: click must not remove colours from foreign text; it is escaped instead.
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "color": True},
)
@click.option(
    "--traceback",
    is_flag=True,
    envvar="LIBVIRT_PROTO_TRACEBACK",
    help="Show the traceback of an internal error.",
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
    """Read libvirt's RPC: show its messages from captures, traces, logs or running daemons, look up its
    numbers and names, and generate code from its definitions.

    \b
    Examples:
      libvirt-proto decode capture.pcap
      libvirt-proto decode --errors-only --format monitor strace.txt
      libvirt-proto stats libvirtd.log
      libvirt-proto relay --listen unix:/tmp/relay.sock --connect unix:/run/libvirt/libvirt-sock
      libvirt-proto trace --server-only
      libvirt-proto top
      libvirt-proto lookup 66 auth_list
      libvirt-proto describe remote_nonnull_domain
      libvirt-proto generate systemtap -o tapset

    See `libvirt-proto COMMAND --help` for each command. The exit status is 0, 1 if the input had errors, or 2
    if the command was used wrongly.
    """
    atexit.register(gc.freeze)  # skip garbage collection at exit, a tenth of a look-up's time
