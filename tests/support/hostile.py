"""A folder of files whose names and contents try to control a terminal: one for every kind of input."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

from tests.support.frames import error_payload, frame, text

_CAPTURE = Path(__file__).resolve().parent.parent / "captures" / "tour.pcap"
_LOG = """\
2026-11-22 21:45:08.121+0000: 19: info : virNetSocketNew:294 : RPC_SOCKET_NEW: sock=0x55 fd=9 errfd=-1 pid=0\
 localAddr={name};0, remoteAddr={name};5
2026-11-22 21:45:08.121+0000: 19: info : virNetClientNew:311 : RPC_CLIENT_NEW: client=0x56 sock=0x55
2026-11-22 21:45:08.121+0000: 19: info : virNetClientSendInternal:2145 : RPC_CLIENT_MSG_TX_QUEUE:\
 client=0x56 len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0
2026-11-22 21:45:08.121+0000: 19: info : RPC_{name}
"""
_GOOD = "/* {name} */\nconst NAME_MAX = 4;\nstruct demo {{ string name<NAME_MAX>; }};\n"
_OTHER = "const NAME_MAX = 2;\nstruct demo {{ string name<NAME_MAX>; int more; /* {name} */ }};\n"
_BROKEN = 'struct demo {{ {name} }};\nconst A = "{name}";\nstruct demo {{ unknown x; }};\n{name}'
_STRUCTS = "struct demo {{\n        string name;\n{name}\n}};\n"
_IGNORES = """\
[[ignore]]
rule = "FIELD_ADDED"
reason = {name}
[[ignore]]
name = {name}
reason = {name}
"""


def fill(folder: Path, name: str) -> None:
    """Create `KIND/NAME` for every kind; its contents include the name, too. Bytes of the name that are not
    UTF-8 are lone surrogates."""
    raw = name.encode("utf-8", "surrogateescape")
    decodable = raw.decode("utf-8", "replace")

    def add(path: str, content: bytes | str) -> None:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        )

    add(f"capture/{name}", _CAPTURE.read_bytes())
    add(f"garbage/{name}", b"of no known format: \x01" + raw)
    messages = [
        frame(text(raw), proc=23, serial=1),
        frame(error_payload(42, 10, raw), proc=23, type_=1, serial=1, status=1),
        frame(text(raw)[:-4], proc=23, serial=2),
        frame(raw, proc=9999, serial=4),
        frame(raw, prog=1, serial=5),
    ]
    add(f"messages/{name}", "".join(f"{message.hex()}\n" for message in messages))
    path, call = ("".join(f"\\x{byte:02x}" for byte in each) for each in (raw, messages[0]))
    size = len(messages[0])
    add(
        f"strace/{name}",
        f'8 connect(3, {{sa_family=AF_UNIX, sun_path="/{path}/libvirt-sock"}}, 27) = 0\n'
        f'8 write(3, "{call}", {size}) = {size}\n8 write(3, "{name}", 9) = 9\n',
    )
    add(f"log/{name}", _LOG.format(name=name.replace("\n", "")))
    lines: list[dict[str, object]] = [
        {"program": decodable, "procedure": decodable},
        {"program": "remote", "procedure": decodable, "type": decodable},
        {"program": "remote", "procedure": "domain_lookup_by_name", "type": "call", "serial": 1},
    ]
    lines[-1] |= {"conn": decodable, "dir": "c2s", "payload": {"name": decodable, decodable: 1}}
    add(f"lines/{name}", "\n".join([*map(json.dumps, lines), decodable]))
    add(f"good/{name}/demo_protocol.x", _GOOD.format(name=decodable))
    add(f"other/{name}/demo_protocol.x", _OTHER.format(name=decodable))
    add(f"broken/{name}/demo_protocol.x", _BROKEN.format(name=decodable))
    add(f"broken/{name}/not_utf8_protocol.x", b"const \x9b = 1;")
    add(f"named/{name}/{name}.x", _GOOD.format(name=decodable))
    add(f"probes/{name}/demo_probes.d", f"provider libvirt {{ probe {decodable}(); }};")
    add(f"layouts/{name}/demo_protocol-structs", _STRUCTS.format(name=name))
    # TOML has no DEL in strings.
    add(f"ignores/{name}", _IGNORES.format(name=json.dumps(decodable).replace("\x7f", "\\u007f")))
    good = _GOOD.format(name=decodable).encode()
    for kind in ("folder", "reports", "archive"):
        (folder / kind).mkdir()
    (folder / "folder" / name).mkdir()
    with tarfile.open(folder / "archive" / f"{name}.tar", "w") as archive:
        for member in (f"libvirt/src/{name}/demo_protocol.x", f"libvirt/src/remote/{name}_protocol.x"):
            info = tarfile.TarInfo(member)
            info.size = len(good)
            archive.addfile(info, BytesIO(good))
