"""The times of encoded trades, whatever the lengths of their rows."""

import random
from typing import Literal

import pytest

from recorder.events import Trade
from recorder.pgcopy.encode import encode_trades
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.store.staging.times import event_times

SIDES: dict[str, list[Literal["b", "s"] | None]] = {"no side": [None], "mixed": [None, "b", "s"]}
IDS = {"A-B": 5, "C-D": -(2**62)}


@pytest.mark.parametrize("kind", ["ids", "no side", "texts of one length", "mixed"])
def test_the_least_and_the_greatest_time_are_those_of_the_rows(kind: str) -> None:
    rng = random.Random(kind)
    times_us = [rng.randrange(10**15, 18 * 10**14) for _ in range(300)]
    sides = SIDES.get(kind, ["b", "s"])
    texts = {"texts of one length": ("abc", "def"), "mixed": (None, "x", "0123")}.get(kind, (None,))
    trades = [
        Trade("A-B" if rng.random() < 0.5 else "C-D", rng.getrandbits(60), at_us * 1000, at_us * 1000 + 5, 1.5, 2.5,
              rng.choice(sides), venue_trade_id=rng.choice(texts))
        for at_us in times_us
    ]  # fmt: skip
    assert event_times(encode_trades(trades, IDS)) == (min(times_us) - PG_EPOCH_US, max(times_us) - PG_EPOCH_US)


@pytest.mark.parametrize("data", [b"", b"\x00\x08\x00", b"\x00\x08" + b"\xff" * 20])
def test_what_are_no_rows_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"tuple|fields|empty"):
        event_times(data)
