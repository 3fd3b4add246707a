"""Shell completions of names in the newest release."""

from __future__ import annotations

from collections.abc import Iterable

import click


def programs(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete programs by name."""
    from .. import registry

    return _beginning(begun, (program.name for program in registry.default().programs()))


def procedures(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete procedures by name, after their program once there is a dot."""
    from .. import registry

    known = [(program.name, p.name) for program in registry.default().programs() for p in program.procedures]
    return _beginning(begun, (f"{program}.{name}" if "." in begun else name for program, name in known))


def permissions(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete permissions, as in the .x (`domain:read`)."""
    from .. import registry
    from .meanings import permissions

    return _beginning(begun, permissions(registry.default()))


def message_types(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete types of messages."""
    from ..rpc.names import TYPES

    return _beginning(begun, TYPES.values())


def types_and_procedures(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Complete types of the .x files, and procedures."""
    from .. import registry

    types = (name for module in registry.default().modules() for name in module.type_names)
    return _beginning(begun, types) + procedures(ctx, parameter, begun)


def described(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Complete types of the .x files, procedures, and enums of the public API."""
    from ..names import public

    return types_and_procedures(ctx, parameter, begun) + (_beginning(begun, public.enums()) if begun else [])


def lookup_words(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Complete types, procedures, programs, and the functions, enums and errors of the public API."""
    from ..definitions import functions
    from ..names import public

    if not begun:
        return types_and_procedures(ctx, parameter, begun)
    members = (name for enum in public.enums().values() for name in enum.names)
    names = [*programs(ctx, parameter, begun), *public.enums(), *members, *functions.names()]
    return sorted({*types_and_procedures(ctx, parameter, begun), *_beginning(begun, names)})


def releases(_ctx: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the bundled releases, in their order."""
    from ..definitions import history

    names = ("latest", *history.releases())
    return [name for name in names if name.startswith(begun.removeprefix("v"))]


def _beginning(begun: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(begun)})
