"""`identify`: definitions, tapsets and binaries, against files whose release is known from elsewhere."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from libvirt_proto.codec.identification import Identification, Range
from libvirt_proto_codegen.compare import compare
from libvirt_proto_codegen.definitions import load_release
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.identify import binaries, definitions, facts, known, tapsets
from libvirt_proto_codegen.pipeline import generate
from libvirt_proto_codegen.releases import find, texts
from libvirt_proto_codegen.releases.archive import UnknownRelease
from libvirt_proto_codegen.releases.version import version_key
from tests.differential.releases import read_releases
from tests.support.elf import elf, elf_with, with_symbols
from tests.support.release_files import probes
from tests.support.work import assert_linear, grown

TAPSETS = Path("/usr/share/systemtap/tapset")
#: Releases with other declarations than their neighbours, as published (shared/libvirt/README.md).
SAMPLES = ("0.9.7", "1.0.5", "1.1.2", "2.0.0", "7.0.0", "9.0.0", "11.3.0", "12.6.0")


@cache
def upstream_files(shared: Path) -> dict[str, dict[str, str]]:
    return read_releases(shared / "libvirt")


def within(release: str, identified: Identification) -> bool:
    return any(
        version_key(each.first or "0") <= version_key(release) <= version_key(each.last or "99")
        for each in identified.ranges
    )


def file(release: str, name: str) -> str:
    return texts(find(release))[name].decode()


def of_file(name: str, text: str) -> Identification:
    return definitions.identify_file(name, text.encode())


@pytest.mark.parametrize("release", SAMPLES)
def test_facts_are_those_of_the_parsed_definitions(release: str) -> None:
    """The text of the archive is read without a parser; here it is compared with the parser."""
    schema = load_release(release)
    files = [text for each in known.known() if each.release.name == release for text in each.texts(".x")]
    names = {each for text in files for each in facts.names(text) if isinstance(each.group, int)}
    assert names == {
        facts.Name(program.number, procedure.number, procedure.short)
        for module in schema.modules
        for program in module.programs
        for procedure in program.procedures
    }
    types = {definition.name for module in schema.modules for definition in module.types}
    assert {each for text in files for each in facts.types(text)} == {
        each for each in types if "." not in each
    }


# Definitions


@pytest.mark.parametrize("release", SAMPLES)
def test_upstream_files_of_releases(release: str, shared: Path, tmp_path: Path) -> None:
    """The files as published, with comments; together, and one under another name."""
    upstream = upstream_files(shared)[release]
    for name, text in upstream.items():
        (tmp_path / name).write_text(text)
    assert within(release, of_file("mine.x", upstream["remote_protocol.x"]))
    identified = definitions.identify_tree(tmp_path)
    assert within(release, identified)
    assert len(identified.evidence) >= len(upstream)
    for end in {each for bounds in identified.ranges for each in (bounds.first, bounds.last)}:
        findings = compare(load_release(end), load_release(release))
        assert {finding.category for finding in findings} <= {"ACCESS"}, "it has other declarations"


def test_annotations_do_not_exclude_a_release() -> None:
    text = file("10.0.0", "remote_protocol.x")
    bare = re.sub(r"[ \t]*/\*\*.*?\*/\n", "", text, flags=re.DOTALL)
    assert of_file("remote_protocol.x", text).ranges == of_file("remote_protocol.x", bare).ranges
    identified = of_file("remote_protocol.x", bare)
    assert within("10.0.0", identified)
    assert [each.what for each in identified.evidence] == [
        "remote_protocol.x",
        "remote_protocol.x, annotations",
    ]
    assert identified.evidence[1].ranges == ()


def test_changed_declaration_has_closest_releases() -> None:
    text = file("12.6.0", "remote_protocol.x").replace(
        "REMOTE_STRING_MAX = 4194304;", "REMOTE_STRING_MAX = 4194305;"
    )
    identified = of_file("remote_protocol.x", text)
    assert identified.ranges == ()
    (evidence,) = identified.evidence
    assert within("12.6.0", Identification("definitions", evidence.closest, ()))
    assert evidence.differences == 2  # the old line and the new one


def test_files_of_different_releases(tmp_path: Path) -> None:
    for release, name in (("2.0.0", "remote_protocol.x"), ("12.6.0", "admin_protocol.x")):
        (tmp_path / name).write_text(file(release, name))
    identified = definitions.identify_tree(tmp_path)
    assert identified.ranges == ()
    assert all(each.ranges for each in identified.evidence)


def test_unrelated_definitions_have_no_closest_release() -> None:
    identified = of_file("mine.x", "struct mine { int i; };\nconst MINE = 3;\n")
    assert identified.ranges == ()
    assert [each.closest for each in identified.evidence] == [()]


def test_provider_file() -> None:
    assert within("10.0.0", of_file("libvirt_probes.d", file("10.0.0", "libvirt_probes.d")))


@pytest.mark.parametrize("text", ["struct {", "\x00", "%#include\nenum e {"])
def test_rejects_invalid_definitions(text: str) -> None:
    with pytest.raises(DefinitionError):
        of_file("a.x", text)


# Ranges


def test_ranges_have_no_gaps() -> None:
    """3.10.0 precedes 4.0.0; a maintenance release is not part of a range of others."""
    names = ("1.2.9", "1.2.10", "1.2.9.1", "1.2.9.2", "3.10.0", "4.0.0", "4.2.0")
    assert known.ranges_of([find(name) for name in names]) == (
        Range("1.2.9", "1.2.10"),
        Range("3.10.0", "4.0.0"),
        Range("4.2.0", "4.2.0"),
        Range("1.2.9.1", "1.2.9.2"),
    )


# Tapsets


@pytest.mark.parametrize("release", ["0.9.7", "1.1.0", "2.0.0", "4.5.0", "12.6.0"])
def test_generated_tapset(release: str) -> None:
    """A binary search, not the chain of comparisons in shipped tapsets."""
    (artefact,) = generate(load_release(release), "systemtap")
    assert within(release, tapsets.identify(artefact.text, "a.stp"))


FUNCTIONS = """\
function libvirt_rpc_procedure_name(program, version, proc, verbose)
{
  if (program == 536903814 && version == 1) {
      if (proc == 1) {
          procstr = "%s"
      } else if (proc == 2) {
          procstr = "close"
      } else {
          procstr = "unknown";
          verbose = 1;
      }
  } else {
      procstr = "unknown";
  }
  if (verbose) {
      procstr = procstr . sprintf(":%%d", proc)
  }
  return procstr;
}
"""


def test_names_in_comparisons() -> None:
    names = tapsets.names(FUNCTIONS % "open")
    assert names == {facts.Name(0x20008086, 1, "open"), facts.Name(0x20008086, 2, "close")}
    assert tapsets.identify(FUNCTIONS % "open", "a.stp").ranges == ()


def installed() -> str:
    """The release of the installed library, by its file name: libvirt.so.0.9000.0 is 9.0.0."""
    found = sorted(Path("/usr/lib").glob("*/libvirt.so.0.*"))
    if not found:
        pytest.skip("libvirt.so.0 is not installed")
    number, micro = map(int, found[0].name.removeprefix("libvirt.so.0.").split("."))
    return f"{number // 1000}.{number % 1000}.{micro}"


def is_known(release: str) -> bool:
    try:
        return bool(find(release))
    except UnknownRelease:
        return False


@pytest.mark.parametrize("name", ["libvirt_functions.stp", "libvirt_probes.stp", "libvirt_qemu_probes.stp"])
def test_shipped_tapset(name: str) -> None:
    release = installed()
    if not (TAPSETS / name).exists():
        pytest.skip("no tapset is installed")
    identified = tapsets.identify((TAPSETS / name).read_text(), name)
    assert within(release, identified) or not is_known(release)
    (evidence,) = identified.evidence
    assert evidence.ranges or evidence.closest


PROBES = """\
probe libvirt.rpc.socket_send_fd = process("/usr/lib/libvirt.so").mark("rpc_socket_send_fd") {
  sock = $arg1;
  fd = $arg2;
}
"""


def test_ranges_of_probes_are_those_that_are_proven() -> None:
    """The providers of 12.9.0 are proven from 12.8.0, and those of 7.0.0 up to 11.3.0."""
    text = file("9.0.0", "libvirt_probes.d")
    assert of_file("libvirt_probes.d", text).ranges == (Range("7.0.0", "11.3.0"),)
    assert of_file("libvirt_probes.d", file("12.9.0", "libvirt_probes.d")).ranges[0].first == "12.8.0"
    assert tapsets.identify(probes(), "a.stp").ranges[0].first == "12.8.0"


def test_some_probes_of_a_tapset() -> None:
    """A tapset may lack the probes that no binary has."""
    assert within("12.6.0", tapsets.identify(PROBES, "a.stp"))
    assert tapsets.identify(PROBES.replace("fd = $arg2", "fd = user_string($arg2)"), "a.stp").ranges == ()


@pytest.mark.parametrize(
    "unit",
    [
        "function libvirt_rpc_procedure_name(",
        "function libvirt_rpc_type_name {\n",
        "probe libvirt.a =\n",
        "/* ",
        "{ if (proc == 1 ",
    ],
)
def test_hostile_tapset_takes_linear_work(unit: str) -> None:
    def act(size: int) -> Callable[[], object]:
        text = (FUNCTIONS % "open") + f"\n{unit}" * size
        return lambda: list(tapsets.names(text)) + list(tapsets.probes(text))

    assert_linear(*grown(act, 200))


def test_bounds_of_other_variables_are_not_kept() -> None:
    """Each comparison copies the bounds, so their number must not grow with the text."""
    conditions = " && ".join(f"v{number} == 1" for number in range(100))
    chain = "".join(f"if (v{number} < 1) {{ }} else " for number in range(100))
    text = FUNCTIONS.replace("version == 1", conditions).replace("if (verbose)", f"{chain}if (verbose)")
    assignments = list(tapsets._Function(text, 0, len(text)).assignments())
    assert {len(bounds.values) for bounds, _ in assignments} == {0, 1, 2}
    assert tapsets.names(text) == tapsets.names(FUNCTIONS)


def test_rejects_other_scripts() -> None:
    with pytest.raises(DefinitionError, match="expected a tapset"):
        tapsets.identify("probe begin { exit() }\n", "a.stp")


# Binaries


def of_binary(data: bytes) -> Identification:
    return binaries.identify(io.BytesIO(data), "lib.so")


def test_installed_library() -> None:
    release = installed()
    (path,) = sorted(Path("/usr/lib").glob("*/libvirt.so.0.*"))
    with path.open("rb") as opened:
        identified = binaries.identify(opened, str(path))
    assert identified.ranges == (Range(release, release),)
    by_name = {each.what: each for each in identified.evidence}
    if is_known(release):
        assert within(release, Identification("library", by_name["types"].ranges, ()))
    assert by_name["types"].ranges or by_name["types"].closest


def test_installed_daemon() -> None:
    release = installed()
    if not Path("/usr/sbin/libvirtd").exists():
        pytest.skip("libvirtd is not installed")
    with open("/usr/sbin/libvirtd", "rb") as opened:
        assert binaries.identify(opened, "libvirtd").ranges == (Range(release, release),)


def test_versions_of_symbols() -> None:
    """A program states the release of the library that it was built with; public symbols are a bound."""
    stated = of_binary(with_symbols(["x"], ["LIBVIRT_PRIVATE_11.8.0", "LIBVIRT_1.2.3"]))
    assert stated.ranges == (Range("11.8.0", "11.8.0"),)
    bound = of_binary(with_symbols(["x"], ["LIBVIRT_1.2.3", "LIBVIRT_QEMU_10.1.0", "LIBVIRT_9.0.0"]))
    assert bound.ranges == (Range("10.1.0"),)


def test_types_of_a_library() -> None:
    names = sorted(
        facts.types(file("12.6.0", "qemu_protocol.x")) | facts.types(file("12.6.0", "lxc_protocol.x"))
    )
    own = [f"xdr_{name}" for name in names]
    identified = of_binary(with_symbols(own, ["LIBVIRT_8.2.0"]))
    assert within("12.6.0", identified)
    assert (
        identified.ranges
        == of_binary(with_symbols([*own, *(f"{each}_clear" for each in own)], ["LIBVIRT_8.2.0"])).ranges
    )
    assert of_binary(with_symbols([*own, "xdr_qemu_nonsense_args"], [])).ranges == ()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected an ELF file"),
        (elf([]), "expected a library or a program of libvirt"),
        (elf([])[:-1], "damaged ELF file"),
    ],
)
def test_rejects_other_binaries(data: bytes, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        of_binary(data)


def test_every_truncation_of_a_binary_is_an_error_or_a_result() -> None:
    whole = with_symbols(["xdr_a", "x"], ["LIBVIRT_PRIVATE_9.0.0"])
    assert of_binary(whole).ranges == (Range("9.0.0", "9.0.0"),)
    for size in range(len(whole)):
        with pytest.raises(DefinitionError):
            of_binary(whole[:size])


def test_names_of_any_length_take_linear_work() -> None:
    """Each symbol's name is the rest of a table without an end."""

    def act(size: int) -> Callable[[], object]:
        table = b"".join(struct.pack("<IBBHQQ", 0, 18, 0, 1, 0, 0) for _ in range(size))
        data = elf_with({".dynstr": b"x" * size * 24, ".dynsym": table, ".gnu.version_d": b""})

        def identify() -> None:
            with pytest.raises(DefinitionError):
                of_binary(data)

        return identify

    assert_linear(*grown(act, 200))
