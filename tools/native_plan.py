"""Write the plan of the newest release for the native core: libvirt_proto/native.plan."""

from __future__ import annotations

import sys
from pathlib import Path

from libvirt_proto import registry
from libvirt_proto.native_plan_builder import build

FILE = Path(__file__).resolve().parent.parent / "libvirt_proto" / "native.plan"


def main() -> None:
    """Write the file, or with --check exit with 1 if it is not current."""
    data = build(registry.default()).file
    if sys.argv[1:] == ["--check"]:
        if FILE.read_bytes() != data:
            sys.exit(f"{FILE.name} is not current: run `make generate`")
        return
    FILE.write_bytes(data)


if __name__ == "__main__":
    main()
