"""The simulated Bitfinex sends the messages of the captured one."""

import json
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from support.simulator.bitfinex_client import (
    OB_CHECKSUM,
    SEQ_ALL,
    TIMESTAMP,
    Book,
    arrays,
    configure,
    drain,
    events,
    parse,
    read_until,
    send,
    subscribe,
    tagged,
)
from support.simulator.client import FastClock, HurriedClock, ask, client
from websockets.exceptions import ConnectionClosedError

from recorder.simulator.running import running


def test_info_comes_first_then_flags_and_subscriptions_are_confirmed_with_a_number() -> None:
    with running("bitfinex", rate=20) as venue, client(venue.url) as socket:
        configure(socket)
        subscribe(socket, "trades")
        subscribe(socket, "ticker", "tAVAX:USD")
        subscribe(socket, "book", prec="P0", freq="F0", len="100")
        messages = read_until(socket, lambda seen: len(events(seen, "subscribed")) == 3)
    assert (messages[0]["event"], messages[0]["version"], messages[0]["platform"]) == ("info", "2", {"status": "1"})
    assert messages[1] == {"event": "conf", "status": "OK", "flags": "196608"}
    answers = events(messages, "subscribed")
    assert list(answers[2]) == ["event", "channel", "chanId", "symbol", "prec", "freq", "len", "pair"]
    assert [(one["channel"], one["symbol"], one["pair"]) for one in answers] == [
        ("trades", "tBTCUSD", "BTCUSD"),
        ("ticker", "tAVAX:USD", "AVAX:USD"),
        ("book", "tBTCUSD", "BTCUSD"),
    ]
    assert len({one["chanId"] for one in answers}) == 3


def test_one_count_runs_over_data_heartbeats_and_checksums_of_a_connection() -> None:
    with running("bitfinex", rate=60, clock=FastClock()) as venue, client(venue.url) as socket:
        venue.do("every", heartbeat_s=2.0, checksum_s=0.05)
        configure(socket)
        for channel, symbol in (("trades", "tBTCUSD"), ("book", "tBTCUSD"), ("book", "tETHUSD"), ("ticker", "tSOLUSD")):
            subscribe(socket, channel, symbol)
        messages = read_until(socket, lambda seen: len(tagged(seen, "hb")) > 8 and len(tagged(seen, "cs")) > 8)
    frames = arrays(messages)
    assert [int(one[-1]) for one in frames] == list(range(1, len(frames) + 1))
    beats = Counter(one[0] for one in tagged(messages, "hb"))
    assert set(beats) == {one["chanId"] for one in events(messages, "subscribed")}  # on busy channels too


def test_flags_hold_for_the_frames_after_them() -> None:
    with running("bitfinex", rate=500) as venue, client(venue.url) as socket:
        subscribe(socket, "book")
        bare = arrays(read_until(socket, lambda seen: len(arrays(seen)) > 20))
        configure(socket, SEQ_ALL | TIMESTAMP)
        later = read_until(socket, lambda seen: bool(events(seen, "conf")) and len(seen) > 40)
    after = arrays(later[later.index(events(later, "conf")[0]) :])
    assert {len(one) for one in bare} == {2}
    assert [int(one[2]) for one in after] == list(range(1, len(after) + 1))
    assert all(abs(int(one[3]) - time.time() * 1000) < 60_000 for one in after)


@pytest.mark.parametrize("length", ["1", "25", "100", "250"])
@pytest.mark.parametrize("symbol", ["tBTCUSD", "tBTTUSD"])
def test_every_checksum_is_right_by_an_independent_book_that_keeps_the_window(symbol: str, length: str) -> None:
    with running("bitfinex", seed=int(length), rate=4000) as venue, client(venue.url) as socket:
        venue.do("every", checksum_s=0.02)
        configure(socket, OB_CHECKSUM)
        subscribe(socket, "book", symbol, len=length)
        messages = read_until(
            socket, lambda seen: len(seen) > 400 and len(tagged(seen[-1:], "cs")) == 1 and len(tagged(seen, "cs")) > 5
        )
    book, right = Book(), 0
    assert isinstance(arrays(messages)[0][1][0], list)  # the snapshot is first
    for frame in arrays(messages):
        if frame[1] == "cs":
            assert int(frame[2]) == book.checksum
            right += 1
        else:
            book.apply(frame[1])
            if book.bids and book.asks:  # a window of one is empty between a delete and the next level
                assert max(book.bids) < min(book.asks)
    assert right > 5
    assert book.deletes > 20
    assert len(book.bids) == len(book.asks) == int(length)
    prices = {text for text, _ in book.bids.values()}
    assert all(("e-" in text) == (symbol == "tBTTUSD") for text in prices)  # below 1e-6, as JavaScript prints them


def test_a_print_is_sent_twice_with_one_id_and_the_same_values() -> None:
    with running("bitfinex", seed=2, rate=3000) as venue, client(venue.url) as socket:
        subscribe(socket, "trades")
        subscribe(socket, "trades", "tETHUSD")
        subscribe(socket, "book")
        messages = read_until(socket, lambda seen: len(tagged(seen, "te")) > 300)
    prints = {word: {one[2][0]: one for one in tagged(messages, word)} for word in ("te", "tu")}
    pairs = [(te[0] == tu[0] and te[2] == tu[2]) for one, te in prints["te"].items() if (tu := prints["tu"].get(one))]
    assert all(pairs)
    assert len(pairs) >= len(prints["te"]) - 20  # the last ones may not have arrived yet
    assert len(prints["te"]) == len(tagged(messages, "te"))
    frames = arrays(messages)
    beside = [frames[place + 1][1] == "tu" for place, one in enumerate(frames[:-1]) if one[1] == "te"]
    assert 0.7 < sum(beside) / len(beside) < 1.0
    ids = [int(one[2][0]) for one in tagged(messages, "te")]
    assert ids == sorted(ids)  # over both pairs
    assert len(set(ids)) < ids[-1] - ids[0]  # the count includes other pairs


def test_trades_begin_with_the_thirty_newest_first() -> None:
    with running("bitfinex", seed=2, rate=500) as venue, client(venue.url) as socket:
        subscribe(socket, "trades")
        messages = read_until(socket, lambda seen: len(tagged(seen, "te")) > 3)
    past = arrays(messages)[0][1]
    ids = [int(row[0]) for row in past]
    assert (len(ids), ids) == (30, sorted(ids, reverse=True))
    assert int(tagged(messages, "te")[0][2][0]) > ids[0]
    assert {Decimal(row[2]) > 0 for row in past} == {True, False}
    assert all(len(row[3].replace(".", "").strip("0")) <= 5 for row in past)


def test_the_ticker_shows_the_touch_and_eleven_figures() -> None:
    with running("bitfinex", seed=5, rate=300, clock=FastClock()) as venue, client(venue.url) as socket:
        venue.do("every", ticker_s=5.0)
        subscribe(socket, "book")
        subscribe(socket, "ticker")
        messages = read_until(socket, lambda seen: sum(len(one[1]) == 11 for one in arrays(seen)) >= 4)
    book = Book()
    for frame in arrays(messages):
        if len(frame[1]) == 11:
            assert (Decimal(frame[1][0]), Decimal(frame[1][2])) == (max(book.bids), min(book.asks))
            assert frame[1][10] is None
        elif frame[1] != "hb":
            book.apply(frame[1])


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"event": "subscribe", "channel": "trades", "symbol": "tNOPE"}, 10300, "symbol: invalid"),
        ({"event": "subscribe", "channel": "book", "symbol": "tBTCUSD", "len": "7"}, 10300, "length: invalid"),
        ({"event": "subscribe", "channel": "book", "symbol": "tBTCUSD", "prec": "P9"}, 10300, "precision: invalid"),
        ({"event": "subscribe", "channel": "nope", "symbol": "tBTCUSD"}, 10300, "channel: unknown"),
        ({"event": "unsubscribe", "chanId": 1}, 10400, "unsubscribe: invalid"),
        ({"event": "nope"}, 10000, "event: invalid (nope)"),
    ],
)
def test_errors_echo_the_request(request_: dict[str, Any], code: int, words: str) -> None:
    with running("bitfinex", rate=20) as venue, client(venue.url) as socket:
        socket.send("no json: no answer")
        send(socket, **request_)
        (answer,) = events(read_until(socket, lambda seen: bool(events(seen, "error"))), "error")
    assert (int(answer["code"]), answer["msg"]) == (code, words)
    assert all(answer[key] == str(value) for key, value in request_.items() if key != "event")


def test_a_second_subscription_is_refused_with_the_number_of_the_first_and_a_31st_for_want_of_room() -> None:
    with running("bitfinex", rate=20) as venue, client(venue.url) as socket:
        symbols = list(venue.venue.symbols)
        wanted: list[tuple[str, str, dict[str, str]]] = [("trades", one, {}) for one in symbols]
        wanted += [("ticker", one, {}) for one in symbols]
        wanted += [("book", one, {"len": length}) for length in ("1", "25", "100") for one in symbols]
        for channel, symbol, more in wanted:
            subscribe(socket, channel, symbol, **more)
        subscribe(socket, "trades")
        messages = read_until(socket, lambda seen: len(events(seen, "error")) == len(wanted) - 30 + 1)
        send(socket, event="unsubscribe", chanId=int(events(messages, "subscribed")[0]["chanId"]))
        ended = read_until(socket, lambda seen: bool(events(seen, "unsubscribed")))
    first = next(one for one in events(messages, "subscribed") if one["channel"] == "trades")
    (twice,) = [one for one in events(messages, "error") if int(one["code"]) == 10301]
    assert (twice["msg"], twice["chanId"]) == ("subscribe: dup", first["chanId"])
    assert {one["msg"] for one in events(messages, "error") if one is not twice} == {"subscribe: limit"}
    assert len(events(messages, "subscribed")) == 30
    assert events(ended, "unsubscribed")[0]["status"] == "OK"


def test_pings_are_answered_with_their_cid() -> None:
    with running("bitfinex", rate=1) as venue, client(venue.url) as socket:
        send(socket, event="ping", cid=7)
        (pong,) = events(read_until(socket, lambda seen: bool(events(seen, "pong"))), "pong")
    assert pong["cid"] == "7"
    assert abs(int(pong["ts"]) - time.time() * 1000) < 60_000


def test_a_client_without_subscriptions_is_closed_after_a_minute() -> None:
    slow = running("bitfinex", rate=1, clock=HurriedClock())
    with slow as venue, client(venue.url) as idle, client(venue.url) as busy:
        subscribe(busy, "trades")
        idle.recv(timeout=5)
        with pytest.raises(ConnectionClosedError) as ended:
            idle.recv(timeout=9)
        assert ended.value.rcvd is None
        send(busy, event="ping")
        read_until(busy, lambda seen: bool(events(seen, "pong")))


# ---- misbehaviours of its own


def test_a_restart_is_announced_and_then_happens() -> None:
    with running("bitfinex", rate=50, clock=FastClock()) as venue, client(venue.url) as socket:
        subscribe(socket, "trades")
        read_until(socket, lambda seen: bool(tagged(seen, "te")))
        assert venue.do("restart", grace_s=0.3) == {"connections": 1}
        read_until(socket, lambda seen: any(one.get("code") == "20051" for one in events(seen, "info")))
        drain(socket)
    assert socket.close_code == 1001


def test_in_maintenance_nothing_is_sent_and_after_it_no_subscription_is_left() -> None:
    with running("bitfinex", rate=200, clock=FastClock()) as venue, client(venue.url) as socket:
        venue.do("every", heartbeat_s=1.0)
        subscribe(socket, "trades")
        number = events(read_until(socket, lambda seen: bool(tagged(seen, "te"))), "subscribed")[0]["chanId"]
        venue.do("maintenance", lasts_s=0.8)
        with client(venue.url) as other:
            (info,) = read_until(other, lambda seen: len(seen) == 1)
        down = ask(f"{venue.rest_url}/v2/platform/status")
        messages = read_until(socket, lambda seen: any(one.get("code") == "20061" for one in events(seen, "info")))
        send(socket, event="unsubscribe", chanId=int(number))
        (error,) = read_until(socket, lambda seen: len(seen) == 1)
        up = ask(f"{venue.rest_url}/v2/platform/status")
    begun = next(place for place, one in enumerate(messages) if isinstance(one, dict) and one["code"] == "20060")
    assert arrays(messages[begun:]) == []
    assert info["platform"] == {"status": "0"}
    assert (error["code"], down, up) == ("10400", (200, b"[0]"), (200, b"[1]"))


def test_a_late_answer_comes_after_its_heartbeat_and_after_the_error_of_a_second_request() -> None:
    with running("bitfinex", rate=200, clock=FastClock()) as venue, client(venue.url) as socket:
        venue.do("late_answer")
        subscribe(socket, "book")
        subscribe(socket, "book")
        messages = read_until(socket, lambda seen: len(arrays(seen)) > 4)
    kinds = [one["event"] if isinstance(one, dict) else "hb" if one[1] == "hb" else "data" for one in messages]
    assert kinds[:4] == ["info", "hb", "error", "subscribed"]
    assert messages[1][0] == messages[2]["chanId"] == messages[3]["chanId"]


# ---- REST


def test_rest_lists_pairs_and_tickers() -> None:
    with running("bitfinex", rate=100) as venue:
        pairs = json.loads(ask(f"{venue.rest_url}/v2/conf/pub:info:pair")[1])[0]
        names = json.loads(ask(f"{venue.rest_url}/v2/conf/pub:list:pair:exchange")[1])[0]
        tickers = json.loads(ask(f"{venue.rest_url}/v2/tickers?symbols=ALL")[1])
        two = json.loads(ask(f"{venue.rest_url}/v2/tickers?symbols=tBTCUSD,tAVAX:USD")[1])
    assert [f"t{name}" for name, _ in pairs] == [f"t{name}" for name in names] == list(venue.venue.symbols)
    assert all(Decimal(info[3]) > 0 for _, info in pairs)
    assert [row[0] for row in tickers] == list(venue.venue.symbols)
    assert {len(row) for row in tickers} == {11}
    assert [row[0] for row in two] == ["tBTCUSD", "tAVAX:USD"]


def test_rest_trades_by_time_equal_what_the_socket_sent() -> None:
    with running("bitfinex", seed=4, rate=2000) as venue:
        with client(venue.url) as socket:
            subscribe(socket, "trades")
            live = tagged(read_until(socket, lambda seen: len(tagged(seen, "te")) > 100), "te")
        path = f"{venue.rest_url}/v2/trades/tBTCUSD/hist"
        start, end = live[0][2][1], live[-1][2][1]
        rows = parse(ask(f"{path}?start={start}&end={end}&sort=1&limit=40")[1])
        while len(page := parse(ask(f"{path}?start={rows[-1][1]}&end={end}&sort=1&limit=40")[1])) == 40:
            rows += [row for row in page if row not in rows]
        rows += [row for row in page if row not in rows]
        newest = parse(ask(f"{path}?limit=10")[1])
        wrong = [ask(f"{path}?limit=10001"), ask(f"{venue.rest_url}/v2/trades/tNOPE/hist")]
    assert [row for row in rows if int(row[0]) in {int(one[2][0]) for one in live}] == [one[2] for one in live]
    assert [int(row[0]) for row in newest] == sorted((int(row[0]) for row in newest), reverse=True)
    assert wrong == [(500, b'["error",10020,"limit: invalid"]'), (500, b'["error",10020,"symbol: invalid"]')]
