"""Ports on 127.0.0.1: each is one base plus an offset, so that two appliances on one machine differ by one number.

| offset  | service                                       | with the default base             |
| ------- | --------------------------------------------- | --------------------------------- |
| 0       | web pages and API                             | 8000, and base + 0 with any other |
| 1       | watchdog: health and metrics                  | 8080, and base + 1 with any other |
| 9       | embedded Postgres                             | 24329                             |
| 10      | JupyterLab                                    | 24330                             |
| 90      | control of the simulator                      | 24410                             |
| 91-119  | simulated venues, in the order of the setting | 24411 and up                      |
| 120-149 | simulated services that have REST only        | 24440 and up                      |

The default ports lie below 32768: from there on Linux gives ports to outgoing connections, so that one of them could
hold a port for hours which a restarted program needs.

A simulated venue serves WebSocket and REST on one port; a service that has REST only has one of its own. Any port may
also be set by hand.
"""

from collections.abc import Sequence
from typing import NamedTuple

DEFAULT_BASE = 24320
RANGE = 150
WEB = 0
WATCHDOG = 1
POSTGRES = 9
JUPYTER = 10
SIMULATOR_CONTROL = 90
FIRST_VENUE = 91
MAX_VENUES = 29
FIRST_SERVICE = 120
MAX_SERVICES = 30

_FIXED = {WEB: 8000, WATCHDOG: 8080}  # customary numbers, which hold while the base is the default


class PortUse(NamedTuple):
    """One row of the port table."""

    port: int
    service: str
    setting: str
    used: bool  # by the programs of these settings


def number(base: int, offset: int) -> int:
    """Return the port of a service."""
    return _FIXED.get(offset, base + offset) if base == DEFAULT_BASE else base + offset


def of_venues(base: int, venues: Sequence[str]) -> dict[str, int]:
    """Return the ports of simulated venues, by name.

    Raises:
        ValueError: there are more venues than ports.
    """
    if len(venues) > MAX_VENUES:
        raise ValueError(f"{len(venues)} venues are listed; there are ports for {MAX_VENUES}")
    return {name: base + FIRST_VENUE + place for place, name in enumerate(venues)}


def of_services(base: int, services: Sequence[str]) -> dict[str, int]:
    """Return the ports of simulated services that have REST only, by name.

    Raises:
        ValueError: there are more services than ports.
    """
    if len(services) > MAX_SERVICES:
        raise ValueError(f"{len(services)} services are listed; there are ports for {MAX_SERVICES}")
    return {name: base + FIRST_SERVICE + place for place, name in enumerate(services)}
