"""Make data from libvirt's API descriptions: names/publicnames.json, tools/described_fields.json and
protocol-defs/functions.json.

    tools/import_public_names.py [/usr/share/libvirt/api] [--release R] [--check]

The descriptions are part of the libvirt development package. Only facts are taken from them: the enums with
their names, numbers and releases, and the enums of each function's `flags`. libvirt names its procedures
after those functions, so the fields of their arguments have the same enums. Facts missing from the
descriptions are maintained by hand in libvirt_proto/names/fieldnames.toml and tools/internal_enums.toml.

tools/described_fields.json has the enums that the descriptions mention for arguments, callbacks and structs
that payloads carry: evidence for the test that no such field lacks names.

functions.json lists the function of each procedure, with the release that added the function; histories
narrow their spans with it, and with the ids of events. It also lists all other functions, with the procedures
that they call (tools/function_calls.toml, which also corrects releases).
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
from libvirt_proto.codec.types import Integer, declared_parts, resolved
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.definitions.program import Procedure, Program

ROOT = Path(__file__).resolve().parent.parent
NAMES = ROOT / "libvirt_proto" / "names" / "publicnames.json"
FUNCTIONS = ROOT / "protocol-defs" / "functions.json"
CALLS = ROOT / "tools" / "function_calls.toml"
DESCRIBED = ROOT / "tools" / "described_fields.json"
INTERNAL = ROOT / "tools" / "internal_enums.toml"
SOURCES = ("libvirt-api.xml", "libvirt-admin-api.xml", "libvirt-lxc-api.xml", "libvirt-qemu-api.xml")
#: Mentions of the enum of a flags argument: `bitwise-OR of virDomainXMLFlags and virTypedParameterFlags`.
MENTION = re.compile(r"\bvir[A-Z]\w+")
#: Flags of which none is defined: `extra flags; not used yet, so callers should always pass 0`.
UNUSED = re.compile(r"\bunused\b|\bnot used yet\b|\bcurrently used, set to 0\b|\buse 0 for now\b")
#: `virDomainInfoPtr`, `virDomainInfo *`, `virDomainIPAddressPtr **`.
POINTER = re.compile(r"(vir\w+?)(?:Ptr)?[ *]*")

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


def described(roots: Roots, known: dict[str, Any]) -> dict[str, Any]:
    """Return `enums`: field of a payload (`struct.field`) → the enums that its description mentions, and
    `unused`: the flags of which none is defined."""
    enum_of = {name: name for name in known}
    enum_of |= {name: enum for enum, described in known.items() for name in described["names"]}
    enums: dict[str, list[str]] = {}
    unused = set()
    for struct, texts in _texts(roots):
        for field in integers(struct):
            text = texts.get(_folded(field), "")
            if mentioned := [enum_of[word] for word in re.findall(r"\w+", text) if word in enum_of]:
                found = enums.setdefault(f"{struct.name}.{field}", [])
                found += [enum for enum in dict.fromkeys(mentioned) if enum not in found]
            elif UNUSED.search(text):
                unused.add(f"{struct.name}.{field}")
    return {"enums": dict(sorted(enums.items())), "unused": sorted(unused - enums.keys())}


def integers(struct: XdrType) -> Iterator[str]:
    """Yield the names of a struct's fields that are integers."""
    for part in declared_parts(struct.node):
        if part.name is not None and isinstance(resolved(part.node, struct.types), Integer):
            yield part.name


def _texts(roots: Roots) -> Iterator[tuple[XdrType, dict[str, str]]]:
    """Yield structs of the definitions, with the descriptions of things that they carry: name → text."""
    functions = {each.get("name", ""): each for root in roots for each in root.iter("function")}
    structs = {each.get("name", ""): _parts(each, "field") for root in roots for each in root.iter("struct")}
    calls: dict[str, list[str] | str] = tomllib.loads(CALLS.read_text())["calls"]
    named = [(procedure, name) for _, procedure, name in served(functions)]
    others = [
        (registry.program(program).procedure(procedure), name)
        for name, words in calls.items()
        if isinstance(words, list)
        for program, _, procedure in (word.partition(".") for word in words)
    ]
    for procedure, name in [*named, *others]:
        arguments = _parts(functions[name], "arg")
        if procedure.args is not None:
            yield procedure.args, arguments
        if procedure.ret is not None:
            for argument in functions[name].iter("arg"):
                if match := POINTER.fullmatch(argument.get("type", "")):
                    yield procedure.ret, structs.get(match[1], {})
            yield procedure.ret, arguments
            returned = functions[name].find("return")
            if returned is not None and len(only := list(integers(procedure.ret))) == 1:
                yield procedure.ret, {_folded(only[0]): returned.get("info") or ""}
    yield from _events(roots)
    by_name = {_folded(name.removeprefix("vir")): parts for name, parts in structs.items()}
    for module in registry.default().modules():
        for name, type_ in module.types.items():
            if (parts := by_name.get(_folded(name.partition("_")[2]))) is not None:
                yield type_, parts


def _events(roots: Roots) -> Iterator[tuple[XdrType, dict[str, str]]]:
    """Yield the messages of events with the arguments of their callbacks, which the ids of events name."""
    callbacks = {each.get("name"): _parts(each, "arg") for root in roots for each in root.iter("functype")}
    for entry, procedure in announced(roots):
        if procedure.msg is not None and entry.get("info") in callbacks:
            yield procedure.msg, callbacks[entry.get("info")]


def announced(roots: Roots) -> Iterator[tuple[ElementTree.Element, Procedure]]:
    """Yield the id of each event, with each procedure whose messages announce it."""
    procedures: dict[str, list[Procedure]] = {}
    for each in registry.program("remote").procedures:
        procedures.setdefault(_folded(each.name.replace("_callback_", "_")), []).append(each)
    for root in roots:
        for entry in root.iter("enum"):
            if "_EVENT_ID_" in (name := entry.get("name", "")):
                for procedure in procedures.get(_folded(name.removeprefix("VIR_").replace("_ID_", "_")), ()):
                    yield entry, procedure


def _parts(described: ElementTree.Element, tag: str) -> dict[str, str]:
    """Return the name of each argument or field, folded → its text."""
    return {_folded(part.get("name", "")): part.get("info") or "" for part in described.iter(tag)}


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


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


def events(roots: Roots) -> dict[str, list[str]]:
    """Return the procedure of an event's messages → the id of the event, and the release that added it."""
    remote = registry.program("remote")
    found = {
        procedure.number: (_key(remote, procedure), [entry.get("name", ""), entry.get("version", "")])
        for entry, procedure in announced(roots)
    }
    return dict(found[number] for number in sorted(found))


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
    tables = {
        "functions": own,
        "events": events(roots),
        "others": others(added, {name for name, _ in own.values()}),
    }
    head = json.dumps(made_of)[:-1]
    text = ", ".join([head, *(f'"{name}": {{\n{_lines(table)}\n}}' for name, table in tables.items())])
    return {
        NAMES: json.dumps(facts, indent=1) + "\n",
        DESCRIBED: json.dumps({**made_of, **described(roots, known)}, indent=1) + "\n",
        FUNCTIONS: f"{text}}}\n",
    }


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
    parser = argparse.ArgumentParser(description="Make data from libvirt's API descriptions.")
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
