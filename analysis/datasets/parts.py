"""A training frame in Parquet parts, for sets that do not fit into one process.

Every part has all columns of its rows, so that features and labels always belong to the same rows.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.arrays import Bools
from analysis.datasets.frame import KEYS, Dataset
from analysis.splits import Scheme
from recorder.errors import ConfigError

_KEY = "row."  # prefix of a key column, so that a feature may have any name
_ABOUT = b"tapedeck.dataset"


@dataclass(frozen=True, eq=False)
class Parts:
    """Files of one frame, in order."""

    files: tuple[Path, ...]
    lengths: tuple[int, ...]

    def masks(self, rows: Bools) -> list[Bools]:
        """Split a mask of all rows into the masks of the parts."""
        return np.split(rows, np.cumsum(self.lengths)[:-1])


def write(rows: Dataset, folder: Path, rows_per_part: int = 100_000) -> Parts:
    """Write a frame into a folder, part by part."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "name": rows.name,
        "baseline": rows.baseline,
        "scheme": rows.scheme,
        "definitions": dict(rows.definitions),
        "sources": dict(rows.sources),
        "masked": list(rows.masked),
    }
    for number, first in enumerate(range(0, max(len(rows), 1), rows_per_part)):
        part = rows.take(slice(first, first + rows_per_part))
        columns = {_KEY + key: pa.array(getattr(part, key)) for key in KEYS}
        table = pa.table({**columns, **{name: pa.array(values) for name, values in part.features.items()}})
        table = table.replace_schema_metadata({_ABOUT: json.dumps(about).encode()})
        pq.write_table(table, folder / f"part-{number:05}.parquet", compression="zstd")
    return open_parts(folder)


def has_parts(folder: Path) -> bool:
    """Return whether a folder holds a frame in parts."""
    return any(folder.glob("part-*.parquet"))


def open_parts(folder: Path) -> Parts:
    """Return the parts in a folder.

    Raises:
        ConfigError: The folder holds no parts.
    """
    files = tuple(sorted(folder.glob("part-*.parquet")))
    if not files:
        raise ConfigError(f"{folder} holds no parts of a training frame (part-00000.parquet, ...)")
    return Parts(files, tuple(pq.read_metadata(file).num_rows for file in files))


def read(parts: Parts, rows: Bools | None = None) -> Dataset:
    """Read the frame, or some of its rows, with all features, one part at a time."""
    return _read(parts, _names(parts), rows)


def keys(parts: Parts) -> Dataset:
    """Read the frame without its features: a few numbers for each row, and the definitions of the features."""
    return _read(parts, [], None)


def _names(parts: Parts) -> list[str]:
    return list(_about(parts)["definitions"])


def _about(parts: Parts) -> dict[str, Any]:
    found = (pq.read_schema(parts.files[0]).metadata or {}).get(_ABOUT)
    if found is None:
        raise ConfigError(f"{parts.files[0]} is not a part of a training frame")
    about: dict[str, Any] = json.loads(found)
    return about


def _read(parts: Parts, names: Sequence[str], rows: Bools | None) -> Dataset:
    about = _about(parts)
    columns = [*(_KEY + key for key in KEYS), *names]
    masks = parts.masks(rows) if rows is not None else [None] * len(parts.files)
    tables = []
    for file, mask in zip(parts.files, masks, strict=True):
        table = pq.read_table(file, columns=columns)
        tables.append(table if mask is None else table.filter(pa.array(mask)))
    table = pa.concat_tables(tables)

    def column(name: str) -> Any:
        values = table.column(name)
        if pa.types.is_string(values.type):
            return np.array(pc.fill_null(values, "").to_pylist(), dtype=np.str_)
        return np.asarray(values.to_numpy())

    return Dataset(
        name=str(about["name"]),
        baseline=str(about["baseline"]),
        scheme=Scheme(str(about.get("scheme", Scheme.PURGED))),
        definitions=about["definitions"],
        sources=about["sources"],
        masked=tuple(about.get("masked", ())),
        features={name: column(name) for name in names},
        **{key: column(_KEY + key) for key in KEYS},
    )
