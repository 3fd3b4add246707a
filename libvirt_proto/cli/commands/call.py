"""`libvirt-proto call`: call a procedure of a daemon, and print its reply."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from ...errors import BadValue, Error, ProtocolError, UnknownName, reason
from ...rpc.reported import LibvirtError
from ...text import printable
from .. import complete as names
from .. import options
from ..output import destination, is_standard_output

if TYPE_CHECKING:
    from ...client.connection import Connection
    from ...client.core import Emitted
    from ...client.credentials import Credentials
    from ...definitions.program import Procedure, Program
    from ...registry import Registry

#: Maximum size of arguments in a file, in bytes: libvirt's largest message as JSON with escapes.
_MAX_ARGUMENTS: Final = 256 * 1024 * 1024
#: Bytes of a file that are uploaded at once.
_BLOCK: Final = 1 << 20
#: Option → the procedure that looks the object up, and the field of its reply that a call needs.
_OBJECTS: Final = {
    "dom": ("domain_lookup_by_name", "dom"),
    "net": ("network_lookup_by_name", "net"),
    "pool": ("storage_pool_lookup_by_name", "pool"),
    "vol": ("storage_vol_lookup_by_path", "vol"),
}


@click.command()
@click.argument("procedure", metavar="[PROGRAM.]PROCEDURE", shell_complete=names.procedures)
@click.argument("arguments", metavar="[JSON|@FILE|@-]", required=False)
@click.option(
    "-c",
    "--connect",
    "uri",
    metavar="URI",
    envvar="LIBVIRT_DEFAULT_URI",
    help="The daemon, as in virsh: qemu:///system, test+tcp://host/default, qemu+ssh://root@host/system."
    " Default: $LIBVIRT_DEFAULT_URI.",
)
@click.option("--readonly", is_flag=True, help="Open a read-only connection.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Give up if a reply takes longer. Default: wait.",
)
@click.option("--dom", metavar="NAME", help="Look up this domain, and pass it as the argument dom.")
@click.option("--net", metavar="NAME", help="The same for a network, as net.")
@click.option("--pool", metavar="NAME", help="The same for a storage pool, as pool.")
@click.option("--vol", metavar="PATH", help="The same for a storage volume, as vol.")
@click.option("--follow", is_flag=True, help="After the reply, print events as they arrive.")
@click.option(
    "--count",
    type=click.IntRange(1),
    metavar="N",
    help="With --follow: end after N events.",
)
@click.option(
    "--upload",
    type=click.File("rb"),
    metavar="FILE",
    help="Send a file (- is standard input) through the stream that the call opens.",
)
@click.option(
    "--download",
    type=options.PathOption(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the data of the stream that the call opens to a file (- is standard output).",
)
@click.option(
    "--password-file",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="For SASL: the password is the first line of a file. The user name is in the URI (user@host)."
    " Default: libvirt's auth.conf, then a prompt.",
)
@click.option("--template", is_flag=True, help="Print arguments to fill in, and call nothing.")
@click.option(
    "--no-open",
    is_flag=True,
    help="Do not authenticate and open the connection first: only call.",
)
@options.definitions
def call(
    procedure: str,
    arguments: str | None,
    uri: str | None,
    registry: Registry,
    template: bool,
    **settings: Any,
) -> None:
    """Call a procedure of a libvirt daemon, and print the payload of its reply as JSON.

    Arguments are the JSON of the call's payload, as decode prints it. They are checked before anything is
    sent. @FILE reads them from a file, @- from standard input: several lines are several calls on one
    connection, each with a line of output as soon as its reply arrives. Use @FILE for secrets: other users
    can see the arguments of a command.

    An error of the daemon is printed as JSON on standard error; the exit status is then 1.

    \b
    Examples:
      libvirt-proto call -c qemu:///system connect_get_lib_version
      libvirt-proto call -c qemu:///system domain_lookup_by_name '{"name": "vm1"}'
      libvirt-proto call --template domain_get_xml_desc
      libvirt-proto call -c qemu:///system --dom vm1 domain_get_xml_desc '{"flags": 0}' | jq -r .xml
      XX
          --download vm1.ppm
      libvirt-proto call -c admin:///system admin.connect_get_lib_version
      libvirt-proto call -c qemu:///system --follow --count 1 \\
          connect_domain_event_callback_register_any '{"eventID": 0, "dom": null}'
    """
    program, which = _find(registry, procedure)
    if template:
        _print_template(which)
        return
    if uri is None:
        raise click.UsageError("expected the URI of a daemon: -c qemu:///system, or set LIBVIRT_DEFAULT_URI")
    if settings["count"] and not settings["follow"]:
        raise click.UsageError("--count requires --follow")
    if settings["password_file"] and "@" not in uri:
        raise click.UsageError("--password-file requires the user in the URI: user@host")
    given: Iterable[dict[str, Any]] = _arguments(arguments)
    if arguments != "@-":  # a line of standard input is checked when its turn comes
        given = [_checked(which, plain, settings) for plain in given]
    import asyncio

    try:
        with _reported():
            asyncio.run(_Calls(registry, uri, program, which, settings).run(given))
    except TimeoutError:
        raise click.ClickException(f"no reply within {settings['timeout']:g} seconds") from None


def _find(registry: Registry, name: str) -> tuple[Program, Procedure]:
    program_name, _, procedure_name = name.rpartition(".")
    try:
        program = registry.program(program_name or "remote")
        found = program.procedure(procedure_name)
    except UnknownName as error:
        raise click.UsageError(printable(str(error))) from None
    if found.msg_place is not None:
        raise click.UsageError(f"{procedure_name} is an event, which only a daemon sends: use --follow")
    return program, found


def _print_template(procedure: Procedure) -> None:
    from ...jsonlines.skeleton import skeleton

    click.echo(json.dumps({} if procedure.args is None else skeleton(procedure.args), indent=2))


def _checked(procedure: Procedure, plain: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return arguments that fit a procedure, with those still to be looked up. Raises click.UsageError."""
    from ...jsonlines.skeleton import skeleton

    blank = {} if procedure.args is None else skeleton(procedure.args)
    looked_up = {name: blank.get(name) for name in _OBJECTS if settings[name] is not None}
    try:
        value = _value(procedure, plain | looked_up)
        if procedure.args is not None:
            procedure.args.to_bytes(value)
    except ProtocolError as error:
        raise click.UsageError(printable(str(error))) from None
    return plain


def _value(procedure: Procedure, plain: dict[str, Any]) -> Any:
    """Return the arguments of a call from their JSON. Raises ProtocolError."""
    from ...jsonlines.decode import from_plain

    if procedure.args is not None:
        return from_plain(procedure.args, plain)
    if plain:
        raise BadValue(f"{procedure.name} has no arguments")
    return None


@contextmanager
def _reported() -> Iterator[None]:
    """Print errors of the daemon as JSON, and turn other errors into click's."""
    try:
        yield
    except LibvirtError as error:
        _print_error(error)
        sys.exit(1)
    except Error as error:
        raise click.ClickException(printable(str(error))) from None


def _print_error(error: LibvirtError) -> None:
    fields = ("code", "code_name", "message", "domain", "domain_name", "level", "level_name")
    click.echo(json.dumps({"error": {name: getattr(error, name) for name in fields}}), err=True)


class _Calls:
    """The calls of one command, on one connection."""

    def __init__(
        self,
        registry: Registry,
        uri: str,
        program: Program,
        procedure: Procedure,
        settings: dict[str, Any],
    ) -> None:
        self._registry = registry
        self._uri = uri
        self._program = program
        self._procedure = procedure
        self._settings = settings

    async def run(self, given: Iterable[dict[str, Any]]) -> None:
        """Connect, call for each of the given arguments, and print what comes back."""
        from ...client.open import connect

        settings = self._settings
        async with connect(
            self._uri,
            auth=self._ask,
            readonly=settings["readonly"],
            timeout=settings["timeout"],
            registry=self._registry,
            open=not settings["no_open"],
        ) as connection:
            objects = [
                (name, await self._look_up(connection, name))
                for name in _OBJECTS
                if settings[name] is not None
            ]
            events = connection.events() if settings["follow"] else None
            failed = False
            for plain in given:
                plain.update(objects)
                try:
                    await self._call(connection, _value(self._procedure, plain))
                except LibvirtError as error:
                    failed = True
                    _print_error(error)
            if events is not None and not failed:
                await self._follow(aiter(events))
        if failed:
            sys.exit(1)

    async def _look_up(self, connection: Connection, name: str) -> Any:
        from ...jsonlines.encode import to_plain

        procedure, field = _OBJECTS[name]
        argument = "path" if procedure.endswith("_path") else "name"
        found = await connection.call_value(f"remote.{procedure}", {argument: self._settings[name]})
        ret = self._registry.program("remote").procedure(procedure).ret
        assert ret is not None
        return to_plain(ret, found)[field]

    async def _call(self, connection: Connection, value: Any) -> None:
        upload, download = self._settings["upload"], self._settings["download"]
        if upload is None and download is None:
            result = await connection.call_value((self._program, self._procedure), value)
        else:
            async with connection.stream((self._program, self._procedure), value) as stream:
                result = stream.reply
                if upload is not None:
                    while block := upload.read(_BLOCK):
                        await stream.send(block)
                else:
                    with _opened(download) as file:
                        async for piece in stream:
                            file.write(piece if isinstance(piece, bytes) else bytes(piece.length))
        if not is_standard_output(self._settings["download"]):
            self._print(result)

    def _print(self, value: Any) -> None:
        from ...jsonlines.encode import to_plain

        ret = self._procedure.ret
        plain = None if ret is None else to_plain(ret, value, named=True)
        click.echo(json.dumps(plain, ensure_ascii=False))

    async def _follow(self, events: AsyncIterator[Emitted]) -> None:
        from ...jsonlines.encode import to_plain

        left = self._settings["count"]
        async for event in events:
            msg = event.procedure.msg
            payload = None if msg is None else to_plain(msg, event.value, named=True)
            line = {"program": event.program.name, "procedure": event.procedure.name, "payload": payload}
            click.echo(json.dumps(line, ensure_ascii=False))
            sys.stdout.flush()
            if left is not None:
                left -= 1
                if not left:
                    return

    async def _ask(self, host: str, user: str) -> Credentials:
        from ...client.credentials import Credentials

        if (file := self._settings["password_file"]) is not None:
            return Credentials(user, file.readline().rstrip("\n"))
        if not sys.stdin.isatty():
            raise click.ClickException(
                "the server asks for a user and a password: put them into libvirt's auth.conf, or use"
                " --password-file"
            )
        user = user or click.prompt(f"User for {printable(host or 'the daemon')}", err=True)
        return Credentials(user, click.prompt("Password", hide_input=True, err=True))


def _arguments(given: str | None) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each call. Raises click.UsageError for what is not a JSON object."""
    if given is None:
        yield {}
    elif given == "@-":
        for number, line in enumerate(sys.stdin.buffer, 1):
            if line.strip():
                yield _parsed(line, f"standard input:{number}")
    elif given.startswith("@"):
        try:
            with Path(given[1:]).open("rb") as file:
                text = file.read(_MAX_ARGUMENTS + 1)
        except OSError as error:
            raise click.UsageError(printable(f"{given[1:]}: {reason(error)}")) from None
        yield _parsed(text, given[1:])
    else:
        yield _parsed(os.fsencode(given), "the arguments")


def _parsed(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(printable(f"{where}: expected a JSON object: {error}")) from None
    if not isinstance(found, dict):
        raise click.UsageError(printable(f"{where}: expected a JSON object, got {text[:40]!r}"))
    return found


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file of a download: only its owner can read it."""
    with destination(None if is_standard_output(path) else path) as file:
        yield file
        file.flush()
