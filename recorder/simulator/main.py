"""The program `simulator`: every configured venue and service on its own port, and one control port for all."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.process.health import HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import reporting
from recorder.process.threads import Part, run
from recorder.settings import Settings, SimulatorSettings
from recorder.simulator.actions import Actions, Argument, refuse_web_page
from recorder.simulator.build import VENUES, build
from recorder.simulator.health import check_health
from recorder.simulator.server import HttpOnly, Server
from recorder.simulator.services.build import SERVICES, Served, build_services, end
from recorder.simulator.services.polymarket.streamed import Stream
from recorder.simulator.venue import FakeVenue
from recorder.simulator.venues.polymarket.polled import PolledMarkets
from recorder.simulator.venues.polymarket.stream import Polymarket
from recorder.simulator.wire import Request, Response
from recorder.truth import KEPT_LOGS, PART_BYTES, PARTS, Line, Reset, TradeItem, TruthLog

_EPOCH_S = 1_577_836_800  # 2020-01-01
_IDS_PER_S = 100_000
_NUMBERS = re.compile(r"-[0-9]+(-[0-9]+)?")  # of a log: its run, and its part from the second one on
_PAST_FILES = 2  # whose ends a run continues: of the last run, and of the one before that where it was short
_PAST_BYTES = 8 << 20

_log = get_logger(__name__)


def main(settings: Settings) -> int:
    """Serve until a signal arrives.

    Raises:
        ConfigError: a venue or service is unknown, or a port is in use.
    """
    chosen = settings.simulator
    _check_names(chosen)
    health = HealthFile(settings.home, "simulator")
    venues: dict[str, FakeVenue] = {}
    controls: dict[str, Actions] = {}
    servers: dict[str, Server] = {}
    for name, port in chosen.ports.items():
        venue, server, control = build(
            name,
            past=last_trades(chosen.truth_dir, f"truth-{name}"),
            truth=_truth_log(chosen.truth_dir, f"truth-{name}"),
            seed=chosen.seed,
            rate=chosen.rate,
            port=port,
            # Without a log of earlier runs, too, a restarted simulator must not reuse trade ids: no venue does.
            first_trade_id=int((time.time() - _EPOCH_S) * _IDS_PER_S),
        )
        server.listen()
        venues[name], controls[name] = venue, control
        servers[f"simulator.{name}"] = server
        _log.info(
            "simulator.listening", venue=name, url=server.url, seed=chosen.seed, rate=chosen.rate,
            truth=str(venue.truth.path),
        )  # fmt: skip
    services = _serve(chosen, venues, servers)
    for name, one in services.items():
        one.server.listen()
        controls[name] = one.controls
        servers[f"simulator.{name}"] = one.server
        _log.info(
            "simulator.listening", service=name, url=one.server.rest_url, seed=chosen.seed, markets=chosen.markets,
            truth=str(one.service.truth.log.path),
        )  # fmt: skip
    control_server = Server(_ControlPort(controls), chosen.control_port)
    control_server.listen()
    servers["simulator.control"] = control_server
    parts: dict[str, Part] = {name: server.run for name, server in servers.items()}
    answering = {name: one.service for name, one in services.items()}
    parts["simulator.health"] = reporting(
        health, partial(check_health, servers, venues, answering), settings.monitoring
    )
    try:
        return run(parts)
    finally:
        for venue in venues.values():
            venue.end(time.time_ns())
        end(list(services.values()), time.time_ns())
        health.remove()


def _check_names(chosen: SimulatorSettings) -> None:
    if not chosen.ports and not chosen.service_ports:
        raise ConfigError("simulator.venues names no venue: list them as the demo profile does")
    for name in chosen.ports:
        if name not in VENUES:
            raise ConfigError(f"simulator.venues: no simulated venue {name!r}; the venues are: {', '.join(VENUES)}")
    for name in chosen.service_ports:
        if name not in SERVICES:
            raise ConfigError(f"simulator.services: no service {name!r}; the services are: {', '.join(SERVICES)}")


def _serve(chosen: SimulatorSettings, venues: dict[str, FakeVenue], servers: dict[str, Server]) -> dict[str, Served]:
    """Return the services. They show the markets of the simulated stream where that runs, too."""
    streaming = venues.get(Polymarket.name)
    stream = None
    if isinstance(streaming, Polymarket):
        streaming.polled = PolledMarkets(chosen.markets, chosen.seed, chosen.trades_per_s)
        stream = Stream(streaming, servers[f"simulator.{Polymarket.name}"], int(time.time()))
    return build_services(
        chosen.service_ports,
        make_log=lambda group: _truth_log(chosen.truth_dir, f"answers-{group}"),
        seed=chosen.seed,
        markets=chosen.markets,
        trades_per_s=chosen.trades_per_s,
        stream=stream,
    )


def last_trades(folder: Path, name: str) -> dict[str, list[TradeItem]]:
    """Return the last trades in the logs of earlier runs by symbol, in order.

    A venue goes on after its restart: it uses no id twice, skips none, and its REST service lists what came before.

    Args:
        folder: Of the logs.
        name: Of the venue's logs, such as truth-kraken.
    """
    found: dict[str, dict[int, TradeItem]] = {}
    for path in _logs(folder, name)[-_PAST_FILES:]:
        for line in _tail(path):
            if isinstance(line, Reset):
                found.pop(line.s, None)
            elif isinstance(line, TradeItem) and not line.again:
                found.setdefault(line.s, {})[line.number or line.id] = line
    return {symbol: [trades[number] for number in sorted(trades)] for symbol, trades in found.items()}


def _tail(path: Path) -> Iterator[Line]:
    """Yield the trades and the restarts of ids at the end of a log; what is not complete was sent to no client."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        skipped = max(0, file.seek(0, os.SEEK_END) - _PAST_BYTES)
        file.seek(skipped)
        lines = file.read().split(b"\n")
    for text in lines[1 if skipped else 0 : -1]:
        if text.startswith((b'{"k":"trade"', b'{"k":"reset"')):
            with suppress(msgspec.DecodeError):  # a power cut may leave any bytes
                yield decoder.decode(text)


def _logs(folder: Path, name: str) -> list[Path]:
    """Return the logs of a name, in the order in which they were written; a run may have several parts."""
    logs = [path for path in folder.glob(f"{name}-*.jsonl") if _NUMBERS.fullmatch(path.stem.removeprefix(name))]
    return sorted(logs, key=lambda path: [int(part) for part in path.stem.removeprefix(f"{name}-").split("-")])


def _truth_log(folder: Path, name: str) -> TruthLog:
    """Begin a log, and delete the oldest ones of that name."""
    logs = _logs(folder, name)
    for path in logs[: max(0, len(logs) - KEPT_LOGS + 1)]:
        path.unlink(missing_ok=True)
    return TruthLog(folder / f"{name}-{time.time_ns() // 1_000_000}.jsonl", part_bytes=PART_BYTES, parts=PARTS)


class _ControlPort(HttpOnly):
    """The control port: `POST / {"venue": "kraken", "do": "close"}` runs an action, `GET /` lists all."""

    def __init__(self, controls: dict[str, Actions]) -> None:
        self._controls = controls

    def http(self, request: Request, now_ns: int) -> Response:
        """List the actions of every venue and service, or run one on one of them or on all."""
        refusal = refuse_web_page(request)
        if refusal is not None:
            return refusal
        if request.method == "GET":
            return Response(200, msgspec.json.encode({name: one.help() for name, one in self._controls.items()}))
        try:
            arguments = msgspec.json.decode(request.body, type=dict[str, Argument])
            wanted = arguments.pop("venue", None)
            action = str(arguments.pop("do", ""))
            chosen = {name: one for name, one in self._controls.items() if wanted in (None, name)}
            if not chosen:
                raise ConfigError(f"no simulated venue {wanted!r}; the venues are: {', '.join(self._controls)}")
            if wanted is None:  # of all, those that have it
                chosen = {name: one for name, one in chosen.items() if one.offers(action)} or chosen
            done = {name: one.do(action, arguments) for name, one in chosen.items()}
        except (msgspec.DecodeError, ConfigError) as error:
            return Response(400, msgspec.json.encode({"error": str(error)}))
        except TimeoutError:
            return Response(503, b'{"error":"the venue does not answer; it may be stopping"}')
        return Response(200, msgspec.json.encode(done))
