"""Events with the type of a reply, as a client written in Go once sent them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from libvirt_proto import registry
from libvirt_proto.cli.main import main
from libvirt_proto.rpc.message import decode_message
from libvirt_proto.rpc.mistyped import fitting_event
from tests.support.packets import message

#: remote_domain_event_callback_reboot_msg: callbackID, then a domain (name, UUID, id).
EVENT = bytes.fromhex("00000007 00000004") + b"test" + bytes(16) + bytes.fromhex("00000001")
#: remote.domain_event_callback_reboot.
PROCEDURE = 319
SENTENCE = "remote_domain_event_callback_reboot_msg: an event with the type of a reply"


def test_names_an_event_with_the_type_of_a_reply() -> None:
    found = decode_message(message(EVENT, proc=PROCEDURE, type=1))
    assert found.spare == EVENT
    assert fitting_event(found, registry.default()) == SENTENCE


@pytest.mark.parametrize(
    "data",
    [
        message(EVENT, proc=PROCEDURE, type=2),
        message(EVENT[:-4], proc=PROCEDURE, type=1),
        message(EVENT + bytes(4), proc=PROCEDURE, type=1),
        message(EVENT, proc=3, type=1),
        message(proc=PROCEDURE, type=1),
    ],
    ids=["event", "short", "long", "no-event", "no-spare"],
)
def test_other_messages_are_no_such_events(data: bytes) -> None:
    assert fitting_event(decode_message(data), registry.default()) is None


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["decode", "--format", "pretty", "-"], f"! the spare bytes fit {SENTENCE}\n"),
        (["guess", "-"], f"{len(EVENT)} bytes after it, which fit {SENTENCE}\n"),
    ],
    ids=["decode", "guess"],
)
def test_commands_name_the_event(command: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, command, input=message(EVENT, proc=PROCEDURE, type=1))
    assert sentence in result.stdout
