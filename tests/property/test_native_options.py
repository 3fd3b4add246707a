"""The native core and Python give the same with each option of `decode`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from libvirt_proto import native, native_kinds
from libvirt_proto.cli import main as cli

pytestmark = pytest.mark.native

CAPTURES = Path(__file__).resolve().parent.parent / "captures"
TOUR = str(CAPTURES / "tour.pcap")

#: Values of the options of `decode`; none for an option that selects neither messages nor their form.
OPTIONS: dict[str, tuple[str, ...]] = {
    "--port": ("--port 9",),
    "--keylog": (),
    "--input-format": ("--input-format pcap",),
    "--follow": (),
    "--merge": (f"--merge {TOUR}",),
    "--jobs": ("--jobs 2",),
    "--debug": (),
    "--format": (),
    "--exchanges": (),
    "--time": ("--time absolute", "--time delta", "--time none"),
    "--acl": ("--acl",),
    "--release": ("--release 5.0.0",),
    "--defs": (),
    "--package": (),
    "--define": (),
    "--message": ("--message 40-60", "--message 200"),
    "--frame": ("--frame 40-60",),
    "--serial": ("--serial 7-12",),
    "--since": ("--since 100ms",),
    "--until": ("--until 1s",),
    "--slower-than": ("--slower-than 1ms",),
    "--object": ("--object test",),
    "--program": ("--program remote",),
    "--procedure": ("--procedure domain_*",),
    "--type": ("--type reply", "--type stream"),
    "--conn": ("--conn 127.0.0.1",),
    "--errors-only": ("--errors-only",),
    "--context": ("--context 2 --errors-only",),
    "--as-of": ("--as-of 1.2.9",),
    "--redact": ("--redact", "--redact=all"),
    "--full": ("--full",),
    "--color": ("--color always", "--color always --errors-only"),
    "--output": (),
    "--write": (),
    "--metrics": (),
    "--metrics-file": (),
}


@pytest.fixture(autouse=True, scope="module")
def _at_once() -> Iterator[None]:
    """Use the native core from the first message on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_kinds, "WORTH", (0, 0))
        yield


def test_each_option_is_listed() -> None:
    command = cli.main.get_command(click.Context(cli.main), "decode")
    assert command is not None
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert {max(option.opts, key=len) for option in options} == set(OPTIONS)


@pytest.mark.parametrize("form", ["monitor", "jsonl", "pretty"])
@pytest.mark.parametrize("options", ["", *(each for values in OPTIONS.values() for each in values)])
def test_same_output(options: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for exchanges in ((), ("--exchanges",)) if "--type" not in options else ((),):
        found = []
        for pure in ("1", "0"):
            monkeypatch.setenv(native.PURE, pure)
            command = ["decode", "--format", form, *exchanges, *options.split(), TOUR]
            result = CliRunner().invoke(cli.main, command)
            found.append((result.stdout, result.stderr, result.exit_code))
        python, core = found
        assert core == python
        assert python[2] in (0, 1), python[1]
