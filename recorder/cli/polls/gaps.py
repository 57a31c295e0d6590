"""`tapedeck gaps`: the gaps of trades, what became of them, and when they are read next."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any

import msgspec
import psycopg2
import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.cli.columns import duration
from recorder.cli.common import complete_venue, console, say_behind, say_folded
from recorder.cli.polls.poll import running
from recorder.cli.polls.reads import FAILURES, Reads, reads_of
from recorder.cli.streams.symbols import short
from recorder.errors import ConfigError, nearest
from recorder.healer.verdict import SETTLED_NS
from recorder.printable import one_line, printable
from recorder.process.terminal import say_json
from recorder.settings import Settings
from recorder.store.database import READER, classify, connect
from recorder.venues import VENUES, venue_class
from recorder.verify.declared import WANTED

# Of a gap that goes on: only where a subscription names its stream.
_QUERY = f"""
SELECT i.venue, i.symbol, g.channel, g.cause, g.state, g.reason, g.last_id, g.first_id, g.started_at, g.ended_at,
       r.reads, r.reason, r.next_at, g.gap_id, r.read_at
  FROM gap g
  JOIN instrument i USING (instrument_id)
  LEFT JOIN gap_read r USING (gap_id)
 WHERE (%(venue)s = '' OR i.venue = %(venue)s) AND (%(symbol)s = '' OR i.symbol = %(symbol)s)
   AND (%(all)s OR g.channel = 'trade')
   AND (%(unsubscribed)s OR g.cause <> 'unsubscribed' AND (g.ended_at IS NOT NULL OR ({WANTED})))
   AND (g.state = 'open' OR g.started_at > now() - make_interval(secs => %(within_s)s))
 ORDER BY g.state = 'open' DESC, g.started_at DESC, g.gap_id LIMIT %(top)s"""
_SYMBOLS = "SELECT symbol FROM instrument WHERE venue = %s"
_HEAD = ("stream", "since (UTC)", "for", "ids", "cause", "state", "why")
_NAMED_MAX = 20  # symbols that a hint lists
_SETTLED = timedelta(microseconds=SETTLED_NS // 1000)


class GapLine(msgspec.Struct):
    """One gap as it is printed."""

    venue: str
    symbol: str
    channel: str
    cause: str
    state: str
    reason: str | None  # why it is healed or unhealable
    last_id: int | None
    first_id: int | None
    started_at: datetime
    ended_at: datetime | None
    reads: int | None
    not_yet: str | None  # why the last read did not fill it
    next_at: datetime | None
    gap_id: int
    read_at: datetime | None = None  # the last read
    stage: str = ""  # going on, ended (and not healed yet), healed, unhealable
    next_try_at: datetime | None = None  # the round that reads it at the earliest; None where none does
    failure: str | None = None  # why the last try got no answer, where none came since

    def judge(self, reads: Reads, now: datetime) -> None:
        """Set what follows from the other columns."""
        self.stage = self.state
        if self.state == "open":
            self.stage = "going on" if self.ended_at is None else "ended"
        if self.due_at is not None:
            failure = reads.failure(self.venue, self.read_at)
            self.failure = None if failure is None else failure.reason
            if not reads.idle:
                self.next_try_at = reads.next_try(self.venue, self.due_at, now, self.read_at)

    @property
    def due_at(self) -> datetime | None:
        """When the healer reads it next; None where it goes on, is not open, or is never read."""
        if self.state != "open" or self.ended_at is None or self.channel != "trade" or not _is_healed(self.venue):
            return None
        return max(self.ended_at + _SETTLED, self.next_at or self.ended_at)

    @property
    def ids(self) -> int | None:
        """How many ids are missing; None where that is not known."""
        return None if self.last_id is None or self.first_id is None else self.first_id - self.last_id - 1

    @property
    def stage_words(self) -> str:
        """The stage, for a person."""
        return "ended, not healed yet" if self.stage == "ended" else self.stage

    def what(self, now: datetime, reads: Reads) -> str:
        """Return why it is what it is, in words."""
        if self.state != "open":
            return self.reason or ""
        if self.ended_at is None:
            healed = self.channel == "trade" and _is_healed(self.venue)
            return f"read {_SETTLED.total_seconds():.0f} s after its end" if healed else "data is missing now"
        if self.due_at is None:
            return "its venue has no history that proves it"
        words = reads.words(self.venue, self.due_at, now, self.read_at)
        if self.not_yet is None:
            return words
        return f"{self.not_yet}; read {'once' if self.reads == 1 else f'{self.reads} times'}, {words}"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(gaps)


def gaps(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="Only this venue, such as kraken.", autocompletion=complete_venue)] = "",
    symbol: Annotated[str, typer.Argument(help="Only this symbol, as the venue writes it.")] = "",
    hours: Annotated[
        float, typer.Option(min=0.01, max=87_600, help="Those that are not open: only of the last hours.")
    ] = 24.0,
    all_channels: Annotated[bool, typer.Option("--all", help="Also gaps of quotes and books.")] = False,
    unsubscribed: Annotated[
        bool, typer.Option("--unsubscribed", help="Also what is missing of streams without a subscription.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Only this many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List the gaps of trades: those that are open with the reason and the next read, then those that were.

    Times are UTC. A gap is healed when every id in it is stored. It is unhealable when the venue did not list an id in
    five reads over a day. `tapedeck heal` fills gaps, and the poller does so by itself. Long symbols are shortened in
    the middle; `--json` has all of them.

    A gap is "going on" while data is missing at this moment, then "ended, not healed yet" until what is missing was
    read or is known not to come. The last column says when it is read next, and why the last try failed. The column
    `gaps` of `tapedeck status` counts those that are going on, of trades, quotes and books.

    Example: `tapedeck gaps coinbase BTC-USD --hours 168`, `tapedeck gaps polymarket --all --unsubscribed`
    """
    settings = context.obj.settings()
    require_known(settings, venue, symbol)
    found = gap_lines(
        settings, venue, symbol, hours * 3600, top, all_channels=all_channels, unsubscribed=unsubscribed
    )  # fmt: skip
    if as_json:
        for one in found:
            say_json(one)
        return 0
    now = datetime.now(UTC)
    reads = known_reads(settings)
    console().list_rows(_HEAD, [_cells(one, now, reads, all_channels=all_channels) for one in found], ("for", "ids"))
    say_folded(summary(found, top, all_channels=all_channels, unsubscribed=unsubscribed), err=True)
    say_behind(settings)
    return 0


def _cells(one: GapLine, now: datetime, reads: Reads, *, all_channels: bool) -> list[str]:
    channel = f" {one.channel}" if all_channels else ""
    lasted_s = ((one.ended_at or now) - one.started_at).total_seconds()
    return [
        printable(f"{one.venue} {short(one.symbol)}{channel}"), f"{one.started_at:%m-%d %H:%M:%S}",
        duration(max(0.0, lasted_s)), "" if one.ids is None else f"{one.ids:,}", printable(one.cause),
        one.stage_words, one_line(one.what(now, reads)),
    ]  # fmt: skip


def gaps_of_trades(count: int) -> str:
    """Return a number of gaps in words."""
    return "1 gap of trades" if count == 1 else f"{count:,} gaps of trades"


def summary(found: Sequence[GapLine], top: int, *, all_channels: bool, unsubscribed: bool) -> str:
    """Return what a list of gaps counts, in one line.

    Args:
        found: The gaps of the list.
        top: The most that it may have.
        all_channels: Whether it has those of quotes and books.
        unsubscribed: Whether it has those of streams that were unsubscribed.
    """
    is_open = [one for one in found if one.state == "open"]
    lasting = sum(one.ended_at is None for one in is_open)
    count = f"{len(found):,} {'gap' if len(found) == 1 else 'gaps'} of all channels"
    parts = [f"{count if all_channels else gaps_of_trades(len(found))}, {len(is_open):,} open"]
    if is_open:
        same = " (as `tapedeck status` counts)" if all_channels and not unsubscribed else ""
        parts[0] += f": {lasting:,} going on{same}, {len(is_open) - lasting:,} ended and not healed yet"
    if not unsubscribed:
        parts.append("those of unsubscribed streams are left out")
    if len(found) == top:
        parts.append(f"--top {top} ends the list")
    return "; ".join(parts)


def require_known(settings: Settings, venue: str, symbol: str) -> None:
    """Require a venue that exists and a symbol that the database has; an empty one means all.

    Raises:
        ConfigError: It is unknown.
        StoreError: The database cannot be read.
    """
    if venue:
        venue_class(venue)
    if not symbol:
        return
    known = [str(row[0]) for row in _rows(settings, _SYMBOLS, (venue,))]
    if symbol not in known:
        similar = nearest(symbol, known) if len(known) <= _NAMED_MAX or get_close_matches(symbol, known, 1) else ""
        raise ConfigError(
            f"nothing of {symbol!r} was recorded at {venue}{similar or f'; `tapedeck symbols {venue}` lists all'}"
        )


def gap_lines(
    settings: Settings,
    venue: str,
    symbol: str,
    within_s: float,
    top: int,
    *,
    all_channels: bool = False,
    unsubscribed: bool = False,
) -> list[GapLine]:
    """Return the gaps that are open, and the latest of the others.

    Args:
        settings: Name the database.
        venue: Only this one; empty means all.
        symbol: Only this one; empty means all.
        within_s: Those that are not open began within this time.
        top: The most to return.
        all_channels: Also those of quotes and books.
        unsubscribed: Also those of streams that were unsubscribed.

    Raises:
        StoreError: The database cannot be read.
    """
    wanted = {
        "venue": venue, "symbol": symbol, "within_s": within_s, "top": top, "all": all_channels,
        "unsubscribed": unsubscribed,
    }  # fmt: skip
    found = [GapLine(*row) for row in _rows(settings, _QUERY, wanted)]
    reads, now = known_reads(settings), datetime.now(UTC)
    for one in found:
        one.judge(reads, now)
    return found


def known_reads(settings: Settings) -> Reads:
    """Return what decides when gaps are read.

    Raises:
        StoreError: The database cannot be read.
    """
    return reads_of(settings, runs=running(settings), failed=[(at, why) for at, why in _rows(settings, FAILURES, ())])


def _rows(settings: Settings, query: str, given: Mapping[str, object] | Sequence[object]) -> list[tuple[Any, ...]]:
    connection = connect(database_url(settings, READER), application_name="tapedeck", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query, given)
            return cursor.fetchall()
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def _is_healed(venue: str) -> bool:
    kind = VENUES.get(venue)
    return kind is not None and kind.trade_history is not None
