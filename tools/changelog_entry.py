"""Write CHANGELOG.md's entry for the definitions of a libvirt release, from the findings of `diff`.

    tools/changelog_entry.py RELEASE [--changelog FILE] [--check]

The release is compared with the closest earlier one. The entry goes into the topmost section, below
"### Definitions", the newest release first; an existing entry is replaced.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

from libvirt_proto_codegen.compare import CATEGORIES, compare
from libvirt_proto_codegen.definitions import load_release
from libvirt_proto_codegen.releases import releases
from libvirt_proto_codegen.releases.version import is_maintenance, version_key

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
HEADING = "### Definitions"
WIDTH = 110
_ENTRY = re.compile(r"^- libvirt (?P<release>\S+), compared with .*\n(?:[ ]+.*\n)*", re.MULTILINE)


def entry(release: str) -> str:
    """Return the lines of a release."""
    known = [each.name for each in releases() if each.name == release or not is_maintenance(each.name)]
    before = known[known.index(release) - 1]
    findings = compare(load_release(before), load_release(release))
    text = f"libvirt {release}, compared with {before}:{'' if findings else ' nothing changed.'}"
    lines = [f"- {text}"]
    for category in CATEGORIES:
        lines += [
            line
            for finding in findings
            if finding.category == category
            for line in textwrap.wrap(
                f"{category}: {finding.message}",
                WIDTH,
                initial_indent="  - ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        ]
    return "\n".join(lines) + "\n"


def with_entry(changelog: str, release: str, lines: str) -> str:
    """Return the changelog with the entry in its topmost section."""
    first = re.search(r"^## ", changelog, re.MULTILINE)
    if first is None:
        raise SystemExit("CHANGELOG.md has no section: expected a line that begins with '## '")
    following = re.search(r"^## ", changelog[first.end() :], re.MULTILINE)
    end = first.end() + following.start() if following else len(changelog)
    section = changelog[:end].rstrip("\n") + "\n"
    if HEADING not in section[first.start() :]:
        section += f"\n{HEADING}\n\n"
    at = section.index(HEADING, first.start()) + len(HEADING) + 1
    found = list(_ENTRY.finditer(section, at))
    entries = {match["release"]: match[0] for match in found} | {release: lines}
    ordered = "".join(entries[name] for name in sorted(entries, key=version_key, reverse=True))
    rest = section[found[-1].end() if found else at :].lstrip("\n")
    section = section[:at] + "\n" + ordered + (f"\n{rest}" if rest else "")
    return section + ("\n" + changelog[end:] if following else "")


def main() -> int:
    parser = argparse.ArgumentParser(description="Write CHANGELOG.md's entry for a libvirt release.")
    parser.add_argument("release")
    parser.add_argument("--changelog", type=Path, default=CHANGELOG)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the file would change")
    options = parser.parse_args()
    if options.release not in (each.name for each in releases()):
        parser.error(f"libvirt {options.release} is not bundled: import it first")
    text = options.changelog.read_text()
    new = with_entry(text, options.release, entry(options.release))
    if options.check:
        if new != text:
            print(f"{options.changelog.name} is not current: run tools/changelog_entry.py", file=sys.stderr)
        return int(new != text)
    options.changelog.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
