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
from analysis.datasets import columns
from analysis.datasets.checks import check_rows
from analysis.splits import Scheme, Spans
from recorder.errors import ConfigError

Texts = npt.NDArray[np.str_]


BASE_RATE = "base rate"
"""Baseline of a set without a public forecast; a model replaces it by the base rates of its training rows."""


class UnusableFeature(ConfigError):
    """A column must not be used as a feature, with the reason."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of one set: a market, or a series of bars, at a decision time.

    Rows that cannot be right are refused with InvalidDataset, see `analysis.datasets.checks`. `Dataset.of` builds a
    frame from own features and labels.
    """

    name: str
    baseline: str  # name of the forecast in `market`, for reports
    features: Mapping[str, Floats]  # column -> (n,), NaN when unknown; all known at `start`
    definitions: Mapping[str, str]  # column -> hash of its definition
    sources: Mapping[str, str]  # file -> SHA-256 of its bytes
    label: Floats  # (n,) 1 or 0
    market: Floats  # (n,) public probability of 1 at `start`, the forecast to beat; 0.5 before a BASE_RATE is known
    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) when the label was known, ns, after `start`
    event: Texts  # (n,) rows of one event are never on both sides of a split
    subject: Texts  # (n,) subject of the row: a market, a question, a symbol
    horizon: Texts  # (n,) name of the time before the end; only for slices of an evaluation
    tier: Texts  # (n,) likewise
    category: Texts  # (n,) likewise
    weight: Floats  # (n,) positive, mean 1
    scheme: Scheme = Scheme.PURGED  # how training rows are cross-validated
    masked: tuple[str, ...] = ()  # ranges of a recording that were left out for their grade (`load.hours.grades`)

    def __post_init__(self) -> None:
        check_rows(self.name, self.features, {key: getattr(self, key) for key in KEYS})

    @classmethod
    def of(
        cls,
        features: Any,
        labels: Any,
        *,
        market: Any,
        event: Any,
        subject: Any,
        name: str = "own",
        baseline: str = "market price",
        scheme: Scheme = Scheme.PURGED,
        horizon: Any = "all",
        tier: Any = "all",
        category: Any = "all",
        weight: Any = None,
        definitions: Mapping[str, str] | None = None,
        sources: Mapping[str, str] | None = None,
        masked: Iterable[str] = (),
    ) -> Self:
        """Return a frame of own features and labels; rows that cannot be right are refused, never repaired.

        Args:
            features: Column -> (n,) numbers, or a frame of polars, pandas or pyarrow; null or NaN when unknown. A
                column time must hold the decision times of the labels, and is no feature.
            labels: `analysis.labels.Labels`, or a frame with the zone-aware columns start and end, and label.
            market: (n,) probability of 1 at the start, the forecast to beat; None for the base rate.
            event: (n,) names; rows of one event are never on both sides of a split.
            subject: (n,) names of what a row is about.
            name: Name of the set.
            baseline: Name of the forecast in `market`, for reports.
            scheme: How training rows are cross-validated.
            horizon: (n,) names, or one for all rows, as are tier and category: the slices of an evaluation.
            tier: Likewise.
            category: Likewise.
            weight: (n,) positive; without it, each subject counts the same.
            definitions: Column -> hash of its definition; without it, the hash of its name.
            sources: Source -> SHA-256 of its data.
            masked: Ranges that were left out because of their grade, such as those of a tape.

        Raises:
            InvalidDataset: Rows are wrong, times have no zone, or a column is missing; the message says which.
        """
        answers = columns.answers(labels)
        values = columns.numbers(features, answers.start)
        count = len(answers.value)
        subjects = columns.words("subject", subject, count)
        return cls(
            name=name,
            baseline=BASE_RATE if market is None else baseline,
            features=values,
            definitions=definitions or {one: hashlib.sha256(one.encode()).hexdigest() for one in values},
            sources=sources or {},
            label=answers.value,
            market=np.full(count, 0.5) if market is None else columns.floats("market", market),
            start=answers.start,
            end=answers.end,
            event=columns.words("event", event, count),
            subject=subjects,
            horizon=columns.words("horizon", horizon, count),
            tier=columns.words("tier", tier, count),
            category=columns.words("category", category, count),
            weight=once_each(subjects) if weight is None else columns.floats("weight", weight),
            scheme=scheme,
            masked=tuple(masked),
        )

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def spans(self) -> Spans:
        """Return what a split needs of the rows."""
        return Spans(self.start, self.end, np.unique(self.event, return_inverse=True)[1].astype(np.int64))

    @cached_property
    def outcome(self) -> Ints:
        """Return (n,) numbers that are equal where subject and label end are: rows that share one outcome."""
        _, subject = np.unique(self.subject, return_inverse=True)
        ends, end = np.unique(self.end, return_inverse=True)
        return np.asarray(subject * max(len(ends), 1) + end, np.int64)

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


KEYS = ("label", "market", "start", "end", "event", "subject", "horizon", "tier", "category", "weight")
"""Names of the columns that every row has."""

NOTES: Mapping[str, str] = {
    "mixed10m": "Horizons are measured from the true end, which was not known beforehand: the scores hold for markets "
    "that end when these did, not for a live market that is said to end soon.",
    "mixed24h": "The row a day before the end is measured from the true end, which was not known beforehand: the "
    "scores hold for markets that end when these did.",
    "long_horizon": "The set holds only resolved questions. A question that was frozen late is included only if it "
    "resolved early, which shifts the base rate of the later part.",
    "crypto_5m": "Rows whose price did not move over the horizon have no label and are left out, which is a selection "
    "by the future.",
}
"""Set -> what its rows select by what was known only later; stands beside the scores."""

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
