"""The peer of the bench: cryptofeed 2.5 with its Postgres backend, as its examples use it.

It runs in an environment of its own (peer_environment.py) and ends by itself after ten minutes at the latest. Only the
endpoint differs from what a user would have: the addresses are the feed server's, and the connection is opened without
TLS, since the feed speaks plain ws.

    python peer_app.py FEED_PORT POSTGRES_HOST POSTGRES_PORT USER DATABASE     (the password is in PGPASSWORD)
"""

import signal
import sys
from typing import Any

import cryptofeed.connection  # type: ignore[import-not-found]
from cryptofeed import FeedHandler
from cryptofeed.backends.postgres import (  # type: ignore[import-not-found]
    BookPostgres,
    TickerPostgres,
    TradePostgres,
)
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import L2_BOOK, TICKER, TRADES  # type: ignore[import-not-found]
from cryptofeed.exchanges import Binance  # type: ignore[import-not-found]

LIMIT_S = 600
SYMBOLS = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "DOGE-USDT"]
_connect = cryptofeed.connection.connect


def _connect_plainly(address: str, **options: Any) -> Any:
    """Open a WebSocket without TLS; cryptofeed accepts only addresses that begin with wss."""
    return _connect(address.replace("wss://", "ws://", 1), **options)


def main() -> None:
    """Record until killed."""
    signal.alarm(LIMIT_S)  # nothing ends it where the bench itself was killed
    feed_port, host, port, user, database = sys.argv[1:]
    cryptofeed.connection.connect = _connect_plainly
    Binance.websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{feed_port}")]
    routes = Routes("/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}")
    Binance.rest_endpoints = [RestEndpoint(f"http://127.0.0.1:{feed_port}", routes=routes)]
    postgres = {"host": host, "port": int(port), "user": user, "db": database}
    callbacks = {
        TRADES: TradePostgres(**postgres),
        TICKER: TickerPostgres(**postgres),
        L2_BOOK: BookPostgres(**postgres),
    }
    handler = FeedHandler(config={"uvloop": True, "log": {"filename": "/dev/stderr", "level": "WARNING"}})
    handler.add_feed(Binance(symbols=SYMBOLS, channels=list(callbacks), callbacks=callbacks))
    handler.run()


if __name__ == "__main__":
    main()
