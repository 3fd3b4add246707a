"""Proof that a release has the definitions of a bundled one, from its binaries, without .x files.

The tapset has the numbers and names of procedures and the arguments of probes, the library the names of all
types of its payloads and its release, the API description the releases of the public functions. If these are
those of a bundled release, its definitions are taken. Nothing here shows the types and limits of fields, or
annotations.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from libvirt_proto.codec.elfnotes import read_notes
from libvirt_proto.codec.identification import Evidence, Identification, Range, spell
from libvirt_proto.codec.tapset import parse_tapset
from libvirt_proto_codegen.identify import binaries, facts, tapsets
from libvirt_proto_codegen.identify.known import known
from libvirt_proto_codegen.providers.model import Argument, Probe, Provider, Section
from libvirt_proto_codegen.providers.parse import read_provider
from libvirt_proto_codegen.providers.printer import print_provider
from libvirt_proto_codegen.releases import releases, texts
from libvirt_proto_codegen.releases.archive import Release
from libvirt_proto_codegen.releases.version import version_key
from libvirt_proto_codegen.source import Source, Span

#: What no evidence shows.
UNPROVEN = (
    "types, order and limits of fields: names of types are the same, their declarations were not seen",
    "annotations: @acl, @generate, @priority and streams",
    "procedures of the log manager, which the tapset lacks",
)
_FUNCTION = re.compile(rb"<function name='(\w{1,100})'[^>]{0,500}\bversion='([0-9.]{1,20})'")


class Unproven(ValueError):
    """The release is not shown to have the definitions of a bundled one; the message has the differences."""


@dataclass
class Proof:
    """The bundled release whose definitions a release has, as far as proven, and the reasons.

    `texts` has its files, with the probe providers of the release.
    """

    release: str
    base: Release
    proven: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    #: Probe providers that are the base's, without evidence.
    doubtful: list[str] = field(default_factory=list)


def prove(files: Mapping[str, bytes], release: str) -> Proof:
    """Compare the files of a release with the bundled releases. Raises Unproven, and DefinitionError for
    damaged files."""
    found = {name: identified for name in sorted(files) if (identified := _identified(name, files[name]))}
    _check_release(found, release)
    rows = [(name, each) for name, identified in found.items() for each in identified.evidence]
    for what, package in (
        (tapsets.NAMES, "libvirt_functions.stp (package libvirt-common)"),
        (binaries.TYPES, "libvirt.so.0 (package libvirt0)"),
    ):
        if not any(each.what == what for _, each in rows):
            raise Unproven(
                f"{package} is missing: it shows the {'procedures' if what == tapsets.NAMES else 'types'}"
            )
    declared = [(name, each) for name, each in rows if each.what in (tapsets.NAMES, binaries.TYPES)]
    base = _base(declared)
    if base is None:
        raise Unproven("\n".join(_differences(files, declared)))
    proof = Proof(release, base)
    for name, each in declared:
        proof.proven.append(f"{each.what} are those of {spell(each.ranges)} ({name})")
    _add_functions(proof, files.get("libvirt-api.xml"))
    _add_providers(proof, files)
    _add_notes(proof, files)
    proof.unproven += UNPROVEN
    return proof


def _identified(name: str, data: bytes) -> Identification | None:
    if name.endswith(".stp"):
        return tapsets.identify(data.decode("utf-8", "replace"), name)
    return binaries.identify(io.BytesIO(data), name) if name.startswith("libvirt.so.") else None


def _check_release(found: Mapping[str, Identification], release: str) -> None:
    """Raise Unproven for a library of another release."""
    for name, identified in found.items():
        if identified.kind == "library" and release not in {each.first for each in identified.ranges}:
            raise Unproven(f"{name} is of libvirt {spell(identified.ranges)}, not of {release}")


def _base(rows: Sequence[tuple[str, Evidence]]) -> Release | None:
    """Return the newest bundled release that fits all evidence."""
    for release in reversed(releases()):
        if all(any(_contains(each, release) for each in evidence.ranges) for _, evidence in rows):
            return release
    return None


def _contains(bounds: Range, release: Release) -> bool:
    return (
        bounds.first is not None
        and bounds.last is not None
        and version_key(bounds.first) <= version_key(release.first)
        and version_key(release.last) <= version_key(bounds.last)
    )


def _differences(files: Mapping[str, bytes], rows: Sequence[tuple[str, Evidence]]) -> Iterator[str]:
    yield "no bundled release has these definitions, so the .x files are needed:"
    newest = known()[-1]
    own: set[facts.Name] = set()
    for name, each in rows:
        closest = f"; closest: {spell(each.closest)} ({each.differences} differ)" if each.closest else ""
        yield f"  {each.what} in {name}: {spell(each.ranges)}{closest}"
        if each.what == tapsets.NAMES:
            own |= tapsets.names(files[name].decode("utf-8", "replace"))
    others = {each for text in newest.texts(".x") for each in facts.names(text)}
    for new in sorted(own - others, key=str):
        group = f"{new.group:#010x}" if isinstance(new.group, int) else new.group
        yield f"  not in {newest.release.name}: {new.name} = {new.number} ({group})"


def _add_functions(proof: Proof, description: bytes | None) -> None:
    """Compare the public functions with the base's release."""
    if description is None:
        proof.unproven.append("public functions: libvirt-api.xml (libvirt-dev) is missing")
        return
    last = version_key(proof.base.last)
    versions = [
        (version_key(version.decode()), name.decode(), version.decode())
        for name, version in _FUNCTION.findall(description)
    ]
    newer = sorted(each for each in versions if each[0] > last)
    if newer:
        names = ", ".join(f"{name} ({version})" for _, name, version in newer)
        proof.unproven.append(
            f"these functions are newer than {proof.base.last}, without a procedure: {names}"
        )
    elif versions:
        _, name, version = max(versions)
        proof.proven.append(
            f"the newest of {len(versions):,} public functions is {name}, of {version} (libvirt-api.xml)"
        )


def _add_providers(proof: Proof, files: Mapping[str, bytes]) -> None:
    """Set the files of the base, with the arguments of probes in the tapsets of the release."""
    for file, data in texts(proof.base).items():
        text = data.decode()
        if not file.endswith(".d"):
            proof.texts[file] = text
            continue
        provider = read_provider(Source(file, text))
        tapset = files.get(provider.tapset)
        if tapset is None:
            proof.texts[file] = text
            proof.doubtful.append(file)
            proof.unproven.append(f"{file}, which is that of {proof.base.name}: {provider.tapset} is missing")
            continue
        own = tapsets.probes(tapset.decode("utf-8", "replace"))
        if own == facts.probes(text):
            proof.texts[file] = text
            proof.proven.append(
                f"the arguments of {len(own)} probes are those of {proof.base.name} ({provider.tapset})"
            )
        else:
            aliases = parse_tapset(tapset.decode("utf-8", "replace")).aliases
            changed = _rebuilt(provider, own, {mark: alias for (_, mark), alias in aliases.items()})
            proof.texts[file] = print_provider(changed)
            names = ", ".join(sorted({each.name for each in own ^ facts.probes(text)}))
            proof.proven.append(f"the arguments of {len(own)} probes; {names} differ ({provider.tapset})")
            proof.unproven.append(f"the C types of new arguments in {file}, except text: written as void *")


def _add_notes(proof: Proof, files: Mapping[str, bytes]) -> None:
    """Compare the probes in the library's ELF notes with the providers."""
    declared = {
        (probe.name, len(probe.arguments))
        for file, text in proof.texts.items()
        if file.endswith(".d")
        for probe in facts.probes(text)
    }
    for name, data in files.items():
        if not name.startswith("libvirt.so."):
            continue
        sites = [each for each in read_notes(io.BytesIO(data)).sites if each.provider == "libvirt"]
        own = {(each.name, len(each.operands)) for each in sites}
        if others := sorted({probe for probe, _ in own - declared}):
            proof.unproven.append(f"probes that {name} has with other arguments: {', '.join(others)}")
        elif own:
            proof.proven.append(f"the numbers of arguments of {len(own)} probes agree ({name})")


def _rebuilt(provider: Provider, own: frozenset[facts.Probe], aliases: Mapping[str, str]) -> Provider:
    """Return a provider with the arguments that a tapset has; an alias separates the prefix of a name."""
    arguments = {each.name: each.arguments for each in own}
    known_names = {probe.name for _, probe in provider.probes}
    sections = [
        replace(section, probes=probes)
        for section in provider.sections
        if (
            probes := tuple(
                _probe(each, arguments[each.name]) for each in section.probes if each.name in arguments
            )
        )
    ]
    span = Span(Source(provider.file, ""), 0, 0)
    for name in sorted(arguments.keys() - known_names):
        probe = _probe(Probe(name, (), span=span), arguments[name])
        prefix = aliases[name].rpartition(".")[0].replace(".", "_")
        sections.append(Section((probe,), prefix=prefix or None))
    return Provider(provider.file, provider.name, tuple(sections))


def _probe(probe: Probe, names: Sequence[str]) -> Probe:
    """Return a probe with arguments given by name, `*` before one that points to text. One that has kept its
    name and kind has kept its type."""
    types = {(each.name.rstrip("_"), each.is_string): each for each in probe.arguments}
    made = []
    for word in names:
        name, is_text = word.removeprefix("*"), word.startswith("*")
        kept = types.get((name, is_text))
        made.append(kept or Argument("const char *" if is_text else "void *", name))
    return Probe(probe.name, tuple(made), span=probe.span)


def report(proof: Proof, sources: Sequence[str]) -> str:
    """Describe a proof for a reader."""
    lines = [
        f"libvirt {proof.release}, from {', '.join(sources)}: the definitions of {proof.base.name}",
        "",
        "Proven:",
    ]
    lines += [f"  - {each}" for each in proof.proven]
    lines += ["", "Not proven:", *(f"  - {each}" for each in proof.unproven)]
    return "\n".join(lines)
