"""Frames and instants that a person gives, and frames that a person asks for.

The core computes on arrays. This file is its only door to pandas, polars and pyarrow: it reads their columns by the
methods they share, and imports one of them only where a frame of it is asked for.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

To = Literal["arrow", "pandas", "polars"]

Frame: TypeAlias = Any
"""A pandas.DataFrame, polars.DataFrame or pyarrow.Table, or a mapping of columns."""

Instants: TypeAlias = Any
"""Integers (ns since 1970), or aware instants: a datetime, ISO 8601 text, a list of them, a Series, an index."""

Duration: TypeAlias = timedelta | int
"""A timedelta, or ns."""

INSTANTS = frozenset({"start", "end", "ts_event", "ts_recv", "time"})
"""Columns of the core that hold instants, ns; a frame has them as UTC instants of whole microseconds, as `load`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_AWARE = "give aware datetimes, such as datetime(..., tzinfo=UTC), or a Series with a time zone"
_NAT = np.iinfo(np.int64).min
_FOREVER = np.iinfo(np.int64).max


def instants(values: Instants, name: str = "times") -> npt.NDArray[np.int64]:
    """Return (n,) ns since 1970 UTC.

    Args:
        values: Instants; integers are ns, text without an offset is UTC, as in `load`.
        name: What they are, for the message.

    Raises:
        ValueError: They have no time zone, are null, or are no instants.
    """
    if isinstance(values, datetime | str):
        return np.array([_one(values, name)], np.int64)
    kind = getattr(values, "dtype", getattr(values, "type", None))
    if (getattr(kind, "tz", None) or getattr(kind, "time_zone", None)) is not None:
        plain = values.to_numpy()
        if plain.dtype.kind != "M":  # pandas gives Timestamps, one object each
            plain = values.to_numpy(dtype="datetime64[ns]")
        if np.isnat(plain).any():
            raise ValueError(f"{int(np.isnat(plain).sum())} of {len(plain)} {name} are null: leave them out")
        return np.asarray(plain.astype("datetime64[ns]").astype(np.int64))
    plain = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if plain.dtype.kind == "M":
        raise ValueError(f"{name} have no time zone ({plain.dtype}): {_AWARE}")
    if plain.dtype.kind in "iu" or not plain.size:
        return plain.astype(np.int64).reshape(-1)
    return np.array([_one(value, name) for value in plain.ravel().tolist()], np.int64)


def _one(value: Any, name: str) -> int:
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{name}: {value!r} is no time; write it like 2026-03-05T14:00:00Z") from None
        value = found if found.tzinfo else found.replace(tzinfo=UTC)
    if isinstance(value, datetime) and value == value:  # the null of pandas is a datetime that differs from itself
        if value.tzinfo is None:
            raise ValueError(f"{name}: {value} has no time zone: {_AWARE}")
        return (value - _EPOCH) // _US * 1000 + int(getattr(value, "nanosecond", 0))
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{name}: {value!r} is no instant: {_AWARE}, or whole nanoseconds since 1970")


def duration(value: Duration, name: str) -> int:
    """Return ns.

    Raises:
        ValueError: It is negative, or no duration.
    """
    if isinstance(value, timedelta):
        value = value // _US * 1000
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name} is {value!r}: give a timedelta or whole nanoseconds, 0 or more")
    return int(value)


def columns_of(frame: Frame) -> list[str]:
    """Return the names of the columns of a frame.

    Raises:
        ValueError: It is no frame.
    """
    if isinstance(frame, Mapping):
        return [str(name) for name in frame]
    found = getattr(frame, "column_names", getattr(frame, "columns", None))
    if found is None:
        raise ValueError(f"{type(frame).__name__} is no frame; give one of pandas, polars or pyarrow")
    return [str(name) for name in found]


def require_columns(frame: Frame, names: Iterable[str], what: str) -> None:
    """Refuse a frame that lacks columns.

    Raises:
        ValueError: The message names them.
    """
    there = set(columns_of(frame))
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(f"{what} have no column {', '.join(missing)}")


def numbers(values: Any, name: str) -> npt.NDArray[np.float64]:
    """Return (n,) float64 of a column; null is NaN.

    Raises:
        ValueError: It does not hold numbers.
    """
    plain = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    try:
        if plain.dtype == object and hasattr(values, "isna"):
            plain = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(plain, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold numbers: {error}") from error


def words(values: Any) -> list[Any]:
    """Return the values of a column as a list; None where null."""
    found = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return [value if isinstance(value, str) else None for value in found]


def framed(columns: Mapping[str, npt.NDArray[Any]], to: To, times: Collection[str] = INSTANTS) -> Frame:
    """Return columns of the core as a frame; NaN stays NaN in pandas and is null elsewhere.

    Args:
        columns: Name -> (n,) values, or (n, k), which become name_1 to name_k.
        to: Library of the frame.
        times: Columns that hold ns since 1970; the end of a gap that still lasts is null.

    Raises:
        ValueError: `to` names no library.
    """
    flat: dict[str, npt.NDArray[Any]] = {}
    for name, values in columns.items():
        if values.ndim == 2:
            flat |= {f"{name}_{level + 1}": values[:, level] for level in range(values.shape[1])}
        elif name in times and values.dtype.kind == "i":
            flat[name] = np.where(values == _FOREVER, _NAT, values // 1000).astype("datetime64[us]")
        else:
            flat[name] = values
    match to:
        case "arrow":
            return _arrow(flat)
        case "pandas":
            import pandas as pd

            utc = {name: pd.Series(one).dt.tz_localize("UTC") for name, one in flat.items() if one.dtype.kind == "M"}
            return pd.DataFrame({**flat, **utc}, copy=True)
        case "polars":
            import polars as pl

            return pl.DataFrame(pl.from_arrow(_arrow(flat)))
    raise ValueError(f'to={to!r} is unknown; use "arrow", "pandas" or "polars"')


def _arrow(flat: Mapping[str, npt.NDArray[Any]]) -> Frame:
    import pyarrow as pa

    arrays = [
        pa.array(one, type=pa.timestamp("us", tz="UTC")) if one.dtype.kind == "M" else pa.array(one, from_pandas=True)
        for one in flat.values()
    ]
    return pa.table(arrays, names=list(flat))
