"""Each fault of the simulated services does what its help says, for as long as it was asked for."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from support.simulator.services import ServiceClient

from recorder.clock import ManualClock
from recorder.errors import ConfigError
from recorder.simulator.services.running import RunningServices, running_services

LIST = "/markets/keyset"


@pytest.fixture(scope="module")
def services() -> Iterator[RunningServices]:
    with running_services() as running:
        yield running


@pytest.fixture
def client(services: RunningServices) -> Iterator[ServiceClient]:
    client = ServiceClient(services)
    yield client
    client.close()
    for name in services.urls:
        services.do(name, "heal")


def fresh() -> dict[str, object]:
    """Return a parameter that no answer is cached for."""
    return {"at": time.time_ns()}


@pytest.mark.parametrize(("status", "retry_after"), [(422, ""), (429, ""), (429, "7"), (503, "")])
def test_a_status_is_answered_as_often_as_asked(
    services: RunningServices, client: ServiceClient, status: int, retry_after: str
) -> None:
    services.do("gamma", "rest", status=status, times=2, retry_after=retry_after)
    answers = [client.get("gamma", LIST, **fresh()) for _ in range(3)]
    assert [one.status_code for one in answers] == [status, status, 200]
    assert answers[0].headers.get("retry-after", "") == retry_after


def test_a_fault_keeps_to_its_path(services: RunningServices, client: ServiceClient) -> None:
    services.do("clob", "rest", status=503, times=None, path="/books")
    assert client.post("clob", "/books", []).status_code == 503
    assert client.get("clob", "/time").status_code == 200
    assert services.do("clob", "heal", what="rest") == {"rules": 1}
    assert client.post("clob", "/books", []).status_code == 200


def test_html_and_truncated_json_are_no_json(services: RunningServices, client: ServiceClient) -> None:
    services.do("gamma", "html")
    page = client.get("gamma", LIST, **fresh())
    services.do("gamma", "truncate")
    cut = client.get("gamma", LIST, **fresh())
    assert page.headers["content-type"].startswith("text/html")
    assert (page.status_code, cut.status_code) == (200, 200)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        cut.json()
    assert client.get("gamma", LIST, **fresh()).json()["markets"]


def test_a_delayed_answer_is_late_and_others_are_not(services: RunningServices, client: ServiceClient) -> None:
    services.do("gamma", "delay", seconds=0.7, path=LIST)
    other = ServiceClient(services)
    began_s = time.monotonic()
    assert other.get("gamma", "/tags", **fresh()).status_code == 200
    other.close()
    assert client.get("gamma", LIST, **fresh()).status_code == 200
    assert time.monotonic() - began_s >= 0.7


def test_an_echoed_cursor_names_the_page_that_was_asked_for(services: RunningServices, client: ServiceClient) -> None:
    first = client.get("gamma", LIST, **fresh()).json()["next_cursor"]
    services.do("gamma", "echo_cursor")
    echoed = client.get("gamma", LIST, after_cursor=first, **fresh()).json()["next_cursor"]
    sound = client.get("gamma", LIST, after_cursor=first, **fresh()).json()["next_cursor"]
    assert echoed == first != sound
    services.do("data", "echo_cursor")
    page = client.get("data", "/v2/trades", limit=10, **fresh()).json()["pagination"]["next_cursor"]
    again = client.get("data", "/v2/trades", limit=10, cursor=page, **fresh()).json()["pagination"]["next_cursor"]
    assert again == page


def test_odd_rows_stand_beside_the_sound_ones(services: RunningServices, client: ServiceClient) -> None:
    sound = client.get("gamma", LIST, limit=5, **fresh()).json()["markets"]
    services.do("gamma", "odd")
    rows = client.get("gamma", LIST, limit=5, **fresh()).json()["markets"]
    assert [row["id"] for row in rows[-5:]] == [row["id"] for row in sound]
    assert rows[:3] == [None, "a text", 7]
    services.do("data", "odd")
    trades = client.get("data", "/v2/trades", **fresh()).json()["data"]
    assert None in trades
    services.do("yahoo", "odd")
    quote = client.get("yahoo", "/v8/finance/chart/TAPE", range="1mo").json()["chart"]["result"][0]["indicators"][
        "quote"
    ][0]
    assert quote["close"][0] == 0.0
    assert quote["close"][2] == "n/a"


def test_an_incomplete_answer_lacks_a_part_of_the_books(services: RunningServices, client: ServiceClient) -> None:
    now_s = int(time.time())
    tokens = [one.tokens(one.version_at(now_s))[0] for one in services.world.open(now_s) if one.stop_s > now_s + 60]
    complete = len(client.books(tokens))
    services.do("clob", "incomplete", share=0.5)
    assert abs(len(client.books(tokens)) - complete / 2) <= 2
    services.do("clob", "odd")
    assert any(None in row["bids"] for row in client.books(tokens))


@pytest.mark.parametrize("how", ["reset", "silent"])
def test_a_service_that_is_away_answers_nothing_but_its_control(
    services: RunningServices, client: ServiceClient, how: str
) -> None:
    services.do("data", "away", how=how)
    with pytest.raises(requests.ConnectionError if how == "reset" else requests.Timeout):
        requests.get(services.urls["data"] + "/v2/status", timeout=0.5)
    control = services.urls["data"] + "/_control"
    assert requests.post(control, json={"do": "heal"}, timeout=10).json() == {"rules": 1}
    assert client.get("data", "/v2/status").status_code == 200


def test_requests_above_its_limit_are_refused_by_the_data_api() -> None:
    with running_services(["data"], markets=10, trades_per_s=0.1, clock=ManualClock()) as running:
        client = ServiceClient(running)
        answers = [client.get("data", "/v2/trades", limit=1, at=number) for number in range(230)]
        client.close()
    refused = [one for one in answers if one.status_code == 429]
    assert len(refused) == 30
    assert all("retry-after" not in one.headers and one.json()["code"] == "rate_limited" for one in refused)


def test_requests_above_its_limit_wait_at_gamma() -> None:
    clock = ManualClock()
    with running_services(["gamma"], markets=10, clock=clock) as running:
        client = ServiceClient(running)
        for _ in range(200):
            assert client.get("gamma", "/tags").status_code == 200
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.get, "gamma", "/tags")
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            clock.advance(10)
            assert waiting.result(10).status_code == 200
        client.close()


def test_wrong_arguments_are_named(services: RunningServices) -> None:
    for action, arguments in (
        ("rest", {"status": 99}),
        ("delay", {"seconds": 0}),
        ("incomplete", {"share": 2}),
        ("away", {"how": "loud"}),
        ("nothing", {}),
    ):
        with pytest.raises(ConfigError, match=action):
            services.do("gamma", action, **arguments)


def test_a_web_page_may_not_run_actions(services: RunningServices) -> None:
    answer = requests.post(
        services.urls["gamma"] + "/_control", json={"do": "heal"}, headers={"Origin": "http://x"}, timeout=10
    )
    assert answer.status_code == 403
