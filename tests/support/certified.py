"""Hours of Coinbase that are recorded, loaded into a database and certified."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psycopg2

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.certify.database import opened
from recorder.certify.document import HOUR_US, Certificate
from recorder.certify.make import Maker, Unsettled
from recorder.certify.tape import StreamHour
from recorder.clock import ManualClock
from recorder.events import SessionRow, Stream
from recorder.identity import instrument_id
from recorder.journal.writer import Journal
from recorder.load.main import Loader
from recorder.settings import JournalSettings, Settings
from recorder.store.loader import Store
from recorder.venues.coinbase.stream import Coinbase, CoinbaseDecoder
from support.recordings import BEGIN_NS, SYMBOLS, match, ticker

HOUR_NS = HOUR_US * 1000
BEGIN_US = BEGIN_NS // 1000
"""The first hour that is recorded completely."""
INSTRUMENT = instrument_id("coinbase", "BTC-USD")
SYMBOL_OF = {INSTRUMENT: "BTC-USD"}

Timed = tuple[int, list[bytes]]


def hourly_feed(hours: int = 3, step_s: int = 60, skip: Sequence[int] = ()) -> Iterator[Timed]:
    """Yield times and frames: every `step_s` a trade and a quote of BTC-USD, from a minute before BEGIN_NS on.

    Args:
        hours: How many hours after BEGIN_NS.
        step_s: Seconds between two trades.
        skip: Numbers of trades that the venue does not send.
    """
    first_ns = BEGIN_NS - 60 * 10**9
    for number, at_ns in enumerate(range(first_ns, BEGIN_NS + hours * HOUR_NS, step_s * 10**9), 1):
        frames = [ticker(number, at_ns)]
        if number not in skip:
            frames.append(match(number, at_ns))
        yield at_ns, frames


def record_hours(folder: Path, feed: Iterable[Timed], session_id: int = 77) -> None:
    """Record one session of a feed, one block for each time."""
    timed = list(feed)
    begin_ns = timed[0][0] - 10**9
    clock = ManualClock(begin_ns)
    journal = Journal.open(folder, "coinbase", JournalSettings(reserve_mb=0), clock)
    continuity = Continuity(frozenset({"trade"}), itertools.count(session_id << 32).__next__)
    continuity.restore(journal.recovered.checkpoints, journal.recovered.last_frame_ns, begin_ns)
    buffer = WriteBuffer(journal, continuity, "coinbase", 64 << 20, clock)
    row = SessionRow(session_id, "coinbase", folder.name, 0, "ws://127.0.0.1/", begin_ns, revision=0)
    ingest = Ingest(row, CoinbaseDecoder(), buffer)
    ingest.watch([Stream(channel, SYMBOLS[0]) for channel in ("trade", "quote", "book")], begin_ns)
    ingest.report()
    for at_ns, frames in timed:
        clock.advance((at_ns + 10**7 - clock.wall_ns()) / 1e9)
        ingest.take(frames, clock.wall_ns())
        buffer.flush()
    journal.close()


class CertifiedHome:
    """A folder of journals and a database that has loaded them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.journals = folder / "journal"
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


def of_channel(certificates: Sequence[Certificate], channel: str) -> list[Certificate]:
    """Return the certificates of a channel."""
    return [one for one in certificates if one.channel == channel]
