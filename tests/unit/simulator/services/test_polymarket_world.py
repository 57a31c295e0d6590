"""The simulated world of markets: every life ends as its truth says, and all of it follows from seed and time."""

from collections import Counter
from decimal import Decimal

import msgspec
import pytest

from recorder.simulator.services.polymarket.feed import LAG_S, Feed
from recorder.simulator.services.polymarket.ids import (
    Key,
    condition_v1,
    condition_v2,
    find_condition,
    find_token,
    padded,
    position_v2,
    token_v1,
)
from recorder.simulator.services.polymarket.life import MICRO, Market
from recorder.simulator.services.polymarket.resolutions import resolution_row, token_rows
from recorder.simulator.services.polymarket.rows import market_row
from recorder.simulator.services.polymarket.site import Named
from recorder.simulator.services.polymarket.world import World

START_S = 1_796_054_400
SEEDS = range(10)
HOUR_S = 3600


@pytest.mark.parametrize("seed", SEEDS)
def test_identifiers_name_their_market_and_no_other_world_knows_them(seed: int) -> None:
    for key in (Key(0, 0), Key(16_383, 1), Key(77, (1 << 32) - 1)):
        for outcome in (0, 1):
            one, two = token_v1(seed, key, outcome), position_v2(seed, key, bool(outcome), outcome)
            assert find_token(seed, one) == (key, "v1", outcome)
            assert find_token(seed, two) == (key, "v2", outcome)
            assert find_token(seed + 1, one) is None
            assert find_token(seed + 1, two) is None
        long = condition_v1(seed, key)
        short = condition_v2(seed, key, neg_risk=True)
        assert (len(long), len(short)) == (66, 64)
        assert find_condition(seed, long) == (key, "v1", 0)
        assert find_condition(seed, short) == find_condition(seed, padded(short)) == (key, "v2", 0)
        assert find_condition(seed, short, short=False) is None


@pytest.mark.parametrize(
    "text", ["", "-1", "x", "1" * 79, "٣", "0x12", "0x" + "g" * 64, str(1 << 256), "0x03" + "0" * 60]
)
def test_a_text_that_is_no_identifier_names_no_market(text: str) -> None:
    assert find_token(1, text) is None
    assert find_condition(1, text) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_every_life_ends_as_its_truth_says(seed: int) -> None:
    world = World(60, seed)
    seen: dict[Key, Market] = {}
    listed: dict[Key, list[int]] = {}
    for now_s in range(START_S, START_S + 800, 5):
        for market in world.open(now_s):
            seen[market.key] = market
            listed.setdefault(market.key, []).append(now_s)
            assert market.visible(now_s)
            assert not market.resolved(now_s)
    ended = [market for market in seen.values() if START_S <= market.created_s < market.resolved_s < START_S + 790]
    assert {market.way for market in ended} == {"automatic", "proposed", "disputed", "half", "split", "vanished"}
    for market in ended:
        assert market.created_s < market.clob_s < market.stop_s <= market.proposed_s
        assert max(listed[market.key]) < market.resolved_s <= max(listed[market.key]) + 5
        assert sum(market.payouts) == MICRO
        _check_answers(market)


def _check_answers(market: Market) -> None:
    states: list[object] = []
    turns = (market.stop_s, market.proposed_s, market.resolved_s)
    seconds = {
        *range(market.created_s, market.resolved_s + 30, 5),
        *(turn + more for turn in turns for more in (-1, 0)),
    }
    for at_s in sorted(seconds):
        named = Named(market, market.version_at(at_s))
        row = resolution_row(named, at_s)
        final = [one["final_price"] for one in token_rows(named, at_s)]
        if row is None:
            assert market.way == "vanished"
            assert at_s >= market.resolved_s
            continue
        if not states or states[-1] != row["status"]:
            states.append(row["status"])
        assert ("payouts" in row) == (row["status"] == "resolved") == (at_s >= market.resolved_s)
        assert row.get("payouts", list(market.payouts)) == list(market.payouts)
        assert final in ([None, None], [payout / MICRO for payout in market.payouts])
        assert not (final[0] is not None and at_s < market.resolved_s)
    expected = {
        "automatic": ["resolved"], "vanished": [], "disputed": ["proposed", "challenged", "reproposed", "disputed",
        "resolved"],
    }.get(market.way, ["proposed", "resolved"])  # fmt: skip
    assert [state for state in states if state not in ("posed", "active")] == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_one_market_of_a_neg_risk_event_pays(seed: int) -> None:
    world = World(60, seed)
    groups = [world.members(market) for market in world.open(START_S) if market.neg_risk and market.place == 0]
    assert groups
    for members in groups:
        assert sum(member.payouts[0] for member in members) == MICRO
        assert len({member.event for member in members}) == 1
        assert 0.98 < sum(member.price_at(START_S) for member in members) < 1.02


def test_a_full_world_has_the_tiers_of_the_protocol_page() -> None:
    world = World(10_000, 3)
    markets = [one for one in world.open(START_S) if one.stop_s > START_S]
    hours = [(one.stop_s - START_S) / HOUR_S for one in markets]
    found = [sum(low <= one < high for one in hours) for low, high in ((48, 999), (12, 48), (4, 12), (1, 4), (0, 1))]
    for count, expected in zip(found, (6700, 1900, 700, 300, 400), strict=True):
        assert abs(count - expected) <= 0.04 * expected
    assert 0.3 < sum(one.version == "v2" for one in markets) / len(markets) < 0.5


def test_a_hurried_market_moves_through_the_tiers_within_minutes() -> None:
    world = World(60, 1)
    market = next(one for one in world.open(START_S) if one.hurried and not one.odd)
    hours = [((market.end_at(at_s) or 0) - at_s) / HOUR_S for at_s in range(market.created_s, market.stop_s)]
    assert hours == sorted(hours, reverse=True)
    assert {sum(hour >= limit for limit in (1, 4, 12, 48)) for hour in hours} == {0, 1, 2, 4}


def test_a_v1_market_becomes_v2_midway_and_keeps_its_row() -> None:
    world = World(1000, 1)
    market = next(one for one in world.open(START_S) if one.switch_s is not None and not one.odd)
    assert market.switch_s is not None
    before, after = market_row(market, market.switch_s - 1), market_row(market, market.switch_s)
    assert (before["version"], after["version"]) == ("v1", "v2")
    assert (before["id"], before["slug"]) == (after["id"], after["slug"])
    assert before["conditionId"] != after["conditionId"]
    assert before["positionIds"]  # shown already, and not to be used yet
    token, position = market.tokens("v1")[0], market.tokens("v2")[0]
    for at_s, served, gone in ((market.switch_s - 1, token, position), (market.switch_s, position, token)):
        assert world.served(served, at_s * 10**9) is not None
        assert world.served(gone, at_s * 10**9) is None


def test_another_world_of_the_seed_is_the_same_also_after_the_clock_steps_back() -> None:
    one, other = World(60, 5), World(60, 5)
    one.open(START_S + 5000)
    assert one.open(START_S) == other.open(START_S)
    assert World(60, 6).open(START_S) != other.open(START_S)


def test_listings_contain_the_markets_that_were_born_since() -> None:
    world = World(60, 5)
    world.open(START_S)
    stepped = {now_s: world.open(now_s) for now_s in range(START_S, START_S + 400, 7)}
    for now_s, markets in list(stepped.items())[::10]:
        assert markets == World(60, 5).open(now_s)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_book_follows_from_its_token_and_timestamp(seed: int) -> None:
    world = World(60, seed)
    for market in world.open(START_S):
        if not market.has_book(START_S):
            continue
        pair = []
        for token in market.tokens(market.version_at(START_S)):
            served = world.served(token, START_S * 10**9)
            assert served is not None
            assert World(60, seed).served_at(token, served[0] // 10**6) == served[1]
            pair.append(msgspec.json.decode(served[1]))
        _check_pair(*pair)


def _check_pair(yes: dict[str, list[dict[str, str]]], no: dict[str, list[dict[str, str]]]) -> None:
    bids, asks = ([Decimal(level["price"]) for level in yes[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids)  # the worst price first
    assert asks == sorted(asks, reverse=True)
    assert not (bids and asks) or bids[-1] < asks[-1]
    assert all(0 < price < 1 for price in (*bids, *asks))
    mirror = [(str(1 - Decimal(level["price"])), level["size"]) for level in no["asks"]]
    expected = [(Decimal(level["price"]), level["size"]) for level in yes["bids"]]
    assert [(Decimal(price), size) for price, size in mirror] == expected
    assert yes["timestamp"] == no["timestamp"]
    assert yes["last_trade_price"] == no["last_trade_price"]


def test_the_feed_has_each_kind_of_row_and_every_run_makes_the_same() -> None:
    world = World(60, 2)
    feed = Feed(world, 5.0)
    rows = feed.advance(START_S)
    rows += feed.advance(START_S + 300)
    other = Feed(World(60, 2), 5.0)
    seconds = range(START_S - 600 - LAG_S, START_S + 300 - LAG_S + 1)
    assert rows == [row for at_s in seconds for row in other.second(at_s)]
    assert [row.place for row in feed.newest_first(START_S + 300)] == sorted((row.place for row in rows), reverse=True)
    assert any(row.outcome_index == 999 and not row.event_slug for row in rows)
    assert any(row.condition.startswith("0x03") and len(row.condition) == 64 for row in rows)
    assert any(row.cash >= 1000 for row in rows)
    fills = Counter((row.tx, row.wallet) for row in rows)
    assert max(fills.values()) > 2
    for row in rows:
        named = world.by_token(row.token, row.place[0])
        assert row.condition.startswith("0x03") or (named is not None and named[0].has_book(row.place[0]))


def test_the_feed_catches_up_no_more_than_an_hour_after_a_jump_of_the_clock() -> None:
    feed = Feed(World(60, 2), 1.0)
    feed.advance(START_S)
    assert len(feed.advance(START_S + 30 * 86_400)) < 30_000
