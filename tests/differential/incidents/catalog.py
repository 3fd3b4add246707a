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

# A test file each, which run in parallel and take about the same time.
LIMITS: Final = (limits, keepalive, latency)
CONNECTIONS: Final = (connections, strangers, authentication)
JOBS: Final = (jobs, agents, unanswered, captures)
MESSAGES: Final = (sizes, versions, polling, streams, normal)
MODULES: Final = (*LIMITS, *CONNECTIONS, *JOBS, *MESSAGES)
INCIDENTS: Final[dict[str, Incident]] = {
    incident.name: incident for module in MODULES for incident in module.INCIDENTS
}
