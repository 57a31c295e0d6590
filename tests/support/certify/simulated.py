"""Hours of simulated venues, recorded without sockets by a clock that is set from one moment to the next."""

import itertools
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.capture.overlap import ControlRecord
from recorder.capture.rest_fetcher import framed
from recorder.clock import ManualClock
from recorder.events import CHANNELS, Fetch, SessionRow, Stream
from recorder.identity import instrument_id
from recorder.journal.writer import Journal
from recorder.settings import JournalSettings
from recorder.simulator.build import VENUES as SIMULATED
from recorder.simulator.connection import Connection
from recorder.simulator.market import Market
from recorder.simulator.venue import FakeVenue
from recorder.simulator.wire import Request
from recorder.truth import TruthLog
from recorder.venues import VENUES
from recorder.venues.base import Audit, BooksByRest, requests_of
from support.recordings import BEGIN_NS

SECOND = 10**9
FIRST_NS = BEGIN_NS - 61 * SECOND
SESSION = 77
_STEP_S = 5  # one chunk of frames, and of the venue's events


class Client(Connection):
    """A client that keeps what the venue sends instead of writing it to a socket."""

    def __init__(self) -> None:
        with socket.socket() as closed:
            super().__init__(closed, 1)
        self.frames: list[bytes] = []

    def text(self, payload: bytes, framed: bytes | None = None, items: tuple[int, int] | None = None) -> None:
        self.frames.append(payload)

    def raw(self, data: bytes) -> None:
        """Drop what is no message."""


class SimulatedSession:
    """One session of a recorder at a simulated venue, with one symbol and all of its channels.

    Args:
        folder: Of the journal, such as .../recorder-kraken.
        name: Of the feed.
        seed: Of the market.
        rate: Events of the market in a second.
    """

    def __init__(self, folder: Path, name: str, *, seed: int = 1, rate: float = 0.2) -> None:
        kind = SIMULATED[name]
        market = Market(kind.specs[:1], seed=seed, now_ns=FIRST_NS - SECOND, depth=60, kind=kind.market_kind)
        self.venue: FakeVenue = kind(market, TruthLog(None), rate=rate, now_ns=FIRST_NS - SECOND)
        self.venue.begin({})
        self.symbol = next(iter(self.venue.symbols))
        self.instrument_id = instrument_id(VENUES[name].name, self.symbol)
        self.clock = ManualClock(FIRST_NS)
        self._feed = VENUES[name]()
        self._decoder = self._feed.decoder()
        self._journal = Journal.open(folder, name, JournalSettings(reserve_mb=0), self.clock)
        gaps = random.Random(seed)
        self._continuity = Continuity(self._feed.contiguous, lambda: gaps.getrandbits(60))
        recovered = self._journal.recovered
        self._continuity.restore(recovered.checkpoints, recovered.last_frame_ns, FIRST_NS)
        self._buffer = WriteBuffer(self._journal, self._continuity, self._feed.name, 64 << 20, self.clock)
        self.report_s = 60
        self._next_report_ns = 0
        self._sessions = itertools.count(SESSION)
        self._client = Client()
        self._open()

    def _open(self) -> None:
        now_ns = self.clock.wall_ns()
        url = urlsplit(self._feed.endpoint)
        self._client = Client()
        self._client.opened_s = now_ns / SECOND
        self._decoder = self._feed.decoder()
        row = SessionRow(
            next(self._sessions), self._feed.name, self._journal.folder.name, 0, "ws://127.0.0.1/", now_ns, revision=0
        )
        self._ingest = Ingest(
            row, self._decoder, self._buffer, channel_words=self._feed.channel_words,
            connection_sequences=self._feed.connection_sequences,
        )  # fmt: skip
        streams = [Stream(channel, self.symbol) for channel in CHANNELS]
        self._ingest.watch(streams, now_ns)
        self._ingest.record(ControlRecord.about("subscribed", streams))
        self._ingest.report()
        self.venue.opened(self._client, _request(url.path or "/", url.query), now_ns)
        for text in requests_of(self._feed, self._decoder).subscribe(streams):
            self._send(text)
        self._take()
        if isinstance(self._feed, BooksByRest):
            self._answer(self._feed.snapshot_path(self.symbol))
        self._buffer.flush()

    @property
    def audits(self) -> dict[str, Audit]:
        """What the recorder counted of its books since its last report."""
        return self._decoder.audits

    def drop(self) -> None:
        """End the session as a lost connection does."""
        now_ns = self.clock.wall_ns()
        self._ingest.report(ended_ns=now_ns, reason="disconnect", lost="disconnect")
        self.venue.closed(self._client, "lost", now_ns)
        self._buffer.flush()

    def reopen(self) -> None:
        """Begin another session."""
        self._open()

    def run(self, seconds: int, *, connected: bool = True) -> None:
        """Let time pass.

        Args:
            seconds: How much.
            connected: Whether there is a session.
        """
        for _ in range(0, seconds, _STEP_S):
            self.clock.advance(_STEP_S)
            now_ns = self.clock.wall_ns()
            self.venue.advance(now_ns, now_ns / SECOND)
            self.venue.advance(now_ns, now_ns / SECOND)  # what waits for its batch
            if not connected:
                continue
            self._take()
            if now_ns >= self._next_report_ns:
                self._next_report_ns = now_ns + self.report_s * SECOND
                self._ingest.report()
            self._buffer.flush()

    def rest(self, path: str) -> bytes:
        """Return the body of an answer of the venue's REST service."""
        url = urlsplit(path)
        return self.venue.get(_request(url.path, url.query), self.clock.wall_ns()).body

    def close(self) -> None:
        """Close the journal."""
        self._buffer.flush()
        self._journal.close()

    def _send(self, text: str) -> None:
        self.venue.message(self._client, text.encode(), self.clock.wall_ns())

    def _take(self, extra: Sequence[bytes] = ()) -> None:
        frames, self._client.frames = [*self._client.frames, *extra], []
        if not frames:
            return
        for control in self._ingest.take(frames, self.clock.wall_ns()).control:
            if isinstance(control, Fetch):
                self._answer(control.path)

    def _answer(self, path: str) -> None:
        self._take([framed(path, 200, self.rest(path))])


def _request(path: str, query: str) -> Request:
    pairs = parse_qsl(query)
    return Request("GET", path, dict(pairs), {}, b"", pairs)
