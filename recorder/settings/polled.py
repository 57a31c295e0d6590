"""The groups of settings of the poller: types, units, defaults and meanings."""

from typing import Annotated, Literal

from pydantic import Field

from recorder.settings.errors import HTTP_ADDRESS
from recorder.settings.groups import Group, Words


class PolymarketSettings(Group):
    """The markets of Polymarket that are polled."""

    volume_min: float = Field(100.0, ge=0, le=1e12, description="Least traded volume of a market, USDC")
    window_hours: float = Field(336.0, gt=0, le=87_600, description="Markets that end later are not polled")
    game_hours: float = Field(
        3.0, gt=0, le=48, description="Expected length of a game, which ends at a time of its own"
    )
    streamed_markets: int = Field(
        300,
        ge=0,
        le=2_000,
        description="Markets that are streamed because they end soon; 0: only subscriptions by hand",
    )
    books_from: Literal["T0", "T1", "T2", "T3", "T4", "none"] = Field(
        "T2", description="First tier whose complete books are stored, not only their figures: T0 to T4, or none"
    )
    whale_usdc: float = Field(1_000.0, ge=1, le=1e9, description="Least cash of a large trade that is stored, USDC")
    whale_row_usdc: float = Field(
        100.0, ge=0.01, le=1e9, description="Least cash of the single fills that are added up to large trades, USDC"
    )
    whale_shown_usdc: float = Field(
        10_000.0,
        ge=1,
        le=1e9,
        description="Least cash of a large trade that is in the log, and that `tapedeck whales` shows, USDC",
    )


class PollerSettings(Group):
    """The program that polls REST services on a schedule."""

    enabled: bool = Field(True, description="Start it with the appliance")
    workers: int = Field(
        8, ge=1, le=32, description="Jobs that may run at once; long ones must not keep short ones from their slots"
    )
    off: Words = Field((), description="Jobs that do not run, such as discovery; `tapedeck poll --list` names all")
    every_s: dict[str, Annotated[int, Field(ge=1, le=86_400)]] = Field(
        {}, description="Seconds between two runs of a job, by its name; unset: its own"
    )
    keep_days: float = Field(2, ge=0, description="Loaded answers are kept this long in the poller's journal, days")
    keep_gb: float = Field(5, ge=0, description="Loaded answers are kept up to this size of the poller's journal, GiB")
    services: dict[str, Annotated[str, Field(pattern=HTTP_ADDRESS)]] = Field(
        {}, description="Address of a service, by its name: gamma, clob, data, yahoo; unset: the public one"
    )
    polymarket: PolymarketSettings = PolymarketSettings()


class BackfillSettings(Group):
    """History that the poller reads, and `tapedeck backfill`."""

    days: float = Field(
        0,
        ge=0,
        le=3650,
        description="History of trades before the first one recorded that each new instrument is filled with, days; "
        "0: none",
    )


class YahooSettings(Group):
    """Stocks, whose bars are polled from Yahoo Finance. Its address is poller.services.yahoo."""

    symbols: Words = Field((), description="Symbols in Yahoo's spelling, such as AAPL, VOD.L, ^GSPC or BTC-USD")
    exchanges: dict[str, str] = Field(
        {}, description="Exchange of a symbol, such as XNYS or 24/7; unset: by its suffix, and by Yahoo's answers"
    )
    requests_per_day: int = Field(
        2000, ge=10, le=100_000, description="Budget of a UTC day: the time between two polls is stretched to fit it"
    )
    user_agent: str = Field(
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        min_length=1,
        description="Sent with every request; Yahoo refuses clients that are no browser",
    )
