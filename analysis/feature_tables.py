"""Feature tables as files: a Parquet file, and beside it a manifest that records how it was computed.

The manifest holds everything needed to compute the table again, so an audit can compare it with the recording.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis import features, load, prediction_markets
from analysis.arrays import Ints
from analysis.audit import Column, Value
from analysis.errors import ArchiveError
from analysis.features import Tape
from analysis.load import Range, SourceLike, views
from analysis.load.manifest import digest, write_durably
from analysis.load.tables import UTC_US
from analysis.prediction_markets import MarketTape
from recorder import __version__

FORMAT = 1
Kind = Literal["bars", "snapshots"]


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """Definition of a feature table: the features to compute and their data."""

    kind: Kind  # "bars": the 64 features of a series; "snapshots": the 66 of a prediction market
    venue: str
    symbol: str  # for a prediction market: the token of outcome 0
    start: datetime
    end: datetime
    every_s: float
    other_token: str | None = None  # for a prediction market: the token of outcome 1
    others: tuple[tuple[str, str], ...] = ()  # (venue, symbol) of the same instrument elsewhere
    leader: tuple[str, str] | None = None
    warmup_s: float | None = None  # None: as long as the longest feature needs
    min_grade: load.Grade | None = None  # hours with a lower grade are gaps

    @property
    def times(self) -> Ints:
        """Return (n,) decision times, ns."""
        return views.grid(Range(self.start, self.end), timedelta(seconds=self.every_s))


class FeatureManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Manifest of a feature table."""

    format: int
    recipe: Recipe
    columns: list[str]
    rows: int
    sha256: str
    tapedeck: str
    computed_at: datetime
    masked: list[str] = []  # ranges that were gaps because of their grade


def tape_of(source: SourceLike, recipe: Recipe) -> Tape | MarketTape:
    """Load the tape that a recipe reads."""
    span = recipe.start, recipe.end
    if recipe.kind == "snapshots":
        default = timedelta(days=1, minutes=11)
        warmup = default if recipe.warmup_s is None else timedelta(seconds=recipe.warmup_s)
        return load.market_tape(
            recipe.venue, recipe.symbol, recipe.other_token, *span, source=source, warmup=warmup,
            min_grade=recipe.min_grade,
        )  # fmt: skip
    warmup = timedelta(microseconds=features.LOOKBACK // 1000)
    if recipe.warmup_s is not None:
        warmup = timedelta(seconds=recipe.warmup_s)
    return load.tape(
        recipe.venue, recipe.symbol, *span, source=source, warmup=warmup, others=recipe.others, leader=recipe.leader,
        min_grade=recipe.min_grade,
    )  # fmt: skip


def at(tape: Tape | MarketTape, t: int) -> Mapping[str, Value]:
    """Return all features of a tape at one time."""
    if isinstance(tape, MarketTape):
        return prediction_markets.compute(tape, t)
    return {name: float(values[0]) for name, values in features.compute(tape, np.array([t])).items()}


def compute(tape: Tape | MarketTape, times: Ints) -> Mapping[str, Column]:
    """Return all features of a tape at each time."""
    if isinstance(tape, Tape):
        return features.compute(tape, times)
    rows = [prediction_markets.compute(tape, t) for t in times.tolist()]
    return {name: [row[name] for row in rows] for name in prediction_markets.names()}


def write(
    path: Path, recipe: Recipe, columns: Mapping[str, Column], now: datetime, masked: Sequence[str] = ()
) -> FeatureManifest:
    """Write a feature table and then its manifest, so that the manifest never describes another table.

    Args:
        path: The Parquet file.
        recipe: What was computed.
        columns: Its features.
        now: When.
        masked: `masked` of the tape.
    """
    keys = [
        pa.array(recipe.times // 1000, UTC_US),
        pa.repeat(pa.scalar(recipe.venue), len(recipe.times)),
        pa.repeat(pa.scalar(recipe.symbol), len(recipe.times)),
    ]
    values = [pa.array(column, from_pandas=True) for column in columns.values()]
    table = pa.table([*keys, *values], names=["ts", "venue", "symbol", *columns])
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_durably(path, sink.getvalue().to_pybytes())
    manifest = FeatureManifest(
        format=FORMAT,
        recipe=recipe,
        columns=list(columns),
        rows=table.num_rows,
        sha256=digest(path),
        tapedeck=__version__,
        computed_at=now.astimezone(UTC),
        masked=list(masked),
    )
    write_durably(manifest_path(path), msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def read(path: Path) -> tuple[FeatureManifest, pa.Table]:
    """Read a feature table and its manifest.

    Raises:
        ArchiveError: A file is missing, or table and manifest do not match.
    """
    try:
        manifest = msgspec.json.decode(manifest_path(path).read_bytes(), type=FeatureManifest)
        if digest(path) != manifest.sha256:
            raise ArchiveError(f"{path} is not the file that its manifest names: its SHA-256 differs; compute it again")
    except FileNotFoundError as error:
        raise ArchiveError(f"{error.filename} is missing; tapedeck-analysis features writes it") from error
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{manifest_path(path)} is not a manifest of features ({error})") from error
    return manifest, pq.read_table(path)


def columns_of(manifest: FeatureManifest, table: pa.Table) -> Mapping[str, Column]:
    """Return the features of a table as they were computed, with NaN for null."""
    found: dict[str, Column] = {}
    for name in manifest.columns:
        column = table[name]
        text = pa.types.is_string(column.type)
        found[name] = column.to_pylist() if text else np.asarray(column.cast(pa.float64()).to_numpy())
    return found


def manifest_path(path: Path) -> Path:
    """Return the path of the manifest of a file."""
    return path.with_name(path.name + ".json")
