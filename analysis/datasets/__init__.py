"""Training frames of the sample sets: rows with point-in-time features, a label, its span and a price to beat.

    frame = datasets.load("btc_range", folder, "4h")    # a Dataset; datasets.NAMES lists the sets
    frame = frame.select(["logit_mid", "to_low"])       # refuses by name what nobody knew at the time

`direction.dataset` makes the same of any candles, for models of the direction of a price.
"""

from collections.abc import Callable
from pathlib import Path

from analysis.datasets import btc_range, direction, long_horizon, mixed10m, mixed24h
from analysis.datasets.files import DataMissing
from analysis.datasets.frame import UNUSABLE, Dataset, UnusableFeature
from recorder.errors import ConfigError

_SETS: dict[str, Callable[[Path], Dataset]] = {
    "btc_range": btc_range.load,
    "mixed10m": mixed10m.load,
    "mixed24h": mixed24h.load,
    "long_horizon": long_horizon.load,
    "crypto_5m": direction.load,
}
NAMES = tuple(_SETS)
"""Four sets of resolved markets, and the direction of crypto candles."""
RESOLVED = NAMES[:4]


_TRAINS = {"mixed24h": "24h"}  # when its other prices stood is not known


def load(name: str, folder: Path, horizon: str | None = None) -> Dataset:
    """A set.

    Args:
        name: One of NAMES.
        folder: That holds its files.
        horizon: The rows of one; all that can be trained on unless given.

    Raises:
        ConfigError: There is no such set, or no such horizon in it.
        DataMissing: Its files are not there.
    """
    if name not in _SETS:
        raise ConfigError(f"there is no set {name!r}; there are {', '.join(NAMES)}")
    frame, chosen = _SETS[name](folder), horizon or _TRAINS.get(name)
    return frame.at(chosen) if chosen else frame


__all__ = ["NAMES", "RESOLVED", "UNUSABLE", "DataMissing", "Dataset", "UnusableFeature", "load"]
