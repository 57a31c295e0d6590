"""Reads the truth logs of services and the tables side by side, and compares them. All SQL of this folder is here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from recorder.store.database import Connection
from recorder.truth import Answered, Line, MarketLife, ServedBar, ServedBook, ServedTrade
from recorder.verify.served.bars import BarCheck, StoredBar
from recorder.verify.served.bars import Key as BarKey
from recorder.verify.served.books import COLUMNS, BookCheck, Declared, StoredSnapshot
from recorder.verify.served.labels import LabelCheck, Stored
from recorder.verify.served.logs import Part, lines
from recorder.verify.served.result import ServedCheck
from recorder.verify.served.trades import Bounds, Sums, TradeCheck
from recorder.verify.served.trades import Key as TradeKey

_FETCH = 5_000
_REPORT = 5_000  # lines between two reports of progress
_EARLY_NS = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALKED_S = 3_600.0  # how far the first walk of the feed goes back
_VISIBLE_S = 10.0  # a trade is in the feed so long after its block
_STORED_NS = 120 * 10**9  # the rows of an answer are stored within this time

_US = "(extract(epoch FROM {}) * 1000000)::bigint"
_SNAPSHOTS = f"""
    SELECT {_US.format("ts_recv")}, instrument_id, (extract(epoch FROM ts_event) * 1000)::bigint, source, hash,
           {", ".join(COLUMNS)}
      FROM market_snapshot WHERE ts_recv >= %s ORDER BY ts_recv"""
# Rounds that did not store all that they received, and say so.
_DECLARED = f"""
    SELECT {_US.format("coalesce(started_at, slot)")} * 1000,
           ({_US.format("coalesce(started_at, slot)")} + (coalesce(duration_s, 60) * 1000000)::bigint) * 1000
      FROM poll_run WHERE job LIKE %s AND (state = 'failed' OR odd > 0)"""
_WALKS = """
    SELECT min(extract(epoch FROM started_at))::float8, max(extract(epoch FROM started_at))::float8
      FROM poll_run WHERE job LIKE '%%whales' AND state IN ('done', 'late')"""
_HOLES = """
    SELECT extract(epoch FROM from_at)::float8, extract(epoch FROM until_at)::float8 FROM poll_hole
     WHERE job LIKE '%%whales'"""
_WHALES = """
    SELECT w.transaction_hash, w.wallet, w.cash, w.shares, w.revision
      FROM whale_event w JOIN unnest(%s::text[], %s::text[]) AS k (transaction_hash, wallet)
     USING (transaction_hash, wallet)"""
_LABELS = f"""
    SELECT market_id, payout_0, payout_1, {_US.format("known_at")} * 1000 FROM resolution WHERE market_id = ANY (%s)"""
_BARS = """
    SELECT b.instrument_id, b.interval_s, extract(epoch FROM b.start)::bigint, b.open, b.high, b.low, b.close, b.volume,
           b.currency, NOT (b.partial OR b.live) AND b.flags = '{}',
           coalesce((SELECT exp(sum(ln(c.numerator / c.denominator))) FROM corporate_action c
                      WHERE c.instrument_id = b.instrument_id AND c.kind = 'split' AND c.ex_at > b.start
                        AND c.ts_recv <= b.ts_recv), 1.0)
      FROM unnest(%s::bigint[], %s::integer[], %s::bigint[]) AS k (instrument_id, interval_s, start_s)
      JOIN equity_bar b ON b.instrument_id = k.instrument_id AND b.interval_s = k.interval_s
                       AND b.start = to_timestamp(k.start_s)"""

Report = Callable[[int], None]
"""Receives the number of lines read so far."""


def check_served(
    connection: Connection,
    services: Mapping[str, Sequence[Part]],
    *,
    until_ns: int | None,
    agent: str | None,
    large: tuple[float, float],
    report: Report = lambda lines: None,
) -> list[ServedCheck]:
    """Compare what services answered with what is stored.

    Args:
        connection: In a transaction with one snapshot.
        services: Logs by group of services.
        until_ns: Only what was answered up to this time; None takes all.
        agent: Only answers to clients whose User-Agent begins with this; None takes all.
        large: Least cash of a large transaction, and of a fill that is asked for, USDC.
        report: Called now and then.

    Raises:
        ConfigError: A log cannot be read.
    """
    found: list[ServedCheck] = []
    for name, parts in services.items():
        found += _Group(connection, name, parts, until_ns, agent, large, report).run()
    return [one for one in found if one.served or one.stored]


class _Group:
    """One group of services: all kinds of rows in one pass over its logs."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        parts: Sequence[Part],
        until_ns: int | None,
        agent: str | None,
        large: tuple[float, float],
        report: Report,
    ) -> None:
        self._connection = connection
        self._parts = parts
        self._until_ns = until_ns
        self._agent = agent or ""
        self._report = report
        self._books = BookCheck(name, self._declared("%books%"), until_ns)
        self._trades = TradeCheck(name, self._bounds(large), self._whales)
        self._labels = LabelCheck(name, until_ns, self._resolutions)
        self._bars = BarCheck(name, self._equity)
        self._fresh: list[ServedBar] = []  # of the answer whose line follows
        self._next: Answered | None = None  # the last line read

    def run(self) -> list[ServedCheck]:
        """Read the logs and the snapshots by time, and return the results."""
        reading = self._answers()
        with self._connection.cursor(name="served") as cursor:
            cursor.itersize = _FETCH
            since = _EPOCH + timedelta(microseconds=self._parts[0].since_ns // 1000)
            cursor.execute(_SNAPSHOTS, (since,))
            for recv_us, number, ms, source, hashed, *values in cursor:
                if self._until_ns is not None and recv_us * 1000 > self._until_ns:
                    break
                self._read(reading, recv_us * 1000 + _EARLY_NS)
                self._books.stored(StoredSnapshot(recv_us * 1000, number, ms, source, hashed, tuple(values)))
        self._read(reading, 1 << 62)
        return [self._books.end(), self._trades.end(), self._labels.end(), self._bars.end()]

    def _read(self, reading: Iterator[Answered], until_ns: int) -> None:
        """Read on up to the first answer after a time."""
        while True:
            line = self._next or next(reading, None)
            self._next = line
            if line is None or line.t > until_ns:
                return
            self._next = None
            if line.agent.startswith(self._agent) and not line.spoiled and line.status == 200:
                self._books.answered(line)
                self._labels.answered(line)
            if until_ns == 1 << 62:
                self._books.passed(line.t)

    def _answers(self) -> Iterator[Answered]:
        """Yield each answer, after what is in it for the first time was noted."""
        count, started_ns = 0, self._parts[0].begin.t
        for part in self._parts:
            if part.begin.t != started_ns:
                started_ns = part.begin.t
                self._trades.begin()
            self._books.begin(part.since_ns, follows=part.follows)
            self._fresh.clear()
            for line in lines(part):
                count += 1
                if count % _REPORT == 0:
                    self._report(count)
                if self._note(line):
                    assert isinstance(line, Answered)
                    yield line

    def _note(self, line: Line) -> bool:
        match line:
            case Answered():
                stored = self._until_ns is None or line.t + _STORED_NS <= self._until_ns
                if stored and not line.spoiled and line.status == 200:  # whichever agent the settings name for stocks
                    self._bars.served(self._fresh)
                self._fresh.clear()
                return True
            case ServedBook():
                self._books.served(line)
            case ServedTrade():
                self._trades.served(line)
            case MarketLife():
                self._labels.lives(line)
            case ServedBar():
                self._fresh.append(line)
            case _:
                pass
        return False

    # ---- the database ---------------------------------------------------------------------------------------

    def _declared(self, jobs: str) -> list[Declared]:
        with self._connection.cursor() as cursor:
            cursor.execute(_DECLARED, (jobs,))
            return [Declared(*row) for row in cursor.fetchall()]

    def _bounds(self, large: tuple[float, float]) -> Bounds:
        with self._connection.cursor() as cursor:
            cursor.execute(_WALKS)
            row = cursor.fetchone()
            first_s, last_s = row if row is not None and row[0] is not None else (0.0, 0.0)
            cursor.execute(_HOLES)
            holes = [(low, high) for low, high in cursor.fetchall()]
        until_s = last_s if self._until_ns is None else min(last_s, (self._until_ns - _STORED_NS) / 1e9)
        return Bounds(*large, first_s - _WALKED_S, until_s - _VISIBLE_S, holes)

    def _whales(self, keys: Sequence[TradeKey]) -> dict[TradeKey, Sums]:
        with self._connection.cursor() as cursor:
            cursor.execute(_WHALES, ([tx for tx, _ in keys], [wallet for _, wallet in keys]))
            return {(tx, wallet): (cash, shares, fills) for tx, wallet, cash, shares, fills in cursor.fetchall()}

    def _resolutions(self, markets: Sequence[int]) -> dict[int, Stored]:
        with self._connection.cursor() as cursor:
            cursor.execute(_LABELS, (list(markets),))
            return {market: (first, second, known_ns) for market, first, second, known_ns in cursor.fetchall()}

    def _equity(self, keys: Sequence[BarKey]) -> dict[BarKey, StoredBar]:
        with self._connection.cursor() as cursor:
            cursor.execute(_BARS, [list(column) for column in zip(*keys, strict=True)] if keys else [[], [], []])
            return {
                (number, length_s, start_s): StoredBar((o, h, low, c, volume), currency, certain, splits)
                for number, length_s, start_s, o, h, low, c, volume, currency, certain, splits in cursor.fetchall()
            }
