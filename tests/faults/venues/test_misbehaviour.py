"""The faults of a simulated venue in its data, and the exact effect of each on the recording."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.fault_rig import CHANNELS, SYMBOLS, Rig
from support.misbehaviour import ENDS, FAULTS, FIRST, LAST, OWN

from recorder.simulator.build import VENUES
from recorder.simulator.malformed import KINDS
from recorder.truth import Sent, Subscribed, TradeItem, read_truth

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence

MakeRig = Callable[..., Rig]
AT_SUBSCRIPTION = {"refuse", "old_snapshot", "late_answer", "bookless"}  # they wait for new subscriptions
IDLE = {"checksum", "rest", "reset_ids"}  # rules that a venue without checksums or REST requests never uses
# A complete message of a product that is not subscribed, with an impossible time: it is recorded without that time.
READABLE = {"coinbase": {"year_one"}, "kraken": set[str]()}
# Those of test_venue_faults.py, test_witness.py and others.
ELSEWHERE = {
    "half_open", "history", "refuse_handshake", "resolve", "rest_body", "new_market", "silence", "skip_ids",
}  # fmt: skip
NO_MISDEED = {"heal", "status", "rate", "every"}


def provoke(rig: Rig, venue: str, action: str, arguments: dict[str, Any]) -> None:
    """Cause a fault, wait until it has happened, and end it."""
    market = rig.venues[venue].venue
    filled = {key: rig.symbols[venue][0] if value == FIRST else value for key, value in arguments.items()}
    print(venue, action, filled)
    rig.do(venue, action, **filled)
    if action in AT_SUBSCRIPTION or (action == "republish" and not arguments.get("now")):
        rig.do(venue, "close")
    if action in ("freeze", "slow", "fragment", "checksum_returns", *ENDS):
        rig.pause(0.4)
    else:
        rig.wait(f"{action} has happened", lambda: all(rule.do in IDLE for rule in market.faults.rules))
        rig.wait("the burst is over", lambda: not market.burst)
    if action == "refuse":
        rig.wait("it is declared", lambda: bool(rig.gaps("channel = 'trade' AND ended_at IS NULL")))
        rig.do(venue, "close")  # refused streams are requested again by the next session, or after five minutes
    rig.do(venue, "heal")
    if action in ENDS:
        rig.do(venue, action, **ENDS[action])
    rig.wait_subscribed()


def happened(rig: Rig) -> bool:
    """Return whether every requested fault has happened."""
    return not any(running.venue.faults.rules for running in rig.venues.values())


@pytest.mark.parametrize("venue", sorted(VENUES))
def test_every_fault_of_the_simulator_is_tried(venue: str, make_rig: MakeRig, database: str) -> None:
    tried = {action for action, _ in [*FAULTS, *OWN.get(venue, []), LAST]}
    offered = set(make_rig(database, venues=[venue]).venues[venue].controls.help())
    assert offered - ELSEWHERE - NO_MISDEED <= tried <= offered


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("each", [pytest.param(13, id="short"), pytest.param(1, id="long", marks=pytest.mark.long)])
@pytest.mark.parametrize("venue", sorted(VENUES))
def test_after_any_fault_everything_sent_is_stored_or_declared(
    venue: str, each: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    if venue == "bitfinex":
        rig.do(venue, "every", ticker_s=0.2, checksum_s=0.5)
    faults = [*FAULTS, *OWN.get(venue, [])]
    rig.rng.shuffle(faults)
    for number, (action, arguments) in enumerate([*faults, LAST], 1):
        provoke(rig, venue, action, arguments)
        if number % each == 0 or action == LAST[0]:
            rig.do(venue, "close", how="frame")  # a book that failed often waits long for a resync
            rig.prove()


def test_each_malformed_frame_is_quarantined_with_its_reason_and_the_session_lives(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    expected = 0
    for kind in (*KINDS, "oversized"):
        for venue in rig.venues:
            if kind == "oversized":
                rig.do(venue, "oversized", megabytes=40.0)
            else:
                rig.do(venue, "malformed", kind=kind)
            expected += kind not in READABLE[venue]
        rig.wait(f"{kind} is in quarantine", lambda number=expected: rig.stored("quarantine") == number, 10.0)  # type: ignore[misc]
    rig.prove()
    rows = rig.query("SELECT scope, reason, octet_length(sample), octet_length(sha256) FROM quarantine")
    assert all(scope == "frame" and reason and size <= 1024 and digest == 32 for scope, reason, size, digest in rows)
    assert {gap["cause"] for gap in rig.gaps()} == {"unreadable"}
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == 2


def test_a_broken_sequence_is_a_gap_of_that_instrument_alone_and_a_reset_is_a_new_epoch(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    for venue in rig.venues:
        rig.do(venue, "skip", times=3, symbol=SYMBOLS[venue][0])
        rig.do(venue, "reorder", times=2, symbol=SYMBOLS[venue][0])
    rig.wait("it happened", lambda: happened(rig))
    rig.wait("gaps are stored", lambda: len({gap["venue"] for gap in rig.gaps()}) == 2)
    for venue in rig.venues:
        rig.do(venue, "reset_ids", symbol=SYMBOLS[venue][0], first=7)
    rig.wait("the resets are seen", lambda: len(rig.gaps("cause = 'sequence_reset'")) == 2)
    rig.prove()
    gaps = rig.gaps()
    assert {(gap["symbol"], gap["channel"]) for gap in gaps} == {(symbols[0], "trade") for symbols in SYMBOLS.values()}
    assert {gap["cause"] for gap in gaps} == {"sequence", "sequence_reset"}
    # This is a new epoch, not a million missing ids.
    assert {gap["state"] for gap in gaps if gap["cause"] == "sequence_reset"} == {"unhealable"}
    open_ones = [gap for gap in gaps if gap["cause"] == "sequence" and gap["state"] == "open"]
    assert sum(gap["first_id"] - gap["last_id"] - 1 for gap in open_ones) == 2 * 3


@pytest.mark.parametrize("venue", ["binance", "kraken", "okx"])
def test_a_break_in_one_book_resyncs_that_book_and_disturbs_no_other_stream(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    first = rig.symbols[venue][0]
    known = {(gap["symbol"], gap["channel"], gap["started_at"]) for gap in rig.gaps()}
    rig.do(venue, "skip", channel="book", symbol=first, times=3)
    rig.wait("the break is seen", lambda: len(rig.gaps()) > len(known))
    rig.prove()
    broken = [gap for gap in rig.gaps() if (gap["symbol"], gap["channel"], gap["started_at"]) not in known]
    assert {(gap["symbol"], gap["channel"]) for gap in broken} == {(first, "book")}
    assert {gap["cause"] for gap in broken} <= {"sequence", "checksum"}
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == 1


@pytest.mark.parametrize("venue", ["bitfinex", "coinbase_advanced"])
def test_a_skipped_sequence_number_of_a_connection_is_a_gap_of_all_its_streams(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    rig.do(venue, "sequence_hole")
    streams = len(CHANNELS) * len(rig.symbols[venue])
    rig.wait("the hole is seen", lambda: len(rig.gaps("cause = 'sequence'")) == streams)
    rig.prove()
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == 2


def test_the_same_poison_at_each_reconnect_is_quarantined_each_time_and_recording_goes_on(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    for number in range(1, 4):
        for venue in rig.venues:
            rig.do(venue, "malformed", kind="truncated", instead=True, channel="book", symbol=SYMBOLS[venue][0])
            rig.do(venue, "close")
        rig.wait("poison came", lambda number=number: rig.stored("quarantine") == 2 * number)  # type: ignore[misc]
        stored = rig.stored("book")
        rig.wait("rows come in", lambda stored=stored: rig.stored("book") > stored)  # type: ignore[misc]
    rig.prove()
    assert rig.number("SELECT count(DISTINCT sha256) FROM quarantine") == 1
    assert "store.unavailable" not in rig.log("writer")


def test_repeated_trades_are_stored_once_and_the_duplicates_are_counted_exactly(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    for venue in rig.venues:
        rig.do(venue, "repeat", times=20)
    rig.wait("repeated", lambda: happened(rig))
    for venue in rig.venues:
        rig.do(venue, "republish", count=30, now=True)
    report = rig.prove(resume=False)
    offered = distinct = 0
    for running in rig.venues.values():
        assert running.truth_path is not None
        lines = list(read_truth(running.truth_path))
        trades = {line.n: (line.s, line.id) for line in lines if isinstance(line, TradeItem)}
        sent = [n for line in lines if isinstance(line, Sent) for a, b in line.n for n in range(a, b + 1)]
        offered += sum(n in trades for n in sent)
        distinct += len({trades[n] for n in sent if n in trades})
    account = next(check for check in report.ledger if check.table == "trade")
    assert (account.offered, account.inserted, account.duplicate) == (offered, distinct, offered - distinct)
    assert account.duplicate >= 2 * 50
    assert rig.gaps() == []


def subscriptions(rig: Rig, venue: str, channel: str) -> Counter[str]:
    """Return how often each symbol of a channel was subscribed."""
    path = rig.venues[venue].truth_path
    assert path is not None
    return Counter(
        line.s for line in read_truth(path) if isinstance(line, Subscribed) and line.on and line.ch == channel
    )


def test_a_wrong_checksum_brings_one_fresh_book_of_that_symbol(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=["kraken"]).up()
    first, second = SYMBOLS["kraken"]
    rig.do("kraken", "checksum", symbol=first, times=1)
    rig.wait("a fresh book was asked for", lambda: subscriptions(rig, "kraken", "book")[first] == 2, 5.0)
    rig.prove()
    assert subscriptions(rig, "kraken", "book") == {first: 2, second: 1}
    (gap,) = rig.gaps()
    assert (gap["symbol"], gap["channel"], gap["cause"]) == (first, "book", "checksum")
    assert (gap["ended_at"] - gap["started_at"]).total_seconds() < 5


@pytest.mark.parametrize(
    "wrong_s", [pytest.param(2.5, id="short"), pytest.param(60.0, id="long", marks=pytest.mark.long)]
)
def test_checksums_that_are_always_wrong_are_no_storm_of_subscriptions(
    wrong_s: float, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=["kraken"]).up()
    rig.do("kraken", "checksum", zero=True)
    rig.pause(wrong_s)
    asked = subscriptions(rig, "kraken", "book")
    assert 3 <= max(asked.values()) <= (4 if wrong_s < 5 else 7), asked  # and at 0, 2, 6, 14, 30 s
    rig.do("kraken", "heal")
    rig.prove(2 * wrong_s + 30)


def test_a_crossed_book_is_replaced(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=["coinbase"], rate=3000.0).up()
    first, second = SYMBOLS["coinbase"]
    rules = rig.venues["coinbase"].venue.faults.rules

    def asked_again() -> bool:
        if subscriptions(rig, "coinbase", "book")[first] > 1:
            return True
        if not rules:  # whether the remaining levels cross the book depends on the market
            rig.do("coinbase", "skip", symbol=first, channel="book", times=150)
            rig.pause(0.3)
        return False

    rig.wait("a fresh book was asked for", asked_again)
    rig.prove()
    assert subscriptions(rig, "coinbase", "book")[second] == 1
    assert {(gap["symbol"], gap["channel"], gap["cause"]) for gap in rig.gaps()} == {(first, "book", "crossed")}
