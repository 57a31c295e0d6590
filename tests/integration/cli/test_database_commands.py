"""Commands about the recording database, against a real one and a simulated venue."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captured_data import ROOT
from support.machine.terminal import in_terminal

from recorder.cli import main
from recorder.process.health import HealthFile, JournalFigures, WriterFigures
from recorder.simulator.running import running


@pytest.fixture(autouse=True)
def kraken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str) -> Iterator[None]:
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database)
    with running("kraken", truth=tmp_path / "truth.jsonl", rate=0) as simulated:
        monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__REST_URL", simulated.rest_url)
        yield


def subscribed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[tuple[str, str, str, bool]]:
    capsys.readouterr()
    assert main(["subscriptions", "--json", *arguments]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(row["venue"], row["symbol"], row["channel"], row["active"]) for row in rows]


def test_subscriptions_shows_what_was_subscribed_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert subscribed(capsys) == []
    assert main(["subscribe", "kraken", "BTC/USD", "*/EUR", "--channel", "trade"]) == 0
    assert "2 of 2 streams changed" in capsys.readouterr().out
    assert main(["unsubscribe", "kraken", "BTC/USD", "--channel", "trade"]) == 0
    assert subscribed(capsys) == [("kraken", "*/EUR", "trade", True), ("kraken", "BTC/USD", "trade", False)]
    assert subscribed(capsys, "coinbase") == []
    assert main(["subscriptions"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"kraken +\*/EUR +trade +recorded", out)
    assert re.search(r"kraken +BTC/USD +trade +left out", out)


def test_an_answer_of_psql_waits_in_no_pager(database: str) -> None:
    command = [str(ROOT / ".venv" / "bin" / "tapedeck"), "psql", "-c", "SELECT generate_series(1, 200)"]
    code, lines, _ = in_terminal(command, 80, {"DATABASE_URL": database, "PAGER": "echo PAGED", "PSQL_PAGER": ""})
    assert (code, "(200 rows)" in lines, "PAGED" in lines) == (0, True, False)


def test_unsubscribing_what_was_never_subscribed_is_refused_and_changes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["subscribe", "kraken", "BTC/USD", "top:1:SOL/*", "--channel", "trade"]) == 0
    before = subscribed(capsys)
    for symbol, hint in (("BTC/USDD", "did you mean BTC/USD?"), ("NOPE/USD", ""), ("*/JPY", "")):
        assert main(["unsubscribe", "kraken", symbol]) == 2
        err = capsys.readouterr().err
        assert f"kraken has no subscription {symbol!r}" in err
        assert hint in err
    assert subscribed(capsys) == before


def test_roles_print_every_role_of_the_schema_and_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://my%20login:hunter2@127.0.0.1:1/tape")
    assert main(["roles"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == set(
        re.findall(r"\btapedeck_\w+", (ROOT / "recorder" / "resources" / "sql" / "schema.sql").read_text())
    )
    assert main(["roles", "--sql"]) == 0
    out = capsys.readouterr().out
    assert all(f"CREATE ROLE {name} NOLOGIN" in out for name in listed)
    assert '"my login"' in out
    assert '"tape"' in out
    assert "hunter2" not in out
    monkeypatch.setenv("DATABASE_URL", "")
    assert main(["roles", "--sql"]) == 0
    assert "DATABASE_URL is unset, so the SQL is for login tapedeck, database tapedeck_demo" in capsys.readouterr().err


def test_verify_shows_in_a_terminal_what_it_waits_for_and_is_not_clean_while_the_database_is_behind(
    tmp_path: Path,
) -> None:
    figures = WriterFigures(database="up", lag_bytes=5 << 20, journals={"recorder-x": JournalFigures(5 << 20, 1.0)})
    HealthFile(tmp_path, "writer").write("live", "", figures)
    (tmp_path / "journal").mkdir()
    code, lines, _ = in_terminal([sys.executable, "-m", "recorder", "verify", "--wait", "0.6"], 80)
    text = " ".join(" ".join(lines).split())
    assert "waiting for the writer" in text
    assert code == 1
    assert "not all was checked: after 0.6 s the writer still has to load 5 MiB of the journals" in text
    assert "NOT clean" in text


def test_a_subscription_that_nothing_records_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__ENABLED", "false")
    assert main(["subscribe", "kraken", "BTC/USD", "--channel", "trade"]) == 0
    out, err = capsys.readouterr()
    assert "1 of 1 streams changed; it is in the database only" in out
    assert "nothing records kraken: enable [venues.kraken] in the settings" in " ".join(err.split())
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__ENABLED", "true")
    assert main(["subscribe", "kraken", "ETH/USD", "--channel", "trade"]) == 0
    assert "no recorder of kraken runs here now; one that starts records it" in capsys.readouterr().err
