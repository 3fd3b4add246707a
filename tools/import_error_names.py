"""Makes libvirt_proto/errornames.py from libvirt's API description.

    tools/import_error_names.py [/usr/share/libvirt/api/libvirt-api.xml] [--release R] [--check]

The description comes with libvirt's development package; only numbers and names are taken from it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

OUTPUT = Path(__file__).resolve().parent.parent / "libvirt_proto" / "errornames.py"

#: virterror.h's enum → the table's name and what it says.
TABLES = {
    "virErrorNumber": ("CODES", "`code`: VIR_ERR_…"),
    "virErrorDomain": ("DOMAINS", "`domain`: the part of libvirt that raised the error, VIR_FROM_…"),
    "virErrorLevel": ("LEVELS", "`level`: VIR_ERR_NONE, VIR_ERR_WARNING, VIR_ERR_ERROR"),
}
HEAD = '''"""Numbers of libvirt's errors and their names (virterror.h).

Made by tools/import_error_names.py from the API description of libvirt {release}; do not edit.
libvirt only ever adds to these numbers, so they hold for every release.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final
'''


def tables(description: Path) -> dict[str, dict[int, str]]:
    """enum → number → name, without the LAST sentinels, in ascending order."""
    found: dict[str, dict[int, str]] = {enum: {} for enum in TABLES}
    for entry in ElementTree.parse(description).iter("enum"):
        name = entry.get("name", "")
        if entry.get("type") in found and not name.endswith("_LAST"):
            found[entry.get("type", "")][int(entry.get("value", ""))] = name
    return {enum: dict(sorted(names.items())) for enum, names in found.items()}


def render(found: dict[str, dict[int, str]], release: str) -> str:
    text = HEAD.format(release=release)
    for enum, (table, meaning) in TABLES.items():
        text += f"\n#: {enum}, {meaning}.\n{table}: Final = MappingProxyType(\n    {{\n"
        text += "".join(f'        {number}: "{name}",\n' for number, name in found[enum].items())
        text += "    }\n)\n"
    return text


def installed_release() -> str:
    """The libvirt that the development package is of."""
    query = ["pkg-config", "--modversion", "libvirt"]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Make libvirt_proto/errornames.py.")
    default = Path("/usr/share/libvirt/api/libvirt-api.xml")
    parser.add_argument("description", nargs="?", type=Path, default=default)
    parser.add_argument("--release", help="the libvirt release of the description (default: ask pkg-config)")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file is not current")
    options = parser.parse_args()
    text = render(tables(options.description), options.release or installed_release())
    if options.check:
        current = OUTPUT.exists() and OUTPUT.read_text() == text
        if not current:
            print(f"{OUTPUT.name} is not current: run tools/import_error_names.py", file=sys.stderr)
        return 0 if current else 1
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
