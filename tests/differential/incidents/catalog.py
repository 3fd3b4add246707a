"""All incidents, by name."""

from __future__ import annotations

from itertools import chain
from typing import Final

from tests.differential.incidents import keepalive, limits
from tests.differential.incidents.scene import Incident

INCIDENTS: Final[dict[str, Incident]] = {
    incident.name: incident for incident in chain(limits.INCIDENTS, keepalive.INCIDENTS)
}
