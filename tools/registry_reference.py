"""Write the reference of keys in docs/registry.md from the JSON Schema of registry.json.

tools/registry_reference.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "codegen/libvirt_proto_codegen/templates/registry/registry.schema.json.j2"
PAGE = ROOT / "docs" / "registry.md"
#: The reference follows this heading, to the end of the page.
HEADING = "## Reference\n"


def reference(schema: dict[str, Any]) -> str:
    """Return the tables of a schema in Markdown: one per object."""
    lines = ["", *_table("the document", schema)]
    for name, part in schema["$defs"].items():
        lines += ["", *_table(f"`{name}`", part)]
    return "\n".join(lines) + "\n"


def _table(title: str, part: dict[str, Any]) -> Iterator[str]:
    yield f"**{title}**: {part['description']}"
    if "oneOf" in part:
        yield f"One of {', '.join(_type(each) for each in part['oneOf'])}."
        return
    yield ""
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    for key, value in part["properties"].items():
        yield f"| `{key}` | {_type(value)} | {_cell(value['description'])} |"


def _type(value: dict[str, Any]) -> str:
    """Return the type of a value in a few words."""
    match value:
        case {"$ref": str(reference)}:
            return f"`{reference.removeprefix('#/$defs/')}`"
        case {"const": constant}:
            return f"`{json.dumps(constant)}`"
        case {"enum": choices}:
            return ", ".join(f"`{json.dumps(each)}`" for each in choices)
        case {"anyOf": choices}:
            return " or ".join(map(_type, choices))
        case {"type": [name, "null"]}:
            return f"{_type({**value, 'type': name})} or null"
        case {"type": list(names)}:
            return " or ".join(names)
        case {"type": "array", "items": items}:
            return f"array of {_type(items)}"
        case {"type": "object", "additionalProperties": values}:
            return f"object of {_type(values)}"
        case {"type": str(name)}:
            return name
    raise AssertionError(f"expected the schema of a value, got {value}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str] | None = None) -> int:
    """Write the page, or with --check return 1 if it would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit with 1 for a change.")
    check: bool = parser.parse_args(arguments).check
    text = PAGE.read_text()
    head, heading, _ = text.partition(HEADING)
    assert heading, f"{PAGE} has no reference"
    new = head + heading + reference(json.loads(SCHEMA.read_text()))
    if check:
        if new != text:
            print(f"{PAGE.name} is not current: run tools/registry_reference.py", file=sys.stderr)
        return int(new != text)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
