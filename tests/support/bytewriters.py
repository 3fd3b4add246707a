"""Writers of bytes as text, one for each form in which people paste them; independent of the reader."""

from __future__ import annotations

import base64
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import Final

Writer = Callable[[bytes], str]


def rows(data: bytes, width: int = 16) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(data), width):
        yield at, data[at : at + width]


def characters(row: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)


def signed(data: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in data]


def listed(items: list[str], width: int = 12, indent: str = "  ", separator: str = ", ") -> str:
    return "\n".join(
        indent + separator.join(items[at : at + width]) + separator.rstrip()
        for at in range(0, len(items), width)
    )


def hexes(data: bytes, form: str = "0x{:02x}") -> list[str]:
    return [form.format(byte) for byte in data]


def escaped(data: bytes, quote: str = '"') -> str:
    """As a C compiler accepts it: octal escapes, and printable characters."""
    out = ""
    for byte in data:
        character = chr(byte)
        if character in (quote, "\\"):
            out += "\\" + character
        else:
            out += character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
    return out


def gdb_memory(form: str, size: int, order: str = "<") -> Writer:
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]

    def write(data: bytes) -> str:
        lines = []
        per_line = 8 if size == 1 else 16 // size
        words = [
            struct.unpack(order + code, data[at : at + size])[0]
            for at in range(0, len(data) // size * size, size)
        ]
        for at in range(0, len(words), per_line):
            address = 0x7FFFE000 + at * size
            symbol = f" <buffer+{at * size}>" if at else " <buffer>"
            lines.append(
                f"{address:#x}{symbol}:\t" + "\t".join(form.format(w) for w in words[at : at + per_line])
            )
        return "\n".join(lines)

    return write


def gdb_repeats(data: bytes) -> str:
    """gdb's `print` of a char array: runs of more than ten zeros are counted."""
    parts, at = list[str](), 0
    while at < len(data):
        run = len(data[at:]) - len(data[at:].lstrip(b"\0"))
        if run > 10:
            parts.append(f"'\\000' <repeats {run} times>")
            at += run
            continue
        end = at + max(run, 1)
        while end < len(data) and not data.startswith(bytes(11), end):
            end += 1
        parts.append('"' + escaped(data[at:end]) + '"')
        at = end
    return "$1 = " + ", ".join(parts)


def gdb_array(form: str) -> Writer:
    def write(data: bytes) -> str:
        parts, at = list[str](), 0
        while at < len(data):
            run = len(data[at:]) - len(data[at:].lstrip(data[at : at + 1]))
            word = form.format(data[at])
            if run > 10:
                parts.append(f"{word} <repeats {run} times>")
            else:
                parts += [word] * run
            at += run
        return "$2 = {" + ", ".join(parts) + "}"

    return write


def dump(
    offset: str,
    form: str,
    *,
    gap: str = " ",
    columns: str = "",
    width: int = 16,
    middle: str = "",
    size: int = 1,
) -> Writer:
    def write(data: bytes) -> str:
        lines = []
        full = 0
        for at, row in rows(data, width):
            units = [row[i : i + size].hex() for i in range(0, len(row), size)]
            text = gap.join(form.format(unit) for unit in units)
            if middle:
                text = gap.join(units[: len(units[:8])]) + (middle + gap.join(units[8:]) if units[8:] else "")
            full = max(full, len(text))
            lines.append(
                offset.format(at) + (text.ljust(full) + columns.format(characters(row)) if columns else text)
            )
        return "\n".join(lines)

    return write


def windbg(data: bytes) -> str:
    lines = []
    for at, row in rows(data):
        text = "-".join(filter(None, (row[:8].hex(" "), row[8:].hex(" "))))
        lines.append(f"00000000`7ffe{at:04x}  {text:<47}  {characters(row)}")
    return "\n".join(lines)


def windbg_words(data: bytes) -> str:
    return "\n".join(
        f"00000000`7ffe{at:04x}  " + " ".join(f"{word:08x}" for (word,) in struct.iter_unpack("<I", row))
        for at, row in rows(data[: len(data) // 4 * 4])
    )


def wrapped(text: str, width: int = 76) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


#: Writers of forms that show every byte. Those of words take a multiple of eight bytes.
WRITERS: Final[dict[str, Writer]] = {
    "plain hex": lambda d: d.hex(),
    "capital hex": lambda d: d.hex().upper(),
    "spaced hex": lambda d: d.hex(" "),
    "hex in groups of four": lambda d: d.hex(" ", -4),
    "hex with colons": lambda d: d.hex(":"),
    "C# BitConverter": lambda d: d.hex("-").upper(),
    "hex lines": lambda d: wrapped(d.hex(), 60),
    "one 0x number": lambda d: "0x" + d.hex(),
    "0x list": lambda d: ", ".join(hexes(d)),
    "0x list with spaces": lambda d: " ".join(hexes(d)),
    "Go literal": lambda d: "var m = []byte{\n" + listed(hexes(d), indent="\t") + "\n}",
    "Go literal with comments": lambda d: (
        "m := []byte{\n"
        + "\n".join(f"\t{', '.join(hexes(row))}, // {at} is 0x20" for at, row in rows(d, 4))
        + "\n}"
    ),
    "Go sized array": lambda d: f"m := [{len(d)}]byte{{{', '.join(map(str, d))}}}",
    "Go %v": lambda d: "[" + " ".join(map(str, d)) + "]",
    "Go %#v": lambda d: "[]byte{" + ", ".join(f"{byte:#x}" for byte in d) + "}",
    "Go string": lambda d: 'm := "' + "".join(hexes(d, "\\x{:02x}")) + '"',
    "C array": lambda d: (
        f"static const unsigned char m[{len(d)}] = {{\n" + listed(hexes(d, "0x{:02X}")) + "\n};"
    ),
    "C array with comments": lambda d: (
        "uint8_t m[] = { /* a reply */\n"
        + "\n".join(f"  {', '.join(hexes(row))}, /* {at:#x}: word */" for at, row in rows(d, 4))
        + "\n};"
    ),
    "C octal": lambda d: "char m[] = {" + ", ".join(f"0{byte:o}" if byte else "0" for byte in d) + "};",
    "C string": lambda d: '"' + "".join(hexes(d, "\\x{:02x}")) + '"',
    "C string lines": lambda d: (
        "static const char m[] =\n"
        + "\n".join('    "' + "".join(hexes(row, "\\x{:02x}")) + '"' for _, row in rows(d))
        + ";"
    ),
    "C octal string": lambda d: 'const char *m = "' + escaped(d) + '";',
    "continued string": lambda d: (
        '"' + "".join("".join(hexes(row, "\\x{:02x}")) + "\\\n" for _, row in rows(d)) + '"'
    ),
    "Rust decimal": lambda d: str(list(d)),
    "Rust const": lambda d: f"const M: [u8; {len(d)}] = [\n" + listed(hexes(d, "0x{:02x}u8")) + "\n];",
    "Rust vec": lambda d: "let m = vec![" + ", ".join(hexes(d)) + "];",
    "Rust {:x?}": lambda d: "[" + ", ".join(f"{byte:x}" for byte in d) + "]",
    "Rust {:02x?}": lambda d: "[" + ", ".join(f"{byte:02x}" for byte in d) + "]",
    "Rust byte string": lambda d: 'let m = b"' + "".join(hexes(d, "\\x{:02x}")) + '";',
    "Python repr": repr,
    "Python assignment": lambda d: f"data = {d!r}",
    "Python bytearray": lambda d: repr(bytearray(d)),
    "Python list": lambda d: f"data = bytes({list(d)})",
    "Python tuple": lambda d: str(tuple(d)),
    "Python fromhex": lambda d: f'bytes.fromhex("{d.hex()}")',
    "Python lines": lambda d: "(\n" + "\n".join(f"    {row!r}" for _, row in rows(d)) + "\n)",
    "Java signed": lambda d: "byte[] m = {" + ", ".join(map(str, signed(d))) + "};",
    "Java Arrays.toString": lambda d: str(signed(d)),
    "Java casts": lambda d: "byte[] m = new byte[] { " + ", ".join(hexes(d, "(byte) 0x{:02x}")) + " };",
    "Kotlin": lambda d: "byteArrayOf(" + ", ".join(hexes(d, "0x{:02x}.toByte()")) + ")",
    "C#": lambda d: "byte[] m = new byte[] { " + ", ".join(hexes(d, "0x{:02X}")) + " };",
    "Elixir": lambda d: "<<" + ", ".join(map(str, d)) + ">>",
    "Erlang": lambda d: "M = <<" + ",".join(map(str, d)) + ">>.",
    "Ruby string": lambda d: 'm = "' + "".join(hexes(d, "\\x{:02X}")) + '"',
    "JavaScript": lambda d: "const m = new Uint8Array([" + ", ".join(map(str, d)) + "]);",
    "Node Buffer": lambda d: f"<Buffer {d.hex(' ')}>",
    "Node JSON": lambda d: '{"type":"Buffer","data":[' + ",".join(map(str, d)) + "]}",
    "JSON string": lambda d: '"' + "".join(f"\\u{byte:04x}" for byte in d) + '"',
    "shell printf": lambda d: "printf '" + "".join(hexes(d, "\\x{:02x}")) + "'",
    "assembler": lambda d: "m:\n" + "\n".join("\t.byte " + ", ".join(hexes(row)) for _, row in rows(d, 8)),
    "bare escapes": lambda d: "".join(hexes(d, "\\x{:02x}")),
    "base64": lambda d: base64.b64encode(d).decode(),
    "base64 lines": lambda d: base64.encodebytes(d).decode(),
    "base64 for URLs": lambda d: base64.urlsafe_b64encode(d).decode(),
    "base64 without padding": lambda d: base64.b64encode(d).decode().rstrip("="),
    "base64 in Python": lambda d: f'b64decode("{base64.b64encode(d).decode()}")',
    "label: base64": lambda d: f"payload: {base64.b64encode(d).decode()}",
    "label: hex": lambda d: f"payload: {d.hex()}",
    "label=hex": lambda d: f"2026-11-30 10:11:12 DEBUG sent data={d.hex()}",
    "label (n bytes): hex": lambda d: f"The reply ({len(d)} bytes): {d.hex(' ')}",
    "JSON hex": lambda d: f'  "hex": "{d.hex()}",',
    "Wireshark YAML": lambda d: (
        "peer0_0: !!binary |\n"
        + "\n".join("  " + line for line in wrapped(base64.b64encode(d).decode(), 76).split("\n"))
    ),
    "Wireshark C array": lambda d: "char peer0_0[] = { /* Packet 6 */\n" + listed(hexes(d), 8, "") + " };",
    "Wireshark escaped string": lambda d: "\n".join(
        '"' + "".join(hexes(row, "\\x{:02x}")) + '" \\' for _, row in rows(d)
    ).removesuffix(" \\"),
    "Wireshark hex dump": dump("{:04x}  ", "{}"),
    "Wireshark hex and ASCII": dump("{:04x}   ", "{}", columns="   {}"),
    "hexdump -C": dump("{:08x}  ", "{}", middle="  ", columns="  |{}|"),
    "xxd": dump("{:08x}: ", "{}", size=2, columns="  {}"),
    "xxd -g1": dump("{:08x}: ", "{}", columns="  {}"),
    "xxd -g4": dump("{:08x}: ", "{}", size=4, columns="  {}"),
    "tcpdump -X": dump("\t0x{:04x}:  ", "{}", size=2, columns="  {}"),
    "lldb": dump("0x7fffe{:03x}: ", "{}", columns="  {}"),
    "lldb words": gdb_memory("0x{:08x}", 4),
    "kernel": dump("[   12.345678] rx: {:08x}: ", "{}", columns="  {}"),
    "PowerShell": dump("{:08X}   ", "{}", columns="  {}"),
    "emacs hexl": dump("{:08x}: ", "{}", size=2, columns="  {}"),
    "windbg db": windbg,
    "windbg dd": windbg_words,
    "gdb x/xb": gdb_memory("0x{:02x}", 1),
    "gdb x/xh": gdb_memory("0x{:04x}", 2),
    "gdb x/xw": gdb_memory("0x{:08x}", 4),
    "gdb x/xg": gdb_memory("0x{:016x}", 8),
    "gdb x/xw, big-endian": gdb_memory("0x{:08x}", 4, ">"),
    "gdb x/xg, big-endian": gdb_memory("0x{:016x}", 8, ">"),
    "gdb x/ub": gdb_memory("{}", 1),
    "gdb x/uw": gdb_memory("{}", 4),
    "gdb x/tb": gdb_memory("{:08b}", 1),
    "gdb print": gdb_repeats,
    "gdb print/x": gdb_array("{:#x}"),
    "gdb print/d": gdb_array("{}"),
    "gdb print of words": lambda d: (
        "$3 = {" + ", ".join(f"{word:#x}" for (word,) in struct.iter_unpack("<I", d[: len(d) // 4 * 4])) + "}"
    ),
}


def _tool(*command: str) -> Writer:
    return lambda data: subprocess.run(command, input=data, capture_output=True, check=True).stdout.decode(
        "latin-1"
    )


_COMMANDS: Final = """
xxd; xxd -p; xxd -i; xxd -e; xxd -e -g8; xxd -e -g2; xxd -b; xxd -g1; xxd -g4; xxd -g8; xxd -c8; xxd -u
xxd -d; hexdump; hexdump -C; hexdump -b; hexdump -c; hexdump -d; hexdump -o; hexdump -x; hexdump -v -C
od; od -x; od -c; od -b; od -d; od -i; od -l; od -s; od -t x1; od -t x1z; od -t x2; od -t x4; od -t x8
od -t o1; od -t o4; od -t o8; od -t d1; od -t u1; od -t u2; od -t d4; od -t u4; od -t d8; od -w8 -t x1
od -A x -t x1; od -A d -t x1; od -A d -t u2z; od -A x -t x4 --endian=big; od -t x1 -t c; od -v -t x2z
od -A n -v -t x1; od -A n -v -t x1 -w4; od -A n -v -t x4; od -A n -v -x; od -A n -v -t u1; od -A n -v -b
base64; base64 -w0
"""

#: Real tools that write bytes as text, by their command.
TOOLS: Final[dict[str, Writer]] = {
    command: _tool(*command.split()) for command in _COMMANDS.strip().replace("\n", "; ").split("; ")
}
