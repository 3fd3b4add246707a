"""All incidents, by name."""

from __future__ import annotations

from typing import Final

from tests.differential.incidents import (
    authentication,
    connections,
    jobs,
    keepalive,
    limits,
    sizes,
    strangers,
    versions,
)
from tests.differential.incidents.scene import Incident

MODULES: Final = (
    limits,
    keepalive,
    connections,
    jobs,
    authentication,
    sizes,
    strangers,
    versions,
)
INCIDENTS: Final[dict[str, Incident]] = {
    incident.name: incident for module in MODULES for incident in module.INCIDENTS
}
