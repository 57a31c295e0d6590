"""`tapedeck gaps`: the gaps of trades, what became of them, and when they are read next."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import psycopg2
import typer
from rich.table import Table

from recorder.appliance.embedded_postgres import database_url
from recorder.cli.columns import duration
from recorder.cli.common import complete_venue, console
from recorder.errors import StoreError
from recorder.process.screen import shown
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import READER, connect
from recorder.venues import VENUES

_QUERY = """
SELECT i.venue, i.symbol, g.channel, g.cause, g.state, g.reason, g.last_id, g.first_id, g.started_at, g.ended_at,
       r.reads, r.reason, r.next_at, g.gap_id
  FROM gap g
  JOIN instrument i USING (instrument_id)
  LEFT JOIN gap_read r USING (gap_id)
 WHERE (%(venue)s = '' OR i.venue = %(venue)s) AND (%(symbol)s = '' OR i.symbol = %(symbol)s)
   AND (%(all)s OR g.channel = 'trade')
   AND (g.state = 'open' OR g.started_at > now() - make_interval(secs => %(within_s)s))
 ORDER BY g.state = 'open' DESC, g.started_at DESC, g.gap_id LIMIT %(top)s"""
_REASON_WIDTH = 60


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

    @property
    def ids(self) -> int | None:
        """How many ids are missing; None where that is not known."""
        return None if self.last_id is None or self.first_id is None else self.first_id - self.last_id - 1

    def what(self, now: datetime) -> str:
        """Return why it is what it is, in words."""
        if self.state != "open":
            return self.reason or ""
        if self.ended_at is None:
            return "goes on"
        if self.channel != "trade" or not _is_healed(self.venue):
            return "its venue has no history that proves it"
        if self.next_at is None or self.not_yet is None:
            return "is read next"
        left_s = (self.next_at - now).total_seconds()
        when = f"again in {duration(left_s)}" if left_s > 0 else "again now"
        return f"{self.not_yet}; read {self.reads} times, {when}"


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
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Only this many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List the gaps of trades: those that are open with the reason and the next read, then those that were.

    Times are UTC. A gap is healed when every id in it is stored. It is unhealable when the venue did not list an id in
    five reads over a day. `tapedeck heal` fills gaps, and the poller does so by itself.

    Example: `tapedeck gaps coinbase BTC-USD --hours 168`
    """
    found = gap_lines(context.obj.settings(), venue, symbol, hours * 3600, top, all_channels=all_channels)
    if as_json:
        for one in found:
            say_json(one)
        return 0
    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("venue", "symbol", "since (UTC)"):
        table.add_column(name)
    for name in ("for", "ids"):
        table.add_column(name, justify="right")
    for name in ("cause", "state", "why"):
        table.add_column(name)
    for one in found:
        lasted_s = ((one.ended_at or now) - one.started_at).total_seconds()
        table.add_row(
            one.venue, shown(one.symbol if one.channel == "trade" else f"{one.symbol} {one.channel}"),
            f"{one.started_at:%m-%d %H:%M:%S}", duration(max(0.0, lasted_s)), "" if one.ids is None else f"{one.ids:,}",
            shown(one.cause), one.state, shown(one.what(now)[:_REASON_WIDTH]),
        )  # fmt: skip
    console().print(table)
    say(f"{len(found)} gaps, {sum(one.state == 'open' for one in found)} of them open", err=True)
    return 0


def gap_lines(
    settings: Settings, venue: str, symbol: str, within_s: float, top: int, *, all_channels: bool
) -> list[GapLine]:
    """Return the gaps that are open, and the latest of the others.

    Raises:
        StoreError: the database cannot be read.
    """
    wanted = {"venue": venue, "symbol": symbol, "within_s": within_s, "top": top, "all": all_channels}
    connection = connect(database_url(settings, READER), application_name="tapedeck", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_QUERY, wanted)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
    except psycopg2.Error as error:
        raise StoreError(str(error).strip()) from error
    finally:
        connection.close()
    return [GapLine(*row) for row in rows]


def _is_healed(venue: str) -> bool:
    kind = VENUES.get(venue)
    return kind is not None and kind.trade_history is not None
