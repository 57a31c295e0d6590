from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client
from support.analysis.planted import planted

from analysis.datasets import parts
from analysis.datasets.frame import KEYS
from analysis.models import Trained, train
from analysis.models.cluster import DaskEngine, workers
from analysis.splits import time_ordered
from recorder.errors import ConfigError


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Return a client of one worker with one thread in a process of its own."""
    with workers("local") as client:
        yield client


def test_a_frame_in_parts_is_the_frame(tmp_path: Path) -> None:
    rows, _ = planted(1.0, n=1000)
    files = parts.write(rows, tmp_path, rows_per_part=300)
    assert files.lengths == (300, 300, 300, 100)
    back = parts.read(files)
    assert np.array_equal(back.matrix(), rows.matrix())
    for key in KEYS:
        assert np.array_equal(getattr(back, key), getattr(rows, key)), key
    assert (back.name, back.baseline, back.definitions) == (rows.name, rows.baseline, rows.definitions)
    some = rows.label == 1.0
    assert np.array_equal(parts.read(files, some).matrix(), rows.matrix()[some])
    assert parts.keys(files).features == {}
    assert np.array_equal(parts.keys(files).label, rows.label)


def test_a_folder_without_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no parts of a training frame"):
        parts.open_parts(tmp_path)


def test_one_worker_gives_the_same_predictions_as_none(client: Client, tmp_path: Path) -> None:
    rows, _ = planted(1.0, n=1500)
    files = parts.write(rows, tmp_path, rows_per_part=400)
    split = time_ordered(rows.spans, 0.3)
    here = train(rows, split, seed=3)
    keys = parts.keys(files)
    there = train(keys, split, seed=3, engine=DaskEngine(client, files, list(keys.definitions)))
    assert here.model.metadata.rounds == there.model.metadata.rounds > 0
    assert np.array_equal(here.fit.out_of_fold.correction, there.fit.out_of_fold.correction)
    assert np.array_equal(here.model.predict(rows), there.model.predict(rows))


def test_corrections_come_in_the_order_in_which_rows_were_asked_for(client: Client, tmp_path: Path) -> None:
    rows, _ = planted(1.0, n=1200)
    trained: Trained = train(rows, time_ordered(rows.spans, 0.3))
    engine = DaskEngine(client, parts.write(rows, tmp_path, rows_per_part=500), list(rows.definitions))
    asked = np.random.default_rng(1).permutation(1200)[:400]
    from analysis.models.boost import corrections

    known = corrections(trained.model.booster, rows.matrix()[asked], trained.model.names)
    assert np.array_equal(engine.corrections(trained.model.booster, asked), known)


def test_a_waiting_cluster_listens_on_this_machine_alone(client: Client) -> None:
    ours = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [
        connection.laddr.ip
        for process in ours
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and process.name() != "postgres"
    ]
    assert len(client.scheduler_info()["workers"]) == 1
    assert set(listening) == {"127.0.0.1"}


def test_a_scheduler_that_does_not_answer_is_reported_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="no Dask scheduler answers at nonsense://x"), workers("nonsense://x"):
        pass
