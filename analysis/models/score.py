"""Scoring: what a model says of rows, as a table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.arrays import Floats, Ints
from analysis.datasets.frame import Dataset, Texts
from analysis.models.model import Facts, Model


@dataclass(frozen=True, eq=False)
class Predictions:
    """Forecasts, one for each subject and decision time."""

    subject: Texts
    decided: Ints  # ns
    probability: Floats
    baseline: Floats

    def __len__(self) -> int:
        return len(self.subject)

    def table(self) -> pa.Table:
        """In the columns of the table `prediction`, microseconds truncated."""
        return pa.table(
            {
                "subject": pa.array(self.subject.tolist(), pa.string()),
                "decided_at": pa.array(self.decided // 1000, pa.timestamp("us", tz="UTC")),
                "probability": pa.array(self.probability, pa.float64()),
                "baseline": pa.array(self.baseline, pa.float64(), from_pandas=True),
            }
        )


def score(model: Model, rows: Dataset) -> Predictions:
    """What the model says of each row.

    Raises:
        ModelError: The rows' features are not those of the model.
    """
    return Predictions(rows.subject, rows.start, np.clip(model.predict(rows), 0.0, 1.0), rows.market)


def write_parquet(path: Path, facts: Facts, rows: Predictions) -> None:
    """The same as a file, with the model's name and version in every row."""
    table = rows.table()
    for name, value in (("model_version", facts.version), ("model_name", facts.name)):
        table = table.add_column(0, name, pa.array([value] * len(rows), pa.string()))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
