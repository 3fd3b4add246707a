"""All incidents, by name."""

from __future__ import annotations

from typing import Final

from tests.differential.incidents import connections, keepalive, limits, normal, strangers
from tests.differential.incidents.scene import Incident

_MODULES: Final = (limits, keepalive, connections, strangers, normal)
INCIDENTS: Final[dict[str, Incident]] = {
    incident.name: incident for module in _MODULES for incident in module.INCIDENTS
}
