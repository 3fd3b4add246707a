"""Provider to canonical text: upstream's names, types and annotations, without its other comments.

The output parses to an equal Provider.
"""

from __future__ import annotations

from .model import Argument, Probe, Provider, Section


def print_provider(provider: Provider) -> str:
    """Return the text of a provider file."""
    sections = "\n".join(map(_section, provider.sections))
    return f"provider {provider.name} {{\n{sections}}};\n"


def _section(section: Section) -> str:
    said = {name: getattr(section, name) for name in ("file", "prefix", "binary", "module")}
    lines = [f"# {name}: {value}" for name, value in said.items() if value is not None]
    lines += map(_probe, section.probes)
    return "".join(f"    {line}\n" for line in lines)


def _probe(probe: Probe) -> str:
    return f"probe {probe.name}({', '.join(map(_argument, probe.arguments))});"


def _argument(argument: Argument) -> str:
    return f"{argument.type}{'' if argument.type.endswith('*') else ' '}{argument.name}"
