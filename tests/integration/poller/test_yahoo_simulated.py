"""The job yahoo-bars over the end of a session of the simulated Yahoo: what is stored equals what was served."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from support.poller.polling import Asking

from recorder.clock import ManualClock
from recorder.identity import instrument_id
from recorder.poller.job import Kept
from recorder.poller.yahoo.bars import YahooBars
from recorder.poller.yahoo.ledger import Spent, write_spent
from recorder.simulator.services.running import running_services
from recorder.venues.yahoo.prices import price_of, unit_of

NS = 10**9
DAY = date(2026, 11, 25)
SYMBOLS = {"AAPL": "USD", "VOD.L": "GBp"}
MINUTES = (*range(13), *range(45, 49))
"""From 16:20: London closes after 10 minutes, and its final bars are due 35 minutes later; New York stays open."""


class Round(Asking):
    """A round whose answers are received by the clock of the simulator."""

    def __init__(self, clock: ManualClock, slot_ns: int, urls: Mapping[str, str]) -> None:
        super().__init__(**urls)
        self.slot_ns = slot_ns
        self._clock = clock

    def get(self, service: str, path: str) -> Kept:
        return msgspec.structs.replace(super().get(service, path), received_ns=self._clock.wall_ns())


Key = tuple[int, int, int]  # instrument, length, start in seconds
Values = tuple[object, ...]


def stored(rows: list[tuple[object, ...]]) -> dict[Key, Values]:
    """Return the final bars: the newest row of each, where it is not partial."""
    newest: dict[Key, tuple[int, bool, Values]] = {}
    for instrument, length, start_ns, _, *values, live, partial, _, _, revision in rows:
        assert isinstance(instrument, int)
        assert isinstance(length, int)
        assert isinstance(start_ns, int)
        assert isinstance(revision, int)
        assert isinstance(partial, bool)
        if not live:
            key = instrument, length, start_ns // NS
            newest[key] = max(newest.get(key, (0, True, ())), (revision, partial, tuple(values[:5])))
    return {key: values for key, (_, partial, values) in newest.items() if not partial}


def served(path: Path) -> dict[Key, Values]:
    """Return the finished bars of the truth log that come after the last split."""
    found: dict[Key, Values] = {}
    for line in map(json.loads, path.read_text().splitlines()):
        if line["k"] == "served_bar" and datetime.fromtimestamp(line["ts"], UTC).date() >= DAY - timedelta(days=1):
            unit = unit_of(SYMBOLS[line["symbol"]], 2)
            key = instrument_id("yahoo", line["symbol"]), {"1m": 60, "1d": 86_400}[line["interval"]], line["ts"]
            found[key] = (*(price_of(line[name], unit) for name in "ohlc"), line["v"])
    return found


def test_every_finished_bar_that_was_served_is_stored_with_its_values(tmp_path: Path) -> None:
    start_ns = int(datetime(2026, 11, 25, 16, 20, tzinfo=UTC).timestamp()) * NS
    clock = ManualClock(start_ns)
    state = tmp_path / "state" / "yahoo.json"
    write_spent(state, Spent(DAY, 0, {symbol: DAY - timedelta(days=1) for symbol in SYMBOLS}))
    rows: list[tuple[object, ...]] = []
    asked = 0
    with running_services(("yahoo",), folder=tmp_path, clock=clock) as services:
        bars = YahooBars(list(SYMBOLS), {}, 2000, state, clock)
        for minute in MINUTES:
            clock.advance((start_ns + minute * 60 * NS - clock.wall_ns()) / NS)
            round = Round(clock, start_ns + minute * 60 * NS, services.urls)
            bars.run(round)
            assert round.odds == []
            asked += len(round.kept)
            rows += round.rows.get("equity_bar", [])
        truth = served(services.truth_path("yahoo"))
    final = stored(rows)
    assert len(truth) > 500
    assert {key: final.get(key) for key in truth} == truth
    assert asked == len(MINUTES) + 10 + 2, "a closed exchange is asked nothing but its final bars"
