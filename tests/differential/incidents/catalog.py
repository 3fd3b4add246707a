"""All incidents, by name."""

from __future__ import annotations

from typing import Final

from tests.differential.incidents import (
    agents,
    authentication,
    captures,
    connections,
    jobs,
    keepalive,
    latency,
    limits,
    normal,
    polling,
    sizes,
    strangers,
    streams,
    unanswered,
    versions,
)
from tests.differential.incidents.scene import Incident

MODULES: Final = (
    limits,
    keepalive,
    latency,
    connections,
    unanswered,
    jobs,
    agents,
    authentication,
    sizes,
    versions,
    polling,
    streams,
    strangers,
    normal,
    captures,
)
INCIDENTS: Final[dict[str, Incident]] = {
    incident.name: incident for module in MODULES for incident in module.INCIDENTS
}
