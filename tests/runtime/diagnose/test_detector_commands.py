"""Names from recordings are words of the commands that findings advise, never options."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.settings import quoted_domain
from libvirt_proto.text import file_argument


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("web", "web"),
        ("my vm", "'my vm'"),
        ("$(reboot)", "'$(reboot)'"),
        ("--all", "--domain=--all"),
        (None, "DOMAIN"),
    ],
)
def test_domain_is_one_word(name: str | None, word: str) -> None:
    assert quoted_domain(name) == word


@pytest.mark.parametrize(("name", "argument"), [("a.pcap", "a.pcap"), ("-f", "./-f"), ("-", "-")])
def test_file_is_no_option(name: str, argument: str) -> None:
    assert file_argument(name) == argument
