"""Logs as people keep, quote and mail them: functions from the text of a log to another text of it.

`PREFIXES` and `FORMS` are written by programs, for each line; `QUOTES` and `ENCODINGS` by people and their
tools; `WRAPS` by mail programs. FORMS keep only what the journal keeps of a line: not its head.
"""

from __future__ import annotations

import html
import json
import quopri
import re
import textwrap
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

Dress = Callable[[str], str]

_HEAD = re.compile(r"(\S+ \S+)\+0000: (\d+): (\w+) : (?:(\w+):(\d+) : )?")


def _each(line: Callable[[str], str]) -> Dress:
    """Dress each line."""
    return lambda text: "".join(f"{line(each)}\n" for each in text.splitlines())


def _before(prefix: str) -> Dress:
    return _each(lambda line: prefix + line)


def _numbered(form: str) -> Dress:
    return lambda text: "".join(form.format(n, line) + "\n" for n, line in enumerate(text.splitlines(), 7))


def _around(before: str, after: str) -> Dress:
    return lambda text: before + text + after


PREFIXES: dict[str, Dress] = {
    "program": _before("libvirtd: "),
    "syslog": _before("Nov 22 22:45:08 node1 libvirtd[19725]: "),
    "syslog without host": _before("Nov 22 22:45:08 libvirtd[19725]: "),
    "syslog without process": _before("Nov 22 22:45:08 node1 libvirtd: "),
    "rsyslog with priority": _before("<30>2026-11-22T22:45:08.617977+02:00 cmp001 libvirtd[19725]: "),
    "rsyslog ISO": _before("2026-11-22T22:45:08.617977+02:00 cmp001 libvirtd[19725]: "),
    "RFC 5424": _before("<31>1 2026-11-22T21:45:08.121000Z node1 libvirtd 19725 - - "),
    "RFC 5424 with data": _before('<31>1 2026-11-22T21:45:08Z node1 libvirtd 19725 ID47 [a@1 k="v"] '),
    "short-precise": _before("Nov 22 22:45:08.273123 node1 libvirtd[19725]: "),
    "short-full": _before("Sun 2026-11-22 22:45:08 CET node1 libvirtd[19725]: "),
    "with-unit": _before("Sun 2026-11-22 22:45:08 CET node1 libvirtd.service[19725]: "),
    "short-monotonic": _before("[ 1234.567890] node1 libvirtd[19725]: "),
    "short-delta": _before("[ 1234.567890 <    0.000012 >] node1 libvirtd[19725]: "),
    "CRI": _before("2026-11-22T21:45:08.274811112Z stderr F "),
    "docker": _before("2026-11-22T21:45:08.274811112Z "),
    "docker compose": _before("libvirt_1  | "),
    "docker compose 2": _before("nova-libvirt-1  | "),
    "kubectl --prefix": _before("[pod/virt-launcher-vm1-x7/compute] "),
    "stern": _before("virt-launcher-vm1 compute "),
    "zuul": _before("2026-11-22 21:45:08.281234 | controller | "),
    "avocado": _before("2026-11-22 22:45:08,281 process          L0416 DEBUG| [stderr] "),
    "Jenkins": _before("[2026-11-22T21:45:08.281Z] "),
    "GitHub": _before("2026-11-22T21:45:08.2748111Z "),
    "GitLab": _before("2026-11-22T21:45:08.274811Z 01O "),
    "ts": _before("Nov 22 22:45:08 "),
    "ts -s": _before("00:00:08 "),
    "nova": _before("2026-11-22 21:45:08.281 4711 DEBUG nova.virt [-] libvirt: "),
    "supervisor": _before("2026-11-22 21:45:08,281 DEBG 'libvirtd' stderr output: "),
    "tshark": _before("  12   0.002301    127.0.0.1 → 127.0.0.1 "),
    "grep -n": _numbered("{}:{}"),
    "grep -H": _before("/var/log/libvirt/libvirtd.log:"),
    "grep -Hn": _numbered("/var/log/libvirt/libvirtd.log:{}:{}"),
    "grep -C": _numbered("libvirtd.log-{}-{}"),
    "nl": _numbered("{:6}\t{}"),
    "cat -n": _numbered("{:6}  {}"),
    "less -N": _numbered("{:>7} {}"),
    "prompt": _before("virsh # "),
    "glued": _before("error: failed to connect to the hypervisor"),
    "logstash": _each(lambda line: json.dumps({"@timestamp": "2026-11-22T21:45:08Z", "message": line})),
    "docker json-file": _each(lambda line: json.dumps({"log": line + "\n", "stream": "stderr", "time": "x"})),
    "GELF": _each(lambda line: json.dumps({"short_message": line, "timestamp": 1795383908.121})),
    "json in json": _each(lambda line: json.dumps({"log": json.dumps({"msg": line})})),
    "search": _each(lambda line: json.dumps({"_source": {"message": line, "host": {"name": "n1"}}})),
    "CSV": _each(lambda line: f'2026-11-22,node1,"{line}"'),
    "TSV": _before("2026-11-22\tnode1\t"),
    "ansible": _each(lambda line: f'        "{line}",'),
    "python list": _each(lambda line: f"['{line}']"),
}


def _journal(form: Callable[[str, str, str], str]) -> Dress:
    """Lines without their heads: `form` has the text, the microseconds since the epoch and the function."""

    def line(text: str) -> str:
        match = _HEAD.match(text)
        assert match is not None
        moment = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
        return form(text[match.end() :], f"{moment.timestamp():.6f}".replace(".", ""), match[4] or "f")

    return _each(line)


def _iso(micros: str, separator: str = ".") -> str:
    moment = datetime.fromtimestamp(int(micros) / 1_000_000, UTC)
    return moment.strftime(f"%Y-%m-%dT%H:%M:%S{separator}%f")


def _entry(text: str, micros: str, function: str) -> dict[str, str]:
    return {
        "__REALTIME_TIMESTAMP": micros,
        "PRIORITY": "6",
        "MESSAGE": text,
        "_PID": "19725",
        "CODE_FUNC": function,
    }


def _fields(text: str, micros: str, function: str, indent: str = "") -> str:
    return "\n".join(f"{indent}{name}={value}" for name, value in _entry(text, micros, function).items())


FORMS: dict[str, Dress] = {
    "short-iso": _journal(lambda text, us, _: f"{_iso(us)}+0000 node1 libvirtd[19725]: {text}"),
    "short-iso-precise": _journal(lambda text, us, _: f"{_iso(us)}+00:00 node1 libvirtd[19725]: {text}"),
    "short-unix": _journal(lambda text, us, _: f"{us[:10]}.{us[10:]} node1 libvirtd[19725]: {text}"),
    "loki": _journal(lambda text, us, _: f"{_iso(us)}Z node1 libvirtd[19725]: {text}"),
    "RFC 5424": _journal(lambda text, us, _: f"<31>1 {_iso(us)}Z node1 libvirtd 19725 - - {text}"),
    "json": _journal(lambda *entry: json.dumps(_entry(*entry))),
    "json compact": _journal(lambda *entry: json.dumps(_entry(*entry), separators=(",", ":"))),
    "json-pretty": _journal(lambda *entry: json.dumps(_entry(*entry), indent="\t")),
    "export": _journal(lambda *entry: _fields(*entry) + "\n"),
    "verbose": _journal(
        lambda text, us, f: (
            f"Sun {_iso(us).replace('T', ' ')} UTC [s=abc;i=1;b=2;m=3;t=4;x=5]\n"
            + _fields(text, us, f, "    ")
        )
    ),
    "CSV": _journal(lambda text, us, _: f'{_iso(us)}Z,node1,"{text}"'),
    "logfmt": _journal(lambda text, us, _: f'ts={_iso(us)}Z level=debug msg="{text}"'),
    "KubeVirt": _journal(
        lambda text, us, f: json.dumps(
            {
                "component": "virt-launcher",
                "level": "info",
                "msg": text,
                "pos": f"{f}:1224",
                "subcomponent": "libvirt",
                "thread": "30",
                "timestamp": f"{_iso(us)}Z",
            }
        )
    ),
    "Loki": _journal(
        lambda text, us, _: json.dumps(
            {"streams": [{"stream": {"unit": "libvirtd"}, "values": [[f"{us}000", text]]}]}
        )
    ),
}


def _quoted_printable(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


def _soft(width: int, mark: str = "") -> Dress:
    return _each(
        lambda line: "\n".join(
            mark + each for each in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        )
    )


def _hard(width: int, mark: str = "") -> Dress:
    return _each(lambda line: "\n".join(mark + line[at : at + width] for at in range(0, len(line), width)))


def _two_a_line(text: str) -> str:
    lines = text.splitlines()
    return "".join(" ".join(lines[at : at + 2]) + "\n" for at in range(0, len(lines), 2))


QUOTES: dict[str, Dress] = {
    "quote": _before("> "),
    "quote twice": _before(">> "),
    "quote spaced": _before("> > "),
    "indented": _before("    "),
    "tab": _before("\t"),
    "list": _before("* "),
    "dash": _before("- "),
    "number": _numbered("{}. {}"),
    "diff": _before("+"),
    "bold": _each(lambda line: f"**{line}**"),
    "italic": _each(lambda line: f"_{line}_"),
    "code": _each(lambda line: f"`{line}`"),
    "table": _each(lambda line: f"| {line} |"),
    "escaped": lambda text: text.replace("_", "\\_"),
    "fence": _around("```\n", "```\n"),
    "Jira": _around("{noformat}\n", "{noformat}\n"),
    "prose": _around("some line of prose\n" * 300, "Thanks,\nsomebody\n"),
    "ellipsis": _around("[...]\n", "...\n"),
    "blank lines": _each(lambda line: f"{line}\n"),
    "two a line": _two_a_line,
}
ENCODINGS: dict[str, Dress] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "BOM": _around("\ufeff", ""),
    "colour": _each(lambda line: f"\x1b[32m{line}\x1b[0m"),
    "colour of words": lambda text: text.replace("RPC_", "\x1b[01;31m\x1b[KRPC_\x1b[m\x1b[K"),
    "colour as text": _each(lambda line: f"^[[32m{line}^[[0m"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "some no-break spaces": lambda text: text.replace(": ", ":\u00a0"),
    "line ends as text": lambda text: text.replace("\n", "\\n") + "\n",
    "zero width": lambda text: text.replace(" RPC_", " \u200bRPC_"),
    "paragraphs": _each(lambda line: f"<p>{html.escape(line)}</p>"),
    "line breaks": _each(lambda line: f"{html.escape(line)}<br/>"),
    "pre": lambda text: f"<html><body><pre>{html.escape(text)}</pre></body></html>\n",
    "spans": _each(lambda line: f'<span class="ln">7 </span><span style="a: b">{html.escape(line)}</span>'),
    "cells": _each(lambda line: f"<tr><td>7</td><td>{html.escape(line)}</td></tr>"),
    "entities": lambda text: text.replace(" ", "&nbsp;").replace("=", "&#61;"),
    "quoted-printable": _quoted_printable,
    "trailing blanks": _each(lambda line: line + "   "),
}
WRAPS: dict[str, Dress] = {
    **{f"wrapped at {width}": _soft(width) for width in (72, 76, 80)},
    **{f"cut at {width}": _hard(width) for width in (72, 76, 80)},
    **{f"wrapped at {width}, quoted": _soft(width, "> ") for width in (72, 76, 80)},
    **{f"cut at {width}, quoted twice": _hard(width, "> > ") for width in (72, 76, 80)},
}


def named(**kinds: Mapping[str, Dress]) -> dict[str, Dress]:
    """`kind, name` → dress, of several kinds."""
    return {f"{kind}, {name}": dress for kind, dresses in kinds.items() for name, dress in dresses.items()}


#: Dresses of all kinds.
ALL: dict[str, Dress] = named(prefix=PREFIXES, form=FORMS, quote=QUOTES, encoding=ENCODINGS, wrap=WRAPS)
