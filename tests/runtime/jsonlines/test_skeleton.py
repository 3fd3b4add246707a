"""Skeletons of every kind of type are valid JSON of their types."""

from __future__ import annotations

import json
from pathlib import Path

from libvirt_proto import registry
from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.skeleton import skeleton


def test_skeleton_of_every_type(root: Path) -> None:
    types = registry.load(root / "tests" / "definitions" / "everything.x").modules()[0].types
    for type_ in types.values():
        plain = json.loads(json.dumps(skeleton(type_)))
        assert type_.from_bytes(type_.to_bytes(from_plain(type_, plain))) == from_plain(type_, plain)
    assert len(types) > 10
