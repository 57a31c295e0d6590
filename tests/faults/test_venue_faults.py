"""Venues that misbehave: each thing a simulated venue can do wrong, and what exactly the recorder makes of it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rig import SYMBOLS, Rig

from recorder.simulator.junk import KINDS
from recorder.simulator.truth import Opened, Sent, Subscribed, TradeItem, read_truth

MakeRig = Callable[..., Rig]
BOTH = pytest.mark.parametrize("venue", ["coinbase", "kraken"])
FULL_CHECK = pytest.mark.long

# Every action of the simulator with arguments that make sense, `{0}` being a symbol. `{}`: it needs no time to work.
MISDEEDS: list[tuple[str, dict[str, Any]]] = [
    ("close", {"how": "rst"}),
    ("close", {"how": "fin"}),
    ("close", {"how": "torn"}),
    ("close", {"how": "frame"}),
    ("slow", {"chunk": 400, "every_s": 0.05}),
    ("fragment", {"largest": 20}),
    ("refuse", {"channel": "trade", "times": 2, "reason": "not now"}),
    ("freeze", {"symbol": "{0}"}),
    ("freeze", {"channel": "book"}),
    ("skip", {"times": 5, "symbol": "{0}"}),
    ("skip", {"times": 5, "channel": "quote"}),
    ("skip", {"times": 20, "channel": "book", "symbol": "{0}"}),
    ("repeat", {"times": 5}),
    ("repeat", {"times": 5, "channel": "quote"}),
    ("repeat", {"times": 5, "channel": "book"}),
    ("reorder", {"times": 5}),
    ("republish", {"count": 40, "now": True}),
    ("republish", {"count": 200, "times": 2}),
    ("checksum", {"times": 2}),
    ("checksum", {"times": 1, "zero": True, "symbol": "{0}"}),
    ("junk", {}),
    ("junk", {"kind": "truncated", "instead": True, "symbol": "{0}"}),
    ("junk", {"kind": "invalid_utf8", "instead": True, "channel": "book", "symbol": "{0}"}),
    ("junk", {"kind": "not_json", "instead": True, "channel": "quote"}),
    ("oversized", {"megabytes": 40.0}),
    ("burst", {"events": 5000}),
    ("reset_ids", {"symbol": "{0}", "first": 1}),
]
ELSEWHERE = {"half_open", "refuse_handshake"}  # tested below; they need time
NO_MISDEED = {"heal", "status", "rate"}


def words(action: str, arguments: dict[str, Any]) -> str:
    return " ".join([action, *(str(value) for value in arguments.values())])


def filled(arguments: dict[str, Any], venue: str) -> dict[str, Any]:
    """Arguments with the venue's spelling of its first symbol."""
    return {key: SYMBOLS[venue][0] if value == "{0}" else value for key, value in arguments.items()}


def test_every_misdeed_of_the_simulator_is_tried(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database)
    for venue in rig.venues.values():
        assert set(venue.controls.help()) == {action for action, _ in MISDEEDS} | ELSEWHERE | NO_MISDEED


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield None


def provoke(rig: Rig, venue: str, action: str, arguments: dict[str, Any]) -> None:
    """Misbehave, make sure that it happened, and end it."""
    rig.do(venue, action, **filled(arguments, venue))
    if action in ("refuse", "republish") and not arguments.get("now"):
        rig.do(venue, "close")  # it waits for new subscriptions
        rig.wait("the client is back", lambda: rig.subscribed(venue) or action == "refuse")
    rules = rig.venues[venue].venue.mischief.rules
    if action in ("freeze", "slow", "fragment"):
        rig.pause(0.4)
    else:
        idle = {"checksum"} if venue == "coinbase" else set()  # it has none
        rig.wait(f"{action} has happened", lambda: not any(rule.do not in idle for rule in rules))
        rig.wait("the burst is over", lambda: not rig.venues[venue].venue.burst)
    rig.do(venue, "heal")


@pytest.mark.timeout(300)
@BOTH
def test_after_any_misdeed_everything_sent_is_stored_or_declared(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=[venue]).up()
    misdeeds = [misdeed for misdeed in MISDEEDS if misdeed[0] != "reset_ids"]  # after it, ids prove less: last
    rig.rng.shuffle(misdeeds)
    misdeeds += [misdeed for misdeed in MISDEEDS if misdeed[0] == "reset_ids"]
    for number, (action, arguments) in enumerate(misdeeds):
        print(words(action, arguments))
        provoke(rig, venue, action, arguments)
        if number % 4 == 3 or number >= len(misdeeds) - 2:
            rig.prove(60.0)  # refused streams are asked for again after a while


@BOTH
def test_a_half_open_connection_is_noticed_within_fifteen_seconds(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=[venue]).up()
    threads = _threads(rig, f"recorder-{venue}")
    rig.do(venue, "half_open")
    began = time.monotonic()
    rig.wait("the link is down", lambda: "reason=silent" in rig.log(f"recorder-{venue}"), 15.0)
    rig.wait("a new session", lambda: rig.metrics(f"recorder-{venue}")["links"][0]["sessions"] == 2, 5.0)
    assert time.monotonic() - began < 20
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}
    assert _threads(rig, f"recorder-{venue}") == threads


def _threads(rig: Rig, program: str) -> int:
    from pathlib import Path

    return len(list(Path(f"/proc/{rig.processes[program].pid}/task").iterdir()))


@BOTH
def test_a_ponging_socket_without_data_is_made_anew_once_and_a_quiet_market_is_left_alone(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue], settings={"websocket": {"max_no_data_s": 2.0}}).up()
    name = f"recorder-{venue}"
    rig.do(venue, "freeze")
    rig.wait("the silence is noticed", lambda: "though the connection answers" in rig.log(name), 10.0)
    rig.wait("a new session", lambda: rig.metrics(name)["links"][0]["sessions"] == 2, 5.0)
    rig.pause(5.0)  # frozen still: it may be the market
    assert rig.metrics(name)["links"][0]["sessions"] == 2
    rig.do(venue, "heal")
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}


@pytest.mark.parametrize(
    "events", [pytest.param(20_000, id="short"), pytest.param(400_000, id="long", marks=pytest.mark.long)]
)
def test_a_burst_loses_nothing(events: int, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    for venue in rig.venues:
        rig.do(venue, "burst", events=events)
    for venue in rig.venues.values():
        rig.wait("the burst is over", lambda venue=venue: not venue.venue.burst, 120.0)  # type: ignore[misc]
    report = rig.prove(120.0)
    assert all(check.sent == check.stored for check in report.streams)
    assert rig.gaps() == []


@BOTH
def test_each_malformed_frame_is_quarantined_with_its_reason_and_the_session_lives(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    for number, kind in enumerate(KINDS, 1):
        rig.do(venue, "junk", kind=kind)
        rig.wait(f"{kind} is in quarantine", lambda number=number: rig.stored("quarantine") == number, 10.0)  # type: ignore[misc]
    rig.do(venue, "oversized", megabytes=40.0)
    rig.wait("the oversized frame is in quarantine", lambda: rig.stored("quarantine") == len(KINDS) + 1)
    rig.prove()
    rows = rig.query("SELECT scope, reason, octet_length(sample), octet_length(sha256) FROM quarantine")
    assert all(scope == "frame" and reason and size <= 1024 and digest == 32 for scope, reason, size, digest in rows)
    assert {gap["cause"] for gap in rig.gaps()} == {"unreadable"}
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == 1


@BOTH
def test_junk_in_place_of_one_symbols_message_is_no_gap_of_the_other(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    first, second = SYMBOLS[venue]
    rig.do(venue, "skip", times=3, symbol=first)
    rig.do(venue, "reorder", times=2, symbol=first)
    rig.wait("it happened", lambda: not rig.venues[venue].venue.mischief.rules)
    rig.wait("a gap is stored", lambda: bool(rig.gaps()))
    rig.do(venue, "reset_ids", symbol=first, first=7)
    rig.wait("the reset is seen", lambda: any(gap["cause"] == "sequence_reset" for gap in rig.gaps()))
    rig.prove()
    gaps = rig.gaps()
    assert {(gap["symbol"], gap["channel"]) for gap in gaps} == {(first, "trade")}
    assert {gap["cause"] for gap in gaps} == {"sequence", "sequence_reset"}
    reset = next(gap for gap in gaps if gap["cause"] == "sequence_reset")
    assert reset["state"] == "unhealable"  # a new epoch, not a million missing ids
    missing = [
        gap["first_id"] - gap["last_id"] - 1 for gap in gaps if gap["cause"] == "sequence" and gap["state"] == "open"
    ]
    assert sum(missing) == 3
    assert second not in {gap["symbol"] for gap in gaps}


@BOTH
def test_the_same_poison_at_each_reconnect_is_quarantined_each_time_and_recording_goes_on(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    for number in range(1, 4):
        rig.do(venue, "junk", kind="truncated", instead=True, channel="book", symbol=SYMBOLS[venue][0])
        rig.do(venue, "close")
        rig.wait("poison came", lambda number=number: rig.stored("quarantine") == number)  # type: ignore[misc]
        stored = rig.stored("book")
        rig.wait("rows come in", lambda stored=stored: rig.stored("book") > stored)  # type: ignore[misc]
    rig.prove()
    assert rig.number("SELECT count(DISTINCT sha256) FROM quarantine") == 1
    assert rig.log("writer").count("store.unavailable") == 0


@BOTH
def test_repeated_trades_are_stored_once_and_the_duplicates_are_counted_exactly(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    rig.do(venue, "repeat", times=20)
    rig.wait("repeated", lambda: not rig.venues[venue].venue.mischief.rules)
    rig.do(venue, "republish", count=30, now=True)
    report = rig.prove()
    path = rig.venues[venue].truth_path
    assert path is not None
    lines = list(read_truth(path))
    trades = {line.n: (line.s, line.id) for line in lines if isinstance(line, TradeItem)}
    sent = [n for line in lines if isinstance(line, Sent) for a, b in line.n for n in range(a, b + 1) if n in trades]
    account = next(check for check in report.ledger if check.table == "trade")
    distinct = len({trades[n] for n in sent})
    assert (account.offered, account.inserted, account.duplicate) == (len(sent), distinct, len(sent) - distinct)
    assert account.duplicate >= 50
    assert rig.gaps() == []


def subscriptions(rig: Rig, venue: str, channel: str) -> Counter[str]:
    """How often each symbol of a channel was subscribed."""
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


def test_checksums_that_are_always_wrong_are_no_storm_of_subscriptions(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=["kraken"]).up()
    rig.do("kraken", "checksum", zero=True)
    rig.pause(8.0)
    asked = subscriptions(rig, "kraken", "book")
    assert max(asked.values()) <= 5, asked  # at once, after 2, 4, 8 s: and the first of all
    rig.do("kraken", "heal")
    rig.prove(40.0)


def test_a_crossed_book_is_made_anew(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=["coinbase"]).up()
    first, second = SYMBOLS["coinbase"]
    rig.do("coinbase", "skip", symbol=first, channel="book", times=60)
    rig.wait("a fresh book was asked for", lambda: subscriptions(rig, "coinbase", "book")[first] == 2, 20.0)
    rig.prove()
    assert subscriptions(rig, "coinbase", "book")[second] == 1
    assert {(gap["symbol"], gap["channel"], gap["cause"]) for gap in rig.gaps()} == {(first, "book", "crossed")}


@BOTH
def test_refused_handshakes_are_retried_and_the_venues_time_is_respected(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=[venue]).up()
    name, market = f"recorder-{venue}", rig.venues[venue].venue
    rig.do(venue, "refuse_handshake", status=503, times=4)
    rig.do(venue, "close")
    rig.wait("four were refused", lambda: not market.mischief.rules)
    rig.wait_live()
    assert rig.log(name).count("the venue answered HTTP 503") == 4
    rig.do(venue, "refuse_handshake", status=429, times=1, retry_after="3")
    rig.do(venue, "close")
    rig.wait("it was refused", lambda: not market.mischief.rules)
    refused_ns = time.time_ns()
    rig.wait("it is back", lambda: rig.subscribed(venue))
    path = rig.venues[venue].truth_path
    assert path is not None
    opened_ns = [line.t for line in read_truth(path) if isinstance(line, Opened)][-1]
    assert 2.9 <= (opened_ns - refused_ns) / 1e9 < 8
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}
