"""The simulated Polymarket sends the messages of the captured one."""

import itertools
import json
import time
import urllib.error
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from support.simulator.client import LIMIT_S, HurriedClock, Message, client, get
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.simulator.market import Spec
from recorder.simulator.running import running
from recorder.simulator.venues.polymarket.market import condition_id, token_id
from recorder.simulator.venues.polymarket.stream import demo_tokens
from recorder.truth import TradeItem, read_truth
from recorder.venues.polymarket.stream import Polymarket

TOKENS = demo_tokens()
YES, NO = TOKENS[:2]
CLOSED = token_id("nvda-above-240-on-january-30-2027", "Yes")

# The fields as captured from 2024 to 2025, in their order.
KEYS = {
    "book": ["asks", "asset_id", "bids", "event_type", "hash", "market", "timestamp"],
    "price_change": ["market", "price_changes", "event_type", "timestamp"],
    "last_trade_price": [
        "asset_id", "event_type", "fee_rate_bps", "market", "price", "side", "size", "timestamp",
    ],
    "best_bid_ask": ["event_type", "market", "asset_id", "best_bid", "best_ask", "spread", "timestamp"],
    "tick_size_change": ["asset_id", "event_type", "market", "new_tick_size", "old_tick_size", "timestamp"],
    "market_resolved": [
        "event_type", "id", "market", "assets_ids", "winning_asset_id", "winning_outcome", "timestamp", "tags",
    ],
    "new_market": [
        "event_type", "id", "question", "market", "slug", "description", "assets_ids", "outcomes", "event_message",
        "timestamp", "tags", "condition_id", "active", "clob_token_ids", "sports_market_type", "line",
        "game_start_time", "order_price_min_tick_size", "group_item_title",
    ],
}  # fmt: skip


def subscribe(socket: ClientConnection, *tokens: str, first: bool = True, news: bool = True) -> None:
    head: Message = {"type": "market"} if first else {"operation": "subscribe"}
    socket.send(json.dumps(head | {"assets_ids": tokens, "custom_feature_enabled": news}))


def messages_of(frame: str | bytes) -> list[Message]:
    if frame == "PONG":
        return []
    parsed = json.loads(frame)
    return parsed if isinstance(parsed, list) else [parsed]


def read(socket: ClientConnection, count: int, kind: str = "") -> list[Message]:
    """Return messages up to the one that completes `count` messages of a kind."""
    deadline = time.monotonic() + LIMIT_S
    messages: list[Message] = []
    while sum(one["event_type"] == kind or not kind for one in messages) < count:
        assert time.monotonic() < deadline, f"not {count} {kind} in {LIMIT_S} s"
        messages += messages_of(socket.recv(timeout=max(0.01, deadline - time.monotonic())))
    return messages


def of(messages: list[Message], kind: str) -> list[Message]:
    return [one for one in messages if one["event_type"] == kind]


def quiet(socket: ClientConnection, silence_s: float = 0.4) -> bool:
    """Return whether nothing arrives for that long."""
    try:
        socket.recv(timeout=silence_s)
    except TimeoutError:
        return True
    return False


def closed(socket: ClientConnection, wait_s: float) -> bool:
    """Return whether the venue closes within that time."""
    try:
        socket.recv(timeout=wait_s)
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False
    return False


class TokenBook:
    """The book of a token by the documentation: absolute sizes at prices, 0 removes, BUY is a bid."""

    def __init__(self, book: Message) -> None:
        self.sides = {
            side: {Decimal(level["price"]): Decimal(level["size"]) for level in book[name]}
            for side, name in (("BUY", "bids"), ("SELL", "asks"))
        }

    def change(self, row: Message) -> None:
        side, price, size = self.sides[row["side"]], Decimal(row["price"]), Decimal(row["size"])
        if size:
            side[price] = size
        else:
            side.pop(price)

    @property
    def best(self) -> tuple[Decimal, Decimal]:
        return max(self.sides["BUY"]), min(self.sides["SELL"])

    def mirrored(self) -> dict[str, dict[Decimal, Decimal]]:
        return {
            other: {1 - price: size for price, size in self.sides[side].items()}
            for side, other in (("BUY", "SELL"), ("SELL", "BUY"))
        }


def test_messages_have_the_fields_of_the_captured_ones_in_their_order_and_numbers_as_texts() -> None:
    with running("polymarket", rate=500, seed=2) as venue, client(venue.url) as socket:
        subscribe(socket, YES, NO)
        messages = read(socket, 3, "last_trade_price") + read(socket, 2, "best_bid_ask")
        venue.do("tick_size", symbol=YES)
        venue.do("new_market")
        venue.do("resolve", symbol=YES)
        messages += read(socket, 1, "market_resolved")
    seen = {one["event_type"]: one for one in messages}
    assert seen.keys() == KEYS.keys()
    for kind, one in seen.items():
        assert [key for key in one if key != "transaction_hash"] == KEYS[kind]
        assert one["timestamp"].isdecimal()
        assert len(one["timestamp"]) == 13
    row = of(messages, "price_change")[0]["price_changes"][0]
    assert list(row) == ["asset_id", "price", "side", "size", "hash", "best_bid", "best_ask"]
    assert all(isinstance(value, str) for value in row.values())
    assert seen["market_resolved"]["winning_outcome"] == "Yes"
    assert seen["new_market"]["clob_token_ids"][0] == CLOSED


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        # The keys as captured in August 2024, and as documented from then until 2025-09-15.
        ("single", ["asset_id", "event_type", "hash", "market", "price", "side", "size", "timestamp"]),
        ("changes", ["asset_id", "changes", "event_type", "hash", "market", "timestamp"]),
    ],
)
def test_earlier_shapes_of_changes_name_one_token_at_the_top(shape: str, keys: list[str]) -> None:
    with running("polymarket", rate=500, seed=2) as venue, client(venue.url) as socket:
        venue.do("shape", shape=shape)
        subscribe(socket, YES)
        changes = of(read(socket, 10, "price_change"), "price_change")
    assert all(list(one) == keys for one in changes)
    assert {one["asset_id"] for one in changes} == {YES}
    rows_of_one = {tuple(row) for one in changes for row in one.get("changes", [])}
    assert rows_of_one == ({("price", "side", "size")} if shape == "changes" else set())


def test_the_first_answer_is_one_array_of_books_with_the_worst_price_first() -> None:
    with running("polymarket", rate=1) as venue, client(venue.url) as socket:
        subscribe(socket, YES, NO, TOKENS[2], CLOSED)
        first = json.loads(socket.recv(timeout=5))
    assert [one["asset_id"] for one in first] == [YES, NO, TOKENS[2]]  # a market that is not open has no book
    for book in first:
        bids = [Decimal(level["price"]) for level in book["bids"]]
        asks = [Decimal(level["price"]) for level in book["asks"]]
        assert bids == sorted(bids)
        assert asks == sorted(asks, reverse=True)
        assert 0 < bids[-1] < asks[-1] < 1
    assert first[0]["market"] == first[1]["market"] == condition_id("bitcoin-above-100k-on-december-31")


def test_a_book_of_changes_agrees_with_the_named_best_prices_its_mirror_and_every_later_book() -> None:
    with running("polymarket", rate=1000, seed=3) as venue, client(venue.url) as socket:
        subscribe(socket, YES, NO)
        messages = read(socket, 150, "price_change")
    books: dict[str, TokenBook] = {}
    compared = 0
    for message in messages:
        if message["event_type"] == "book":
            token = message["asset_id"]
            fresh = TokenBook(message)
            if token in books:
                assert books[token].sides == fresh.sides
                compared += 1
            books[token] = fresh
        elif message["event_type"] == "price_change":
            for row in message["price_changes"]:
                books[row["asset_id"]].change(row)
            for row in message["price_changes"]:
                assert books[row["asset_id"]].best == (Decimal(row["best_bid"]), Decimal(row["best_ask"]))
            assert books[NO].sides == books[YES].mirrored()
    assert compared > 20


def test_prints_name_the_token_of_the_taker_and_hit_the_side_they_say() -> None:
    with running("polymarket", rate=1000, seed=3) as venue, client(venue.url) as socket:
        subscribe(socket, YES, NO)
        messages = read(socket, 80, "last_trade_price")
    prints = of(messages, "last_trade_price")
    assert {one["asset_id"] for one in prints} == {YES, NO}
    changes: list[Message] = []
    for message in messages:
        if message["event_type"] == "price_change":
            changes = message["price_changes"]
        elif message["event_type"] == "last_trade_price":
            hit = {(row["asset_id"], row["price"], row["side"]) for row in changes}
            resting = "SELL" if message["side"] == "BUY" else "BUY"
            assert (message["asset_id"], message["price"], resting) in hit


def test_equal_prints_of_one_instant_are_sent_and_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("polymarket", truth=path, rate=300, seed=4) as venue, client(venue.url) as socket:
        subscribe(socket, YES, NO)
        read(socket, 1, "last_trade_price")
        venue.do("equal_prints", times=5, symbol=YES)
        messages = read(socket, 25, "last_trade_price")
        venue.do("close", how="frame")
    counts = Counter(json.dumps(one) for one in of(messages, "last_trade_price"))
    assert sum(count == 2 for count in counts.values()) >= 5
    trades = [line for line in read_truth(path) if isinstance(line, TradeItem)]
    assert len({line.id for line in trades}) == len(trades)


def test_the_text_ping_is_answered_and_clients_without_it_are_closed() -> None:
    with running("polymarket", rate=1, clock=HurriedClock()) as venue:
        with client(venue.url) as socket:
            socket.send("PING")
            assert socket.recv(timeout=5) == "PONG"
        with client(venue.url) as loud, client(venue.url) as mute:
            deadline = time.monotonic() + 5
            while not closed(mute, 0.05):
                assert time.monotonic() < deadline
                loud.send("PING")
                assert loud.recv(timeout=1) == "PONG"


def test_above_five_hundred_tokens_a_connection_goes_silent_while_its_socket_lives() -> None:
    padding = [str(number) for number in range(10**70, 10**70 + 499)]
    with running("polymarket", rate=300) as venue, client(venue.url) as socket:
        subscribe(socket, YES, *padding)
        read(socket, 5)
        subscribe(socket, NO, first=False)
        while not quiet(socket):
            pass
        socket.send("PING")
        assert quiet(socket)
        assert socket.ping().wait(5)


def test_unknown_ids_and_tokens_without_a_book_are_not_answered_at_all() -> None:
    with running("polymarket", rate=50) as venue, client(venue.url) as socket:
        subscribe(socket, condition_id("bitcoin-above-100k-on-december-31"), "12345", CLOSED)
        assert quiet(socket)
        venue.do("new_market")
        assert of(read(socket, 1), "new_market")
        socket.send("not json")
        socket.send("{}")
        assert of(read(socket, 1, "price_change"), "price_change")


def test_subscriptions_begin_and_end_on_an_open_connection() -> None:
    with running("polymarket", rate=500, seed=5) as venue, client(venue.url) as socket:
        subscribe(socket, YES)
        before = read(socket, 30)
        assert {one["asset_id"] for one in before if "asset_id" in one} == {YES}
        rows = [row for one in of(before, "price_change") for row in one["price_changes"]]
        assert {row["asset_id"] for row in rows} == {YES, NO}  # changes arrive for both tokens, subscribed or not
        subscribe(socket, TOKENS[2], first=False)
        later = read(socket, 30)
        assert TOKENS[2] in {one["asset_id"] for one in of(later, "book")}
        subscribe(socket, YES, first=False)
        # The request had no new token. Before its answer come the changes that were sent meanwhile.
        assert b"[]" in itertools.islice(iter(lambda: socket.recv(timeout=5, decode=False), None), 5000)
        socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": [YES]}))
        socket.send("PING")
        while socket.recv(timeout=5) != "PONG":
            pass
        after = read(socket, 20)
        assert {one["market"] for one in after} == {condition_id("btc-updown-5m-1795276800")}


@pytest.mark.parametrize("news", [True, False])
def test_best_prices_come_only_with_the_flag(news: bool) -> None:
    with running("polymarket", rate=1000) as venue, client(venue.url) as socket:
        subscribe(socket, YES, news=news)
        messages = read(socket, 60, "price_change")
    assert bool(of(messages, "best_bid_ask")) == news


def test_a_market_that_is_resolved_brings_no_more_data_and_its_price_is_one_or_zero() -> None:
    with running("polymarket", rate=400) as venue, client(venue.url) as socket:
        subscribe(socket, YES, TOKENS[2])
        read(socket, 5)
        venue.do("resolve", symbol=NO)
        read(socket, 1, "market_resolved")
        assert {one["market"] for one in read(socket, 20)} == {condition_id("btc-updown-5m-1795276800")}
        record = get(f"{venue.rest_url}/markets/{condition_id('bitcoin-above-100k-on-december-31')}")
        assert [(one["token_id"], one["winner"], one["price"]) for one in record["tokens"]] == [
            (YES, False, 0),
            (NO, True, 1),
        ]
        closed = get(f"{venue.rest_url}/markets/keyset?closed=true&limit=100")["markets"]
        assert [json.loads(one["outcomePrices"]) for one in closed] == [["0", "1"]]
        history = f"{venue.rest_url}/prices-history?market={YES}&fidelity="
        assert get(f"{history}1&interval=max") == {"history": []}  # only coarse prices of a resolved market
        assert get(f"{history}720&interval=max")["history"]


def test_another_tick_size_is_announced_and_used() -> None:
    with running("polymarket", rate=500, seed=6) as venue, client(venue.url) as socket:
        subscribe(socket, YES)
        cents = {row["price"] for one in of(read(socket, 40, "price_change"), "price_change") for row in rows(one, YES)}
        venue.do("tick_size", symbol=YES, tick="0.001")
        change = of(read(socket, 1, "tick_size_change"), "tick_size_change")[-1]
        fine = {row["price"] for one in of(read(socket, 60, "price_change"), "price_change") for row in rows(one, YES)}
        venue.do("tick_size", symbol=YES, tick="0.01")
        book = of(read(socket, 1, "tick_size_change") + read(socket, 1, "book"), "book")[-1]
    assert (change["old_tick_size"], change["new_tick_size"]) == ("0.01", "0.001")
    assert max(len(price) for price in cents) == 4
    assert max(len(price) for price in fine) == 5
    assert all(len(level["price"]) <= 4 for side in ("bids", "asks") for level in book[side])


def test_the_tick_size_becomes_finer_by_itself_near_the_edges() -> None:
    near = (Spec("nearly-certain", "Yes/No", 0.945, 4, 2, 100.0, tick=100),)
    with running("polymarket", rate=2000, seed=6, specs=near) as venue, client(venue.url) as socket:
        subscribe(socket, token_id("nearly-certain", "Yes"))
        (change,) = of(read(socket, 1, "tick_size_change"), "tick_size_change")
    assert (change["old_tick_size"], change["new_tick_size"]) == ("0.01", "0.001")


def rows(message: Message, token: str) -> list[Message]:
    return [row for row in message["price_changes"] if row["asset_id"] == token]


# ---- REST


def test_the_market_list_pages_by_after_cursor_and_by_no_other_name() -> None:
    with running("polymarket", rate=1) as venue:
        path = f"{venue.rest_url}/markets/keyset?closed=false&limit=3"
        pages = [get(path)]
        while "next_cursor" in pages[-1]:
            pages.append(get(f"{path}&after_cursor={pages[-1]['next_cursor']}"))
        again = get(f"{path}&cursor={pages[0]['next_cursor']}")
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(f"{venue.rest_url}/markets/keyset?closed=true&after_cursor={pages[0]['next_cursor']}")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{venue.rest_url}/markets/0xnone")
    assert [len(page["markets"]) for page in pages] == [3, 3, 1]
    assert again == pages[0]
    tokens = [token for page in pages for one in page["markets"] for token in json.loads(one["clobTokenIds"])]
    assert tokens[:-2] == TOKENS
    assert "bestBid" not in pages[2]["markets"][0]  # an empty side has no price
    listed = [listing for page in pages for listing in Polymarket().listings(json.dumps(page).encode())]
    assert [one.symbol for one in listed] == tokens
    assert {one.status for one in listed} == {"open", "paused"}


def test_books_prices_and_trades_by_rest_equal_those_of_the_websocket() -> None:
    with running("polymarket", rate=800, seed=7) as venue, client(venue.url) as socket:
        subscribe(socket, YES, NO)
        messages = read(socket, 60, "last_trade_price")
        socket.send(json.dumps({"operation": "unsubscribe", "assets_ids": [YES, NO]}))
        book = get(f"{venue.rest_url}/book?token_id={NO}")
        request = urllib.request.Request(
            f"{venue.rest_url}/books", json.dumps([{"token_id": YES}, {"token_id": "1"}]).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            books = json.load(answer)
        with pytest.raises(urllib.error.HTTPError, match="404") as none:
            get(f"{venue.rest_url}/book?token_id={CLOSED}")
        with pytest.raises(urllib.error.HTTPError, match="400") as long:
            get(f"{venue.rest_url}/prices-history?market={YES}&startTs=1&endTs=1795276800")
        past = get(f"{venue.rest_url}/trades?market={condition_id('bitcoin-above-100k-on-december-31')}&limit=500")
        history = get(f"{venue.rest_url}/prices-history?market={YES}&interval=1h")["history"]
    assert json.loads(none.value.read()) == {"error": "No orderbook exists for the requested token id"}
    assert json.loads(long.value.read()) == {"error": "interval is too long"}
    assert [one["asset_id"] for one in books] == [YES]
    assert Decimal(book["bids"][-1]["price"]) < Decimal(book["asks"][-1]["price"])
    assert past == sorted(past, key=lambda one: -one["timestamp"])
    known = Counter((one["asset"], one["side"], one["price"], one["size"]) for one in past)
    seen = Counter(
        (one["asset_id"], one["side"], float(one["price"]), float(one["size"]))
        for one in of(messages, "last_trade_price")
    )
    assert not seen - known
    assert all(0 < one["p"] < 1 for one in history)
