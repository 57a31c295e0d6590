"""The job `backfill`: reads what is asked for, one page of each venue at a time, within its part of the budgets.

What a round read, and how far it is, are one block of the journal, so the writer stores all of it or nothing. The next
round goes on once the database shows that, because only then is it certain that the block was written. A kill before
the block leaves the backfill where it was; what is read again adds no row.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from recorder.backfill.database import opened
from recorder.backfill.progress import Asked, Progress
from recorder.clock import Clock
from recorder.errors import ConfigError, DecodeError, RestError, RestUnavailable, StoreUnavailable
from recorder.healer.walk import ReadError
from recorder.poller.backfilling.feeds import LoadedFeeds
from recorder.poller.backfilling.reading import Reading, Source
from recorder.poller.discovery import waited_for
from recorder.poller.healing.pauses import Pauses
from recorder.poller.job import Kept, Outcome, Round
from recorder.process.log import get_logger
from recorder.venues.history import TradeHistory

PERIOD_S = 30
_ROUND_S = 20.0
_ROWS_MAX = 50_000  # of a round: a block of the journal is held in memory
_LOADED_S = 600.0  # a block that is not loaded by then may be lost, and is read again
_PATIENT_S = 120.0
_REASON_CHARS = 200
_DAY_NS = 86_400 * 10**9
_OVERLAP_NS = 120 * 10**9  # of a history with the first trades of a feed

_log = get_logger(__name__)


class _Open(NamedTuple):
    """A backfill that this process reads."""

    reading: Reading
    until_s: float  # when it is begun again from what the database shows; -1: its last block was written


class Backfilling:
    """Reads backfills.

    Args:
        sources: By name of the venue.
        url: Returns the address of the database.
        clock: Gives the times.
        days: Of history that each new stream is filled with; 0: none.
        only: A backfill that is read alone; None: all.
        round_s: How long a round reads.
        shown: Called after each page.
        feeds: Shows what is loaded of a feed that joins trades; None: all of it.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        url: Callable[[], str],
        clock: Clock,
        days: float = 0.0,
        only: int | None = None,
        round_s: float = _ROUND_S,
        shown: Callable[[Asked, Progress], None] = lambda _asked, _progress: None,
        feeds: LoadedFeeds | None = None,
    ) -> None:
        self._sources = sources
        self._url = url
        self._clock = clock
        self._days = days
        self._only = only
        self._round_s = round_s
        self._shown = shown
        self._feeds = feeds
        self._patient_until_s = clock.monotonic_s() + _PATIENT_S
        self._pauses = Pauses(clock)
        self._open: dict[int, _Open] = {}
        self._next_s: dict[str, float] = {}  # when each venue may be asked for its next page

    def run(self, round: Round) -> Outcome:
        """Read pages of what is asked for until the round is over.

        Raises:
            StoreError, ConfigError: the database failed; what was read before is kept.
            RestUnavailable: venues did not answer; what others answered is stored.
        """
        try:
            readings = waited_for(self._due, round.stop)
        except StoreUnavailable:
            return Outcome("skipped", "no database")
        except ConfigError:
            if self._clock.monotonic_s() < self._patient_until_s:  # the writer has not made the logins yet
                return Outcome("skipped", "no database")
            raise
        if not readings:
            return Outcome("skipped", "nothing due")
        before = sum(one.progress.listed for one in readings)
        problems: list[str] = []
        try:
            self._read(round, list(readings), problems)
        except Exception:
            for one in readings:  # rows of a page may be stored without its progress
                self._open.pop(one.asked.backfill_id, None)
            raise
        finally:
            for one in readings:
                if one.changed:
                    round.store("backfill_range", [one.progress.row(one.asked)])
                    one.changed = False
        if problems:
            raise RestUnavailable("; ".join(problems))
        return Outcome(counts={"listed": sum(one.progress.listed for one in readings) - before})

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: what an answer proves depends on those before it, and the next round reads it again."""

    def written(self) -> None:
        """Note that the block of the last round was written, so that the next one need not wait for the database."""
        self._open = {number: one._replace(until_s=-1.0) for number, one in self._open.items()}

    def _read(self, round: Round, readings: list[Reading], problems: list[str]) -> None:
        until_s = self._clock.monotonic_s() + self._round_s
        rows = 0
        while readings and rows <= _ROWS_MAX and not round.stop.is_set():
            venues = {one.asked.venue: one for one in reversed(readings)}  # the oldest of each
            venue = min(venues, key=lambda name: self._next_s.get(name, 0.0))
            reading = venues[venue]
            wait_s = self._next_s.get(venue, 0.0) - self._clock.monotonic_s()
            if self._clock.monotonic_s() + max(0.0, wait_s) > until_s:
                break
            if wait_s > 0 and round.stop.wait(wait_s):
                break
            self._next_s[venue] = self._clock.monotonic_s() + reading.pause_s
            rows -= reading.progress.listed
            try:
                reading.step(round)
                self._pauses.answered(venue)
            except RestError as error:
                self._pauses.refused(venue)
                problems.append(f"{venue}: {str(error)[:_REASON_CHARS]}")
                readings = [one for one in readings if one.asked.venue != venue]
            except (ReadError, DecodeError) as error:
                reading.progress.stop(str(error)[:_REASON_CHARS])
                reading.changed = True
            rows += reading.progress.listed
            self._shown(reading.asked, reading.progress)
            if reading.progress.state != "running":
                self._log(reading)
                readings = [one for one in readings if one is not reading]

    def _due(self) -> list[Reading]:
        """Return what can be read now, the oldest question first.

        Raises:
            StoreError, ConfigError: the database failed.
        """
        with opened(self._url()) as database:
            if self._days:
                for venue, symbol, first_ns in database.new_streams(list(self._sources)):
                    now_ns = self._clock.wall_ns()
                    since_ns = first_ns - int(self._days * _DAY_NS)
                    if now_ns - first_ns > 2 * _OVERLAP_NS:
                        asked = Asked(venue, symbol, "trades", since_ns, first_ns + _OVERLAP_NS, now_ns)
                        database.ask(asked, "subscription")
            questions = database.questions()
        now_s = self._clock.monotonic_s()
        found = []
        for asked, stored in questions:
            source = self._sources.get(asked.venue)
            if source is None or self._pauses.waits(asked.venue) or self._only not in (None, asked.backfill_id):
                continue
            if asked.what == "candles" and source.candles is None:
                continue
            progress = stored or Progress(False)
            known = self._open.get(asked.backfill_id)
            if known is not None:
                ended = known.reading.progress.state != "running"
                shown = progress.revision >= known.reading.progress.revision
                if not ended and (shown or known.until_s < 0):
                    self._open[asked.backfill_id] = known._replace(until_s=now_s + _LOADED_S)
                    found.append(known.reading)
                    continue
                if not shown and (known.until_s < 0 or now_s < known.until_s):
                    continue  # the writer has not loaded its last block yet
            if not progress.is_due(asked) or not self._is_loaded(asked, source):
                continue
            progress.rising = not isinstance(source.history, TradeHistory) or source.history.rising
            progress.rising = progress.rising or asked.what == "candles"
            if progress.state != "running":
                progress.begin_again()
            reading = Reading(asked, progress, source, self._url)
            self._open[asked.backfill_id] = _Open(reading, now_s + _LOADED_S)
            found.append(reading)
        return found

    def _is_loaded(self, asked: Asked, source: Source) -> bool:
        """Return whether the database has what the feed received of the time, where the feed joins trades."""
        if self._feeds is None or asked.what == "candles" or not getattr(source.history, "merged", False):
            return True
        return self._feeds.until(asked.venue, asked.until_ns)

    @staticmethod
    def _log(reading: Reading) -> None:
        asked, progress = reading.asked, reading.progress
        _log.info(
            "backfill.end", venue=asked.venue, symbol=asked.symbol, what=asked.what, state=progress.state,
            grade=progress.grade, reason=progress.reason, listed=progress.listed, answers=progress.answers,
        )  # fmt: skip
