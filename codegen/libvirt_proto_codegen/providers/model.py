"""The Provider: the content of a provider file. Spans are ignored in comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..source import Span


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a probe. `type` is its C type as words and stars (`const char *`)."""

    type: str
    name: str

    @property
    def is_string(self) -> bool:
        """True if it points to characters, which the tapset reads."""
        return [word for word in self.type.split() if word != "const"] == ["char", "*"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A static probe."""

    name: str
    arguments: tuple[Argument, ...]
    span: Span = field(compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Section:
    """Consecutive probes with the same annotations: the source file that fires them, the `prefix` of their
    names, the program (`libvirtd`) and the module, relative to the library folder
    (`libvirt/connection-driver/libvirt_driver_qemu.so`), that contain them; None if not annotated."""

    probes: tuple[Probe, ...]
    file: str | None = None
    prefix: str | None = None
    binary: str | None = None
    module: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider file: its base name, the provider's name, and its probes in file order."""

    file: str
    name: str
    sections: tuple[Section, ...]

    @property
    def probes(self) -> Iterator[tuple[Section, Probe]]:
        """All probes with their sections."""
        return ((section, probe) for section in self.sections for probe in section.probes)

    @property
    def tapset(self) -> str:
        """The name of its tapset: `libvirt_probes.stp`, also for the `probes.d` of old releases."""
        return f"libvirt_{self.file.removesuffix('.d').removeprefix('libvirt_')}.stp"

    def alias(self, section: Section, probe: Probe) -> str:
        """Return a probe's name in libvirt's tapsets: `libvirt.rpc.client_new` for `rpc_client_new` with the
        prefix `rpc`."""
        if section.prefix is None:
            return f"{self.name}.{probe.name}"
        return f"{self.name}.{section.prefix}.{probe.name.removeprefix(section.prefix + '_')}"
