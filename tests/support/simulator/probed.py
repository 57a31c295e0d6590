"""The simulated venues and services that `tapedeck probe` asks, and the command against them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recorder.cli import main
from recorder.simulator.connection import Connection
from recorder.simulator.running import Running, running
from recorder.simulator.server import App
from recorder.simulator.services.polymarket.streamed import Stream
from recorder.simulator.services.running import RunningServices, running_services
from recorder.simulator.venues.polymarket.polled import PolledMarkets
from recorder.simulator.venues.polymarket.stream import Polymarket
from recorder.simulator.wire import Request, Response
from support.database_server import ROOT

SYMBOLS = {"coinbase_advanced": "BTC-EUR"}
"""Where the simulated venue does not list the symbol that is asked about by default."""

_PATHS = {"binance": "/stream", "bitfinex": "/ws/2"}
_RATES = {"polymarket": 20.0}  # market events a second: its feed is as busy as the stream
_MARKETS = 60
_STARTED_S = 1_796_000_000


class Probed(NamedTuple):
    """What is simulated for one venue."""

    name: str
    venue: Running | None
    services: RunningServices | None


@contextmanager
def probed(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probed]:
    """Serve what a probe of a venue asks, and point the settings to it."""
    for variable in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TAPEDECK_HOME", str(home))
    with ExitStack() as stack:
        venue = services = None
        if name != "yahoo":
            venue = stack.enter_context(running(name, rate=_RATES.get(name, 600.0)))
            point_to(name, venue.url + _PATHS.get(name, ""), venue.rest_url, monkeypatch)
        if name == "polymarket":
            assert venue is not None
            assert isinstance(venue.venue, Polymarket)
            venue.venue.polled = PolledMarkets(_MARKETS, 1, 2.0)
            stream = Stream(venue.venue, venue.server, _STARTED_S)
            services = stack.enter_context(running_services(("gamma", "clob", "data"), markets=_MARKETS, stream=stream))
        if name == "yahoo":
            services = stack.enter_context(running_services(("yahoo",)))
        for service, url in services.urls.items() if services is not None else ():
            monkeypatch.setenv(f"TAPEDECK__POLLER__SERVICES__{service.upper()}", url)
        yield Probed(name, venue, services)


def point_to(name: str, url: str, rest_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the settings of a venue to addresses, without the pace that a real venue needs."""
    prefix = f"TAPEDECK__VENUES__{name.upper()}__"
    monkeypatch.setenv(f"{prefix}URL", url)
    monkeypatch.setenv(f"{prefix}REST_URL", rest_url)
    monkeypatch.setenv(f"{prefix}REST__PER_S", "1000")
    if name in SYMBOLS:
        monkeypatch.setenv(f"{prefix}SYMBOLS", SYMBOLS[name])


def alter_rest(
    one: Probed, monkeypatch: pytest.MonkeyPatch, service: str, change: Callable[[Request, Response], Response]
) -> None:
    """Have the answers of a simulated REST service changed before they are sent; "" is the venue's own service."""
    if service:
        assert one.services is not None
        app: App = one.services.service(service)
    else:
        assert one.venue is not None
        app = one.venue.venue
    answer = app.http
    monkeypatch.setattr(app, "http", lambda request, now_ns: change(request, answer(request, now_ns)))


def alter_stream(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """Have the messages of simulated streams changed before they are sent."""
    send = Connection.text

    def text(
        self: Connection, payload: bytes, framed: bytes | None = None, items: tuple[int, int] | None = None
    ) -> None:
        changed = change(payload)
        send(self, changed, framed if changed == payload else None, items)

    monkeypatch.setattr(Connection, "text", text)


class Answers(NamedTuple):
    """What the command printed with --json."""

    code: int
    report: dict[str, Any]

    @property
    def states(self) -> dict[str, str]:
        """Return the state of each question that was asked."""
        return {line["question"]: line["state"] for line in self.report["lines"] if line["state"] != "not asked"}

    def seen(self, question: str) -> str:
        """Return what was seen."""
        return str(next(line["seen"] for line in self.report["lines"] if line["question"] == question))


def ask(name: str, capsys: pytest.CaptureFixture[str], *more: str) -> Answers:
    """Run the command for one venue."""
    capsys.readouterr()
    code = main(["probe", name, "--json", *more])
    printed = capsys.readouterr()
    assert printed.out, printed.err
    return Answers(code, json.loads(printed.out))
