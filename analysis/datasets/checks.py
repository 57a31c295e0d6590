"""Checks of a training frame: a row that cannot be right is refused, never repaired."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.arrays import Bools
from recorder.errors import ConfigError


class InvalidDataset(ConfigError):
    """The rows of a training frame contradict what the frame promises."""


def check_rows(name: str, features: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse rows that cannot be trained on.

    Args:
        name: Name of the set, for the message.
        features: Column -> (n,) float64, NaN when unknown.
        columns: label, market, start, end, event, subject, horizon, tier, category and weight, (n,) each.

    Raises:
        InvalidDataset: The message names the column, the number of rows and what to do.
    """
    check_keys(name, features, columns, ("subject", "start", "horizon"))
    label, market = columns["label"], columns["market"]
    _refuse(name, ~np.isin(label, (0.0, 1.0)), "have a label other than 0 and 1: leave them out")
    _refuse(name, ~((market >= 0) & (market <= 1)), "have a market outside 0 to 1 or null: give probabilities")


def check_keys(
    name: str, features: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]], unique: tuple[str, ...]
) -> None:
    """Refuse rows whose features, times, events, subjects or weights cannot be right, whatever their label is.

    Args:
        name: Name of the set, for the message.
        features: Column -> (n,) float64, NaN when unknown.
        columns: start, end, event, subject and weight, and all others that have a value for each row, (n,) each.
        unique: Columns whose values together occur once.

    Raises:
        InvalidDataset: The message names the column, the number of rows and what to do.
    """
    count = len(columns["start"])
    for column, values in {**columns, **features}.items():
        if not isinstance(values, np.ndarray) or values.shape != (count,):
            raise InvalidDataset(f"{name}: {column} has the shape {np.shape(values)}; give {count} values, as labels")
    for column in ("start", "end"):
        if columns[column].dtype.kind != "i":
            raise InvalidDataset(
                f"{name}: {column} holds {columns[column].dtype}; give integer nanoseconds UTC, or zone-aware "
                "times to Dataset.of"
            )
    weight = columns["weight"]
    _refuse(name, ~(np.isfinite(weight) & (weight > 0)), "have a weight that is not positive")
    late = columns["end"] <= columns["start"]
    _refuse(name, late, "are decided at or after the end of their label, when the price is the answer: leave them out")
    for column in ("event", "subject"):
        _refuse(name, columns[column] == "", f"have no {column}: name one")
    for column, values in features.items():
        _refuse(name, np.isinf(values), f"have an infinite {column}: use NaN for unknown")
    rows = pl.DataFrame({key: columns[key] for key in {"subject", "start", "end", "event", *unique}})
    twice = rows.select(unique).is_duplicated().to_numpy()
    what = "subject, decision time and horizon" if "horizon" in unique else "subject and decision time"
    _refuse(name, twice, f"repeat the {what} of another row: keep one of them")
    outcomes = rows.select("subject", "end", "event").unique()
    if outcomes.select("subject", "end").is_duplicated().any():
        raise InvalidDataset(
            f"{name}: rows of one subject and one label end belong to several events; give one outcome one event"
        )


def _refuse(name: str, wrong: Bools, what: str) -> None:
    if wrong.any():
        raise InvalidDataset(f"{name}: {int(wrong.sum())} of {len(wrong)} rows {what}")
