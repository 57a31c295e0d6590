"""The health of the simulator: degraded while the thread of a venue does not advance."""

import time
from collections.abc import Mapping

from recorder.process.health import FakeVenueFigures, SimulatorFigures
from recorder.process.reporting import Health
from recorder.simulator.server import Server
from recorder.simulator.services.service import RestService
from recorder.simulator.venue import FakeVenue

STUCK_S = 5.0
"""A turn of a venue's loop takes milliseconds. On a machine with more threads than cores it may take a second."""


def stuck_threads(servers: Mapping[str, Server], now_s: float) -> list[str]:
    """Return a sentence for each thread whose loop has not turned within the limit.

    Args:
        servers: By the name of the thread that runs them.
        now_s: Monotonic.
    """
    return [
        f"thread {name} has not advanced for {now_s - server.turned_s:.0f} s"
        for name, server in servers.items()
        if now_s - server.turned_s > STUCK_S
    ]


def check_health(
    servers: Mapping[str, Server], venues: Mapping[str, FakeVenue], services: Mapping[str, RestService] | None = None
) -> Health:
    """Return the health of the simulator at this moment."""
    figures = SimulatorFigures(
        {
            name: FakeVenueFigures(len(venue.clients), venue.events, venue.sent_messages, venue.truth.items)
            for name, venue in venues.items()
        },
        {name: service.answered for name, service in (services or {}).items()},
    )
    stuck = stuck_threads(servers, time.monotonic())
    if stuck:
        return Health("degraded", "; ".join(stuck), figures)
    return Health("live", ", ".join([*venues, *(services or {})]), figures)
