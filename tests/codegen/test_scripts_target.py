"""The SystemTap scripts. tests/differential runs them with stap itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_release, load_schema
from libvirt_proto_codegen.targets.scripts import generate

NAMES = (
    *("rpc-monitor.stp", "events.stp", "qemu-monitor.stp", "lock.stp", "stacks.stp"),
    *("client-messages.stp", "client-messages-raw.stp", "server-messages.stp", "server-messages-raw.stp"),
)


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    return {artefact.path: artefact.text for artefact in generate(load_release())}


def code(text: str) -> str:
    """A script without comments."""
    return re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)


def head(text: str) -> str:
    """The comment after the banner."""
    return re.split(r"\n\n", text)[1]


def test_output_matches_golden_files(scripts: dict[str, str]) -> None:
    assert sorted(scripts) == sorted(NAMES)
    assert {artefact.path: artefact.text for artefact in generate(load_release())} == scripts


def test_releases_differ_only_in_banners(scripts: dict[str, str]) -> None:
    for artefact in generate(load_release("0.9.7")):
        assert "generate scripts --release 0.9.7\n" in artefact.text
        assert artefact.text.partition("\n\n")[2] == scripts[artefact.path].partition("\n\n")[2]


@pytest.mark.parametrize("name", NAMES)
def test_every_script_documents_purpose_usage_and_example(scripts: dict[str, str], name: str) -> None:
    said = head(scripts[name])
    assert re.search(rf"^#   stap .*\b{name}", said, re.MULTILINE)
    assert re.search(r"^#   +(0\.000 )?begin$", said, re.MULTILINE)
    assert not re.search(r"{{|{%|%}|@@", scripts[name])
    assert max(map(len, said.splitlines())) <= 125


def test_stack_script_names_required_setting(scripts: dict[str, str]) -> None:
    assert "-DTASK_FINDER_VMA_ENTRY_ITEMS=" in head(scripts["stacks.stp"])


@pytest.mark.parametrize("side", ["client", "server"])
def test_messages_by_number_and_by_name(scripts: dict[str, str], side: str) -> None:
    raw, friendly = code(scripts[f"{side}-messages-raw.stp"]), code(scripts[f"{side}-messages.stp"])
    assert "libvirt_rpc_" not in raw
    assert len(re.findall(r"libvirt_rpc_(?:program|procedure|type|status)_name\(", friendly)) == 8
    probes = "libvirt.rpc.server_client_msg" if side == "server" else "libvirt.rpc.client_msg"
    for text in (raw, friendly):
        assert re.findall(r"^probe (libvirt\S+)", text, re.MULTILINE) == [
            f"{probes}_tx_queue",
            f"{probes}_rx",
        ]
        assert re.findall(r"([TR]) (\w+)=%p", text) == [("T", side), ("R", side)]


@pytest.mark.parametrize("name", ["rpc-monitor.stp", "stacks.stp", *NAMES[-4:]])
def test_skips_dummy_messages(scripts: dict[str, str], name: str) -> None:
    """A message probe without a length prints nothing."""
    bodies = re.findall(r"^probe libvirt\.rpc\.\w+_msg_\w+\n\{\n(.*?)^\}", scripts[name], re.M | re.S)
    assert len(bodies) == (2 if "messages" in name else 4)
    for body in bodies:
        assert re.match(r"(  #.*\n)?  if \((len\)\n|!len\)\n    next\n)", body)


def test_rejects_definitions_without_libvirt_programs(root: Path) -> None:
    assert generate(load_schema([root / "tests" / "definitions" / "file.x"])) == ()
