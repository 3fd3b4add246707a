"""One target under libFuzzer: `python -m tests.fuzz.worker TARGET [libFuzzer's arguments]`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import atheris

#: Only our code: branches of the other imports are irrelevant.
OURS = ["libvirt_proto", "libvirt_proto_codegen"]
_GENERATED = Path(__file__).resolve().parent.parent.parent / "libvirt_proto" / "generated"
#: The generated decoders are many and similar: keeping an input for each would give hundreds.
MERGING = any(argument.startswith("-merge") for argument in sys.argv)
ALIKE = [f"libvirt_proto.generated.{path.stem}" for path in _GENERATED.glob("*.py")]

with atheris.instrument_imports(include=OURS, exclude=ALIKE if MERGING else []):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    _, name, *arguments = sys.argv
    # To merge, libFuzzer restarts itself through a shell, with its first argument.
    again = shlex.join([sys.executable, "-m", "tests.fuzz.worker", name])
    atheris.Setup([again, *arguments], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
