"""One run of a job: its requests, the rows that it makes, and what is counted of it."""

import threading
from collections.abc import Sequence

from recorder.clock import Clock
from recorder.errors import RestError, RestUnavailable
from recorder.pgcopy.polled import POLLED, RowError, day_of, encode_row
from recorder.poller.job import Kept
from recorder.poller.journal import PollJournal, Rows
from recorder.poller.ledger import OpenRound
from recorder.poller.services import Services
from recorder.printable import one_line

_SAMPLES = 5
_SAMPLE_CHARS = 200
_REQUEST_IDS = 20
_FAILURES = 20


class Collected:
    """What a round has made so far. Threads of one round may share it."""

    def __init__(self, opened: OpenRound, stop: threading.Event) -> None:
        self.job = opened.job
        self.slot_ns = opened.slot_ns
        self.stop = stop
        self.opened = opened
        self.rows: dict[str, Rows] = {}
        self.odd_count = 0
        self.odd_samples: list[str] = []
        self.request_ids: list[str] = []
        self.failures: list[str] = []
        self._collecting = threading.Lock()

    @property
    def row_count(self) -> int:
        """Number of rows of all tables."""
        return sum(len(rows.data) for rows in self.rows.values())

    def store(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Store rows; one that does not fit its table is odd."""
        if table not in POLLED:
            raise KeyError(f"{table} is no table of the poller")
        encoded = []
        for row in rows:
            try:
                encoded.append((encode_row(table, row), day_of(table, row)))
            except RowError as error:
                self.odd(table, str(error))
        with self._collecting:
            own = self.rows.setdefault(table, Rows())
            for data, day in encoded:
                own.add(data, day)

    def odd(self, what: str, reason: str) -> None:
        """Count an odd row."""
        with self._collecting:
            self.odd_count += 1
            if len(self.odd_samples) < _SAMPLES:
                self.odd_samples.append(one_line(f"{what}: {reason}")[:_SAMPLE_CHARS])


class LiveRound(Collected):
    """A round that asks services and keeps what they answer."""

    def __init__(
        self, opened: OpenRound, stop: threading.Event, services: Services, journal: PollJournal, clock: Clock
    ) -> None:
        super().__init__(opened, stop)
        self._services = services
        self._journal = journal
        self._clock = clock

    def get(self, service: str, path: str) -> Kept:
        """Request a path; the answer is in the journal before this returns."""
        return self._ask(service, path, b"")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        """Request a path with a body; the answer is in the journal before this returns."""
        return self._ask(service, path, body)

    def _ask(self, service: str, path: str, body: bytes) -> Kept:
        try:
            reply = self._services.ask(service, path, body)
        except RestError as error:
            self._name(error.request_id, error.attempts, str(error), failed=True)
            with self._collecting:
                self.opened.attempts += error.attempts
            raise
        received_ns = reply.received_ns or self._clock.wall_ns()
        kept = Kept(service, path, body, reply.status, reply.body, received_ns, reply.request_id)
        self._journal.answer(self.opened, kept, reply.attempts)
        self._name(reply.request_id, reply.attempts, f"{path} answers HTTP {reply.status}", failed=False)
        return kept

    def _name(self, request_id: str, attempts: int, ended: str, *, failed: bool) -> None:
        """Remember a request, and how it ended where it failed or was repeated."""
        with self._collecting:
            if request_id and len(self.request_ids) < _REQUEST_IDS:
                self.request_ids.append(request_id)
            if attempts > (0 if failed else 1) and len(self.failures) < _FAILURES:
                text = f"{request_id}: {attempts} attempts, {ended}"
                self.failures.append(one_line(text)[:_SAMPLE_CHARS])


class KeptRound(Collected):
    """A round whose answers are in the journal already: after a kill, and in a replay. It asks no service."""

    def get(self, service: str, path: str) -> Kept:
        """Refuse to ask."""
        raise RestUnavailable(f"{service}{path} is not requested: only answers that were kept are taken")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        """Refuse to ask."""
        return self.get(service, path)


class KnownRound(KeptRound):
    """A round whose answers and rows are in the journal: its answers are taken for what a handler remembers of them."""

    def store(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Leave the rows out."""

    def odd(self, what: str, reason: str) -> None:
        """Leave out what was counted already."""
