import dataclasses
import json
from pathlib import Path

import numpy as np
import psycopg2
import pyarrow.parquet as pq
import pytest
from support.analysis.planted import planted

from analysis.datasets import Dataset
from analysis.errors import ModelError
from analysis.models import Model, registry, store, train
from analysis.models.score import score, write_parquet
from analysis.splits import time_ordered
from recorder.errors import ConfigError, StoreUnavailable
from recorder.store.database import with_database


@pytest.fixture(scope="module")
def made() -> tuple[Model, Dataset]:
    """Return a model with trees, and its set."""
    rows, _ = planted(1.0, n=2000)
    model = train(rows, time_ordered(rows.spans, 0.3), seed=7).model
    assert model.metadata.rounds > 0
    return model, rows


def test_a_stored_model_forecasts_the_same_to_the_bit(made: tuple[Model, Dataset], tmp_path: Path) -> None:
    model, rows = made
    folder = registry.save(model, tmp_path, {"card.md": "card"})
    assert folder == tmp_path / "planted" / model.metadata.version
    again = registry.load(tmp_path / "planted", rows.definitions)
    assert again.metadata == model.metadata
    assert (again.predict(rows) == model.predict(rows)).all()
    assert sorted(path.name for path in folder.iterdir()) == ["card.md", "model.json", "trees.ubj"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing is left beside it"


def test_a_model_names_its_features_data_code_and_seed(made: tuple[Model, Dataset], tmp_path: Path) -> None:
    model, rows = made
    stored = json.loads((registry.save(model, tmp_path, {}) / "model.json").read_text())
    assert stored["features"] == dict(rows.definitions)
    assert stored["sources"] == dict(rows.sources)
    assert (stored["seed"], stored["rows"]) == (7, model.metadata.rows)
    assert stored["first_decision_ns"] < stored["last_label_ns"]
    assert "+" in stored["code"]


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_model_whose_features_changed_is_refused_in_one_sentence(
    made: tuple[Model, Dataset], tmp_path: Path, change: str
) -> None:
    model, rows = made
    folder = registry.save(model, tmp_path, {})
    now = dict(rows.definitions)
    if change == "changed":
        now["x1"] = "f" * 64
    else:
        del now["x1"]
    fault = "x1 changed" if change == "changed" else "x1 missing"
    with pytest.raises(ModelError, match=rf"the features of model planted .* differ .* \({fault}\): train it again"):
        registry.load(folder, now)
    with pytest.raises(ModelError, match=fault):
        model.predict(dataclasses.replace(rows, definitions=now))


def test_a_damaged_model_is_refused(made: tuple[Model, Dataset], tmp_path: Path) -> None:
    folder = registry.save(made[0], tmp_path, {})
    trees = folder / registry.TREES
    trees.write_bytes(trees.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match=r"is not the file that its model\.json names"):
        registry.load(folder)
    (folder / registry.METADATA).write_text("{}")
    with pytest.raises(ModelError, match="holds no complete model"):
        registry.load(folder)
    with pytest.raises(ModelError, match=r"there is no model in .*: train one"):
        registry.load(tmp_path / "nothing")


def test_the_latest_version_is_taken(made: tuple[Model, Dataset], tmp_path: Path) -> None:
    model, _ = made
    registry.save(model, tmp_path, {})
    later = dataclasses.replace(model.metadata, version="2999" + model.metadata.version[4:])
    registry.save(Model(later, model.booster), tmp_path, {})
    assert registry.load(tmp_path / "planted").metadata.version == later.version


def test_a_name_that_leaves_the_folder_is_refused(made: tuple[Model, Dataset], tmp_path: Path) -> None:
    model, _ = made
    for name in ("../up", "", "a/b", ".hidden", "UPPER"):
        with pytest.raises(ModelError, match="is not a valid model name"):
            registry.save(Model(dataclasses.replace(model.metadata, name=name), model.booster), tmp_path, {})


def rows_of(url: str, query: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def test_predictions_are_written_once_however_often_they_are_scored(made: tuple[Model, Dataset], database: str) -> None:
    model, rows = made
    scored = score(model, rows)
    assert store.write_predictions(database, model.metadata, scored) == len(rows)
    assert store.write_predictions(database, model.metadata, scored) == 0
    found = rows_of(database, "SELECT count(*), min(probability), max(baseline) FROM prediction")
    assert found == [(len(rows), scored.probability.min(), scored.baseline.max())]
    at = rows_of(database, "SELECT decided_at FROM prediction WHERE subject = 'm5'")[0][0]
    assert at.timestamp() == int(rows.start[5]) // 1000 / 1e6  # type: ignore[attr-defined]
    more = dataclasses.replace(scored, decided=scored.decided + 1_000_000_000)
    assert store.write_predictions(database, model.metadata, more) == len(rows)


def test_a_model_is_registered_once_with_all_its_facts(made: tuple[Model, Dataset], database: str) -> None:
    model, rows = made
    store.register(database, model.metadata)
    store.register(database, model.metadata)
    found = rows_of(database, "SELECT name, version, dataset, row_count, seed, trees, features, metadata FROM model")
    metadata = model.metadata
    expected = (metadata.name, metadata.version, "planted", metadata.rows, 7, metadata.rounds, dict(rows.definitions))
    assert [row[:7] for row in found] == [expected]
    assert found[0][7]["shrinkage"] == metadata.shrinkage  # type: ignore[index]


def test_a_trainer_may_write_models_and_nothing_else_and_a_reader_may_only_read(database: str) -> None:
    def may(role: str, table: str, right: str) -> object:
        return rows_of(database, f"SELECT has_table_privilege('{role}', '{table}', '{right}')")[0][0]

    for table in ("model", "prediction"):
        assert may("tapedeck_trainer", table, "INSERT")
        assert not may("tapedeck_trainer", table, "UPDATE")
        assert not may("tapedeck_trainer", table, "DELETE")
        assert may("tapedeck_reader", table, "SELECT")
        assert not may("tapedeck_reader", table, "INSERT")
        assert not may("tapedeck_writer", table, "INSERT")
    assert not may("tapedeck_trainer", "trade", "SELECT")


def test_a_login_without_the_role_is_refused(made: tuple[Model, Dataset], database: str) -> None:
    connection = psycopg2.connect(database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS models_stranger")
        cursor.execute("CREATE ROLE models_stranger LOGIN PASSWORD 'x'")
        try:
            stranger = f"postgresql://models_stranger:x@{database.rpartition('@')[2]}"
            with pytest.raises(ConfigError, match="lacks a right"):
                store.register(stranger, made[0].metadata)
        finally:
            cursor.execute("DROP ROLE models_stranger")
    connection.close()


def test_an_unreachable_database_is_distinguished_from_an_old_one(made: tuple[Model, Dataset], database: str) -> None:
    with pytest.raises(ConfigError, match="tapedeck migrate"):
        store.register(with_database(database, "postgres"), made[0].metadata)
    with pytest.raises(StoreUnavailable):
        store.register("postgresql://nobody@127.0.0.1:1/none", made[0].metadata)


def test_predictions_without_a_database_are_a_parquet_file(made: tuple[Model, Dataset], tmp_path: Path) -> None:
    model, rows = made
    write_parquet(tmp_path / "forecasts.parquet", model.metadata, score(model, rows))
    table = pq.read_table(tmp_path / "forecasts.parquet")
    names = ["model_name", "model_version", "subject", "decided_at", "probability", "baseline"]
    assert table.column_names == names
    assert np.array_equal(table["probability"].to_numpy(), model.predict(rows))
    assert set(table["model_version"].to_pylist()) == {model.metadata.version}
