"""The simulated CLOB and Data API answer as the protocol page says, over real HTTP, and their log is complete."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.simulator.services import ServiceClient

from recorder.clock import ManualClock
from recorder.simulator.services.polymarket.life import MICRO, Market
from recorder.simulator.services.running import RunningServices, running_services
from recorder.truth import Answered, MarketLife, ServedBook, ServedTrade, ServiceStarted, read_truth

START_S = 1_796_054_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S * 10**9)


@pytest.fixture
def services(clock: ManualClock, tmp_path: Path) -> Iterator[RunningServices]:
    with running_services(["clob", "data", "gamma"], markets=300, clock=clock, folder=tmp_path) as running:
        yield running


@pytest.fixture
def client(services: RunningServices) -> Iterator[ServiceClient]:
    client = ServiceClient(services)
    yield client
    client.close()


def markets(services: RunningServices) -> list[Market]:
    return [one for one in services.world.open(START_S) if one.has_book(START_S)]


def token(market: Market, outcome: int = 0, at_s: int = START_S) -> str:
    return market.tokens(market.version_at(at_s))[outcome]


# ---- CLOB


def test_books_come_in_another_order_and_without_the_tokens_that_have_none(
    services: RunningServices, client: ServiceClient
) -> None:
    wanted = [token(one) for one in markets(services)]
    bookless = [token(one) for one in services.world.open(START_S) if not one.has_book(START_S)]
    rows = client.books([*wanted, *bookless, "1", "no token"])
    found = [row["asset_id"] for row in rows]
    assert bookless
    assert sorted(found) == sorted(wanted)
    assert found != wanted
    assert {row.get("version") for row in rows} == {None, "v2"}


def test_more_than_five_hundred_tokens_are_refused(client: ServiceClient) -> None:
    answer = client.post("clob", "/books", [{"token_id": "1"}] * 501)
    assert (answer.status_code, answer.json()) == (400, {"error": "Payload exceeds the limit"})
    assert client.post("clob", "/books", {"token_id": "1"}).status_code == 400
    assert client.get("clob", "/books").status_code == 400
    assert client.books([]) == []


def test_both_books_of_a_market_share_their_time_and_are_mirrors(
    services: RunningServices, client: ServiceClient
) -> None:
    market = next(one for one in markets(services) if not one.one_sided)
    yes, no = sorted(client.books([token(market), token(market, 1)]), key=lambda row: row["asset_id"] != token(market))
    assert yes["timestamp"] == no["timestamp"]
    assert [level["size"] for level in yes["bids"]] == [level["size"] for level in no["asks"]]
    assert client.get("clob", "/book", token_id=token(market)).json() == yes
    assert client.get("clob", "/book", token_id="77").status_code == 404


def test_a_book_keeps_its_hash_until_it_changes(
    services: RunningServices, client: ServiceClient, clock: ManualClock
) -> None:
    market = next(one for one in markets(services) if one.stop_s - START_S > 60 * 3600)
    first, again = (client.books([token(market)])[0] for _ in range(2))
    clock.advance(120)
    later = client.books([token(market)])[0]
    assert first == again
    assert first["timestamp"] < later["timestamp"]
    assert first["hash"] != later["hash"]


def test_last_trades_leave_out_what_never_traded(services: RunningServices, client: ServiceClient) -> None:
    chosen = markets(services)
    rows = client.post("clob", "/last-trades-prices", [{"token_id": token(one)} for one in chosen]).json()
    found = {row["token_id"] for row in rows}
    books = {row["asset_id"]: row["last_trade_price"] for row in client.books([token(one) for one in chosen])}
    assert found == {one for one, last in books.items() if last}
    assert "" in books.values()


def test_the_second_witness_tells_the_version_and_takes_only_the_long_form(
    services: RunningServices, client: ServiceClient
) -> None:
    for version in ("v1", "v2"):
        market = next(one for one in markets(services) if one.version_at(START_S) == version)
        condition = market.condition(market.version_at(START_S))
        row = client.get("clob", f"/clob-markets/{condition}").json()
        assert (row["v"], row["c"]) == (version, condition)
        assert [one["t"] for one in row["t"]] == list(market.tokens(market.version_at(START_S)))
        if version == "v2":
            assert client.get("clob", f"/clob-markets/{condition.removesuffix('00')}").status_code == 404


def test_a_market_record_names_a_winner_only_after_the_payout(
    services: RunningServices, client: ServiceClient, clock: ManualClock
) -> None:
    market = next(one for one in markets(services) if one.stop_s - START_S < 900 and max(one.payouts) == MICRO
                  and one.way != "vanished" and one.switch_s is None)  # fmt: skip
    path = f"/markets/{market.condition(market.version)}"
    before = client.get("clob", path).json()
    clock.advance(market.resolved_s - START_S)
    after = client.get("clob", path).json()
    assert (before["closed"], after["closed"]) == (False, True)
    assert not any(one["winner"] for one in before["tokens"])
    assert [one["winner"] for one in after["tokens"]] == [payout == MICRO for payout in market.payouts]


def test_the_clob_tells_its_time(client: ServiceClient) -> None:
    assert client.get("clob", "/time").text == str(START_S)


# ---- Data API


def walk(client: ServiceClient, **query: object) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    cursor: dict[str, object] = {}
    for _ in range(100):
        page = client.get("data", "/v2/trades", **query, **cursor).json()
        rows += page["data"]
        if page["pagination"]["next_cursor"] is None:
            assert page["pagination"]["has_more"] is False
            return rows
        cursor = {"cursor": page["pagination"]["next_cursor"]}
    raise AssertionError("the feed does not end")


def test_a_walk_by_cursor_has_every_trade_once_newest_first(client: ServiceClient, clock: ManualClock) -> None:
    rows = walk(client, limit=100)
    times = [row["timestamp"] for row in rows]
    assert len(rows) > 1000
    assert times == sorted(times, key=lambda one: -int(str(one)))
    assert rows == walk(client, limit=1000, changed=1)


def test_trades_of_a_market_are_those_of_the_feed(services: RunningServices, client: ServiceClient) -> None:
    rows = [row for row in walk(client, limit=1000) if not str(row["condition_id"]).startswith("0x03")]
    [(condition, count)] = Counter(str(row["condition_id"]) for row in rows).most_common(1)
    mine = walk(client, limit=1000, condition=condition)
    assert len(mine) == count
    assert mine == [row for row in rows if row["condition_id"] == condition]
    assert mine == walk(client, limit=1000, condition=condition.removesuffix("00").ljust(64, "0"), x=1)


def test_the_cash_filter_leaves_large_rows(client: ServiceClient) -> None:
    rows = walk(client, limit=1000, filter_type="CASH", filter_amount=1000)
    large = [row for row in walk(client, limit=1000) if float(str(row["size"])) * float(str(row["price"])) >= 1000]
    assert rows == large
    assert rows


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v2/trades", {"offset": 10}),
        ("/v2/trades", {"limit": 1001}),
        ("/v2/trades", {"cursor": "x"}),
        ("/v2/trades", {"filter_type": "GOLD"}),
        ("/v2/trades", {"condition": "0x12"}),
        ("/v2/trades", {"condition": ",".join("0x" + f"{number:064x}" for number in range(21))}),
        ("/v2/resolutions", {}),
        ("/v2/resolutions", {"condition": "0x01" + "0" * 60}),
        ("/v2/tokens", {"token_id": ",".join(map(str, range(51)))}),
    ],
)
def test_what_the_data_api_refuses_is_a_400_with_a_code(
    client: ServiceClient, path: str, query: dict[str, object]
) -> None:
    answer = client.get("data", path, **query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_the_older_api_is_gone(client: ServiceClient) -> None:
    assert client.get("data", "/trades").status_code == 404


def test_resolutions_tell_payouts_once_they_are_final(
    services: RunningServices, client: ServiceClient, clock: ManualClock
) -> None:
    chosen = [one for one in markets(services) if one.stop_s - START_S < 900 and one.switch_s is None][:20]
    conditions = ",".join(one.condition(one.version) for one in chosen)
    before = client.get("data", "/v2/resolutions", condition=conditions).json()["data"]
    clock.advance(3 * 3600)
    after = {
        row["condition_id"]: row for row in client.get("data", "/v2/resolutions", condition=conditions).json()["data"]
    }
    assert not any("payouts" in row for row in before)
    for one in chosen:
        row = after.get(one.condition(one.version))
        assert (row is None) == (one.way == "vanished")
        assert row is None or (row["status"], row["payouts"]) == ("resolved", list(one.payouts))
        facts = client.get("data", "/v2/tokens", token_id=one.tokens(one.version)[1]).json()["data"]
        assert facts[0]["final_price"] == (None if one.way == "vanished" else one.payouts[1] / MICRO)
    event = client.get("data", "/v2/resolutions", event_id=str(chosen[0].event)).json()["data"]
    assert len(event) == (0 if chosen[0].way == "vanished" else chosen[0].lane.group)


def test_an_unknown_market_is_an_empty_list(client: ServiceClient) -> None:
    for path in ("/v2/trades", "/v2/resolutions", "/v2/oi", "/v2/tokens"):
        assert client.get("data", path, condition="0x" + "ab" * 32).json()["data"] == []


def test_open_interest_and_status_have_their_shapes(services: RunningServices, client: ServiceClient) -> None:
    market = markets(services)[0]
    [row] = client.get("data", "/v2/oi", condition=market.condition(market.version_at(START_S))).json()["data"]
    assert set(row) == {"condition_id", "value"}
    status = client.get("data", "/v2/status").json()["data"]
    assert status["serving"]["lag_seconds"] == 2


# ---- truth


def test_the_log_has_every_market_book_and_trade_that_was_served(clock: ManualClock, tmp_path: Path) -> None:
    with running_services(["clob", "data", "gamma"], clock=clock, folder=tmp_path) as running:
        client = ServiceClient(running)
        rows = client.markets(limit=100)
        wanted = [token(one) for one in markets(running)]
        books = client.books(wanted)
        clock.advance(1)
        books += client.books(wanted)
        trades = walk(client, limit=1000)
        client.close()
        path = running.truth_path("polymarket")
        world = running.world
    lines = list(read_truth(path))
    assert isinstance(lines[0], ServiceStarted)
    logged = {(one.token, one.ts): bytes(one.body) for one in lines if isinstance(one, ServedBook)}
    assert {(row["asset_id"], int(row["timestamp"])) for row in books} == set(logged)
    for row in books:
        body = logged[row["asset_id"], int(row["timestamp"])]
        assert msgspec.json.decode(body) == row
        assert world.served_at(row["asset_id"], int(row["timestamp"])) == body
    lives = {one.id: one for one in lines if isinstance(one, MarketLife)}
    assert set(lives) == {row["id"] for row in rows}
    fed = Counter((one.tx, one.token, one.size, one.price, one.ts) for one in lines if isinstance(one, ServedTrade))
    shown = Counter(
        (row["transaction_hash"], row["token_id"], row["size"], row["price"], row["timestamp"]) for row in trades
    )
    assert shown == fed
    assert sum(isinstance(one, Answered) for one in lines) > 4
