"""Questions of several venues weeks before their resolution, with the crowd's probability at a freeze date.

The set holds only resolved questions. A question frozen shortly before the end of the collection is included only if
it resolved early, which raises the base rate of the later part. Columns that reveal that period, such as the scheduled
close, are not features.
"""

from pathlib import Path

import numpy as np

from analysis.datasets.files import floats, found, instants, table, words
from analysis.datasets.frame import Dataset, file_hash, once_each, texts
from analysis.datasets.tables import QUOTED, SOURCES, Quoted
from analysis.definition import definitions
from analysis.splits import Scheme

FEATURES = ("logit_price", "dist_from_half", "age_days", *(f"source_{source}" for source in SOURCES))


def load(folder: Path) -> Dataset:
    """Load all questions at all their freezes; the horizon states the time before the resolution, for evaluation.

    Raises:
        DataMissing: The file is missing.
    """
    path = found(folder, "multi_venue_long_horizon.csv.gz")
    rows = table(path)
    source, price = words(rows, "source"), floats(rows, "market_value_at_freeze")
    start, end = instants(rows, "freeze_datetime"), instants(rows, "resolution_date")
    subject = np.char.add(np.char.add(source, ":"), words(rows, "id"))
    quoted = Quoted(price, np.full(len(price), np.nan), instants(rows, "market_open"), start, source, source)
    return Dataset(
        name="long_horizon",
        baseline="crowd's probability",
        features={name: QUOTED[name].compute(quoted) for name in FEATURES},
        definitions=definitions(QUOTED[name] for name in FEATURES),
        sources={path.name: file_hash(path)},
        label=floats(rows, "resolved_to"),
        market=price,
        start=start,
        end=end,
        event=subject,
        subject=subject,
        horizon=np.where(floats(rows, "horizon_days") <= 30, "<=30d", ">30d"),
        tier=source,
        category=texts(len(price), "mixed"),
        weight=once_each(subject),
        scheme=Scheme.GROUPED,
    )
