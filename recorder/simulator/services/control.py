"""Faults of a simulated REST service on request: one method per action. recorder/simulator/actions.py offers them.

`path` limits a fault to the requests whose path begins so, `times` is how many answers it spoils; without `times` it
lasts until `heal`.
"""

from typing import Literal

import msgspec

from recorder.errors import ConfigError
from recorder.simulator.actions import Actions
from recorder.simulator.server import Server
from recorder.simulator.services.faults import Kind, RestRule
from recorder.simulator.services.service import RestService

_LONGEST_S = 600.0


class ServiceControls(Actions):
    """The actions of one simulated service."""

    def __init__(self, service: RestService, server: Server) -> None:
        super().__init__(server, service.truth.log, service.faults, (service,))
        self._service = service
        service.control = self.http

    def do_away(
        self, path: str = "", times: int | None = None, how: Literal["reset", "silent"] = "reset"
    ) -> dict[str, object]:
        """Answer nothing: reset the connection of each request, or leave it open in silence."""
        if how not in ("reset", "silent"):
            raise ConfigError(f"away: how is reset or silent, not {how!r}")
        return self._rule("away", path, times, text=how)

    def do_rest(
        self, status: int = 503, times: int | None = 1, retry_after: str = "", path: str = ""
    ) -> dict[str, object]:
        """Answer with an error status (422, 429, 503, ...), with `Retry-After` if given."""
        return self._rule("rest", path, times, text=retry_after, count=_status("rest", status))

    def do_html(self, status: int = 200, times: int | None = 1, path: str = "") -> dict[str, object]:
        """Answer with a page of HTML."""
        return self._rule("html", path, times, count=_status("html", status))

    def do_truncate(self, times: int | None = 1, path: str = "") -> dict[str, object]:
        """Answer with the first two thirds of the JSON."""
        return self._rule("truncate", path, times)

    def do_delay(self, seconds: float, times: int | None = 1, path: str = "") -> dict[str, object]:
        """Answer late."""
        if not 0 < float(seconds) <= _LONGEST_S:
            raise ConfigError(f"delay: seconds is a number up to {_LONGEST_S:.0f}, not {seconds}")
        return self._rule("delay", path, times, amount=float(seconds))

    def do_echo_cursor(self, times: int | None = 1, path: str = "") -> dict[str, object]:
        """Name as the next page the one that was asked for."""
        return self._rule("echo_cursor", path, times)

    def do_odd(self, times: int | None = 1, path: str = "") -> dict[str, object]:
        """Put odd rows into the answer, each of which must cost a reader only itself."""
        return self._rule("odd", path, times)

    def do_incomplete(self, share: float = 0.5, times: int | None = 1, path: str = "") -> dict[str, object]:
        """Leave a part of the books, or of the bars, out of the answer."""
        if not 0 < float(share) <= 1:
            raise ConfigError(f"incomplete: share is a number above 0 and up to 1, not {share}")
        return self._rule("incomplete", path, times, amount=float(share))

    def do_heal(self, what: str | None = None) -> dict[str, object]:
        """End one kind of fault, or all of them."""
        return {"rules": self._service.faults.heal(what)}

    def do_status(self) -> dict[str, object]:
        """Show the faults and the number of answers."""
        service = self._service
        rules = [msgspec.to_builtins(rule) for rule in service.faults.rules]
        return {"service": service.name, "answered": service.answered, "rules": rules}

    def _rule(
        self, do: Kind, path: str, times: int | None, text: str = "", count: int = 0, amount: float = 0.0
    ) -> dict[str, object]:
        left = int(times) if times is not None else None
        self._service.faults.add(RestRule(do, path or None, None, left, text, count, amount))
        return {}


def _status(action: str, status: int) -> int:
    if not 200 <= int(status) <= 599:
        raise ConfigError(f"{action}: status is a number from 200 to 599, not {status}")
    return int(status)
