"""The stream of a running web: snapshot first, a tick a second, events at once, refusals in words, ended logins."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.web.raw_clients import RawClient
from support.web.server import SECRET, RunningWeb
from support.web.stored import StoredRows

from recorder.store.database import with_database
from recorder.web.access import Role
from recorder.web.security.keys import Keys
from recorder.web.security.tokens import Tokens


@pytest.fixture
def client(live_web: RunningWeb) -> Iterator[RawClient]:
    made = RawClient(live_web.port)
    yield made
    made.close()


def test_a_client_gets_hello_snapshot_ticks_and_gaps(client: RawClient, rows: StoredRows) -> None:
    one = rows.instrument("okx", "LIVE-1")
    rows.quote(one, 1, 2)
    hello = client.wait("hello")
    assert (hello["tick_ms"], hello["max_symbols"]) == (1000, 200)
    client.subscribe([{"kind": "quote", "instrument": "okx:LIVE-1"}, {"kind": "gap", "instrument": str(one)}], 7)
    snapshot = client.wait("snapshot")
    assert snapshot["id"] == 7
    assert [(item["kind"], item["bid"], item["instrument_id"]) for item in snapshot["items"]] == [
        ("quote", 1, str(one))
    ]
    first = client.wait("tick")
    assert client.wait("tick")["seq"] == first["seq"] + 1
    rows.quote(one, 3, 4)
    until = time.monotonic() + 10
    while not (items := client.wait("tick")["items"]):
        assert time.monotonic() < until
    assert items[0]["bid"] == 3
    gap = rows.gap(one, "quote", datetime.now(UTC))
    assert client.wait("gap")["gap_id"] == str(gap)
    rows.change_gap(gap, "healed", "done")
    assert client.wait("gap", state="healed")["going_on"] is False
    client.send({"op": "unsubscribe", "streams": [{"kind": "quote", "instrument": "okx:LIVE-1"}]})
    client.subscribe([{"kind": "status"}, {"kind": "alert"}], 8)
    (status,) = client.wait("snapshot", id=8)["items"]
    assert (status["kind"], status["healthy"]) == ("status", False)


def test_both_addresses_speak_the_protocol(live_web: RunningWeb) -> None:
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{live_web.port}/ws/subscribe") as socket:
        assert json.loads(socket.recv(timeout=10))["op"] == "hello"
        socket.send(json.dumps({"op": "subscribe", "id": 3, "streams": [{"kind": "quote", "instrument": "no:such"}]}))
        problem = json.loads(socket.recv(timeout=10))
        while problem["op"] == "tick":
            problem = json.loads(socket.recv(timeout=10))
        assert (problem["op"], problem["id"], problem["problem"]["status"]) == ("error", 3, 404)
        socket.send("nonsense")
        while (problem := json.loads(socket.recv(timeout=10)))["op"] == "tick":
            pass
        assert problem["problem"]["status"] == 400
        assert json.loads(socket.recv(timeout=10))["op"] == "tick"


def test_a_foreign_origin_and_a_visitor_without_login_get_no_stream(live_web: RunningWeb, web: RunningWeb) -> None:
    for server, origin in ((live_web, "https://evil.example"), (web, "")):
        refused = RawClient(server.port, origin=origin)
        assert refused.status == 403
        refused.close()
    own = RawClient(live_web.port, origin=live_web.url)
    assert own.status == 101
    own.close()


def test_a_token_that_expires_ends_the_socket_and_a_user_has_five(web: RunningWeb, tokens: dict[str, str]) -> None:
    short = Tokens(Keys(SECRET.encode()).tokens).make("viewer", Role.viewer, lasts_s=3)
    ends = RawClient(web.port, token=short)
    others = [RawClient(web.port, token=tokens["viewer"]) for _ in range(4)]
    sixth = RawClient(web.port, token=tokens["viewer"])
    assert [one.status for one in (ends, *others)] == [101] * 5
    assert sixth.status == 403
    ends.wait("hello")
    assert ends.wait_closed(15) == 1008
    assert others[0].wait("tick")["op"] == "tick"
    for one in (ends, sixth, *others):
        one.close()


def test_without_postgres_ticks_go_on_and_say_so(live_database: str, tmp_path: Path) -> None:
    own = RunningWeb(tmp_path / "home", with_database(live_database, "absent"), TAPEDECK__WEB__PUBLIC_READ="true")
    own.start()
    try:
        client = RawClient(own.port)
        client.subscribe([{"kind": "quote", "instrument": "okx:LIVE-1"}])
        assert client.wait("snapshot")["items"] == []
        assert "does not exist" in client.wait("tick")["problem"]
        client.close()
    finally:
        assert own.stop() == 0
