"""`libvirt-proto decode`: captures, traces and logs in, messages out."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import click

from ...text import printable
from .. import options
from ..exporting import exporting
from ..inputs import Inputs, recording
from ..inputs import inputs as inputs_option
from ..output import destination
from ..output_options import TABLES, OutputOptions
from ..output_options import show as show_options
from ..signals import stopping

if TYPE_CHECKING:
    from ...capture.pcap.recorder import Recorder
    from ..status import Status
    from ..views import View


@click.command(cls=options.RedactingCommand)
@inputs_option
@click.option(
    "--merge",
    is_flag=True,
    help="Merge two recordings of the same connections into one timeline.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    default=1,
    show_default=True,
    help="Decode up to N files in parallel.",
)
@click.option(
    "--debug",
    is_flag=True,
    help="Report how many messages the native core read.",
)
@show_options
@exporting
@options.record
@click.pass_context
def decode(
    ctx: click.Context,
    inputs: Inputs,
    show: OutputOptions,
    export: AbstractContextManager[None],
    merge: bool,
    jobs: int,
    debug: bool,
) -> None:
    """Show the messages in captures: pcap and pcapng files, strace output, libvirt logs (with
    log_filters="2:rpc"), raw byte streams, or bytes as text (hex, dumps, literals, base64). The format is
    recognised by the contents. Several files are read one after the other; - is standard input.

    Filters can be repeated: a message is shown if it matches one of each kind. Programs, procedures and types
    are names, symbols, numbers or patterns; a procedure may follow its program (qemu.domain_*). --conn is the
    number of a connection or a part of its name (:40508). A call that only its reply selects (--slower-than,
    --object) is shown just before the reply.

    -w records libvirt's connections, including unix sockets and raw streams, for Wireshark and this tool.
    Filters do not apply to it. --exchanges shows each call once it is complete, and calls without a reply
    last. pretty truncates long strings, bytes and arrays; --full does not.

    \b
    Examples:
      libvirt-proto decode capture.pcap
      libvirt-proto decode --procedure 'domain_get_*' --type reply capture.pcap
      libvirt-proto decode --errors-only --format monitor *.pcap
      libvirt-proto decode --exchanges --object vm1 --slower-than 50ms capture.pcap
      libvirt-proto decode --frame 57 --context 3 capture.pcap
      libvirt-proto decode --redact -w report.pcapng everything.pcap
      libvirt-proto decode -w - strace.txt | wireshark -k -i -
      tcpdump -i lo -U -w - 'tcp port 16509' | libvirt-proto decode -
      libvirt-proto decode --follow --format monitor growing.pcap
      libvirt-proto decode --merge client.pcap server.pcap
      libvirt-proto decode --exchanges --format chrome-trace -o trace.json capture.pcap
      libvirt-proto decode --as-of 1.2.9 -o /dev/null capture.pcap
      libvirt-proto decode --format parquet -o messages.parquet *.pcap

    The exit status is 1 if the input had errors: a damaged file, lost bytes, malformed messages.
    """
    inputs.check(show.output)
    show = show.next_to(inputs.record)
    if merge and len(inputs.files) != 2:
        raise click.UsageError("--merge requires exactly two files")
    if merge and inputs.record is not None:
        raise click.UsageError("--merge and -w exclude each other: record each of the files separately")
    if jobs > 1 and len(inputs.files) > 1:
        _check_jobs(inputs, show, merge)
    if show.metrics is not None and (merge or len(inputs.files) > 1 or not inputs.is_live(inputs.files[0])):
        raise click.UsageError(
            "metrics require one input that goes on: --follow, standard input (-), or a FIFO"
        )
    status = show.status()
    with (
        export,
        recording(inputs.record, show.redact) as recorder,
        destination(show.output) as out,
        status,
        stopping(inputs.follow),
        show.document(out, status) as view,
    ):
        if merge:
            with inputs.merged(
                show.registry, status, filter=show.filter, flush=out.flush, redact=show.redact
            ) as capture:
                show.write(capture, out, status, view=view)
        elif jobs > 1 and len(inputs.files) > 1:
            from ..jobs import run

            run(inputs.files, jobs, partial(_file, inputs, show), out, status)
        else:
            for file in inputs.files:
                _file(inputs, show, file, out, status, recorder, view)
        out.flush()
        if debug:
            status.debug()
    ctx.exit(1 if status.problems else 0)


def _file(
    inputs: Inputs,
    show: OutputOptions,
    file: str,
    out: BinaryIO,
    status: Status,
    recorder: Recorder | None = None,
    view: View | None = None,
) -> None:
    """Write the output of one of the files; `view` is that of all files."""
    if show.format == "pretty" and len(inputs.files) > 1:
        out.write(f"{show.palette.name}== {printable(file)}{show.palette.off}\n".encode())
    with inputs.open(
        file,
        show.registry,
        status,
        filter=show.filter,
        flush=out.flush,
        recorder=recorder,
        redact=show.redact,
    ) as capture:
        show.write(capture, out, status, live=inputs.is_live(file), view=view)


def _check_jobs(inputs: Inputs, show: OutputOptions, merge: bool) -> None:
    """Raise click.UsageError for options that several processes do not support."""
    if show.trace is not None:
        raise click.UsageError(f"--format {show.format} requires --jobs 1: its files have one timeline")
    if show.format in TABLES:
        raise click.UsageError(f"--format {show.format} requires --jobs 1: its output is one table")
    if merge:
        raise click.UsageError("--merge requires --jobs 1")
    if inputs.record is not None:
        raise click.UsageError("-w requires --jobs 1")
    for file in inputs.files:
        if inputs.is_live(file):
            name = "standard input" if file == "-" else f"{file}, which is not a regular file,"
            raise click.UsageError(f"{name} requires --jobs 1")
