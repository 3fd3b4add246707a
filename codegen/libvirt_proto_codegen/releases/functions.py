"""Functions of libvirt's public API and the procedures that they call: `functions.json`, written by
tools/import_public_names.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from libvirt_proto.codec.history import Key

#: The file's name, in the folder of the history.
FUNCTIONS: Final = "functions.json"


@dataclass(frozen=True)
class Functions:
    """All functions. `by_procedure` maps a procedure to the function of its name and the release that added
    the function, `events` the procedure of an event's messages to the event's id and the release of that.
    `others` maps each function that does not just call the procedure of its name to its release and what it
    calls: keys of procedures, or ("stream",) for the messages of a stream."""

    by_procedure: Mapping[Key, tuple[str, str]] = field(default_factory=dict)
    others: Mapping[str, tuple[str, tuple[Key, ...]]] = field(default_factory=dict)
    events: Mapping[Key, tuple[str, str]] = field(default_factory=dict)

    def calls(self) -> dict[str, tuple[str, tuple[Key, ...]]]:
        """Return function → release and everything that it calls, in the order of the names."""
        named = {name: (release, (key,)) for key, (name, release) in self.by_procedure.items()}
        return dict(sorted((named | dict(self.others)).items()))


def read_functions(text: str) -> Functions:
    """Parse the file; raises ValueError for invalid content."""
    try:
        plain = json.loads(text)
        return Functions(
            _releases(plain["functions"]),
            {
                name: (str(release), tuple(map(_key, keys)))
                for name, (release, *keys) in plain["others"].items()
            },
            _releases(plain["events"]),
        )
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"invalid functions: {error}") from None


def _releases(plain: Any) -> dict[Key, tuple[str, str]]:
    return {_key(key): (str(name), str(release)) for key, (name, release) in plain.items()}


def _key(text: str) -> Key:
    return tuple(text.split(" "))
