"""`tapedeck whales`: the large trades of prediction markets."""

import math
from datetime import datetime
from typing import Annotated, Any

import msgspec
import psycopg2
import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.cli.common import console
from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import READER, classify, connect

_QUERY = """
SELECT ts_event, side, outcome, cash, shares, question, slug, wallet, transaction_hash, source
  FROM whale_named
 WHERE ts_event > now() - make_interval(secs => %s) AND cash >= %s
 ORDER BY ts_event DESC, transaction_hash LIMIT %s"""
_HEAD = ("question", "time (UTC)", "USDC", "shares", "side", "outcome", "wallet")


class LargeTrade(msgspec.Struct):
    """One large trade as it is printed."""

    ts_event: datetime
    side: str
    outcome: str | None
    cash: float  # USDC
    shares: float
    question: str | None
    slug: str | None
    wallet: str | None  # None where only the stream has shown it
    transaction: str
    source: str  # rest, stream


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(whales)


def whales(
    context: typer.Context,
    hours: Annotated[float, typer.Option(min=0.01, max=8_760, help="Only trades of the last hours.")] = 24.0,
    least: Annotated[
        float | None, typer.Option(help="Least cash, USDC; unset: the setting poller.polymarket.whale_shown_usdc.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=100_000, help="Only this many; the newest come first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List the large trades of prediction markets, the newest at the top.

    A large trade is what one wallet paid in one transaction. Those from poller.polymarket.whale_usdc up are stored.

    Example: `tapedeck whales --hours 1 --least 1000`
    """
    settings = context.obj.settings()
    if least is not None and math.isnan(least):
        raise ConfigError("--least is a number of USDC, not nan")
    least_usdc = settings.poller.polymarket.whale_shown_usdc if least is None else least
    found = large_trades(settings, hours * 3600, least_usdc, top)
    if as_json:
        for one in found:
            say_json(one)
        return 0
    rows = [
        [
            printable(one.question or one.slug or "a market that is not listed yet"),
            f"{one.ts_event:%Y-%m-%d %H:%M:%S}",
            f"{one.cash:,.0f}", f"{one.shares:,.0f}", one.side or "", printable(one.outcome or ""),
            one.wallet or "not known yet",
        ]
        for one in found
    ]  # fmt: skip
    console().list_rows(_HEAD, rows, ("USDC", "shares"))
    say(f"{len(found)} trades from {least_usdc:,.0f} USDC up", err=True)
    return 0


def large_trades(settings: Settings, within_s: float, least_usdc: float, most: int) -> list[LargeTrade]:
    """Return the newest large trades.

    Raises:
        StoreError: the database cannot be read.
    """
    connection = connect(database_url(settings, READER), application_name="tapedeck", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(_QUERY, (within_s, least_usdc, most))
            rows: list[tuple[Any, ...]] = cursor.fetchall()
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
    return [LargeTrade(*row) for row in rows]
