"""Messages that carry a marker wherever a secret may be, and the search for it in what was made of them."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from libvirt_proto.codec import types as xdr
from libvirt_proto.codec.secretfields import Kind, kind
from libvirt_proto.codec.type_table import TypeTable
from libvirt_proto.codec.visitor import Visitor
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


class _Zero(Visitor[Any]):
    """The least value of a type, without optional data."""

    def scalar(self, node: xdr.Node) -> Any:
        return 0

    def void(self, node: xdr.Void) -> Any:
        return None

    def boolean(self, node: xdr.Boolean) -> Any:
        return False

    def floating(self, node: xdr.Floating) -> Any:
        return bytes(16) if node.bits == 128 else 0.0

    def fixed_opaque(self, node: xdr.FixedOpaque) -> Any:
        return bytes(node.size.value)

    def opaque(self, node: xdr.Opaque) -> Any:
        return b""

    def string(self, node: xdr.String) -> Any:
        return ""

    def fixed_array(self, node: xdr.FixedArray) -> Any:
        return [self.visit(node.element) for _ in range(node.size.value)]

    def array(self, node: xdr.Array) -> Any:
        return []

    def optional(self, node: xdr.Optional) -> Any:
        return None

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> Any:
        return self.types.python_class(reference)(*(self.visit(field.node) for field in node.fields))

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> Any:
        label, arm = next(iter(node.by_label.items()))
        return self.types.python_class(reference)(label, self.visit(arm.node))


class _Marked(Visitor[Iterator[Any], Kind | None, int]):
    """Values of a type with a marker in one place, of each kind that the list of secret fields has.

    Visits get what the value holds, and its depth of optional-data. Of the texts that a string may hold, each
    string has every n-th, beginning with another one than the string before.
    """

    def __init__(self, types: TypeTable, stride: int, turns: Iterator[int]) -> None:
        super().__init__(types)
        self._stride = stride
        self._turns = turns

    def _some(self, texts: Sequence[str]) -> Sequence[str]:
        return texts[next(self._turns) % self._stride :: self._stride] if len(texts) > self._stride else texts

    def scalar(self, node: xdr.Node, holds: Kind | None, depth: int) -> Iterator[Any]:
        return iter(())

    fixed_opaque = fixed_array = scalar

    def string(self, node: xdr.String, holds: Kind | None, depth: int) -> Iterator[Any]:
        other = TEXT if holds is None else (MARKER,) if holds == "secret" else ()
        yield from self._some(_TEXTS.get(holds, other))

    def opaque(self, node: xdr.Opaque, holds: Kind | None, depth: int) -> Iterator[Any]:
        if holds == "xml":
            yield from (text.encode() + b"\0" for text in self._some(XML))
        elif holds != "public":
            yield MARKER.encode()

    def array(self, node: xdr.Array, holds: Kind | None, depth: int) -> Iterator[Any]:
        if holds == "secret" and isinstance(xdr.resolved(node.element, self.types), xdr.Integer):
            yield list(MARKER.encode())
        else:
            yield from ([value] for value in self.visit(node.element, holds, depth))

    def optional(self, node: xdr.Optional, holds: Kind | None, depth: int) -> Iterator[Any]:
        if depth < 3:
            yield from self.visit(node.element, holds, depth + 1)

    def structure(
        self, reference: xdr.Named, node: xdr.Structure, holds: Kind | None, depth: int
    ) -> Iterator[Any]:
        made = self.types.python_class(reference)
        if reference.name.endswith("typed_param"):
            yield from self._parameters(made, node)
            return
        least = [_Zero(self.types).visit(field.node) for field in node.fields]
        for at, field in enumerate(node.fields):
            inner = kind(f"{reference.name}.{field.name}")
            for value in self.visit(field.node, inner, depth):
                yield made(*least[:at], value, *least[at + 1 :])

    def _parameters(self, made: type[Any], node: xdr.Structure) -> Iterator[Any]:
        body = xdr.body_of(node.fields[1].node, self.types)
        assert body is not None
        reference, union = body
        assert isinstance(union, xdr.UnionType)
        if 7 not in union.by_label:  # VIR_TYPED_PARAM_STRING was added later
            return
        value = self.types.python_class(reference)
        yield made("sev-secret", value(7, MARKER))
        yield made("tls.password", value(7, MARKER))
        for name in ("destination_xml", "persistent_xml"):
            yield from (made(name, value(7, text)) for text in self._some(XML))
        yield from (made("other", value(7, text)) for text in self._some(TEXT))

    def union(
        self, reference: xdr.Named, node: xdr.UnionType, holds: Kind | None, depth: int
    ) -> Iterator[Any]:
        made = self.types.python_class(reference)
        for label, arm in node.by_label.items():
            yield from (made(label, value) for value in self.visit(arm.node, None, depth))


def marked_frames(registry: Registry, stride: int = 1) -> Iterator[tuple[str, Direction, bytes]]:
    """Messages of all procedures with a marker in each place that may hold a secret: name of the payload's
    type, direction, frame. Each place has every n-th of its texts."""
    serial, turns = 0, count()
    for program in registry.programs():
        for procedure in program.procedures:
            for part, type_ in enumerate((procedure.args, procedure.ret, procedure.msg)):
                if type_ is None:
                    continue
                for value in _Marked(type_.types, stride, turns).visit(type_.reference, None, 0):
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
