import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.analysis.market_data import data_folder
from support.analysis.planted import RESOLVED, planted

from analysis.cli import main
from analysis.datasets import parts

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data() -> str:
    """Return the folder of the resolved sets."""
    return str(data_folder(RESOLVED))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder for one test."""
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_train_evaluate_report_and_score_from_a_terminal(data: str, home: Path, capsys: Capture) -> None:
    assert main(["train", "mixed24h", "--data", data, "--seed", "5"]) == 0
    out, progress = capsys.readouterr()
    assert "no skill shown against the market price" in out
    assert "seed 5" in progress
    (folder,) = (home / "models" / "mixed24h").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "model.json",
        "trees.ubj",
        "card.md",
        "datasheet.md",
        "report.html",
        "evaluation.json",
    }
    model = str(folder.parent)
    assert main(["evaluate", model, "--data", data, "--out", "evaluation.json"]) == 0
    assert "rows were left out: the model was trained on their event or their time" in capsys.readouterr().out
    assert json.loads(Path("evaluation.json").read_text())["metadata"]["version"] == folder.name
    assert main(["report", model, "--data", data, "--horizon", "earliest", "--keep-overlap", "--out", "page"]) == 0
    assert "were decided before the last training label was known" in Path("page/report.html").read_text()
    assert main(["score", model, "--data", data, "--out", "forecasts.parquet"]) == 0
    assert pq.read_metadata("forecasts.parquet").num_rows == 1392


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "mixed24h", "--features", "logit_price,price_midlife"], "price_midlife: the middle of a market"),
        (["train", "mixed24h", "--features", "history_points"], "history_points: the total number of points"),
        (["train", "nothing"], "there is no set 'nothing'"),
        (["train", "mixed24h", "--horizon", "3h"], "has no horizon '3h'"),
        (["train", "mixed24h", "--features", ","], "--features names no feature"),
        (["train", "mixed24h", "--holdout", "1.5"], "--holdout"),
    ],
)
def test_a_training_that_cannot_run_is_refused_in_one_sentence(
    data: str, home: Path, capsys: Capture, words: list[str], sentence: str
) -> None:
    assert main([*words, "--data", data]) == 2
    written = capsys.readouterr().err
    assert sentence in written
    assert written.count("\n") == 1
    assert not home.exists()


def test_a_missing_or_outdated_model_ends_with_1(data: str, home: Path, capsys: Capture) -> None:
    assert main(["evaluate", "nowhere", "--data", data]) == 1
    assert "there is no model in nowhere" in capsys.readouterr().err
    assert main(["train", "long_horizon", "--data", data, "--holdout", "0"]) == 0
    (metadata,) = home.glob("models/long_horizon/*/model.json")
    written = json.loads(metadata.read_text())
    written["features"]["age_days"] = "0" * 64
    metadata.write_text(json.dumps(written))
    capsys.readouterr()
    for command in ("evaluate", "report", "score"):
        assert main([command, str(metadata.parent), "--data", data, "--out", "x"]) == 1
        assert "age_days changed" in capsys.readouterr().err


def test_a_model_trained_on_all_rows_cannot_be_evaluated(data: str, home: Path, capsys: Capture) -> None:
    assert main(["train", "long_horizon", "--data", data, "--holdout", "0", "--name", "all"]) == 0
    assert main(["evaluate", str(home / "models" / "all"), "--data", data]) == 2
    assert "no rows to evaluate all on: it was trained on all 697 rows" in capsys.readouterr().err


def test_scoring_into_the_database_is_repeatable(data: str, home: Path, database: str, capsys: Capture) -> None:
    os.environ["DATABASE_URL"] = database
    try:
        assert main(["train", "long_horizon", "--data", data, "--register"]) == 0
        capsys.readouterr()
        for start in ("697 new predictions", "0 new predictions"):
            assert main(["score", str(home / "models" / "long_horizon"), "--data", data]) == 0
            assert capsys.readouterr().out.startswith(start)
    finally:
        del os.environ["DATABASE_URL"]


def test_rows_in_parts_train_like_rows_in_one_piece(home: Path, tmp_path: Path, capsys: Capture) -> None:
    rows, _ = planted(1.0, n=1500)
    parts.write(rows, tmp_path / "rows", rows_per_part=400)
    assert main(["train", "planted", "--data", str(tmp_path / "rows")]) == 0
    assert "\nskill shown against the market price" in capsys.readouterr().out
    model = str(home / "models" / "planted")
    assert main(["score", model, "--data", str(tmp_path / "rows"), "--out", "forecasts.parquet"]) == 0
    assert pq.read_metadata("forecasts.parquet").num_rows == 1500
    assert main(["train", "planted", "--data", str(tmp_path / "rows"), "--horizon", "1h"]) == 2
