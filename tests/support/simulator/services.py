"""A client of the simulated REST services, which keeps its connection as a poller does."""

import json
from typing import Any

import requests

from recorder.simulator.services.running import RunningServices

TIMEOUT_S = 20.0


class ServiceClient:
    """Asks services by name."""

    def __init__(self, running: RunningServices) -> None:
        self._urls = running.urls
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "tapedeck-tests"

    def get(self, service: str, path: str, **query: object) -> requests.Response:
        """Ask for a path."""
        return self._session.get(self._urls[service] + path, params=_params(query), timeout=TIMEOUT_S)

    def post(self, service: str, path: str, body: object) -> requests.Response:
        """Send a body in JSON."""
        return self._session.post(self._urls[service] + path, json=body, timeout=TIMEOUT_S)

    def books(self, tokens: list[str]) -> list[dict[str, Any]]:
        """Return the books of tokens."""
        answer = self.post("clob", "/books", [{"token_id": token} for token in tokens])
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def markets(self, **query: object) -> list[dict[str, Any]]:
        """Return every market of a listing, page by page."""
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(500):
            page = self.get("gamma", "/markets/keyset", **query, **({"after_cursor": cursor} if cursor else {})).json()
            rows += page["markets"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return rows
        raise AssertionError("the listing does not end")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def _params(query: dict[str, object]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        pairs += [(name, str(one)) for one in (value if isinstance(value, list) else [value])]
    return pairs


def ids_of(row: dict[str, Any]) -> list[str]:
    """Return the ids under which the outcomes of a row of Gamma are traded, by its version."""
    ids = row.get("positionIds") if row.get("version") == "v2" else row.get("clobTokenIds")
    found: list[str] = json.loads(ids) if isinstance(ids, str) else ids or []
    return found
