"""Rounds for tests of handlers: answers come from servers or from a list, and what is stored is kept."""

import random
import threading
from collections.abc import Mapping, Sequence

from recorder.clock import SystemClock
from recorder.errors import RestUnavailable
from recorder.pgcopy.polled import encode_row
from recorder.poller.job import Kept
from recorder.poller.services import ClientService, Reply, Service
from recorder.rest.client import RestClient
from recorder.venues.base import RestLimits

NS = 1_000_000_000


class Storing:
    """A round that keeps what a handler stores. It asks nothing.

    Attributes:
        rows: Rows by table, in the order in which they were stored.
        odds: What was odd, with the reason.
    """

    def __init__(self, job: str = "test", slot_ns: int = 1_700_000_000 * NS) -> None:
        self.job = job
        self.slot_ns = slot_ns
        self.stop = threading.Event()
        self.rows: dict[str, list[tuple[object, ...]]] = {}
        self.odds: list[tuple[str, str]] = []

    def get(self, service: str, path: str) -> Kept:
        raise RestUnavailable(f"{service}{path}: this round has no services")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        return self.get(service, path)

    def store(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        for row in rows:
            encode_row(table, row)  # a row that does not fit its table fails the test
        self.rows.setdefault(table, []).extend(rows)

    def odd(self, what: str, reason: str) -> None:
        self.odds.append((what, reason))


class Asking(Storing):
    """A round that asks real servers, by the addresses of its services.

    Attributes:
        kept: Every answer, in order.
    """

    def __init__(self, others: Mapping[str, Service] | None = None, /, **urls: str) -> None:
        super().__init__()
        self.kept: list[Kept] = []
        limits = RestLimits(per_s=1000, burst=1000, attempts=1)
        self._services: dict[str, Service] = dict(others or {})
        self._services |= {
            name: ClientService(
                RestClient(name, url, limits, "tapedeck-test", self.stop, SystemClock(), random.Random(1))
            )
            for name, url in urls.items()
        }

    def get(self, service: str, path: str) -> Kept:
        return self._keep(service, path, b"")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        return self._keep(service, path, body)

    def _keep(self, service: str, path: str, body: bytes) -> Kept:
        reply = self._services[service].ask(path, body)
        self.kept.append(kept(service, path, reply, body))
        return self.kept[-1]


class Answering(Storing):
    """A round whose answers are a table: path to answer; a POST is found by its path and body together."""

    def __init__(self, answers: Mapping[str, bytes | Reply], job: str = "test") -> None:
        super().__init__(job)
        self._answers = answers
        self.asked: list[str] = []

    def get(self, service: str, path: str) -> Kept:
        return self._answer(service, path, b"")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        return self._answer(service, path, body)

    def _answer(self, service: str, path: str, body: bytes) -> Kept:
        key = path + body.decode()
        self.asked.append(key)
        found = self._answers.get(key)
        if found is None:
            raise RestUnavailable(f"{service}{key}: no answer in this test")
        return kept(service, path, found if isinstance(found, Reply) else Reply(200, found), body)


def kept(service: str, path: str, reply: Reply, request: bytes = b"") -> Kept:
    """Return an answer as a handler takes it."""
    received_ns = reply.received_ns or SystemClock().wall_ns()
    return Kept(service, path, request, reply.status, reply.body, received_ns, reply.request_id)
