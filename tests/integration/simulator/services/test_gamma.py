"""The simulated Gamma answers as the protocol page says, over real HTTP."""

import json
from collections.abc import Iterator

import pytest
from support.simulator.services import ServiceClient, ids_of

from recorder.clock import ManualClock
from recorder.simulator.services.running import RunningServices, running_services

START_S = 1_796_054_400


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock(START_S * 10**9)


@pytest.fixture(scope="module")
def services(clock: ManualClock) -> Iterator[RunningServices]:
    with running_services(["gamma"], markets=300, clock=clock) as running:
        yield running


@pytest.fixture(scope="module")
def client(services: RunningServices) -> Iterator[ServiceClient]:
    client = ServiceClient(services)
    yield client
    client.close()


def test_a_listing_has_every_open_market_once_in_pages_of_at_most_a_hundred(
    services: RunningServices, client: ServiceClient
) -> None:
    expected = [str(one.number) for one in services.world.open(START_S)]
    assert [row["id"] for row in client.markets(limit=500)] == expected
    first = client.get("gamma", "/markets/keyset", limit=500).json()
    assert len(first["markets"]) == 100
    assert first["$schema"]
    assert len(client.get("gamma", "/markets/keyset").json()["markets"]) == 20


def test_another_parameter_than_after_cursor_gives_the_first_page(client: ServiceClient) -> None:
    first = client.get("gamma", "/markets/keyset").json()
    assert client.get("gamma", "/markets/keyset", cursor=first["next_cursor"]).json() == first


@pytest.mark.parametrize(
    "query",
    [
        {"offset": 1},
        {"order": "volume_24hr"},
        {"after_cursor": "nonsense"},
        {"volume_num_min": "many"},
        {"end_date_min": "yesterday"},
        {"volume_num_min": "nan"},
        {"id": [*range(101)]},
    ],
)
def test_what_gamma_refuses_is_a_422(client: ServiceClient, query: dict[str, object]) -> None:
    assert client.get("gamma", "/markets/keyset", **query).status_code == 422


def test_a_cursor_is_bound_to_its_filters(client: ServiceClient) -> None:
    cursor = client.get("gamma", "/markets/keyset", volume_num_min=1).json()["next_cursor"]
    same = client.get("gamma", "/markets/keyset", volume_num_min=1, unknown=7, after_cursor=cursor)
    other = client.get("gamma", "/markets/keyset", volume_num_min=2, after_cursor=cursor)
    assert (same.status_code, other.status_code) == (200, 422)


def test_filters_choose_by_volume_end_and_version(client: ServiceClient) -> None:
    rows = client.markets(limit=100, volume_num_min=1000, end_date_max="2026-12-01T00:00:00Z", version="v2")
    assert rows
    for row in rows:
        assert row["volumeNum"] >= 1000
        assert row["endDate"] <= "2026-12-01T00:00:00Z"
    assert {row.get("version") for row in rows} <= {"v2", "v3", None}


def test_the_newest_markets_come_first_when_asked_for(client: ServiceClient) -> None:
    rows = client.get("gamma", "/markets/keyset", order="id", ascending="false", limit=50).json()["markets"]
    numbers = [int(row["id"]) for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert len(client.markets(order="id", ascending="false", limit=100)) == len(client.markets(limit=100))


def test_order_by_volume_sorts_the_text(client: ServiceClient) -> None:
    rows = client.get("gamma", "/markets/keyset", order="volume", limit=100).json()["markets"]
    texts = [row["volume"] for row in rows]
    assert texts == sorted(texts)
    assert texts != sorted(texts, key=float)


def test_a_look_up_of_a_resolved_market_is_empty_unless_closed_is_asked_for(
    services: RunningServices, client: ServiceClient
) -> None:
    market = next(one for one in services.world.closed(START_S) if one.way == "half")
    condition = market.condition(market.version)
    assert client.get("gamma", "/markets/keyset", condition_ids=condition).json()["markets"] == []
    [row] = client.get("gamma", "/markets/keyset", condition_ids=condition, closed="true").json()["markets"]
    assert row["closed"] is True
    assert json.loads(row["outcomePrices"]) in (["0.5", "0.5"], ["0", "0"])
    assert row["closedTime"].endswith("+00")


def test_identifiers_of_every_kind_find_the_market(services: RunningServices, client: ServiceClient) -> None:
    for market in services.world.open(START_S)[::29]:
        version = market.version_at(START_S)
        for name, value in (
            ("id", market.number),
            ("slug", market.slug),
            ("condition_ids", market.condition(version)),
            ("clob_token_ids" if version == "v1" else "position_ids", market.tokens(version)[1]),
        ):
            rows = client.get("gamma", "/markets/keyset", **{name: value}).json()["markets"]
            assert [row["id"] for row in rows] == [str(market.number)]
        assert client.get("gamma", f"/markets/{market.number}").json()["slug"] == market.slug
        assert client.get("gamma", f"/markets/slug/{market.slug}").json()["id"] == str(market.number)
        assert client.get("gamma", f"/markets/{market.number}/tags").json()[0]["slug"] == market.category
    assert client.get("gamma", "/markets/1").status_code == 404
    assert client.get("gamma", "/markets/x").status_code == 422


def test_rows_name_the_ids_of_their_version(services: RunningServices, client: ServiceClient) -> None:
    by_number = {str(one.number): one for one in services.world.open(START_S)}
    kinds = set()
    for row in client.markets(limit=100):
        market = by_number[row["id"]]
        if row.get("version") not in ("v1", "v2") or market.odd == "no_ids":
            continue
        assert tuple(ids_of(row)) == market.tokens(market.version_at(START_S))
        assert len(row["conditionId"]) == (66 if row["version"] == "v1" else 64)
        kinds.add((row["version"], bool(row["clobTokenIds"]), type(row["positionIds"]).__name__))
    # v1 also with positions beside its tokens, v2 without tokens, positions as an array and as text.
    assert {("v1", True, "NoneType"), ("v1", True, "list"), ("v2", False, "list"), ("v2", False, "str")} <= kinds


def test_the_same_address_is_the_same_answer_for_five_minutes_and_a_changed_one_is_not(
    services: RunningServices, client: ServiceClient, clock: ManualClock
) -> None:
    first = client.get("gamma", "/markets/keyset", order="id", ascending="false")
    clock.advance(299)
    again = client.get("gamma", "/markets/keyset", order="id", ascending="false")
    changed = client.get("gamma", "/markets/keyset", order="id", ascending="false", at=1)
    assert first.headers["cache-control"] == "public, max-age=300"
    assert (again.json(), again.headers["age"]) == (first.json(), "299")
    assert changed.json() != first.json()
    clock.advance(2)
    assert client.get("gamma", "/markets/keyset", order="id", ascending="false").json() != first.json()


def test_events_nest_all_their_markets_and_placeholders(client: ServiceClient) -> None:
    rows: list[dict[str, object]] = []
    page = client.get("gamma", "/events/keyset", limit=100).json()
    while True:
        rows += page["events"]
        if "next_cursor" not in page:
            break
        page = client.get("gamma", "/events/keyset", limit=100, after_cursor=page["next_cursor"]).json()
    exclusive = [row for row in rows if row["negRisk"]]
    assert exclusive
    for row in exclusive:
        markets = row["markets"]
        assert isinstance(markets, list)
        assert len(markets) == 5
        assert all("events" not in market for market in markets)
        placeholder = markets[-1]
        assert (placeholder["active"], placeholder["acceptingOrders"]) == (False, True)
        assert "outcomePrices" not in placeholder
    bare = client.get("gamma", "/events/keyset", include_markets="false").json()["events"]
    assert all("markets" not in row for row in bare)


def test_a_market_is_at_gamma_before_it_has_a_book_and_vanishes_without_a_result(services: RunningServices) -> None:
    world = services.world
    market = next(one for one in world.open(START_S) if not one.odd and one.clob_s > one.created_s + 1)
    assert market.visible(market.created_s)
    assert not market.has_book(market.clob_s - 1)
    assert market.has_book(market.clob_s)


def test_a_bare_python_client_is_refused(services: RunningServices) -> None:
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(services.urls["gamma"] + "/markets/keyset", timeout=10)
    with refused.value:
        assert refused.value.code == 403
        assert refused.value.headers["content-type"].startswith("text/html")
