"""Read the files of the sample sets: CSV and Parquet to columns, times to nanoseconds."""

from pathlib import Path

import numpy as np
import polars as pl

from analysis.arrays import Floats, Ints
from analysis.datasets.frame import Texts
from recorder.errors import ConfigError


class DataMissing(ConfigError):
    """A file of a set is missing."""


def found(folder: Path, name: str) -> Path:
    """Return the path of a file in the folder.

    Raises:
        DataMissing: The file is missing.
    """
    path = folder / name
    if not path.is_file():
        raise DataMissing(f"{path} is missing; name the folder of the set with --data")
    return path


def table(path: Path) -> pl.DataFrame:
    """Read a gzipped CSV with every column as text, empty as null."""
    return pl.read_csv(path, infer_schema=False)


def floats(rows: pl.DataFrame, column: str) -> Floats:
    """Return (n,) numbers, NaN for null."""
    return rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)


def words(rows: pl.DataFrame, column: str) -> Texts:
    """Return (n,) text, empty for null."""
    return np.array(rows[column].cast(pl.String).fill_null("").to_list(), dtype=np.str_)


def instants(rows: pl.DataFrame, column: str) -> Ints:
    """Return (n,) times in ns UTC, from a column of text in UTC or of timestamps of any zone.

    Raises:
        ConfigError: The timestamps have no zone.
    """
    values = rows[column]
    if values.dtype == pl.String:
        values = values.str.to_datetime(time_unit="ns", time_zone="UTC", strict=True)
    if not isinstance(values.dtype, pl.Datetime) or values.dtype.time_zone is None:
        raise ConfigError(f"{column} holds {values.dtype} without a time zone; write it with one, such as UTC")
    return values.dt.epoch("ns").to_numpy().astype(np.int64)


def points_by(path: Path, key: str) -> dict[str, tuple[Ints, Floats]]:
    """Return value of the key column -> times and prices of its points, ascending."""
    rows = pl.read_parquet(path).sort(key, "timestamp")
    return {
        str(name): (instants(part, "timestamp"), floats(part, "price"))
        for (name,), part in rows.group_by(key, maintain_order=True)
    }
