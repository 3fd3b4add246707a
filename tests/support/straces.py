"""Writers of conversations in strace's format, in the forms that its options give."""

from __future__ import annotations

from dataclasses import dataclass, field

_LETTERS = {0x09: "\\t", 0x0A: "\\n", 0x0B: "\\v", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
SOCK = "/run/libvirt/libvirt-sock"


def quote(data: bytes, style: str = "c", limit: int = 1 << 30) -> str:
    """A string as strace prints it: `c`, `x` (-x: in hex unless it is text), `xx` (-xx)."""
    shown = data[:limit]
    text = all(0x20 <= byte < 0x7F or byte in b"\t\n\v\f\r" for byte in shown)
    if style == "xx" or (style == "x" and not text):
        body = "".join(f"\\x{byte:02x}" for byte in shown)
    else:
        body = ""
        for byte, following in zip(shown, shown[1:] + b" ", strict=False):
            if byte in _LETTERS:
                body += _LETTERS[byte]
            elif 0x20 <= byte < 0x7F:
                body += chr(byte)
            else:
                body += f"\\{byte:03o}" if 0x30 <= following <= 0x37 else f"\\{byte:o}"
    return f'"{body}"' + "..." * (len(data) > limit)


@dataclass
class Strace:
    """strace with some options; `lines` is its output."""

    style: str = "c"
    #: "" or the label that -y or -yy add to a descriptor, by descriptor.
    names: dict[int, str] = field(default_factory=dict)
    #: The start of a line: `{pid}`, `{s}` and `{us}` are filled in.
    prefix: str = "{pid} "
    limit: int = 1 << 30
    #: The text after the result (-T).
    suffix: str = ""
    lines: list[str] = field(default_factory=list)
    tick: int = 0

    def start(self, pid: int) -> str:
        self.tick += 1
        return self.prefix.format(pid=pid, s=1_795_384_881 + self.tick, us=f"{self.tick:06}")

    def fd(self, number: int) -> str:
        return f"{number}{self.names.get(number, '')}"

    def call(self, text: str, result: str = "0", pid: int = 7) -> None:
        self.lines.append(f"{self.start(pid)}{text} = {result}{self.suffix}")

    def begin(self, text: str, pid: int = 7) -> None:
        self.lines.append(f"{self.start(pid)}{text} <unfinished ...>")

    def resume(self, name: str, text: str, result: str, pid: int = 7) -> None:
        self.lines.append(f"{self.start(pid)}<... {name} resumed>{text}) = {result}{self.suffix}")

    def arguments(self, name: str, fd: int, data: bytes, room: int | None = None) -> tuple[str, str]:
        """The arguments known when a call begins, and the rest without its `)`."""
        size = len(data) if room is None else room
        string = quote(data, self.style, self.limit)
        head = f"{name}({self.fd(fd)}, "
        if name in ("read", "write"):
            return head, f"{string}, {size}"
        if name in ("sendto", "recvfrom"):
            return head, f"{string}, {size}, 0, NULL, {'0' if name == 'sendto' else 'NULL'}"
        half = len(data) // 2
        first, second = data[:half], data[half:]
        vector = "[" + ", ".join(
            f"{{iov_base={quote(part, self.style, self.limit)}, iov_len={length}}}"
            for part, length in ((first, half), (second, size - half))
        )
        if name in ("readv", "writev"):
            return head, vector + "], 2"
        message = f"{{msg_name=NULL, msg_namelen=0, msg_iov={vector}], msg_iovlen=2, msg_controllen=0"
        return head, message + ", msg_flags=0}, 0"

    def move(self, name: str, fd: int, data: bytes, *, room: int | None = None, pid: int = 7) -> None:
        """A call that transfers these bytes."""
        head, rest = self.arguments(name, fd, data, room)
        self.call(head + rest + ")", str(len(data)), pid)

    def connect(self, fd: int = 4, path: str = SOCK) -> None:
        string = quote(path.encode(), "xx" if self.style == "xx" else "c")
        self.call(f"connect({self.fd(fd)}, {{sa_family=AF_UNIX, sun_path={string}}}, 110)")

    def text(self) -> bytes:
        return "".join(f"{line}\n" for line in self.lines).encode()
