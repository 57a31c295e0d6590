"""`tapedeck heal` and `tapedeck gaps`, without a poller, on a database with one gap."""

import fcntl
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest

from recorder.cli import main
from recorder.identity import instrument_id
from recorder.settings import Settings
from recorder.simulator.market import Trade
from recorder.simulator.running import Running, running

SYMBOL = "BTC-USD"
NUMBER = instrument_id("coinbase", SYMBOL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(trade: Trade) -> datetime:
    return _EPOCH + timedelta(microseconds=trade.ts_ns // 1000)


def fill(database: str, venue: Running) -> list[int]:
    """Store the first and the last past trade, and declare what is between them; return the missing ids."""
    market = venue.venue.symbols[SYMBOL]
    past = list(market.history)
    first, last = past[0], past[-1]
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'coinbase', %s, now())",
            (NUMBER, SYMBOL),
        )
        for one in (first, last):
            price, size = one.price / 10**market.spec.price_decimals, one.size / 10**market.spec.size_decimals
            cursor.execute(
                "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor)"
                " VALUES (%s, %s, %s, now(), %s, %s, %s)",
                (NUMBER, one.id, at(one), price, size, one.taker),
            )
        cursor.execute(
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, last_id, first_id, started_at, ended_at,"
            " last_ts_event, first_ts_event, revision) VALUES (5, %s, 'trade', 'disconnect', 'open', %s, %s,"
            " now() - interval '90 s', now() - interval '40 s', %s, %s, 2)",
            (NUMBER, first.id, last.id, at(first), at(last)),
        )
    connection.close()
    return [one.id for one in past[1:-1]]


@pytest.fixture
def venue(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A simulated venue that stands still, in the settings of a home."""
    config = tmp_path / "one.toml"
    with running("coinbase", truth=tmp_path / "c.jsonl", rate=0) as one:
        config.write_text(f'[venues.coinbase]\nrest_url = "{one.rest_url}"\n')
        for name, value in {
            "TAPEDECK_HOME": str(tmp_path / "home"), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield one


def test_the_commands_show_the_gap_read_it_and_leave_the_rows_in_the_journal(
    venue: Running, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = fill(database, venue)
    assert main(["gaps", "--json"]) == 0
    (gap,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (gap["state"], gap["symbol"], gap["first_id"] - gap["last_id"] - 1) == ("open", SYMBOL, len(missing))
    assert main(["gaps", "coinbase"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "state ended, not healed yet" in out
    assert "not read now: no poller runs; `tapedeck heal --once` reads it" in out
    assert main(["gaps", "kraken"]) == 0
    assert "0 gaps of trades" in capfd.readouterr().err
    for words, sentence in (
        (["gaps", "krakn"], "unknown venue 'krakn'; did you mean kraken?"),
        (["gaps", "coinbase", "BTC-USDT"], "nothing of 'BTC-USDT' was recorded at coinbase; did you mean BTC-USD?"),
        (["heal", "coinbase", "ETH-EUR"], "nothing of 'ETH-EUR' was recorded at coinbase"),
    ):
        assert main(words) == 2
        assert sentence in capfd.readouterr().err
    assert main(["heal"]) == 0
    assert f"coinbase {SYMBOL}: {len(missing)} ids between" in capfd.readouterr().out
    assert main(["heal", "--once", "--dry-run", "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown["rows"] == {"past_trade": len(missing), "gap": 1}
    assert main(["heal", "--once", "--json"]) == 0
    run = json.loads(capfd.readouterr().out)
    assert (run["job"], run["state"], run["rows"]) == ("healing", "done", len(missing) + 1)


def test_a_round_by_hand_logs_nothing_and_says_when_the_next_gap_is_read(
    venue: Running, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(database, venue)
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO gap_read"
            " (gap_id, instrument_id, reads, first_at, read_at, next_at, reason, evidence, revision)"
            " VALUES (5, %s, 1, now(), now(), now() + interval '10 min', 'an id is not listed', '[]', 1)",
            (NUMBER,),
        )
    connection.close()
    for words in (["heal"], ["heal", "--once"]):
        assert main(words) == 0
        err = capfd.readouterr().err
        assert "nothing is due; the next of 1 gap of trades is read in 10 min" in err
        assert "INFO" not in err


def test_what_no_subscription_asks_for_is_no_gap_to_look_at_and_long_names_stay_readable(
    venue: Running, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(database, venue)
    token = "5444222199087972430983959419912045006139779375849125774784"
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen)"
            " VALUES (7, 'polymarket', %s, now()), (8, 'polymarket', 'an ended market', now())",
            (token,),
        )
        cursor.execute("INSERT INTO subscription (venue, symbol, channel) VALUES ('polymarket', %s, 'trade')", (token,))
        for number, instrument, cause in ((6, 7, "unsubscribed"), (7, 7, "disconnect"), (8, 8, "disconnect")):
            cursor.execute(
                "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, revision)"
                " VALUES (%s, %s, 'trade', %s, 'open', now() - interval '90 s', 1)",
                (number, instrument, cause),
            )
    connection.close()
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["gaps", "polymarket"]) == 0
    out, err = capfd.readouterr()
    assert "polymarket 54442221...25774784" in out
    assert "unsubscribed" not in out
    assert "an ended market" not in out
    assert "state going on, why data is missing now" in " ".join(out.split()), "no word is cut"
    assert all(len(line) <= 80 for line in out.splitlines())
    assert err.startswith("1 gap of trades, 1 open: 1 going on, 0 ended and not healed yet;")
    assert main(["gaps", "polymarket", "--unsubscribed", "--json"]) == 0
    symbols = sorted(json.loads(line)["symbol"] for line in capfd.readouterr().out.splitlines())
    assert symbols == [token, token, "an ended market"]


def test_a_gap_whose_venue_does_not_answer_says_why_and_when_it_is_tried_again(
    venue: Running, database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(database, venue)
    again_at = (datetime.now(UTC) + timedelta(minutes=4)).replace(microsecond=0)
    reason = f"coinbase (again at {again_at:%Y-%m-%dT%H:%M:%SZ}): it answers HTTP 503; kraken (again at "
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO poll_run (run_id, job, slot, slots, state, reason, started_at, duration_s, rows, bytes,"
            " answers, attempts, odd, odd_samples, request_ids) VALUES (1, 'healing', now(), 1, 'failed', %s,"
            " now() - interval '20 s', 1.0, 0, 0, 0, 3, 0, '{}', '{}')",
            (reason,),
        )
    connection.close()
    lock = Settings.load().journal.dir / "poller" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:  # a running poller holds it
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["gaps", "--json"]) == 0
        (gap,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert main(["gaps"]) == 0
        text = " ".join(capfd.readouterr().out.split())
        assert main(["heal"]) == 0
    assert (gap["state"], gap["stage"], gap["failure"]) == ("open", "ended", "it answers HTTP 503")
    next_try = datetime.fromisoformat(gap["next_try_at"])
    assert again_at <= next_try <= again_at + timedelta(seconds=30)
    assert next_try.second in (11, 41), "it is the slot of a round"
    assert "s ago failed (it answers HTTP 503); read in " in text
    assert "min" in text.partition("read in ")[2]


def test_what_cannot_be_asked_for_is_said_in_a_sentence(venue: Running, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["heal", "polymarket"]) == 2
    assert "gaps of polymarket cannot be filled" in capfd.readouterr().err
    assert main(["heal", "--dry-run"]) == 2
    assert "--once --dry-run" in capfd.readouterr().err
