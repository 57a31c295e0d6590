"""Read the columns of a training frame from arrays and from frames of polars, pandas or pyarrow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from analysis import framing
from analysis.arrays import Floats, Ints
from analysis.datasets.checks import InvalidDataset
from analysis.labels import Labels

Texts = npt.NDArray[np.str_]


TIME = "time"
"""Column of a frame of features with the decision times, which must be those of the labels."""


def numbers(features: Any, start: Ints) -> dict[str, Floats]:
    """Return column -> (n,) float64 of a mapping or a frame; null is NaN.

    Args:
        features: Mapping or frame of columns; TIME is compared with the labels and left out.
        start: (n,) decision times of the labels, ns.

    Raises:
        InvalidDataset: A column does not hold numbers, or TIME differs from the decision times of the labels.
    """
    columns = dict(features) if isinstance(features, Mapping) else _frame(features).to_dict()
    if TIME in columns:
        at = _instants_of(columns.pop(TIME))
        if len(at) != len(start) or (at // 1000 != start // 1000).any():
            raise InvalidDataset("the times of the features are not those of the labels: choose the same rows of both")
    return {str(name): floats(str(name), values) for name, values in columns.items()}


def _instants_of(values: Any) -> Ints:
    try:
        return framing.instants(values, TIME)
    except ValueError as error:
        raise InvalidDataset(str(error)) from error


def floats(name: str, values: Any) -> Floats:
    """Return (n,) float64; null is NaN.

    Raises:
        InvalidDataset: The values are not numbers.
    """
    try:
        if isinstance(values, pl.Series):
            return values.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
        return np.array(values, np.float64)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise InvalidDataset(f"{name} does not hold numbers: {error}") from error


def words(name: str, values: Any, count: int) -> Texts:
    """Return (n,) text, of one word for all rows or of one for each; null is refused.

    Raises:
        InvalidDataset: A value is null.
    """
    if isinstance(values, str):
        return np.full(count, values)
    listed = values.to_list() if isinstance(values, pl.Series) else list(values)
    empty = sum(value is None or value != value for value in listed)  # NaN differs from itself
    if empty:
        raise InvalidDataset(f"{empty} of {len(listed)} rows have no {name}: name one")
    return np.array([str(value) for value in listed], dtype=np.str_)


def answers(labels: Any) -> Labels:
    """Return labels, from Labels or a frame with the columns start, end and label.

    Raises:
        InvalidDataset: A column is missing, or its times have no zone.
    """
    if isinstance(labels, Labels):
        return labels
    frame = _frame(labels)
    missing = [name for name in ("start", "end", "label") if name not in frame.columns]
    if missing:
        raise InvalidDataset(f"labels have no column {', '.join(missing)}; give start, end and label")
    return Labels(instants(frame["start"]), instants(frame["end"]), floats("label", frame["label"]))


def instants(values: pl.Series) -> Ints:
    """Return (n,) ns since 1970 UTC of zone-aware times; whole numbers are taken as ns.

    Raises:
        InvalidDataset: The times have no zone, or some are null.
    """
    if values.dtype.is_integer():
        return values.cast(pl.Int64).to_numpy()
    if not isinstance(values.dtype, pl.Datetime) or values.dtype.time_zone is None:
        raise InvalidDataset(f"{values.name} holds {values.dtype} without a time zone; give zone-aware times")
    if values.null_count():
        raise InvalidDataset(f"{values.null_count()} of {len(values)} rows have no {values.name}: leave them out")
    return values.dt.epoch("ns").to_numpy().astype(np.int64)


def _frame(values: Any) -> pl.DataFrame:
    if isinstance(values, pl.DataFrame):
        return values
    try:
        found = pl.from_arrow(values) if isinstance(values, pa.Table) else pl.from_pandas(values)
    except (TypeError, ValueError) as error:
        raise InvalidDataset("give a frame of polars, pandas or pyarrow, or a mapping of columns") from error
    if not isinstance(found, pl.DataFrame):
        raise InvalidDataset("give a frame of polars, pandas or pyarrow, or a mapping of columns")
    return found
