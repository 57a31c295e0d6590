"""Bars of stocks: each finished bar that was answered is stored with its values."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recorder.identity import instrument_id
from recorder.truth import ServedBar
from recorder.verify.served.result import ServedCheck, differing

BATCH = 1_000
INTERVALS = {"1m": 60, "1d": 86_400}
"""Lengths in seconds of the bars that are stored."""

_ROUNDING = 1e-4  # stored prices are rounded to the digits that the answer names, and two more
_RELATIVE = 1e-6  # the service sends 32-bit floats
_HUNDREDTHS = ("GBP", "ZAR", "ILS")  # their prices are answered in hundredths, and stored in units
_NAMES = ("open", "high", "low", "close", "volume")

Key = tuple[int, int, int]
"""Instrument, length in seconds, start in unix seconds."""


class StoredBar(NamedTuple):
    """A row of equity_bar."""

    values: tuple[float, float, float, float, int | None]
    currency: str | None
    certain: bool  # it is finished and nothing about it is odd
    later_splits: float  # product of the ratios of the splits after it


Find = Callable[[Sequence[Key]], dict[Key, StoredBar]]
"""Returns the stored bars with some keys."""


class BarCheck:
    """Compares the bars of one group of services."""

    def __init__(self, services: str, find: Find) -> None:
        self.check = ServedCheck(services, "bars")
        self._services = services
        self._find = find
        self._batch: dict[Key, ServedBar] = {}

    def served(self, bars: Sequence[ServedBar]) -> None:
        """Note the bars that an answer to the poller has for the first time."""
        for bar in bars:
            length_s = INTERVALS.get(bar.interval)
            if length_s is not None:
                self._batch[instrument_id(self._services, bar.symbol), length_s, bar.ts] = bar
        if len(self._batch) >= BATCH:
            self._judge()

    def end(self) -> ServedCheck:
        """Judge what is left, and return the result."""
        self._judge()
        return self.check

    def _judge(self) -> None:
        stored = self._find(list(self._batch))
        for key, bar in self._batch.items():
            self.check.served += 1
            found = stored.get(key)
            if found is None:
                self.check.missing += 1
                self.check.note(f"{bar.symbol} {bar.interval} at {bar.ts}")
                continue
            if not found.certain:
                self.check.unknown += 1
                continue
            self.check.stored += 1
            unit = 0.01 if found.currency in _HUNDREDTHS else 1.0
            prices = (price * unit / found.later_splits for price in (bar.o, bar.h, bar.l, bar.c))
            volume = None if found.values[4] is None else round(bar.v * found.later_splits)
            differs = differing(_NAMES, found.values, (*prices, volume), _RELATIVE, _ROUNDING)
            if differs:
                self.check.wrong += 1
                self.check.note(f"{bar.symbol} {bar.interval} at {bar.ts}: {', '.join(differs)}")
        self._batch.clear()
