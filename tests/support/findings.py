"""Hand-made findings, and GitHub's parser for workflow commands."""

from __future__ import annotations

from libvirt_proto_codegen.findings import Category, Finding, FindingRule, Symbol
from libvirt_proto_codegen.reports.ignores import Ignore, first_match
from libvirt_proto_codegen.reports.report import Judged, Report
from libvirt_proto_codegen.source import Source, Span

CATEGORIES = {
    "WIRE": Category("WIRE", "error", "peers misunderstand each other"),
    "LIMIT": Category("LIMIT", "warning", "a peer refuses what the other sends"),
    "ADDED": Category("ADDED", "notice", "what is new"),
}
RULES = {
    "FIELD_TYPE_CHANGED": FindingRule("FIELD_TYPE_CHANGED", "WIRE", "A field has another type."),
    "FIELD_REMOVED": FindingRule("FIELD_REMOVED", "WIRE", "A field is gone."),
    "LIMIT_LOWERED": FindingRule("LIMIT_LOWERED", "LIMIT", "A limit is lower."),
    "PROCEDURE_ADDED": FindingRule("PROCEDURE_ADDED", "ADDED", "A procedure is new."),
}
OLD = Source("old/file.x", "const A = 1;\nstruct b {\n    int c;\n};\n")
NEW = Source("new/file.x", "struct b {\n    hyper c;\n};\n")

TYPE_CHANGED = Finding(
    "FIELD_TYPE_CHANGED",
    "WIRE",
    "demo",
    "b.c",
    "int became hyper",
    effect="a peer reads 4 bytes of 8",
    old=Span(OLD, 28, 34),
    new=Span(NEW, 15, 23),
    reaches=("demo.read", "demo.write"),
    symbol=Symbol("field", "c", "file.x", owner="b"),
    before="int c;",
    after="hyper c;",
    payloads=("demo_read_args",),
)
LOWERED = Finding("LIMIT_LOWERED", "LIMIT", "demo", "d", "the limit was 20 and is 10")
ADDED = Finding("PROCEDURE_ADDED", "ADDED", "demo", "DEMO_PROC_NEW", "a new procedure", new=Span(NEW, 0, 6))
REMOVED = Finding("FIELD_REMOVED", "WIRE", None, "b.e", "the field is gone", old=Span(OLD, 0, 5))


def report(
    *findings: Finding, fail_on: tuple[str, ...] = ("WIRE",), ignores: tuple[Ignore, ...] = ()
) -> Report:
    judged = tuple(Judged(finding, first_match(ignores, finding)) for finding in findings)
    return Report("diff", RULES, CATEGORIES, frozenset(fail_on), judged)


def github(line: str) -> tuple[str, dict[str, str], str] | None:
    """Command, properties and message, as GitHub's runner reads a line of a log; None if it is not a command.

    The escapes and their order follow its ActionCommand.TryParseV2.
    """
    line = line.lstrip()
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    command, _, said = line[2:end].partition(" ")
    pairs = (pair.split("=", 1) for pair in said.strip().split(",") if pair)
    properties = {pair[0]: _undone(pair[1], ":,") for pair in pairs if len(pair) == 2}
    return command, properties, _undone(line[end + 2 :], "")


def _undone(text: str, also: str) -> str:
    for character in "\r\n" + also + "%":
        text = text.replace(f"%{ord(character):02X}", character)
    return text
