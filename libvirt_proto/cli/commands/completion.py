"""`libvirt-proto completion`: scripts for shell completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "libvirt-proto"
VARIABLE = "_LIBVIRT_PROTO_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell. It completes commands, options, files, and the names of
    programs, procedures and types.

    \b
    Examples:
      libvirt-proto completion bash > ~/.local/share/bash-completion/completions/libvirt-proto
      libvirt-proto completion zsh > "${fpath[1]}/_libvirt-proto"
      libvirt-proto completion fish > ~/.config/fish/completions/libvirt-proto.fish
      eval "$(libvirt-proto completion bash)"     # in this shell only
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
