"""Training frames for tests of models: sample sets, and frames with a signal of known strength."""

from functools import lru_cache

import numpy as np

from analysis import datasets
from analysis.arrays import HOUR, Floats
from analysis.datasets import Dataset
from analysis.datasets.frame import texts
from analysis.models.boost import expit
from support.analysis.market_data import data_folder

RESOLVED = "resolved_markets"
MARKETS_PER_EVENT = 3


@lru_cache(maxsize=32)
def resolved(name: str, horizon: str | None = None) -> Dataset:
    """Return a sample set, which is read once."""
    if horizon is not None and name != "mixed24h":  # whose default is one horizon already
        return resolved(name).at(horizon)
    return datasets.load(name, data_folder(RESOLVED), horizon)


def planted(strength: float, n: int = 6000, seed: int = 0, spread: float = 1.5) -> tuple[Dataset, Floats]:
    """Return a frame whose labels are drawn with log odds market + strength * x0, and their true probabilities.

    Args:
        strength: With 0 there is nothing to learn beyond the market.
        n: Rows, an hour each, three markets an event.
        seed: Seed of all draws.
        spread: Deviation of the market's log odds; 0 gives even odds.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    margin = rng.normal(0.0, spread, n)
    true = expit(margin + strength * x[:, 0])
    start = np.sort(rng.integers(0, n * HOUR, n))
    names = [f"x{j}" for j in range(x.shape[1])]
    rows = Dataset(
        name="planted",
        baseline="market price",
        features={name: x[:, j].copy() for j, name in enumerate(names)},
        definitions={name: f"{j:064x}" for j, name in enumerate(names)},
        sources={"planted": "0" * 64},
        label=(rng.random(n) < true).astype(np.float64),
        market=expit(margin),
        start=start,
        end=start + HOUR,
        event=np.array([f"e{i // MARKETS_PER_EVENT}" for i in range(n)]),
        subject=np.array([f"m{i}" for i in range(n)]),
        horizon=texts(n, "1h"),
        tier=texts(n, "one"),
        category=texts(n, "coin"),
        weight=np.ones(n),
    )
    return rows, true
