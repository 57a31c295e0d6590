"""How long it takes to certify a day of twenty instruments."""

import time
from pathlib import Path

import pytest
from support.certify.home import BEGIN_US, CertifiedHome, hourly_feed, record_hours

from recorder.certify.database import opened
from recorder.certify.document import HOUR_US
from recorder.certify.make import Maker
from recorder.certify.tape import StreamHour
from recorder.events import Channel
from recorder.identity import instrument_id
from recorder.venues.coinbase.stream import Coinbase

INSTRUMENTS = [f"C{number:02d}-USD" for number in range(20)]
HOURS = 24
STEP_S = 5
LIMIT_S = 60.0
CHANNELS: tuple[Channel, ...] = ("trade", "quote")


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("decode", [False, True], ids=["recorded", "decoded"])
def test_a_day_of_twenty_instruments_is_certified_within_a_minute(
    tmp_path: Path, database: str, decode: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    home = CertifiedHome(tmp_path, database)
    record_hours(home.recorder, hourly_feed(HOURS + 1, STEP_S, symbols=INSTRUMENTS), INSTRUMENTS)
    home.load()
    symbols = {instrument_id("coinbase", symbol): symbol for symbol in INSTRUMENTS}
    wanted = [
        StreamHour(one, channel, BEGIN_US + hour * HOUR_US)
        for hour in range(HOURS) for one in symbols for channel in CHANNELS
    ]  # fmt: skip
    now_us = BEGIN_US + 2 * HOURS * HOUR_US
    begun_s = time.monotonic()
    with opened(database) as connection:
        connection.snapshot()
        made, _ = Maker(connection, home.journals, "coinbase", Coinbase(), decode=decode).make(symbols, wanted, now_us)
        stored = connection.store(made, now_us)
    took_s = time.monotonic() - begun_s
    rows = sum(one.rows.stored for one in stored)
    with capsys.disabled():
        print(f"\n{len(stored)} hours of streams, {rows:,} rows, {took_s:.1f} s, {rows / took_s:,.0f} rows/s")
    assert len(stored) == HOURS * len(INSTRUMENTS) * len(CHANNELS)
    assert {one.grade for one in stored if one.channel == "trade"} == {"proved"}
    assert took_s < LIMIT_S
