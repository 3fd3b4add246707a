"""Messages that carry a marker wherever a secret may be, and the search for it in what was made of them."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from typing import Any

from libvirt_proto.codec.layout import (
    Boolean,
    EnumOf,
    FixedOpaque,
    Floating,
    Integer,
    Leaf,
    Node,
    Opaque,
    Optional,
    Sequence,
    String,
    StructNode,
    UnionNode,
)
from libvirt_proto.codec.secretfields import Kind, kind
from libvirt_proto.events import Direction
from libvirt_proto.registry import Registry
from libvirt_proto.rpc.message import Header, Message, encode_message

#: A secret that must not be found.
MARKER = "S3cr3tM4rk"
B64 = b64encode(MARKER.encode()).decode()

#: Texts with a marker, by what a field holds.
XML = (
    f"<domain><devices><graphics type='vnc' port='-1' passwd='{MARKER}'/></devices></domain>",
    f'<graphics\n  passwdValidTo="2030-01-01T00:00:00"\n  PASSWD = "{MARKER}" type="vnc" />',
    f"<pool><source><auth type='chap' login='me' passwd='{MARKER}'/></source></pool>",
    f"<domain><password>{MARKER}</password></domain>",
    f"<d><x:Password xmlns:x='urn:x'><![CDATA[{MARKER}]]></x:Password></d>",
    f"<d><password a='{MARKER}'><b>{MARKER}</b><!-- {MARKER} --><?p {MARKER}?></password></d>",
    f"<d><!-- passwd='{MARKER}' --></d>",
    f"<d><graphics passwd='a&amp;{MARKER}&quot;'/></d>",
    f"<d><secret ephemeral='no'><uuid>1</uuid><value>{MARKER}</value></secret></d>",
    f"<d><commandline><arg value='-object'/><arg value='secret,id=s0,data={MARKER}'/></commandline></d>",
    f"<d><commandline><env name='DB_PASSWORD' value='{MARKER}'/></commandline></d>",
    f"<d><arg value='--password'/><arg value='{MARKER}'/></d>",
    f"<d><initenv name='X'>{MARKER}</initenv></d>",
    f"<d><cookies><cookie name='id'>{MARKER}</cookie></cookies></d>",
    f"<d><sysinfo type='fwcfg'><entry name='opt/x'>{MARKER}</entry></sysinfo></d>",
    f"<d><sysinfo><oemStrings><entry>io.systemd.credential:a={MARKER}</entry></oemStrings></sysinfo></d>",
    f"<d><launchSecurity type='sev'><session>{MARKER}</session></launchSecurity></d>",
    f"<d><description>the pass<!-- -->word is {MARKER}</description></d>",
    f"<d>&lt;&#112;assword&gt;{MARKER}</d>",
    f"<d><uri>http://me:{MARKER}@192.0.2.1/x</uri></d>",
    f"<!DOCTYPE d [<!ENTITY p '{MARKER}'>]><d><graphics passwd='&p;'/></d>",
    f"<d><graphics passwd='{MARKER}",
    f"<d><graphics passwd={MARKER}/></d>",
    f"<d></e><password>{MARKER}</password>",
    f"<d>\x00<password>{MARKER}</password></d>",
    f"{MARKER} <d/> password",
)
QMP = (
    f'{{"execute":"set_password","arguments":{{"protocol":"vnc","password":"{MARKER}"}}}}',
    f'{{"execute":"set_password","arguments":{{"protocol":"vnc","p\\u0061ssword":"{MARKER}"}}}}',
    f'{{"execute":"change","arguments":{{"device":"vnc","target":"password","arg":"{MARKER}"}}}}',
    f'{{"execute":"object-add","arguments":{{"qom-type":"secret","id":"sec0","data":"{MARKER}"}}}}',
    f'{{"execute":"object-add","arguments":{{"qom-type":"secret","props":{{"data":"{B64}"}}}}}}',
    f'{{"execute":"block_passwd","arguments":{{"device":"d","password":"a\\"{MARKER}\\""}}}}',
    f'{{"execute":"qom-set","arguments":{{"path":"/o","property":"password","value":"{MARKER}"}}}}',
    f'{{"execute":"guest-set-user-password","arguments":{{"username":"root","password":"{B64}","crypted":false}}}}',
    f'{{"execute":"guest-exec","arguments":{{"path":"/bin/sh","arg":["-c","{MARKER}"],"input-data":"{B64}"}}}}',
    f'{{"execute":"guest-exec","arguments":{{"path":"/bin/sh","env":["A={MARKER}"]}}}}',
    f'{{"return":{{"exited":true,"out-data":"{B64}","err-data":"{B64}"}}}}',
    f'{{"return":{{"count":9,"buf-b64":"{B64}","eof":true}}}}',
    f'{{"execute":"human-monitor-command","arguments":{{"command-line":"change vnc password {MARKER}"}}}}',
    f'{{"execute":"blockdev-add","arguments":{{"filename":"json:{{\\"password\\":\\"{MARKER}\\"}}"}}}}',
    f'{{"execute":"blockdev-add","arguments":{{"driver":"https","cookie":"id={MARKER}"}}}}',
    f'{{"execute":"ringbuf-write","arguments":{{"device":"serial0","data":"{MARKER}"}}}}',
    f'[{{"password":["{MARKER}",{{"a":"{MARKER}"}}]}}]',
    f'{{"execute":"set_password","arguments":{{"password":"{MARKER}',
    f"set_password vnc {MARKER}",
    f"object_add secret,id=s0,data={MARKER}",
    f"block_passwd disk0 {MARKER}",
)
TEXT = (
    f"LC_ALL=C qemu-system-x86_64 -object secret,id=s0,data={MARKER}",
    f'RemoteDisplay.vnc.enabled = "TRUE"\nRemoteDisplay.vnc.password = "{MARKER}"\n',
    f"qemu://root:{MARKER}@192.0.2.1/system",
    f"esx://me:{MARKER}/@192.0.2.1/?no_verify=1",
    f"https://192.0.2.1/?token={MARKER}",
    f"the pass%77ord={MARKER}",
    *XML,
    *QMP,
)
ERRORS = (
    f"internal error: XML error near passwd='{MARKER}'",
    f"internal error: unable to execute QEMU command 'set_password': {MARKER}",
)
_TEXTS: dict[Kind | None, tuple[str, ...]] = {"xml": XML, "qmp": QMP, "text": TEXT, "error": ERRORS}


def _forms() -> dict[str, bytes]:
    # Of a part of it, for a search must not fail because of its edges.
    part = MARKER[1:7].encode()
    forms = {
        "text": part,
        "utf-16": part.decode().encode("utf-16-le"),
        "numbers": b"".join(byte.to_bytes(4, "big") for byte in part),
        "list": b",".join(b"%d" % byte for byte in part),
        "spaced": b", ".join(b"%d" % byte for byte in part),
        "hex": part.hex().encode(),
        "hex numbers": b"".join(byte.to_bytes(4, "big") for byte in part).hex().encode(),
        "hex dump": part[:4].hex(" ").encode(),
    }
    for shift in range(3):
        encoded = b64encode(b"\0" * shift + MARKER.encode() + b"\0\0")
        forms[f"base64 {shift}"] = encoded[4:-4]
    return forms


_FORMS = _forms()


def found(data: bytes | str) -> list[str]:
    """The forms in which the marker is there: as it is, in base64, hex, UTF-16 and as numbers."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    lower = data.lower()
    return [name for name, form in _FORMS.items() if form in (lower if "hex" in name else data)]


def zero(node: Node) -> Any:
    """The least value of a node, with no optional data."""
    match node:
        case Leaf(String()):
            return ""
        case Leaf(Opaque()):
            return b""
        case Leaf(FixedOpaque(size)):
            return bytes(size)
        case Leaf(Floating(128)):
            return bytes(16)
        case Leaf(Floating()):
            return 0.0
        case Leaf(Boolean()):
            return False
        case Leaf(Integer() | EnumOf()):
            return 0
        case Sequence(element, size, fixed):
            return [zero(element) for _ in range(size or 0)] if fixed else []
        case StructNode():
            return node.type(*(zero(field) for _, _, field in node.fields))
        case UnionNode():
            label, (_, field) = next(iter(node.arms.items()))
            return node.type(label, zero(field))
        case _:
            return None


def marked(node: Node, holds: Kind | None = None, depth: int = 0) -> Iterator[Any]:
    """Values of a node with a marker in one place, of each kind that the list of secret fields has."""
    match node:
        case Leaf(String()):
            yield from _TEXTS.get(holds, TEXT if holds is None else (MARKER,) if holds == "secret" else ())
        case Leaf(Opaque()) if holds == "xml":
            yield from (text.encode() + b"\0" for text in XML)
        case Leaf(Opaque()) if holds != "public":
            yield MARKER.encode()
        case Sequence(Leaf(Integer()), _, False) if holds == "secret":
            yield list(MARKER.encode())
        case Sequence(element, _, False):
            yield from ([value] for value in marked(element, holds, depth))
        case Optional(element) if depth < 3:
            yield from marked(element, holds, depth + 1)
        case StructNode(type_) if type_.xdr_name.endswith("typed_param"):
            (_, _, _), (_, _, union) = node.fields
            assert isinstance(union, UnionNode)
            if 7 not in union.arms:  # VIR_TYPED_PARAM_STRING came later
                return
            yield type_("sev-secret", union.type(7, MARKER))
            yield type_("tls.password", union.type(7, MARKER))
            for name in ("destination_xml", "persistent_xml"):
                yield from (type_(name, union.type(7, text)) for text in XML)
            yield from (type_("other", union.type(7, text)) for text in TEXT)
        case StructNode(type_):
            least = [zero(field) for _, _, field in node.fields]
            for at, (name, _, field) in enumerate(node.fields):
                inner = kind(f"{node.name}.{name}")
                for value in marked(field, inner, depth):
                    yield type_(*least[:at], value, *least[at + 1 :])
        case UnionNode(type_):
            for label, (_, field) in node.arms.items():
                yield from (type_(label, value) for value in marked(field, None, depth))


def marked_frames(registry: Registry) -> Iterator[tuple[str, Direction, bytes]]:
    """Messages of all procedures with a marker in each place that may hold a secret: name of the payload's
    type, direction, frame."""
    serial = 0
    for program in registry.programs():
        for procedure in program.procedures:
            for part, type_ in enumerate((procedure.args, procedure.ret, procedure.msg)):
                for value in marked(type_.node) if type_ is not None else ():
                    assert type_ is not None
                    serial += 1
                    header = Header(program.number, program.version, procedure.number, part, serial, 0)
                    message = Message(header, 0, None, type_.name, value)
                    direction: Direction = "s2c" if part else "c2s"
                    yield type_.name, direction, encode_message(message, registry=registry)


def few_frames(registry: Registry) -> list[tuple[Direction, bytes]]:
    """Of `marked_frames`, all of some types and two of each other one."""
    whole = (
        "remote_domain_define_xml_args",
        "qemu_domain_monitor_command_args",
        "remote_connect_domain_xml_from_native_args",
    )
    taken: Counter[str] = Counter()
    frames = []
    for name, direction, data in marked_frames(registry):
        taken[name] += 1
        if name in whole or taken[name] in (1, len(name)):
            frames.append((direction, data))
    return frames
