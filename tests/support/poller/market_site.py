"""Polymarket's services with one market, in a test's own process or on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from recorder.poller.polymarket.own_book import news
from recorder.poller.services import Reply
from support.poller.polymarket_rounds import Gamma
from support.venues.polymarket import CONDITION, NO, YES, gamma_row


class Site:
    """Gamma, the Data API and the CLOB with some markets, as the services of a poller.

    Attributes:
        gamma: The markets.
        payouts: Of the market of the rows; None while it is not resolved.
        asked: Paths, in their order.
    """

    url = "http://test"

    def __init__(self) -> None:
        self.gamma = Gamma(gamma_row())
        self.payouts: tuple[int, int] | None = None
        self.asked: list[str] = []

    def change(self, **values: Any) -> None:
        """Change values of the market."""
        self.gamma.rows["1557558"] = gamma_row(**values)

    def ask(self, path: str, body: bytes) -> Reply:
        if path in news.PATHS.values():  # of the stream, which announces nothing
            return Reply(200, news.encode([]))
        self.asked.append(path)
        if path.startswith("/markets/keyset"):
            return Reply(*self.gamma("gamma", path), "")
        found: list[dict[str, Any]] = []
        if self.payouts is not None and path.startswith("/v2/resolutions"):
            if CONDITION in path:
                found = [{"condition_id": CONDITION, "status": "resolved", "payouts": self.payouts}]
        elif self.payouts is not None and path.startswith("/v2/tokens"):
            asked = parse_qs(urlsplit(path).query)["token_id"][0].split(",")
            prices = dict(zip((YES, NO), self.payouts, strict=True))
            found = [
                {"token_id": token, "condition_id": CONDITION, "resolved": True, "final_price": prices[token] / 1e6}
                for token in asked
            ]
        return Reply(200, json.dumps({"data": found}).encode(), "")

    def close(self) -> None:
        pass


@contextmanager
def serving(site: Site) -> Iterator[str]:
    """Serve a site on loopback, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            """Write no line for each request."""

        def _answer(self, request: bytes) -> None:
            reply = site.ask(self.path, request)
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="market-site")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
