"""The declarations of probes that apply to traced files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.capture.probes import chosen as module
from libvirt_proto.capture.probes import loaded
from libvirt_proto.capture.probes.chosen import chosen
from libvirt_proto.capture.probes.loaded import named
from libvirt_proto.capture.probes.plan import plan, probes
from libvirt_proto.cli import tracing
from libvirt_proto.cli.main import main
from libvirt_proto.codec.providers import Argument, Declaration
from tests.support.elf import Site, elf

CONTEXT = "8@%rbx 8@-56(%rbp) 8@-136(%rbp) 8@-64(%rbp) 8@%r13 4@%eax 4@%edx 4@%ecx"
#: As in Debian's libvirt 12.9.0.
SITES: list[Site] = [
    ("libvirt", "rpc_tls_context_new", CONTEXT),
    ("libvirt", "rpc_client_new", "8@%rbx 8@64(%rbx)"),
    ("libvirt", "rpc_client_msg_rx", "8@%rbx 8@128(%rbx) 4@%eax 4@%edx -4@%ecx -4@%esi -4@%edi 4@%r8d"),
    ("libvirt", "object_ref", "8@%rbx 8@24(%rax) 4@%r12d"),
]
DAEMON: list[Site] = [("libvirt", "rpc_server_client_auth_allow", "8@%rbx 4@$2 8@%rax")]


def _context(text: str) -> dict[tuple[str, str], tuple[Argument, ...]]:
    arguments = tuple(Argument(word.strip("*"), word.startswith("*")) for word in text.split())
    client = (Argument("client"), Argument("authtype"), Argument("identity", True))
    return {
        ("libvirt", "rpc_tls_context_new"): arguments,
        ("libvirt", "rpc_server_client_auth_allow"): client,
    }


STATES = (
    Declaration(
        "7.0.0",
        "11.3.0",
        _context("ctxt *cacert *cacrl *cert *key sanityCheckCert requireValidCert isServer"),
    ),
    Declaration(
        "12.8.0",
        "12.9.0",
        _context("ctxt *cacert *cacrl cert keys sanityCheckCert requireValidCert isServer"),
    ),
)


@pytest.fixture
def files() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DECLARATIONS", STATES)


def library(
    folder: Path, name: str = "libvirt.so.0", symbols: bytes = b"", sites: Sequence[Site] = SITES
) -> Path:
    path = folder / name
    path.write_bytes(elf(sites, symbols=symbols))
    return path


def fetched(path: Path, files: ExitStack) -> str:
    """The arguments that a trace reads of rpc_tls_context_new; text as `NAME=text`."""
    found = probes(named(files, (str(path),)))
    (event,) = [each for each in plan("group", found, 64).events if each.kind == "tls_context_new"]
    assert [each.partition("=")[0] for each in event.definition.split()[1:]] == [
        a.name for a in event.arguments
    ]
    return re.sub(
        r"=\+0\(\S+\):ustring", "=text", re.sub(r"=\S+:[us]\d+", "", event.definition.partition(" ")[2])
    )


BOTH = "ctxt cacert=text cacrl=text sanityCheckCert requireValidCert isServer"
OLD = BOTH.replace(" sanity", " cert=text key=text sanity")
NEW = BOTH.replace(" sanity", " cert keys sanity")


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("9.0.0", OLD),
        ("11.3.0", OLD),
        ("11.4.0", BOTH),
        ("12.7.0", BOTH),
        ("12.8.0", NEW),
        ("12.9.0", NEW),
        ("13.1.0", NEW),
    ],
)
def test_version_of_the_library_decides(
    tmp_path: Path, files: ExitStack, version: str, expected: str
) -> None:
    """By its symbols, and without them by its name, to which a link may lead."""
    symbols = b"\0LIBVIRT_PRIVATE_" + version.encode() + b"\0"
    assert fetched(library(tmp_path, symbols=symbols), files) == expected
    major, minor, micro = map(int, version.split("."))
    path = library(tmp_path, f"libvirt.so.0.{1000 * major + minor}.{micro}")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert fetched(path, files) == fetched(link, files) == expected


def test_symbols_precede_the_name(tmp_path: Path, files: ExitStack) -> None:
    path = library(tmp_path, "libvirt.so.0.9000.0", b"\0LIBVIRT_PRIVATE_12.9.0\0")
    assert fetched(path, files) == NEW


def test_library_without_a_version_shows_no_text_without_agreement(tmp_path: Path, files: ExitStack) -> None:
    assert fetched(library(tmp_path, sites=SITES[:1]), files) == BOTH


def test_pointer_of_every_version_is_a_number(tmp_path: Path, files: ExitStack) -> None:
    """It is shown as an address of 64 bits."""
    found = probes(named(files, (str(library(tmp_path, "libvirt.so.0.12009.0")),)))
    (event,) = [each for each in plan("group", found, 64).events if each.kind == "tls_context_new"]
    assert {each.name: each.meaning for each in event.arguments}.items() >= {
        ("cert", "object"),
        ("keys", "object"),
        ("cacert", "text"),
    }


def mapped(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Let process 1 map these files."""

    def files_of(pid: int, name: str) -> Iterator[loaded._Mapped]:
        for path in paths:
            if path.name.startswith(name) or not path.name.startswith("libvirt"):
                yield loaded._Mapped(pid, str(path), str(path))

    monkeypatch.setattr(loaded, "_files", files_of)
    monkeypatch.setattr(loaded, "processes", lambda: iter([1]))


@pytest.mark.parametrize(
    ("name", "symbols"), [("libvirt.so.0.12009.0", b""), ("libvirt.so.0", b"\0LIBVIRT_PRIVATE_12.9.0\0")]
)
def test_daemon_has_the_version_of_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack, name: str, symbols: bytes
) -> None:
    daemon = library(tmp_path, "virtproxyd", sites=DAEMON)
    mapped(monkeypatch, library(tmp_path, name, symbols), daemon)
    found = loaded.loaded(files, "libvirt.so.0").binaries
    assert [(Path(each.path).name, each.version) for each in found] == [
        (name, "12.9.0"),
        ("virtproxyd", "12.9.0"),
    ]
    assert {str(choice) for choice in chosen(found).values()} == {
        "libvirt 12.9.0: arguments of probes as in 12.8.0 to 12.9.0"
    }


def test_driver_has_the_version_of_the_library_in_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack
) -> None:
    driver = library(tmp_path, "libvirt_driver_qemu.so", sites=DAEMON)
    mapped(monkeypatch, library(tmp_path, "libvirt.so.0.11003.0"), driver)
    (found,) = loaded.loaded(files, driver.name).binaries
    assert found.version == "11.3.0"


def test_named_daemon_has_the_version_of_the_only_library(tmp_path: Path, files: ExitStack) -> None:
    daemon = library(tmp_path, "libvirtd", sites=DAEMON)
    new, old = library(tmp_path, "libvirt.so.0.12009.0"), library(tmp_path, "libvirt.so.0.9000.0")
    assert [each.version for each in named(files, (str(daemon), str(new)))] == ["12.9.0", "12.9.0"]
    assert [each.version for each in named(files, (str(daemon), str(new), str(old)))] == [
        None,
        "12.9.0",
        "9.0.0",
    ]


def test_unknown_layout_keeps_the_object(tmp_path: Path, files: ExitStack) -> None:
    """It is enough for the event of a connection, and only then used."""
    sites = [("libvirt", name, "8@%rbx 4@$1") for name in ("rpc_tls_context_new", "rpc_client_msg_rx")]
    found = probes(named(files, (str(library(tmp_path, "libvirt.so.0.12009.0", sites=sites)),)))
    (event,) = plan("group", found, 64).events
    assert (event.kind, [each.name for each in event.arguments]) == ("tls_context_new", ["ctxt"])
    assert [each.problem for each in found] == ["", "expected 8 arguments, got 2"]


def test_reports_the_declarations(
    tmp_path: Path, files: ExitStack, capsys: pytest.CaptureFixture[str]
) -> None:
    new, between, unknown = (
        str(library(tmp_path, name, sites=SITES[:1]))
        for name in ("libvirt.so.0.12009.0", "libvirt.so.0.12000.0", "libvirt.so.0")
    )
    binaries = named(files, (new, between, unknown))
    tracing.report(probes(binaries), binaries)
    assert capsys.readouterr().err.splitlines() == [
        f"trace: libvirt 12.9.0: arguments of probes as in 12.8.0 to 12.9.0 ({new})",
        "trace: libvirt 12.0.0: only arguments of probes on which 7.0.0 to 11.3.0 and 12.8.0 to 12.9.0 agree"
        f" ({between})",
        "trace: unknown version of libvirt: only arguments of probes on which all bundled releases that fit"
        f" agree ({unknown})",
    ]


def test_does_not_report_file_without_version_whose_probes_are_known(
    tmp_path: Path, files: ExitStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DECLARATIONS", STATES[:1])
    binaries = named(files, (str(library(tmp_path, sites=SITES[:1])),))
    tracing.report(probes(binaries), binaries)
    assert capsys.readouterr().err == ""


def test_lists_only_known_names(tmp_path: Path) -> None:
    """The list of probes has no other lines."""
    path = library(tmp_path, "libvirt.so.0.12000.0", sites=SITES[:1])
    result = CliRunner().invoke(main, ["trace", "--probes", "--library", str(path)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "cacrl=-136(%bp) -64(%bp) %r13 sanityCheckCert=%ax" in result.stdout
