"""Questions of a witness to a real REST server, beside a live connection, and whatever the server answers."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.link_rig import BOOKS, TRADES, Peer, Running, Server, linked, until
from support.misbehaving_rest import Answer, response, rest_server
from support.write_buffers import Read, Row, integer, snapshot, trade

from recorder.capture.witness.asker import BODY_MAX, PER_MINUTE, Question, WitnessAsker
from recorder.clock import SystemClock
from recorder.journal.reader import JournalReader
from recorder.replay.redecode import RedecodedBlock, redecode
from recorder.rest.client import RestClient
from recorder.rest.policy import Priority
from recorder.venues.base import RestLimits
from recorder.venues.coinbase.stream import Coinbase, CoinbaseDecoder

PLENTY = RestLimits(per_s=1000, burst=1000)
NEVER_S = 1e9


def feed(peer: Peer) -> None:
    """Send a trade and a book, then confirm everything."""
    for _ in range(2):
        peer.answer(peer.next())
    peer.send(trade(100))
    peer.send(snapshot())
    peer.serve()


def rest_trade(number: object, age_s: float = 30.0) -> dict[str, object]:
    at = datetime.fromtimestamp(time.time() - age_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {"trade_id": number, "side": "buy", "size": "1", "price": "2", "time": at}


OURS: dict[str, object] = rest_trade(100) | {"time": "2026-03-05T14:00:00.000001Z"}


def body(*rows: dict[str, object]) -> bytes:
    return response("200 OK", json.dumps(rows).encode())


class World:
    """A connection that brought a trade and a book, and the witnesses of its recorder."""

    def __init__(self, folder: Path, running: Running, asker: WitnessAsker) -> None:
        self.folder = folder
        self.running = running
        self.asker = asker

    def ask(self, stream: object = TRADES) -> str:
        """Ask about a stream that is silent for a minute, and return what is passed on."""
        assert stream in (TRADES, BOOKS)
        silent_since_ns = time.time_ns() - 60 * 10**9
        self.asker.ask(Question(self.running.link, TRADES if stream == TRADES else BOOKS, silent_since_ns))
        _, said = self.asker.said.get(timeout=30)
        return said

    def rows(self) -> list[Row]:
        """End the recording, and return the rows of `witness`."""
        assert len(self.running.link.figures().state) > 0
        self.running.stop()
        return Read(self.folder).rows("witness")


@contextmanager
def world(folder: Path, *answers: Answer, book_check_s: float = NEVER_S) -> Iterator[World]:
    """Yield a live world whose REST service gives these answers, the last one for ever."""
    stop = threading.Event()
    with Server(feed).running() as url, rest_server(*answers) as rest, linked(folder, url, TRADES, BOOKS) as running:
        until(lambda: running.link.figures().events >= 2, "the first data")
        client = RestClient(
            "coinbase", rest.url, PLENTY, "test", stop, SystemClock(), random.Random(1), priority=Priority.SCHEDULED
        )
        buffer, rng = running.rig.buffer, random.Random(2)
        asker = WitnessAsker(
            "recorder", Coinbase.witness_questions, client.once, buffer, book_check_s, SystemClock(), rng
        )
        part = asker.part(lambda: (running.link,))
        thread = threading.Thread(target=part, args=(stop,), name="witness")
        thread.start()
        try:
            yield World(folder, running, asker)
            assert thread.is_alive()
        finally:
            stop.set()
            thread.join(30)
            client.close()


def verdict_of(row: Row) -> tuple[str, str]:
    """Return the verdict and the reason of a row."""
    return (row["verdict"] or b"").decode(), (row["reason"] or b"").decode()


def test_the_answer_is_in_the_journal_before_its_verdict_and_a_replay_finds_no_difference(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with world(folder, body(OURS)) as here:
        assert here.ask() == "quiet"
        (row,) = here.rows()
        assert verdict_of(row) == ("quiet", "the venue has no newer trade")
        assert (integer(row["last_id"]), integer(row["venue_id"])) == (100, 100)
        assert row["request_id"]
        assert here.asker.figures.verdicts == {"quiet": 1}
    records = [frame.payload for frame in Read(folder).frames if frame.payload.startswith(b'{"tapedeck":"witness"')]
    (record,) = [json.loads(payload) for payload in records]
    assert record["streams"] == [["trade", "A-USD"]]
    assert json.loads(record["body"]) == [OURS]
    blocks = [one for one in redecode(JournalReader(folder), CoinbaseDecoder) if isinstance(one, RedecodedBlock)]
    assert blocks
    assert not any(block.differs for block in blocks)


def test_a_newer_trade_that_had_time_to_come_shows_a_dead_stream_and_a_young_one_waits(tmp_path: Path) -> None:
    with world(tmp_path / "journal", body(OURS, rest_trade(101)), body(OURS, rest_trade(101, 1.0))) as here:
        assert here.ask() == "dead"
        began = time.monotonic()
        assert here.ask() == "dead"  # it did not come within the grace
        assert time.monotonic() - began > 8
        assert [verdict_of(row)[0] for row in here.rows()] == ["dead", "dead"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (response("429 Too Many Requests", b"{}"), "HTTP status 429"),
        (response("503 Service Unavailable", b"<html></html>"), "HTTP status 503"),
        (response("200 OK", b"<html>\x1b[2J</html>"), "odd answer: trades: "),
        (response("200 OK", b"[" * 100_000), "odd answer: trades: "),
        (response("200 OK", b"\xff\xfe\x00"), "odd answer: trades: "),
        (body(rest_trade(2**63)), "odd answer: trades: "),
        (body(rest_trade(2**62)), "its ids are of another count than ours"),
        (body(rest_trade(101) | {"time": "9999-12-31T23:59:59Z"}), "odd answer: trades: "),
        (body(rest_trade(101) | {"time": "2100-12-31T23:59:59Z"}), "its newer trades are ahead of our clock"),
        (body(), "the venue lists no trade"),
        (response("200 OK", b" " * (BODY_MAX + 1)), f"the answer has {BODY_MAX + 1} bytes"),
        (b"", "no answer: "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[", "no answer: "),
    ],
)
def test_an_odd_answer_costs_one_verdict_and_nothing_else(tmp_path: Path, answer: bytes, reason: str) -> None:
    with world(tmp_path / "journal", answer, body(OURS)) as here:
        assert here.ask() == "unknown"
        assert here.ask() == "quiet"  # the next one is judged as if nothing had been
        link = here.running.link.figures()
        assert (link.sessions, link.state, link.quarantined) == (1, "LIVE", 0)
        first, second = here.rows()
        verdict, text = verdict_of(first)
        assert verdict == "not comparable"
        assert text.startswith(reason)
        assert text.isprintable()
        assert len(text) <= 200
        assert verdict_of(second)[0] == "quiet"


def test_no_more_questions_are_asked_than_a_minute_allows(tmp_path: Path) -> None:
    with world(tmp_path / "journal", body(OURS)) as here:
        assert [here.ask() for _ in range(PER_MINUTE + 2)] == ["quiet"] * PER_MINUTE + ["unknown"] * 2
        assert verdict_of(here.rows()[-1])[1] == f"{PER_MINUTE} requests were made in this minute"


def test_a_silent_book_is_quiet_where_rest_has_the_same_and_dead_where_it_has_another(tmp_path: Path) -> None:
    same = response("200 OK", b'{"bids":[["1","1","1"]],"asks":[["3","1","1"]]}')
    other = response("200 OK", b'{"bids":[["1","1","1"]],"asks":[["2.5","1","1"]]}')
    with world(tmp_path / "journal", same, other) as here:
        assert here.ask(BOOKS) == "quiet"
        assert here.ask(BOOKS) == "dead"  # in two answers alike
        quiet, dead = here.rows()
        assert verdict_of(quiet)[0] == "quiet"
        verdict, reason = verdict_of(dead)
        assert verdict == "dead"
        assert "such as ask 2.5: ours 0.0, the venue's 1.0" in reason


def test_a_connection_that_ended_gives_no_verdict(tmp_path: Path) -> None:
    with world(tmp_path / "journal", body(OURS)) as here:
        here.running.stop()
        assert here.ask() == "unknown"
        assert here.ask(BOOKS) == "unknown"


def test_a_book_is_compared_on_schedule(tmp_path: Path) -> None:
    same = response("200 OK", b'{"bids":[["1","1","1"]],"asks":[["3","1","1"]]}')
    with world(tmp_path / "journal", same, book_check_s=2.0) as here:
        until(lambda: here.asker.figures.verdicts.get("agrees", 0) >= 2, "two comparisons")
        rows = here.rows()
        assert {(row["cause"], verdict_of(row)[0]) for row in rows} == {(b"schedule", "agrees")}
        assert here.asker.said.empty()
