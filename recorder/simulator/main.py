"""The program `simulator`: every configured venue on its port, and one control port for all of them."""

import threading
import time
from functools import partial
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.health import HealthFile
from recorder.log import get_logger
from recorder.service import Part, run
from recorder.settings import Settings
from recorder.simulator.build import VENUES, build
from recorder.simulator.control import Argument, Controls
from recorder.simulator.server import Server
from recorder.simulator.truth import TruthLog
from recorder.simulator.venue import FakeVenue
from recorder.simulator.wire import Request, Response

_HEALTH_EVERY_S = 1.0
_EPOCH_S = 1_577_836_800  # 2020-01-01
_IDS_PER_S = 100_000
# A demo that runs for weeks must not fill the disk: so much per part, so many parts of this run, so many files in all.
_PART_BYTES = 64 << 20
_PARTS = 6
_KEPT_LOGS = 12

_log = get_logger(__name__)


def main(settings: Settings) -> int:
    """Serve until a signal comes.

    Raises:
        ConfigError: an unknown venue, or a port is taken.
    """
    chosen = settings.simulator
    if not chosen.ports:
        raise ConfigError("simulator.ports names no venue: give a port for each, as the demo profile does")
    health = HealthFile(settings.home, "simulator")
    venues: dict[str, FakeVenue] = {}
    controls: dict[str, Controls] = {}
    parts: dict[str, Part] = {}
    for name, port in chosen.ports.items():
        if name not in VENUES:
            raise ConfigError(f"simulator.ports: no simulated venue {name!r}; there are: {', '.join(VENUES)}")
        _forget_old_logs(chosen.truth_dir, name)
        venue, server, control = build(
            name,
            truth=TruthLog(
                chosen.truth_dir / f"truth-{name}-{time.time_ns() // 1_000_000}.jsonl",
                part_bytes=_PART_BYTES,
                parts=_PARTS,
            ),
            seed=chosen.seed,
            rate=chosen.rate,
            port=port,
            # A restarted simulator must not use trade ids anew: its market goes on, as a venue's does.
            first_trade_id=int((time.time() - _EPOCH_S) * _IDS_PER_S),
        )
        server.listen()
        venues[name], controls[name] = venue, control
        parts[f"simulator.{name}"] = server.run
        _log.info(
            "simulator.listening", venue=name, url=server.url, seed=chosen.seed, rate=chosen.rate,
            truth=str(venue.truth.path),
        )  # fmt: skip
    control_server = Server(_ControlPort(controls), chosen.control_port)
    control_server.listen()
    parts["simulator.control"] = control_server.run
    parts["simulator.health"] = partial(_report, health, venues)
    try:
        return run(parts)
    finally:
        for venue in venues.values():
            venue.end(time.time_ns())
        health.remove()


def _report(health: HealthFile, venues: dict[str, FakeVenue], stop: threading.Event) -> None:
    while not stop.is_set():
        figures = {
            name: {"clients": len(venue.clients), "messages": venue.sent_messages, "items": venue.truth.items}
            for name, venue in venues.items()
        }
        health.write("live", ", ".join(venues), figures)
        stop.wait(_HEALTH_EVERY_S)


def _forget_old_logs(folder: Path, venue: str) -> None:
    logs = sorted(folder.glob(f"truth-{venue}-*.jsonl"))
    for path in logs[: max(0, len(logs) - _KEPT_LOGS + 1)]:
        path.unlink(missing_ok=True)


class _ControlPort:
    """An `App` with nothing but HTTP: `POST / {"venue": "kraken", "do": "close"}`, `GET /` for the list."""

    def __init__(self, controls: dict[str, Controls]) -> None:
        self._controls = controls

    def handshake(self, request: Request) -> Response | None:
        """There is no websocket here."""
        return Response(404, b"{}")

    def http(self, request: Request, now_ns: int) -> Response:
        """List the actions of every venue, or do one at one venue or at all."""
        if request.method == "GET":
            return Response(200, msgspec.json.encode({name: one.help() for name, one in self._controls.items()}))
        try:
            arguments = msgspec.json.decode(request.body, type=dict[str, Argument])
            wanted = arguments.pop("venue", None)
            chosen = {name: one for name, one in self._controls.items() if wanted in (None, name)}
            if not chosen:
                raise ConfigError(f"no simulated venue {wanted!r}; there are: {', '.join(self._controls)}")
            action = str(arguments.pop("do", ""))
            done = {name: one.do(action, arguments) for name, one in chosen.items()}
        except (msgspec.DecodeError, ConfigError) as error:
            return Response(400, msgspec.json.encode({"error": str(error)}))
        except TimeoutError:
            return Response(503, b'{"error":"the venue does not answer: it is being stopped"}')
        return Response(200, msgspec.json.encode(done))

    def opened(self, connection: object, request: Request, now_ns: int) -> None: ...

    def message(self, connection: object, payload: bytes, now_ns: int) -> None: ...

    def closed(self, connection: object, why: str, now_ns: int) -> None: ...

    def advance(self, now_ns: int, now_s: float) -> float:
        """Nothing happens by itself."""
        return 1.0

    def before_writes(self) -> None: ...

    def after_writes(self, now_ns: int, now_s: float) -> None: ...
