"""Training frames of the sample sets: rows with point-in-time features, a label, its span and a price to beat.

    frame = datasets.load("btc_range", folder, "4h")    # a Dataset; datasets.NAMES lists the sets
    frame = frame.select(["logit_mid", "to_low"])       # refuses columns that were unknown at the time

`Dataset.of` builds a frame from own features and labels, and refuses rows that cannot be right.
`recorded.load` builds a frame from the markets that the poller recorded and that have ended.
`direction.dataset` builds a frame from any candles, for models of the direction of a price.
"""

from collections.abc import Callable
from pathlib import Path

from analysis.datasets import btc_range, direction, long_horizon, mixed10m, mixed24h
from analysis.datasets.checks import InvalidDataset
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

_DEFAULT_HORIZONS = {"mixed24h": "24h"}  # the times of its other prices are unknown


def load(name: str, folder: Path, horizon: str | None = None) -> Dataset:
    """Load a set.

    Args:
        name: One of NAMES.
        folder: Folder with its files.
        horizon: Name of one horizon; without it, all rows that can be trained on.

    Raises:
        ConfigError: There is no such set, or no such horizon in it.
        DataMissing: A file of the set is missing.
    """
    if name not in _SETS:
        raise ConfigError(f"there is no set {name!r}; use {', '.join(NAMES)}")
    frame, chosen = _SETS[name](folder), horizon or _DEFAULT_HORIZONS.get(name)
    return frame.at(chosen) if chosen else frame


__all__ = ["NAMES", "RESOLVED", "UNUSABLE", "DataMissing", "Dataset", "InvalidDataset", "UnusableFeature", "load"]
