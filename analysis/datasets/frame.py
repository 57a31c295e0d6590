"""A training frame: rows with what was known, the outcome, and the span of time between."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats, Index, Ints
from analysis.splits import Spans
from recorder.errors import ConfigError

Texts = npt.NDArray[np.str_]


class UnusableFeature(ConfigError):
    """A column must not be used as a feature, with the reason."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of one set: a market, or a series of bars, at a decision time."""

    name: str
    baseline: str  # name of the forecast in `market`, for reports
    features: Mapping[str, Floats]  # column -> (n,), NaN when unknown; all known at `start`
    definitions: Mapping[str, str]  # column -> hash of its definition
    sources: Mapping[str, str]  # file -> SHA-256 of its bytes
    label: Floats  # (n,) 1 or 0
    market: Floats  # (n,) public probability of 1 at `start`: the forecast to beat
    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) when the label was known, ns
    event: Texts  # (n,) rows of one event are never on both sides of a split
    subject: Texts  # (n,) subject of the row: a market, a question, a symbol
    horizon: Texts  # (n,) name of the time before the end; only for slices of an evaluation
    tier: Texts  # (n,) likewise
    category: Texts  # (n,) likewise
    weight: Floats  # (n,) mean 1
    masked: tuple[str, ...] = ()  # ranges of a recording that were left out because of their grade (`load.grades`)

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def spans(self) -> Spans:
        """Return what a split needs of the rows."""
        return Spans(self.start, self.end, np.unique(self.event, return_inverse=True)[1].astype(np.int64))

    def matrix(self, names: Iterable[str] | None = None) -> Floats:
        """Return (n, k) float64 of some columns; without names, of all."""
        chosen = list(self.features if names is None else names)
        return np.column_stack([self.features[name] for name in chosen]) if chosen else np.zeros((len(self), 0))

    def take(self, index: Index) -> Self:
        """Return some of the rows."""
        arrays: dict[str, Any] = {
            field.name: value[index]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        arrays["features"] = {name: values[index] for name, values in self.features.items()}
        return replace(self, **arrays)

    def at(self, horizon: str) -> Self:
        """Return the rows of one horizon, at which a market has one row of weight 1.

        Raises:
            ConfigError: The horizon has no rows; the message names the horizons that exist.
        """
        rows = self.horizon == horizon
        if not rows.any():
            raise ConfigError(f"{self.name} has no horizon {horizon!r}; it has {', '.join(np.unique(self.horizon))}")
        part = self.take(rows)
        return replace(part, weight=once_each(part.subject))

    def select(self, names: Iterable[str]) -> Self:
        """Return the same rows with these features only.

        Raises:
            UnusableFeature: A feature is refused by name, or does not exist.
        """
        chosen = list(names)
        check_usable(self.name, chosen, self.features)
        return replace(
            self,
            features={name: self.features[name] for name in chosen},
            definitions={name: self.definitions[name] for name in chosen},
        )


ANSWERS = dict.fromkeys(
    ("outcome_yes", "resolved_to", "label", "payout", "winner", "winning_outcome"), "it is the label"
)
_LATER = {
    "closed_time": "it is known only once the market has closed",
    "volume_total": "the final volume is known only after the end",
}
_TRUE_END = "it is measured from the true end, which is known only afterwards"
UNUSABLE: Mapping[str, Mapping[str, str]] = {
    "btc_range": _LATER,
    "mixed10m": {
        **_LATER,
        **dict.fromkeys(("hours_to_end", "log_hours_to_end", "life_elapsed", "last_ts", "horizon"), _TRUE_END),
        "n": "the total number of points of a market is known only after its end",
    },
    "mixed24h": {
        **_LATER,
        **dict.fromkeys(("hours_to_end", "log_hours_to_end", "life_elapsed", "horizon"), _TRUE_END),
        "history_points": "the total number of points of a market is known only after its end",
        "price_midlife": "the middle of a market's life depends on its true end, which is known only afterwards",
    },
    "long_horizon": {
        "resolution_date": "it is known only once the question has resolved",
        "horizon_days": "it is measured to the resolution, which is known only afterwards",
        "market_close": "the set holds only resolved questions, so a far close means an early resolution, mostly yes, "
        "and the column reveals the label through this selection",
    },
}
"""Set -> column -> reason why it must not be a feature."""


def check_usable(name: str, wanted: Iterable[str], known: Iterable[str]) -> None:
    """Refuse features that were unknown at the decision time.

    Args:
        name: Name of the set.
        wanted: Requested columns.
        known: Columns that can be computed.

    Raises:
        UnusableFeature: The message names each column with its reason, or the columns that exist.
    """
    chosen, there = list(wanted), set(known)
    refused = {**ANSWERS, **UNUSABLE.get(name, {})}
    reasons = [f"{column}: {refused[column]}" for column in chosen if column in refused]
    if reasons:
        raise UnusableFeature(f"not usable as a feature of {name}: {'; '.join(reasons)}")
    unknown = [column for column in chosen if column not in there]
    if unknown:
        raise UnusableFeature(f"{name} has no feature {', '.join(unknown)}; it has {', '.join(sorted(there))}")


def once_each(subject: Texts) -> Floats:
    """Return (n,) weights of mean 1 that give each subject the same total, however many rows it has."""
    _, index, count = np.unique(subject, return_inverse=True, return_counts=True)
    weight = 1.0 / count[index]
    return weight * (len(weight) / weight.sum()) if len(weight) else weight


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def texts(n: int, value: str) -> Texts:
    """Return (n,) the same word."""
    return np.full(n, value)
