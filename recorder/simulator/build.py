"""The simulated venues by name, and how one is put together."""

import time
from collections.abc import Mapping, Sequence

from recorder.clock import Clock
from recorder.simulator.control import Controls
from recorder.simulator.market import Market, Spec
from recorder.simulator.server import Server
from recorder.simulator.venue import FakeVenue
from recorder.simulator.venues.binance.stream import Binance
from recorder.simulator.venues.bitfinex.stream import Bitfinex
from recorder.simulator.venues.coinbase.stream import Coinbase
from recorder.simulator.venues.coinbase_advanced.stream import CoinbaseAdvanced
from recorder.simulator.venues.figure.stream import Figure
from recorder.simulator.venues.kraken.stream import Kraken
from recorder.simulator.venues.okx.stream import Okx
from recorder.simulator.venues.polymarket.stream import Polymarket
from recorder.truth import TradeItem, TruthLog

VENUES: dict[str, type[FakeVenue]] = {
    Binance.name: Binance,
    Bitfinex.name: Bitfinex,
    Coinbase.name: Coinbase,
    CoinbaseAdvanced.name: CoinbaseAdvanced,
    Figure.name: Figure,
    Kraken.name: Kraken,
    Okx.name: Okx,
    Polymarket.name: Polymarket,
}


def build(
    name: str,
    *,
    truth: TruthLog,
    seed: int,
    rate: float,
    port: int = 0,
    clock: Clock | None = None,
    specs: tuple[Spec, ...] | None = None,
    depth: int = 400,
    first_trade_id: int = 1_000_000,
    past: Mapping[str, Sequence[TradeItem]] | None = None,
) -> tuple[FakeVenue, Server, Controls]:
    """Return a venue, its server, which does not listen yet, and its controls.

    Args:
        name: Of the venue.
        truth: Its log.
        seed: Of its market.
        rate: Market events a second; 0 is as fast as the clients read.
        port: Of the server; 0 takes a free one.
        clock: Of the server.
        specs: Symbols in place of those of the venue.
        depth: Levels of a side.
        first_trade_id: Of each symbol that has no past.
        past: The last prints of earlier runs by symbol, which this run continues.
    """
    now_ns = time.time_ns()
    kind = VENUES[name]
    market = Market(
        specs or kind.specs,
        seed=seed,
        now_ns=now_ns,
        depth=depth,
        first_trade_id=first_trade_id,
        kind=kind.market_kind,
    )
    venue = kind(market, truth, rate=rate, now_ns=now_ns)
    venue.begin(past or {})
    server = Server(venue, port, clock)
    return venue, server, Controls(venue, server)
