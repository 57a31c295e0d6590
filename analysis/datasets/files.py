"""Reading the sample sets: CSV and Parquet to columns, times to nanoseconds."""

from pathlib import Path

import numpy as np
import polars as pl

from analysis.arrays import Floats, Ints
from analysis.datasets.frame import Texts
from recorder.errors import ConfigError


class DataMissing(ConfigError):
    """A file of a set is not where it was looked for."""


def found(folder: Path, name: str) -> Path:
    """A file of the folder.

    Raises:
        DataMissing: It is not there.
    """
    path = folder / name
    if not path.is_file():
        raise DataMissing(f"there is no {path}: name the folder that holds the set with --data")
    return path


def table(path: Path) -> pl.DataFrame:
    """A gzipped CSV with every column as text, empty as null."""
    return pl.read_csv(path, infer_schema=False)


def floats(rows: pl.DataFrame, column: str) -> Floats:
    """(n,) numbers, NaN where null."""
    return rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)


def words(rows: pl.DataFrame, column: str) -> Texts:
    """(n,) text, empty where null."""
    return np.array(rows[column].cast(pl.String).fill_null("").to_list(), dtype=np.str_)


def instants(rows: pl.DataFrame, column: str) -> Ints:
    """(n,) times in ns, of a column of text or of timestamps in UTC."""
    values = rows[column]
    if values.dtype == pl.String:
        values = values.str.to_datetime(time_unit="ns", time_zone="UTC", strict=True)
    return (
        values.dt.cast_time_unit("ns").dt.replace_time_zone(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
    )


def points_by(path: Path, key: str) -> dict[str, tuple[Ints, Floats]]:
    """Value of the key column -> times and prices of its points, ascending."""
    rows = pl.read_parquet(path).sort(key, "timestamp")
    return {
        str(name): (instants(part, "timestamp"), floats(part, "price"))
        for (name,), part in rows.group_by(key, maintain_order=True)
    }
