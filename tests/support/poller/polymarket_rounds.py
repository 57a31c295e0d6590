"""Rounds of Polymarket's jobs against answers that a test gives."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from recorder.clock import ManualClock
from recorder.poller.job import Kept
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.cases import Cases
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.tiers import TierRules
from support.poller.polling import Storing

Answers = Callable[[str, str], tuple[int, bytes]]
"""Returns status and body for a service and a path."""


class GivenRound(Storing):
    """A round whose services are a function of the test."""

    def __init__(self, clock: ManualClock, answers: Answers) -> None:
        super().__init__(slot_ns=clock.wall_ns())
        self.asked: list[str] = []
        self._clock = clock
        self._answers = answers

    def get(self, service: str, path: str) -> Kept:
        """Return the given answer."""
        self.asked.append(f"{service}{path}")
        status, body = self._answers(service, path)
        return Kept(service, path, b"", status, body, self._clock.wall_ns(), "")


class Gamma:
    """Gamma with some markets: filters by closed and id, pages by cursor, newest first."""

    def __init__(self, *rows: dict[str, Any], page: int = 100) -> None:
        self.rows = {row["id"]: row for row in rows}
        self.page = page

    def __call__(self, service: str, path: str) -> tuple[int, bytes]:
        """Answer a request."""
        query = parse_qs(urlsplit(path).query)
        closed = query["closed"] == ["true"]
        rows = [row for row in self.rows.values() if row["closed"] is closed]
        if "id" in query:
            rows = [row for row in rows if row["id"] in query["id"]]
        if query.get("order") == ["id"]:
            rows.sort(key=lambda row: -int(row["id"]))
        first = int(query.get("after_cursor", ["0"])[0])
        answer: dict[str, Any] = {"markets": rows[first : first + self.page]}
        if first + self.page < len(rows):
            answer["next_cursor"] = str(first + self.page)
        return 200, json.dumps(answer).encode()


def intake() -> Intake:
    """Return an intake without markets."""
    return Intake(Board(TierRules()), Cases())
