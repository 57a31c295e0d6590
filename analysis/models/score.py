"""Scoring: the forecasts of a model as a table."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.arrays import Floats, Ints
from analysis.datasets.frame import Dataset, Texts
from analysis.models.model import Model, ModelMetadata


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
        """Return the columns of the table `prediction`, with times truncated to microseconds."""
        return pa.table(
            {
                "subject": pa.array(self.subject.tolist(), pa.string()),
                "decided_at": pa.array(self.decided // 1000, pa.timestamp("us", tz="UTC")),
                "probability": pa.array(self.probability, pa.float64()),
                "baseline": pa.array(self.baseline, pa.float64(), from_pandas=True),
            }
        )


def score(model: Model, rows: Dataset) -> Predictions:
    """Return the forecast of each row.

    Raises:
        ModelError: The features of the rows differ from those of the model.
    """
    return Predictions(rows.subject, rows.start, model.predict(rows), model.with_baseline(rows).market)


def write_parquet(path: Path, metadata: ModelMetadata, rows: Predictions) -> None:
    """Write predictions to a file, with name and version of the model in every row."""
    table = rows.table()
    for name, value in (("model_version", metadata.version), ("model_name", metadata.name)):
        table = table.add_column(0, name, pa.array([value] * len(rows), pa.string()))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
