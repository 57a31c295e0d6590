"""Silent streams and books, judged by what the venue's REST service says: the recording stays exact either way."""

import time
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import pytest
from support.fault_rig import Rig

from recorder.capture.liveness import rates_file
from recorder.capture.liveness.rates import ExpectedRates
from recorder.events import CHANNELS, Stream
from recorder.venues import venue_class

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence

MakeRig = Callable[..., Rig]
LIMIT_S = 90.0


def long(venue: str) -> Any:
    """Return a venue for `parametrize` that is left to long runs: the others of its list take the same paths."""
    return pytest.param(venue, marks=pytest.mark.long)


def up(rig: Rig) -> Rig:
    """Start a rig whose recorders have learned a week ago that every stream brings data each second."""
    week_ago_s = time.time() - 7 * 86_400
    for venue, symbols in rig.symbols.items():
        streams = [Stream(channel, symbol) for channel in CHANNELS for symbol in symbols]
        rates = ExpectedRates()
        for second in range(-3600, 7200):
            rates.sample(streams, streams, week_ago_s + second)
        rates_file.save(rates_file.path_of(rig.home, f"recorder-{venue}"), rates, week_ago_s + 7200)
    return rig.up()


def verdicts(rig: Rig, where: str = "true") -> list[dict[str, Any]]:
    """Return the rows of `witness` with their symbols, oldest first."""
    columns = ("recorder", "symbol", "channel", "cause", "verdict", "reason", "last_id", "venue_id", "levels", "late_s")
    wanted = ", ".join(columns).replace("late_s", "extract(epoch FROM venue_ts_event - last_ts_event)")
    rows = rig.query(
        f"SELECT {wanted} FROM witness JOIN instrument USING (instrument_id) WHERE {where} ORDER BY asked_at"
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def await_verdict(rig: Rig, where: str) -> dict[str, Any]:
    """Return the first row of `witness` that fulfils a condition, once it is stored."""
    rig.wait(f"a witness with {where}", lambda: bool(verdicts(rig, where)), LIMIT_S)
    return verdicts(rig, where)[0]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", ["kraken", long("coinbase"), long("figure")])
def test_a_stream_that_is_dead_by_rest_is_redriven_and_its_gap_is_declared(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = up(make_rig(database, venues=(venue,)))
    symbol = rig.symbols[venue][0]
    rig.do(venue, "freeze", symbol=symbol, channel="trade")
    row = await_verdict(rig, "cause = 'silence'")
    assert (row["symbol"], row["channel"], row["verdict"]) == (symbol, "trade", "dead")
    assert row["late_s"] > 10
    rig.wait("it is redriven", lambda: "stream.resubscribe" in rig.log(f"recorder-{venue}"), 10.0)
    assert "witness=dead" in rig.log(f"recorder-{venue}")
    rig.prove()
    assert any(gap["symbol"] == symbol and gap["channel"] == "trade" for gap in rig.gaps())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", ["binance", "kraken"])
def test_the_gap_of_silent_quotes_begins_with_their_last_data(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = up(make_rig(database, venues=(venue,)))
    symbol = rig.symbols[venue][0]
    rig.do(venue, "freeze", symbol=symbol, channel="quote")
    rig.wait("it is redriven", lambda: "stream.resubscribe" in rig.log(f"recorder-{venue}"), LIMIT_S)
    rig.prove()  # quotes have no ids, and those of Binance no time: the gap alone tells of what did not come
    assert any((gap["symbol"], gap["channel"], gap["cause"]) == (symbol, "quote", "silent") for gap in rig.gaps())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", ["coinbase", long("kraken"), long("okx")])
def test_a_market_that_is_quiet_by_rest_is_not_redriven(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = up(make_rig(database, venues=(venue,)))
    rig.stop_market()
    row = await_verdict(rig, "cause = 'silence' AND verdict = 'quiet'")
    assert row["last_id"] is not None or row["levels"] >= 4  # the books of Coinbase have no sequence
    program = f"recorder-{venue}"
    rig.wait("it is reported", lambda: bool(rig.metrics(program)["quiet"]), 30.0)
    report = rig.health(program)
    assert report is not None
    assert (report.state, "quiet by REST" in report.detail) == ("live", True)
    rig.pause(20.0)  # longer than the silence that is suspicious here
    log = rig.log(program)
    assert log.count("link.up") == 1
    assert "stream.resubscribe" not in log
    assert "stream.reconnect" not in log
    assert rig.gaps("cause = 'disconnect'") == []
    assert {one["verdict"] for one in verdicts(rig)} == {"quiet"}
    rig.prove()


@pytest.mark.timeout(300)
def test_without_an_answer_of_rest_a_silence_is_judged_as_before(make_rig: MakeRig, database: str) -> None:
    rig = up(make_rig(database, venues=("coinbase",)))
    rig.do("coinbase", "rest", status=429, times=1000)
    rig.do("coinbase", "freeze", symbol=rig.symbols["coinbase"][0], channel="trade")
    row = await_verdict(rig, "cause = 'silence'")
    assert (row["verdict"], row["reason"]) == ("not comparable", "HTTP status 429")
    rig.wait("it is redriven", lambda: "stream.resubscribe" in rig.log("recorder-coinbase"), 10.0)
    rig.prove()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", ["binance", "coinbase_advanced", long("okx"), long("figure")])
def test_a_book_is_compared_with_rest_on_schedule(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=(venue,), rate=40.0, settings={"monitoring": {"book_check_s": 5.0}}).up()
    row = await_verdict(rig, "cause = 'schedule' AND verdict <> 'not comparable'")
    assert (row["verdict"], row["channel"]) == ("agrees", "book")
    assert row["levels"] >= 4
    began = time.monotonic()
    rig.wait("both books are compared", lambda: len({one["symbol"] for one in verdicts(rig)}) == 2, LIMIT_S)
    assert time.monotonic() - began < LIMIT_S
    rig.prove()
    assert {one["verdict"] for one in verdicts(rig)} <= {"agrees", "not comparable"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", ["okx", "coinbase"])
def test_an_answer_with_another_book_differs(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=(venue,), settings={"monitoring": {"book_check_s": 5.0}}).up()
    symbol = rig.symbols[venue][0]
    rig.stop_market()
    asked = venue_class(venue).witness_questions.books
    assert not isinstance(asked, str)
    with urlopen(rig.venues[venue].rest_url + asked.path(symbol), timeout=10) as answer:
        body: str = answer.read().decode()
    size = repr(asked.decode(body.encode()).bids[0][1])
    assert size in body
    rig.do(venue, "rest_body", body=body.replace(size, f"1{size}", 1), times=1000)
    row = await_verdict(rig, f"symbol = '{symbol}' AND verdict <> 'not comparable' AND verdict <> 'agrees'")
    assert (row["verdict"], row["cause"]) == ("differs", "schedule")
    assert f"the venue's 1{size}" in row["reason"]
    rig.prove()
