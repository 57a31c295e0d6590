import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from market_data import data_folder
from planted import RESOLVED, planted

from analysis.cli import main
from analysis.datasets import parts

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data() -> str:
    """Folder of the resolved sets."""
    return str(data_folder(RESOLVED))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
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
    assert main(["evaluate", model, "--data", data, "--out", "judged.json"]) == 0
    assert "rows were left out: the model knew" in capsys.readouterr().out
    assert json.loads(Path("judged.json").read_text())["facts"]["version"] == folder.name
    assert main(["report", model, "--data", data, "--horizon", "earliest", "--keep-overlap", "--out", "page"]) == 0
    assert "were decided before the last training label was known" in Path("page/report.html").read_text()
    assert main(["score", model, "--data", data, "--out", "said.parquet"]) == 0
    assert pq.read_metadata("said.parquet").num_rows == 1392


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "mixed24h", "--features", "logit_price,price_midlife"], "price_midlife: the middle of a market"),
        (["train", "mixed24h", "--features", "history_points"], "history_points: the number of points"),
        (["train", "nothing"], "there is no set 'nothing'"),
        (["train", "mixed24h", "--horizon", "3h"], "has no horizon '3h'"),
        (["train", "mixed24h", "--features", ","], "--features names none"),
        (["train", "mixed24h", "--holdout", "1.5"], "--holdout"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(
    data: str, home: Path, capsys: Capture, words: list[str], sentence: str
) -> None:
    assert main([*words, "--data", data]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1
    assert not home.exists()


def test_a_model_that_is_not_there_or_no_longer_fits_ends_with_1(data: str, home: Path, capsys: Capture) -> None:
    assert main(["evaluate", "nowhere", "--data", data]) == 1
    assert "there is no model in nowhere" in capsys.readouterr().err
    assert main(["train", "long_horizon", "--data", data, "--holdout", "0"]) == 0
    (facts,) = home.glob("models/long_horizon/*/model.json")
    told = json.loads(facts.read_text())
    told["features"]["age_days"] = "0" * 64
    facts.write_text(json.dumps(told))
    capsys.readouterr()
    for command in ("evaluate", "report", "score"):
        assert main([command, str(facts.parent), "--data", data, "--out", "x"]) == 1
        assert "age_days changed" in capsys.readouterr().err


def test_a_model_of_everything_has_nothing_to_be_judged_on(data: str, home: Path, capsys: Capture) -> None:
    assert main(["train", "long_horizon", "--data", data, "--holdout", "0", "--name", "all"]) == 0
    assert main(["evaluate", str(home / "models" / "all"), "--data", data]) == 2
    assert "nothing to judge all on: all 697 rows were known to it" in capsys.readouterr().err


def test_scoring_into_the_database_is_repeatable(data: str, home: Path, database: str, capsys: Capture) -> None:
    os.environ["DATABASE_URL"] = database
    try:
        assert main(["train", "long_horizon", "--data", data, "--register"]) == 0
        capsys.readouterr()
        for said in ("697 new predictions", "0 new predictions"):
            assert main(["score", str(home / "models" / "long_horizon"), "--data", data]) == 0
            assert capsys.readouterr().out.startswith(said)
    finally:
        del os.environ["DATABASE_URL"]


def test_rows_in_parts_train_like_rows_in_one_piece(home: Path, tmp_path: Path, capsys: Capture) -> None:
    rows, _ = planted(1.0, n=1500)
    parts.write(rows, tmp_path / "rows", rows_per_part=400)
    assert main(["train", "planted", "--data", str(tmp_path / "rows")]) == 0
    assert "\nskill shown against the market price" in capsys.readouterr().out
    model = str(home / "models" / "planted")
    assert main(["score", model, "--data", str(tmp_path / "rows"), "--out", "said.parquet"]) == 0
    assert pq.read_metadata("said.parquet").num_rows == 1500
    assert main(["train", "planted", "--data", str(tmp_path / "rows"), "--horizon", "1h"]) == 2
