"""Incidents of messages, strings and lists over their limits."""

from __future__ import annotations

from typing import Final

from tests.differential.incidents.direct import Direct
from tests.differential.incidents.scene import Incident, Scene
from tests.support.frames import text, word

#: REMOTE_STRING_MAX, REMOTE_STORAGE_VOL_LIST_MAX and VIR_NET_MESSAGE_MAX (without the length word).
STRING, VOLUMES, MESSAGE = 4_194_304, 16_384, 33_554_432
_MAIN: Final = """\
import sys, libvirt
libvirt.registerErrorHandler(lambda context, error: None, None)
connection = libvirt.open(sys.argv[1])
try:
    {}
except libvirt.libvirtError as error:
    print(error)
"""
#: Clients; their further argument is a number.
DEFINE = _MAIN.format('connection.defineXML("<domain>" + "a" * int(sys.argv[2]))')
DESCRIBE = _MAIN.format(
    'connection.lookupByName("test").setMetadata(0, "a" * int(sys.argv[2]), None, None, 0)\n'
    '    connection.lookupByName("test").XMLDesc()'
)
LOOK_UP = _MAIN.format('connection.lookupByName("a" * int(sys.argv[2]))')
LIST = _MAIN.format('print(len(connection.storagePoolLookupByName("images").listAllVolumes()))')

POOL: Final = """\
<node><pool type='dir'><name>images</name><target><path>/images</path></target>
{}</pool></node>
"""


def _large_argument(scene: Scene) -> None:
    output = scene.output(scene.python(DEFINE, scene.uri, str(STRING), log=True))
    assert "Unable to encode message payload" in output, output
    # libvirt's own clients do not send it; others leave it to the daemon.
    with Direct(scene.port) as client:
        client.open()
        reply = client.call("domain_define_xml", text(b"a" * (STRING + 1)))
        assert b"Unable to decode message payload" in reply, reply
        assert client.lookup(b"test")


def _large_reply(scene: Scene) -> None:
    output = scene.output(scene.python(DESCRIBE, scene.uri, str(STRING - 100), log=True))
    assert "Unable to encode message payload" in output, output


def _large_error(scene: Scene) -> None:
    uri = f"qemu+tcp://127.0.0.1:{scene.port}/session"
    output = scene.output(scene.python(LOOK_UP, uri, str(STRING)))
    assert "End of file while reading data: Input/output error" in output, output


def _large_list(scene: Scene) -> None:
    volumes = (f"<volume><name>v{n}</name><capacity>1</capacity></volume>\n" for n in range(VOLUMES + 1))
    path = scene.folder / "node.xml"
    path.write_text(POOL.format("".join(volumes)))
    output = scene.output(scene.python(LIST, f"test+tcp://127.0.0.1:{scene.port}{path}"))
    assert "Too many storage_vols '16385' for limit '16384'" in output, output


def _frame_too_large(scene: Scene) -> None:
    with Direct(scene.port) as client:
        client.open()
        client.send(word(4 + MESSAGE + 1) + bytes(100))
        assert client.read() == b""
    assert "bytes received from server too large, want 33554432" in scene.log


INCIDENTS = (
    Incident("large-argument", frozenset({"LIMIT_EXCEEDED"}), _large_argument, probes=True),
    Incident("large-reply", frozenset({"LIMIT_EXCEEDED"}), _large_reply, probes=True),
    Incident("large-error", frozenset({"LIMIT_EXCEEDED"}), _large_error, probes=True),
    Incident("large-list", frozenset({"LIMIT_EXCEEDED"}), _large_list, probes=True),
    Incident("frame-too-large", frozenset({"LIMIT_EXCEEDED"}), _frame_too_large, probes=True),
)
