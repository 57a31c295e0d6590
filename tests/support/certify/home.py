"""Hours of Coinbase that are recorded, loaded into a database and certified."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.certify.database import opened
from recorder.certify.document import HOUR_US, Certificate
from recorder.certify.make import Maker, Unsettled
from recorder.certify.tape import StreamHour
from recorder.clock import ManualClock
from recorder.events import CHANNELS, SessionRow, Stream
from recorder.identity import instrument_id
from recorder.journal.writer import Journal
from recorder.load.main import Loader
from recorder.pgcopy.polled import POLLED
from recorder.poller.job import Every, Job, Kept, Outcome, Round
from recorder.settings import JournalSettings, Settings
from recorder.store.loader import Store
from recorder.venues.coinbase.stream import Coinbase, CoinbaseDecoder
from support.poller.journals import Poller
from support.recordings import BEGIN_NS, SYMBOLS, match, ticker

HOUR_NS = HOUR_US * 1000
BEGIN_US = BEGIN_NS // 1000
"""The first hour that is recorded completely."""
INSTRUMENT = instrument_id("coinbase", "BTC-USD")
SYMBOL_OF = {INSTRUMENT: "BTC-USD"}

Timed = tuple[int, list[bytes]]


def hourly_feed(
    hours: int = 3, step_s: int = 60, skip: Sequence[int] = (), symbols: Sequence[str] = SYMBOLS[:1]
) -> Iterator[Timed]:
    """Yield times and frames: every `step_s` a trade and a quote of each symbol, from a minute before BEGIN_NS on.

    Args:
        hours: How many hours after BEGIN_NS.
        step_s: Seconds between two trades.
        skip: Numbers of trades that the venue does not send.
        symbols: Of the trades.
    """
    first_ns = BEGIN_NS - 60 * 10**9
    for number, at_ns in enumerate(range(first_ns, BEGIN_NS + hours * HOUR_NS, step_s * 10**9), 1):
        frames = []
        for symbol in symbols:
            frames.append(ticker(number, at_ns, symbol))
            if number not in skip:
                frames.append(match(number, at_ns, symbol))
        yield at_ns, frames


def record_hours(folder: Path, feed: Iterable[Timed], symbols: Sequence[str] = SYMBOLS[:1]) -> None:
    """Record one session of a feed that begins a minute before BEGIN_NS, one block for each time."""
    begin_ns = BEGIN_NS - 61 * 10**9
    session_id = 77
    clock = ManualClock(begin_ns)
    journal = Journal.open(folder, "coinbase", JournalSettings(reserve_mb=0), clock)
    continuity = Continuity(frozenset({"trade"}), itertools.count(session_id << 32).__next__)
    continuity.restore(journal.recovered.checkpoints, journal.recovered.last_frame_ns, begin_ns)
    buffer = WriteBuffer(journal, continuity, "coinbase", 64 << 20, clock)
    row = SessionRow(session_id, "coinbase", folder.name, 0, "ws://127.0.0.1/", begin_ns, revision=0)
    ingest = Ingest(row, CoinbaseDecoder(), buffer)
    ingest.watch([Stream(channel, symbol) for symbol in symbols for channel in CHANNELS], begin_ns)
    ingest.report()
    for at_ns, frames in feed:
        clock.advance((at_ns + 10**7 - clock.wall_ns()) / 1e9)
        ingest.take(frames, clock.wall_ns())
        buffer.flush()
    journal.close()


class CertifiedHome:
    """A folder of journals and a database that has loaded them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journals = folder / "journal" / "tapedeck"
        self.recorder = self.journals / "recorder-coinbase"
        self.url = url

    def load(self) -> None:
        """Load all journals, as the writer does."""
        loader = Loader(Store(self.url), self.journals, Settings.load(environ={}))
        while loader.step():
            pass
        loader.reset()

    def run(self, statement: str, *values: object) -> None:
        """Run a statement as the owner of the database."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            assert cursor.rowcount > 0
        connection.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        connection = psycopg2.connect(self.url)
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(query)
            found = cursor.fetchall()
        connection.close()
        return found

    def make(self, hours: int = 2, *, decode: bool = True) -> tuple[list[Certificate], list[Unsettled]]:
        """Certify trades and quotes of the first hours and store the certificates."""
        now_us = BEGIN_US + 40 * HOUR_US
        wanted = [
            StreamHour(INSTRUMENT, channel, BEGIN_US + hour * HOUR_US)
            for hour in range(hours)
            for channel in ("trade", "quote")
        ]
        with opened(self.url) as database:
            database.snapshot()
            maker = Maker(database, self.journals, "coinbase", Coinbase(), decode=decode)
            made, unsettled = maker.make(SYMBOL_OF, wanted, now_us)
            return database.store(made, now_us), unsettled


class Heals:
    """A handler that fills a gap of trades with past trades, in one block as the job `healing` writes it.

    Args:
        gap: The row of the gap, by column, with times in nanoseconds since 1970.
        past: The rows of past_trade.
    """

    def __init__(self, gap: Mapping[str, object], past: Sequence[tuple[object, ...]]) -> None:
        self._gap = gap
        self._past = past

    def run(self, round: Round) -> Outcome:
        """Store the rows."""
        round.store("past_trade", self._past)
        round.store("gap", [tuple(self._gap[column] for column, _ in POLLED["gap"])])
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: it asks no service."""


def heal(home: CertifiedHome, trade_id: int, price: float, size: float, side: str) -> None:
    """Fill the one gap of trades with one trade, by the poller's journal, and load it."""
    instants = {name for name, kind in POLLED["gap"] if kind == "instant"}
    columns = ", ".join(
        f"(extract(epoch FROM {name}) * 1000000)::bigint * 1000" if name in instants else name
        for name, _ in POLLED["gap"]
    )
    (row,) = home.rows(f"SELECT {columns} FROM gap WHERE channel = 'trade'")
    gap = dict(zip((name for name, _ in POLLED["gap"]), row, strict=True))
    gap |= {"state": "healed", "reason": "1 ids of 1, by REST", "revision": gap["revision"] + 1}
    at_ns = BEGIN_NS - 60 * 10**9 + (trade_id - 1) * 60 * 10**9
    clock = ManualClock(time.time_ns())
    past = (INSTRUMENT, trade_id, at_ns, clock.wall_ns(), price, size, side, None)
    poller = Poller(home.journals, [Job("heals", Every(60), 20.0, Heals(gap, [past]), "")], clock)
    run = poller.runner.extra("heals", "by hand")
    assert run is not None
    assert run.state == "done", run
    poller.end()
    home.load()


def of_channel(certificates: Sequence[Certificate], channel: str) -> list[Certificate]:
    """Return the certificates of a channel."""
    return [one for one in certificates if one.channel == channel]
