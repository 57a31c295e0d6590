"""Column files of a day as arrays that lie in the files: nothing is read before it is used, and nothing is copied."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import AnalysisError
from recorder.columns import layout
from recorder.columns.layout import KINDS, Kind

_DTYPES = {"u32": "<u4", "u64": "<u8", "f32": "<f4", "f64": "<f8", "uuid": "V16"}
_DAY_S = 86_400


def columns(
    folder: str | Path, venue: str, symbol: str, kind: Kind, day: str | date
) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Map the columns of one day.

    Args:
        folder: The setting columns.dir: `var/columns/tapedeck` as it comes.
        venue: Such as "kraken".
        symbol: As the venue spells it, such as "BTC/USD".
        kind: "MD", or "TRADES".
        day: UTC, as a date or as "2026-03-05".

    Returns:
        (n,) read-only arrays by name, all of one length: rows that are being written now, and are not in every column
        yet, are left out. The manifest in the folder of the symbol says what the values mean. Without rows, n is 0.

    Raises:
        AnalysisError: There are no column files of this symbol, or `kind` is unknown.
    """
    if kind not in KINDS:
        raise AnalysisError(f"kind={kind!r} is unknown; use {' or '.join(map(repr, KINDS))}")
    home = Path(folder) / layout.folder_name(venue) / layout.folder_name(symbol)
    try:
        types: dict[str, str] = json.loads((home / layout.MANIFEST).read_bytes())["columns"][kind]
    except FileNotFoundError:
        raise AnalysisError(f"there are no column files of {venue} {symbol} in {folder}") from None
    when = date.fromisoformat(day) if isinstance(day, str) else day
    number = int(datetime(when.year, when.month, when.day, tzinfo=UTC).timestamp()) // _DAY_S
    found = {name: _mapped(home / kind / layout.file_name(name, number), _DTYPES[of]) for name, of in types.items()}
    rows = min(len(values) for values in found.values())
    return {name: values[:rows] for name, values in found.items()}


def _mapped(path: Path, dtype: str) -> np.ndarray[Any, np.dtype[Any]]:
    width = np.dtype(dtype).itemsize
    rows = path.stat().st_size // width if path.exists() else 0
    if not rows:  # an empty file cannot be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", shape=(rows,))
