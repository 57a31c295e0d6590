"""Put a fake venue together."""

import time

from recorder.clock import Clock
from recorder.simulator.binance import Binance
from recorder.simulator.bitfinex import Bitfinex
from recorder.simulator.coinbase import Coinbase
from recorder.simulator.coinbase_advanced import CoinbaseAdvanced
from recorder.simulator.control import Controls
from recorder.simulator.figure import Figure
from recorder.simulator.kraken import Kraken
from recorder.simulator.market import Market, Spec
from recorder.simulator.okx import Okx
from recorder.simulator.polymarket import Polymarket
from recorder.simulator.server import Server
from recorder.simulator.truth import TruthLog
from recorder.simulator.venue import FakeVenue

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
) -> tuple[FakeVenue, Server, Controls]:
    """A venue, its server (not yet listening) and its controls."""
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
    server = Server(venue, port, clock)
    return venue, server, Controls(venue, server)
