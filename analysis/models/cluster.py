"""Training on Dask workers: features stay on the workers, and a few numbers for each row come to the caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb
from distributed import Client, LocalCluster
from xgboost import collective
from xgboost import dask as dxgb

from analysis.arrays import Bools, Floats, Ints
from analysis.datasets.frame import Dataset
from analysis.datasets.parts import Parts, write
from analysis.models.boost import Params, corrections, upto_best, weighted
from recorder.errors import ConfigError

MEMORY = "2GiB"
"""Memory limit of a worker started by us."""

_LABEL, _WEIGHT, _MARGIN = "row.label", "row.weight", "row.margin"


class DaskEngine:
    """An Engine whose rows are parts read by Dask workers; all workers must see the files."""

    def __init__(self, client: Client, parts: Parts, names: list[str]) -> None:
        self._client, self._parts, self._names = client, parts, names
        scheduler = str(client.scheduler.address) if client.scheduler is not None else ""
        self._loopback = scheduler.startswith(("inproc://", "tcp://127.0.0.1:"))

    def boost(
        self,
        train: Ints,
        stop: Ints | None,
        params: Params,
        rounds: int,
        seed: int,
        classes: tuple[float, float],
        margin: Floats,
    ) -> tuple[xgb.Booster, int]:
        """Implement `analysis.models.boost.Engine`."""
        matrix = self._matrix(train, classes, margin)
        evals = [] if stop is None else [(self._matrix(stop, classes, margin), "stop")]
        answer = dxgb.train(
            self._client,
            params.xgboost(seed),
            matrix,
            rounds,
            evals=evals,
            early_stopping_rounds=params.patience if evals else None,
            verbose_eval=False,
            # Workers find each other through a tracker; for workers on this machine it listens on loopback only.
            coll_cfg=collective.Config(tracker_host_ip="127.0.0.1") if self._loopback else None,
        )
        booster = answer["booster"]
        return upto_best(booster) if evals else (booster, rounds)

    def corrections(self, booster: xgb.Booster, rows: Ints) -> Floats:
        """Implement `analysis.models.boost.Engine`."""
        chosen = self._chosen(rows)
        work = [
            dask.delayed(_correct)(str(file), mask, self._names, booster)  # type: ignore[attr-defined]
            for file, mask in chosen
        ]
        out = np.concatenate([np.zeros(0), *self._client.compute(work, sync=True)])
        order = np.empty(len(rows), np.int64)
        order[np.argsort(rows, kind="stable")] = np.arange(len(rows))
        return np.asarray(out[order], np.float64)

    def _matrix(self, rows: Ints, classes: tuple[float, float], margin: Floats) -> dxgb.DaskDMatrix:
        chosen = self._chosen(rows)
        ordered = np.sort(rows)  # the order of the rows in their parts
        margins = np.split(margin[ordered], np.cumsum([int(mask.sum()) for _, mask in chosen])[:-1])
        columns = [*self._names, _LABEL, _WEIGHT, _MARGIN]
        frame = dd.from_map(
            partial(load_part, names=self._names, classes=classes),
            [str(file) for file, _ in chosen],
            [mask for _, mask in chosen],
            margins,
            meta=pd.DataFrame({name: np.zeros(0) for name in columns}),
        ).persist()  # read once, though four columns are taken from it
        return dxgb.DaskDMatrix(
            self._client,
            frame[self._names],
            label=frame[_LABEL],
            weight=frame[_WEIGHT],
            base_margin=frame[_MARGIN],
            feature_names=self._names,
        )

    def _chosen(self, rows: Ints) -> list[tuple[Path, Bools]]:
        """Return the parts that hold some of the rows, each with its mask."""
        mask = np.zeros(sum(self._parts.lengths), np.bool_)
        mask[rows] = True
        pairs = zip(self._parts.files, self._parts.masks(mask), strict=True)
        return [(file, part) for file, part in pairs if part.any()]


def load_part(
    file: str, mask: Bools, margins: Floats, *, names: list[str], classes: tuple[float, float]
) -> pd.DataFrame:
    """Return some rows of a part: features, label, and the margin and weight to train on."""
    table = _rows(file, mask, [*names, "row.label", "row.weight"])
    label, weight = (table.column(name).to_numpy() for name in ("row.label", "row.weight"))
    margin, heavy = weighted(label, margins, weight, classes)
    columns = {name: table.column(name).to_numpy() for name in names}
    return pd.DataFrame({**columns, _LABEL: label, _WEIGHT: heavy, _MARGIN: margin})


def _correct(file: str, mask: Bools, names: list[str], booster: xgb.Booster) -> Floats:
    table = _rows(file, mask, names)
    return corrections(booster, np.column_stack([table.column(name).to_numpy() for name in names]), names)


def _rows(file: str, mask: Bools, columns: list[str]) -> pa.Table:
    return pq.read_table(file, columns=columns).filter(pa.array(mask))


@contextmanager
def engine(cluster: str, rows: Dataset, parts: Parts | None) -> Iterator[DaskEngine]:
    """Yield an engine on a cluster.

    Args:
        cluster: "local", or tcp://host:port of a scheduler.
        rows: The frame, or its keys.
        parts: Files with its features; without them, written to a temporary folder of this machine.
    """
    with TemporaryDirectory(prefix="tapedeck-parts-") as scratch, workers(cluster) as client:
        yield DaskEngine(client, parts or write(rows, Path(scratch)), list(rows.definitions))


@contextmanager
def workers(cluster: str) -> Iterator[Client]:
    """Yield a client of Dask workers; Dask listens on loopback, XGBoost while training on every interface.

    Args:
        cluster: "local" starts one process, which spills to disk above MEMORY; or tcp://host:port of a scheduler.

    Raises:
        ConfigError: No scheduler answers there.
    """
    if cluster != "local":
        try:
            client = Client(cluster, timeout="10s")
        except (OSError, ValueError) as error:
            raise ConfigError(f"no Dask scheduler answers at {cluster}: {error}") from error
        with client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            memory_limit=MEMORY,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # with None its pages are served on every interface
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=40,
        ) as own,
        Client(own) as client,
    ):
        yield client
