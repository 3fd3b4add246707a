"""Make names/publicnames.json, described_fields.json and protocol-defs/functions.json from libvirt's API
descriptions.

    tools/import_public_names.py [/usr/share/libvirt/api] [--release R] [--check]

The descriptions are part of the libvirt development package. Only facts are taken from them: the enums with
their names, numbers and releases, and the enums of each function's `flags`. libvirt names its procedures
after those functions, so the fields of their arguments have the same enums. Facts missing from the
descriptions are maintained by hand in libvirt_proto/names/fieldnames.toml and tools/internal_enums.toml.

described_fields.json has the enums that the descriptions mention for fields of payloads: evidence that tests
compare with the names of fields (tools/described_fields.py).

functions.json lists the function of each procedure, with the release that added the function; histories
narrow their spans with it. It also lists all other functions, with the procedures that they call
(tools/function_calls.toml, which also corrects releases).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from libvirt_proto import registry
from libvirt_proto.definitions.program import Procedure, Program

ROOT = Path(__file__).resolve().parent.parent
NAMES = ROOT / "libvirt_proto" / "names" / "publicnames.json"
FUNCTIONS = ROOT / "protocol-defs" / "functions.json"
CALLS = ROOT / "tools" / "function_calls.toml"
INTERNAL = ROOT / "tools" / "internal_enums.toml"
SOURCES = ("libvirt-api.xml", "libvirt-admin-api.xml", "libvirt-lxc-api.xml", "libvirt-qemu-api.xml")
#: Mentions of the enum of a flags argument: `bitwise-OR of virDomainXMLFlags and virTypedParameterFlags`.
MENTION = re.compile(r"\bvir[A-Z]\w+")

#: Program → the part that its functions' names have, and its procedures' names lack.
INFIXES = {"remote": "", "qemu": "qemu", "lxc": "lxc", "admin": "adm"}

Roots = list[ElementTree.Element]


def enums(roots: Roots) -> dict[str, dict[str, Any]]:
    """Return enum → its header, and name → number in the order of the numbers, without sentinels."""
    entries = {entry.get("name", ""): entry for root in roots for entry in root.iter("enum")}
    found: dict[str, dict[str, Any]] = {}
    for name, entry in entries.items():
        header = f"libvirt/{entry.get('file')}.h"
        enum = found.setdefault(entry.get("type", ""), {"header": header, "names": {}})
        enum["names"][name] = _number(entries, name)
    sentinels = {name for name in entries if name.endswith("_LAST")}
    # VIR_DOMAIN_MEMORY_STAT_LAST is VIR_DOMAIN_MEMORY_STAT_NR.
    sentinels |= {entries[name].get("value", "") for name in sentinels}
    for enum in found.values():
        ordered = sorted((number, name) for name, number in enum["names"].items() if name not in sentinels)
        enum["names"] = {name: number for number, name in ordered}
    return dict(sorted((name, enum) for name, enum in found.items() if enum["names"]))


def since(roots: Roots, known: dict[str, Any]) -> dict[str, str]:
    """Return name → the release that added it, of the names of all enums."""
    added = {entry.get("name"): entry.get("version", "") for root in roots for entry in root.iter("enum")}
    names = [name for enum in known.values() for name in enum["names"]]
    if missing := [name for name in names if not added[name]]:
        sys.exit(f"expected a version of each name, got none of {', '.join(missing)}")
    return {name: added[name] for name in sorted(names)}


def aliases(roots: Roots, known: dict[str, Any]) -> dict[str, str]:
    """Return name → the name that its definition gives as its number."""
    values = {entry.get("name"): entry.get("value", "") for root in roots for entry in root.iter("enum")}
    names = sorted(name for enum in known.values() for name in enum["names"])
    return {name: values[name] for name in names if values[name] in values}


def _number(entries: dict[str, ElementTree.Element], name: str) -> int:
    """Return the number of an entry, whose value is a number or another entry's name."""
    value = entries[name].get("value", "")
    return _number(entries, value) if value in entries else int(value)


def fields(roots: Roots, known: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Return struct → `flags` → the enums, for the arguments of procedures named after a function."""
    said = dict(_flags(roots, known))
    found = {}
    for _, procedure, function in served(said):
        if procedure.args is not None and said[function]:
            found[procedure.args.name] = {"flags": said[function]}
    return dict(sorted(found.items()))


def _flags(roots: Roots, known: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for root in roots:
        for function in root.iter("function"):
            for argument in function.iter("arg"):
                if argument.get("name") == "flags":
                    mentioned = MENTION.findall(argument.get("info") or "")
                    yield function.get("name", ""), [name for name in mentioned if name in known]


def served(functions: Iterable[str]) -> Iterator[tuple[Program, Procedure, str]]:
    """Yield each procedure that is named after one of the functions, with its program and the function."""
    known = sorted(functions)
    for program, infix in INFIXES.items():
        names = {name.lower().replace(infix, "", 1): name for name in known if infix in name.lower()}
        found = registry.program(program)
        for procedure in found.procedures:
            if (name := names.get("vir" + procedure.name.replace("_", ""))) is not None:
                yield found, procedure, name


def versions(roots: Roots) -> dict[str, str]:
    """Return function → the release that added it."""
    described = {
        function.get("name", ""): function.get("version", "")
        for root in roots
        for function in root.iter("function")
        if function.get("version")
    }
    corrections: dict[str, str] = tomllib.loads(CALLS.read_text())["corrected"]
    if unneeded := [name for name in corrections if described.get(name) in (None, corrections[name])]:
        sys.exit(f"{CALLS.name}: expected functions with another release, got {', '.join(unneeded)}")
    return described | corrections


def functions(added: dict[str, str]) -> dict[str, list[str]]:
    """Return procedure, as named by histories → its function, and the release that added the function."""
    return {_key(program, procedure): [name, added[name]] for program, procedure, name in served(added)}


def _key(program: Program, procedure: Procedure) -> str:
    return f"procedure {program.number:#010x} {procedure.number}"


def others(added: dict[str, str], named: set[str]) -> dict[str, list[str]]:
    """Return function → the release that added it, and the procedures that it calls besides that of its name;
    without the functions that call nothing else."""
    by_hand: dict[str, list[str] | str] = tomllib.loads(CALLS.read_text())["calls"]
    if unknown := by_hand.keys() - added.keys():
        raise SystemExit(f"{CALLS}: unknown functions: {', '.join(sorted(unknown))}")
    wanted = sorted(name for name in added if name not in named or name in by_hand)
    return {name: [added[name], *_calls(by_hand.get(name, []))] for name in wanted}


def _calls(words: list[str] | str) -> Iterator[str]:
    if isinstance(words, str):
        yield words
        return
    for word in words:
        program, _, procedure = word.partition(".")
        found = registry.program(program)
        yield _key(found, found.procedure(procedure))


def render(folder: Path, release: str) -> dict[Path, str]:
    """Return file → its text."""
    roots = [ElementTree.parse(folder / name).getroot() for name in SOURCES]
    known = enums(roots)
    made_of = {"source": list(SOURCES), "release": release}
    internal = tomllib.loads(INTERNAL.read_text())
    if repeated := known.keys() & internal.keys():
        sys.exit(f"{INTERNAL.name}: expected enums that {folder} lacks, got {', '.join(sorted(repeated))}")
    facts = {
        **made_of,
        "enums": dict(sorted((known | internal).items())),
        "since": since(roots, known),
        "aliases": aliases(roots, known),
        "fields": fields(roots, known),
    }
    added = versions(roots)
    own = functions(added)
    tables = {"functions": own, "others": others(added, {name for name, _ in own.values()})}
    head = json.dumps(made_of)[:-1]
    text = ", ".join([head, *(f'"{name}": {{\n{_lines(table)}\n}}' for name, table in tables.items())])
    return {NAMES: json.dumps(facts, indent=1) + "\n", FUNCTIONS: f"{text}}}\n"}


def _lines(table: dict[str, list[str]]) -> str:
    return ",\n".join(f" {json.dumps(key)}: {json.dumps(row)}" for key, row in table.items())


def installed_release() -> str:
    """Return the libvirt release of the development package."""
    query = ["pkg-config", "--modversion", "libvirt"]
    return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()


def contains(data: Any, older: Any) -> bool:
    """Return whether the data has everything in that of an older release; lists are not compared."""
    if isinstance(data, dict) and isinstance(older, dict):
        return all(key in data and contains(data[key], value) for key, value in older.items())
    return isinstance(data, list) if isinstance(older, list) else bool(data == older)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make libvirt_proto/names/publicnames.json.")
    default = Path("/usr/share/libvirt/api")
    parser.add_argument("folder", nargs="?", type=Path, default=default, help=", ".join(SOURCES))
    parser.add_argument("--release", help="the libvirt release of the descriptions (default: ask pkg-config)")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing, fail if the files differ, or lack something that an older release has",
    )
    options = parser.parse_args()
    release = options.release or installed_release()
    texts = render(options.folder, release)
    if not options.check:
        for path, text in texts.items():
            path.write_text(text)
        return 0
    stale = [path.name for path, text in texts.items() if not _is_current(path.read_text(), text, release)]
    for name in stale:
        print(f"{name} is not current: run tools/import_public_names.py", file=sys.stderr)
    return 1 if stale else 0


def _is_current(text: str, made: str, release: str) -> bool:
    data = json.loads(text)
    return (
        text == made
        if data["release"] == release
        else contains(data, json.loads(made) | {"release": data["release"]})
    )


if __name__ == "__main__":
    sys.exit(main())
