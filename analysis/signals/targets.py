"""A training frame whose label is a number: what was known, the value that followed, and the span between."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats, Index, Ints
from analysis.datasets import columns
from analysis.datasets.checks import InvalidDataset, check_keys
from analysis.labels import Labels, uniqueness
from analysis.splits import Spans

Texts = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Targets:
    """Rows of one or several subjects at decision times; `Targets.of` makes them, and refuses rows that are wrong."""

    name: str
    features: Mapping[str, Floats]  # column -> (n,), NaN when unknown; all known at `start`
    definitions: Mapping[str, str]  # column -> hash of its definition
    value: Floats  # (n,) what is forecast, such as a log return
    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) when the value was known, ns, after `start`
    event: Texts  # (n,) rows of one event are never on both sides of a split
    subject: Texts  # (n,) subject of the row
    weight: Floats  # (n,) positive, mean 1
    masked: tuple[str, ...] = ()  # ranges that were left out because of their grade

    def __post_init__(self) -> None:
        keys = ("value", "start", "end", "event", "subject", "weight")
        check_keys(self.name, self.features, {key: getattr(self, key) for key in keys}, ("subject", "start"))
        wrong = int((~np.isfinite(self.value)).sum())
        if wrong:
            raise InvalidDataset(
                f"{self.name}: {wrong} of {len(self)} rows have no finite value: choose those with labels.known()"
            )

    @classmethod
    def of(
        cls,
        features: Any,
        labels: Any,
        *,
        event: Any,
        subject: Any,
        name: str = "own",
        weight: Any = None,
        definitions: Mapping[str, str] | None = None,
        masked: Iterable[str] = (),
    ) -> Self:
        """Return a frame of own features and values; rows that cannot be right are refused, never repaired.

        Args:
            features: As for `Dataset.of`.
            labels: `analysis.labels.Labels`, or a frame with the zone-aware columns start and end, and label.
            event: (n,) names; rows of one event are never on both sides of a split.
            subject: (n,) names, or one for all rows.
            name: Name of the set.
            weight: (n,) positive; without it, the uniqueness of each label (`labels.uniqueness`).
            definitions: Column -> hash of its definition; without it, the hash of its name.
            masked: Ranges that were left out because of their grade, such as those of a tape.

        Raises:
            InvalidDataset: Rows are wrong, times have no zone, or a column is missing; the message says which.
        """
        answers: Labels = columns.answers(labels)
        values = columns.numbers(features, answers.start)
        subjects = columns.words("subject", subject, len(answers))
        return cls(
            name=name,
            features=values,
            definitions=definitions or {one: hashlib.sha256(one.encode()).hexdigest() for one in values},
            value=answers.value,
            start=answers.start,
            end=answers.end,
            event=columns.words("event", event, len(answers)),
            subject=subjects,
            weight=uniqueness(answers, subjects) if weight is None else columns.floats("weight", weight),
            masked=tuple(masked),
        )

    def __len__(self) -> int:
        return len(self.value)

    @property
    def spans(self) -> Spans:
        """Return what a split needs of the rows."""
        return Spans(self.start, self.end, np.unique(self.event, return_inverse=True)[1].astype(np.int64))

    @property
    def across(self) -> bool:
        """Return whether most instants have enough subjects to compare them with each other."""
        _, count = np.unique(self.start, return_counts=True)
        return bool(len(count)) and bool(np.median(count) >= LEAST_SUBJECTS)

    def matrix(self) -> Floats:
        """Return (n, k) float64, the features in their order."""
        return np.column_stack(list(self.features.values())) if self.features else np.zeros((len(self), 0))

    def take(self, index: Index) -> Self:
        """Return some of the rows."""
        arrays: dict[str, Any] = {
            field.name: value[index]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return replace(self, **arrays, features={name: values[index] for name, values in self.features.items()})


LEAST_SUBJECTS = 5
"""Subjects at an instant, below which forecasts are judged along time instead of across subjects."""
