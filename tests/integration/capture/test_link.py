"""One connection kept alive, against a real server."""

import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from support.link_rig import BOOKS, TRADES, Peer, Server, linked, mute_server, until
from support.write_buffers import Read, delta, integer, snapshot, trade
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.sync.server import serve

from recorder.capture.link import MOVES, Link, State
from recorder.events import Stream
from recorder.venues.coinbase.stream import Coinbase


def last_error(link: Link) -> str:
    failure = link.figures().last_error
    return "" if failure is None else failure.reason


def test_a_link_subscribes_lives_and_closes_in_the_order_of_its_table(tmp_path: Path) -> None:
    def behaviour(peer: Peer) -> None:
        for _ in range(3):
            peer.answer(peer.next())
        peer.send(snapshot())
        peer.send(trade(1))
        peer.serve()

    server = Server(behaviour)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, BOOKS) as running:
        until(lambda: running.link.figures().events == 2)
        until(lambda: running.link.state is State.LIVE)
        status = running.link.figures()
        assert (status.streams, status.sessions, status.refused, status.quarantined) == (2, 1, 0, 0)
    assert running.link.moves == [State.CONNECTING, State.SUBSCRIBING, State.LIVE, State.CLOSED]
    assert sorted(request["channels"][0] for request in server.requests) == ["heartbeat", "level2_batch", "matches"]
    read = Read(tmp_path / "j")
    assert [integer(row["trade_id"]) for row in read.rows("trade")] == [1]
    assert read.rows("session")[-1]["end_reason"] == b"stopped"
    assert {gap["cause"] for gap in (*read.gaps("trade"), *read.gaps("book"))} == {b"restart"}


def test_the_log_has_the_events_that_people_look_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def behaviour(peer: Peer) -> None:
        for _ in range(3):
            peer.answer(peer.next())
        peer.send(snapshot())
        peer.send(trade(1))
        peer.serve()

    caplog.set_level("DEBUG", logger="recorder.capture.session")
    with (
        Server(behaviour).running() as url,
        structlog.testing.capture_logs() as found,
        linked(tmp_path / "j", url, TRADES, BOOKS, health_check_interval_s=0.1, heartbeat_interval_s=0.2) as running,
    ):
        until(lambda: {"pong.received", "health.passed", "link.subscribed"} <= {one["event"] for one in found})
        until(lambda: running.link.figures().events == 2)
        assert (running.link.figures().uptime_s or 0.0) > 0
        assert running.link.figures().errors == 0
    lines = {(one["event"], one["log_level"]): one for one in found}
    assert lines["trade.recorded", "debug"]["trade_id"] == "1"
    assert lines["book.recorded", "debug"]["snapshot"]
    assert lines["health.passed", "debug"]["heartbeat_failures"] == 0
    subscribed = [one for one in found if one["event"] == "link.subscribed"]
    assert {(one["channel"], one["symbols"]) for one in subscribed} == {("trade", "A-USD"), ("book", "A-USD")}
    assert {("link.up", "info"), ("link.live", "info"), ("link.subscribed", "info")} <= lines.keys()


def test_every_state_can_end() -> None:
    reachable = {State.IDLE}
    while more := {after for state in reachable for after in MOVES[state]} - reachable:
        reachable |= more
    assert reachable == set(State)
    assert all(State.CLOSED in after for state, after in MOVES.items() if state is not State.CLOSED)


def confirms_and_leaves(peer: Peer) -> None:
    peer.answer(peer.next())
    peer.answer(peer.next())
    peer.connection.close()


def test_a_server_that_accepts_and_drops_does_not_reset_the_backoff(tmp_path: Path) -> None:
    server = Server(confirms_and_leaves)
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.attempts >= 5)
        assert running.link.figures().sessions >= 5
        assert running.link.figures().failures >= 5
        assert running.link.figures().errors >= 5
        assert running.link.figures().heartbeat_failures == 0
        assert "close frame 1000" in last_error(running.link)


def test_the_first_data_resets_the_backoff(tmp_path: Path) -> None:
    def data(peer: Peer) -> None:
        peer.send(trade(5))
        peer.serve()

    server = Server(confirms_and_leaves, confirms_and_leaves, confirms_and_leaves, data)
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.figures().events)
        until(lambda: running.link.attempts == 0)
        assert running.link.figures().sessions == 4
        assert running.link.figures().failures == 0


def test_a_link_gives_up_where_the_settings_say_so(tmp_path: Path) -> None:
    server = Server(confirms_and_leaves)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, max_retries=3) as running:
        until(lambda: running.ended)
    assert "gave up after 3 attempts" in str(running.failure)
    assert len(server.attempts) == 4


def test_a_dead_connection_is_detected_by_its_silence(tmp_path: Path) -> None:
    with (
        mute_server() as (url, accepted),
        linked(tmp_path / "j", url, TRADES, heartbeat_interval_s=0.2, heartbeat_timeout_s=0.2) as running,
    ):
        until(lambda: accepted)
        began_s = time.monotonic()
        until(lambda: State.BACKOFF in running.link.moves)
        assert 0.3 < time.monotonic() - began_s < 2.0
        assert "nothing at all" in last_error(running.link)
        until(lambda: len(accepted) >= 2)  # and it tries again
        until(lambda: running.link.figures().heartbeat_failures >= 2)


def test_a_link_reconnects_on_request(tmp_path: Path) -> None:
    server = Server(Peer.serve)
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.state is State.LIVE)
        running.link.reconnect("no market data of this connection for 61 s")
        until(lambda: running.link.figures().sessions == 2)
        assert "no market data" in last_error(running.link)
        until(lambda: running.link.state is State.LIVE)


def test_a_silent_stream_is_resubscribed_and_the_time_between_is_a_gap(tmp_path: Path) -> None:
    def behaviour(peer: Peer) -> None:
        peer.answer(peer.next())
        peer.answer(peer.next())
        peer.send(trade(1))
        peer.serve()

    def matches() -> list[str]:
        return [request["type"] for request in server.requests if "matches" in request["channels"]]

    server = Server(behaviour)
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.figures().events == 1)
        running.link.resubscribe(TRADES)
        until(lambda: len(matches()) == 3)
    assert matches() == ["subscribe", "unsubscribe", "subscribe"]
    assert [gap["cause"] for gap in Read(tmp_path / "j").gaps("trade")] == [b"disconnect"]


class Ageing(Coinbase):
    """A venue that ends its sessions after a while."""

    limits = msgspec.structs.replace(Coinbase.limits, session_s=3.0)


def test_a_session_asks_once_for_its_successor_before_the_venue_ends_it(tmp_path: Path) -> None:
    server = Server(Peer.serve)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, venue=Ageing) as running:
        until(lambda: running.link.state is State.LIVE)
        assert running.renewals == []
        live_s = time.monotonic()
        until(lambda: running.renewals)
        assert time.monotonic() - live_s < 3.0
        until(lambda: time.monotonic() - live_s > 3.5)
        assert running.renewals == [running.link]
        assert running.link.figures().sessions == 1  # it continues until a successor takes over


def test_a_server_that_names_a_time_is_left_alone_until_then(tmp_path: Path) -> None:
    server = Server(Peer.serve)
    server.refuse = Response(429, "Too Many Requests", Headers({"Retry-After": "1", "Content-Length": "0"}), b"")
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.state is State.BACKOFF)
        assert last_error(running.link) == "the venue answered HTTP 429"
        until(lambda: len(server.attempts) >= 2)
    assert server.attempts[1] - server.attempts[0] >= 1.0


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    target, server = Server(Peer.serve), Server(Peer.serve)
    with target.running() as elsewhere, server.running() as url:
        server.refuse = Response(302, "Found", Headers({"Location": elsewhere, "Content-Length": "0"}), b"")
        with linked(tmp_path / "j", url, TRADES):
            until(lambda: len(server.attempts) >= 2)
    assert target.attempts == []


def test_an_address_without_a_server_is_retried_with_growing_delays(tmp_path: Path) -> None:
    with linked(tmp_path / "j", "ws://127.0.0.1:1", TRADES) as running:
        until(lambda: running.link.attempts >= 3)
        assert "refused" in last_error(running.link).lower()
        assert running.link.figures().sessions == 0


def test_a_self_signed_certificate_is_always_refused(tmp_path: Path) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip("needs openssl to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    opened: list[object] = []
    with serve(opened.append, "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"wss://127.0.0.1:{server.socket.getsockname()[1]}"
            with linked(tmp_path / "j", url, TRADES) as running:
                until(lambda: running.link.attempts >= 3)
                assert "certificate verify failed" in last_error(running.link).lower()
        finally:
            server.shutdown()
            thread.join(10)
    assert opened == []


def test_streams_come_and_go_without_a_reconnect(tmp_path: Path) -> None:
    other = Stream("trade", "B-USD")
    server = Server(Peer.serve)
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.state is State.LIVE)
        running.link.change([TRADES, other])
        until(lambda: any("B-USD" in request["product_ids"] for request in server.requests))
        server.peers[0].send(trade(1, "B-USD"))
        until(lambda: running.link.figures().events == 1)
        running.link.change([other])
        until(lambda: any(request["type"] == "unsubscribe" for request in server.requests))
        until(lambda: running.link.state is State.LIVE)
        assert running.link.figures().sessions == 1
    asked = [
        (request["type"], *request["product_ids"]) for request in server.requests if "matches" in request["channels"]
    ]
    assert asked == [("subscribe", "A-USD"), ("subscribe", "B-USD"), ("unsubscribe", "A-USD")]
    read = Read(tmp_path / "j")
    assert [gap["cause"] for gap in read.gaps("trade", "A-USD")] == [b"unsubscribed"]
    assert [gap["cause"] for gap in read.gaps("trade", "B-USD")] == [b"restart"]


def test_a_dropped_book_that_the_venue_still_confirms_is_not_requested_again(tmp_path: Path) -> None:
    late = threading.Event()

    def behaviour(peer: Peer) -> None:
        peer.answer(peer.next())
        peer.send(snapshot())
        peer.next()  # the unsubscribe: confirmed late, and with an old list before it
        peer.send(b'{"type":"subscriptions","channels":[{"name":"level2_50","product_ids":["A-USD"]}]}')
        peer.send(delta(price="9"))  # still on its way, and crossing
        late.set()
        peer.serve()

    server = Server(behaviour)
    with server.running() as url, linked(tmp_path / "j", url, BOOKS) as running:
        until(lambda: running.link.figures().events == 1)
        running.link.change([])
        assert late.wait(10)
        until(lambda: running.link.figures().events == 2)
        frames = running.link.figures().frames
        threading.Event().wait(0.5)  # several ticks, in which nothing may be requested
        assert running.link.figures().frames == frames
    assert [request["type"] for request in server.requests] == ["subscribe", "unsubscribe"]


def test_a_refused_symbol_is_found_and_the_others_live(tmp_path: Path) -> None:
    bad = Stream("trade", "NO-NO")

    def behaviour(peer: Peer) -> None:
        while True:
            request = peer.next()
            if "NO-NO" in request["product_ids"]:
                peer.send(b'{"type":"error","message":"Failed to subscribe","reason":"NO-NO is not a valid product"}')
            else:
                peer.answer(request)
                if "matches" in request["channels"]:
                    peer.send(trade(1))

    server = Server(behaviour)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, bad) as running:
        until(lambda: running.link.figures().refused == 1)
        until(lambda: running.link.figures().events >= 1)
        until(lambda: running.link.state is State.LIVE)
        assert running.link.figures().sessions == 1
    read = Read(tmp_path / "j")
    assert [gap["cause"] for gap in read.gaps("trade", "NO-NO")] == [b"refused"]
    assert [gap["cause"] for gap in read.gaps("trade")] == [b"restart"]


def test_a_refusal_of_a_megabyte_is_cut_before_it_is_reported(tmp_path: Path) -> None:
    bad = Stream("trade", "NO-NO")

    def behaviour(peer: Peer) -> None:
        while True:
            request = peer.next()
            if "NO-NO" in request["product_ids"]:
                peer.send(b'{"type":"error","message":"%s"}' % (b"x" * 2**20))
            else:
                peer.answer(request)

    server = Server(behaviour)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, bad) as running:
        until(lambda: running.link.refused)
        assert len(running.link.refused[bad]) == 200


def test_a_crossed_book_is_requested_again_on_the_same_connection(tmp_path: Path) -> None:
    def behaviour(peer: Peer) -> None:
        peer.answer(peer.next())
        peer.send(snapshot())
        peer.send(delta(price="9"))
        peer.answer(peer.next())
        peer.answer(peer.next())
        peer.send(snapshot())
        peer.serve()

    server = Server(behaviour)
    with server.running() as url, linked(tmp_path / "j", url, BOOKS) as running:
        until(lambda: running.link.figures().events == 3)
        until(lambda: running.rig.continuity.open_gaps() == 0)
        assert running.link.figures().sessions == 1
    assert [request["type"] for request in server.requests] == ["subscribe", "unsubscribe", "subscribe"]


def test_a_book_whose_snapshot_is_on_its_way_after_a_reconnect_is_requested_once(tmp_path: Path) -> None:
    def first(peer: Peer) -> None:
        peer.answer(peer.next())
        peer.send(snapshot())
        peer.connection.close()

    def second(peer: Peer) -> None:
        peer.answer(peer.next())
        threading.Event().wait(0.5)  # a book takes its time
        peer.send(snapshot())
        peer.serve()

    server = Server(first, second)
    with server.running() as url, linked(tmp_path / "j", url, BOOKS) as running:
        until(lambda: running.link.figures().events == 2)
    assert [request["type"] for request in server.requests] == ["subscribe", "subscribe"]


def test_a_disconnect_is_a_gap_that_the_next_session_ends(tmp_path: Path) -> None:
    def first(peer: Peer) -> None:
        peer.answer(peer.next())
        for number in (1, 2):
            peer.send(trade(number))
        peer.answer(peer.next())
        peer.connection.close_socket()  # without a close frame

    def second(peer: Peer) -> None:
        peer.send(trade(5))
        peer.serve()

    server = Server(first, second)
    with server.running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.figures().events == 3)
    read = Read(tmp_path / "j")
    assert [integer(row["trade_id"]) for row in read.rows("trade")] == [1, 2, 5]
    first_gap = read.gaps("trade")[0]
    assert (first_gap["cause"], integer(first_gap["last_id"]), integer(first_gap["first_id"])) == (b"disconnect", 2, 5)
    assert len({row["session_id"] for row in read.rows("session")}) == 2


def test_links_of_a_venue_start_apart_and_come_back_apart_after_a_shared_drop(tmp_path: Path) -> None:
    def leaves(peer: Peer) -> None:
        peer.answer(peer.next())
        until(lambda: len(server.attempts) >= 3)
        peer.connection.close()

    server = Server(leaves, leaves, leaves, Peer.serve)
    apart: dict[str, Any] = {"start_interval_s": 0.3, "reconnect_interval_s": 0.5}
    with (
        server.running() as url,
        linked(tmp_path / "1", url, TRADES, **apart) as first,
        linked(tmp_path / "2", url, TRADES, **apart) as second,
        linked(tmp_path / "3", url, TRADES, **apart) as third,
    ):
        until(lambda: len(server.attempts) >= 6)
    connects = sorted(at for one in (first, second, third) for at in one.link.connects)
    # Turns are 0.3 s and then 0.5 s apart. A busy machine takes a turn late, and the next one in time.
    assert connects[2] - connects[0] >= 0.4
    assert connects[5] - connects[2] >= 1.2


def test_a_venue_that_speaks_and_closes_is_called_ever_less_often(tmp_path: Path) -> None:
    def speaks_and_leaves(peer: Peer) -> None:
        peer.answer(peer.next())
        peer.send(trade(len(server.attempts)))
        peer.connection.close()

    server = Server(speaks_and_leaves)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, settled_after_s=60.0) as running:
        until(lambda: running.link.figures().events >= 4)
        assert running.link.attempts >= 3


def test_the_backoff_forgets_only_after_a_session_with_data_has_lived(tmp_path: Path) -> None:
    def data(peer: Peer) -> None:
        peer.send(trade(5))
        peer.serve()

    server = Server(confirms_and_leaves, confirms_and_leaves, data)
    with server.running() as url, linked(tmp_path / "j", url, TRADES, settled_after_s=0.5) as running:
        until(lambda: running.link.figures().events)
        began_s = time.monotonic()
        assert running.link.attempts == 2
        until(lambda: running.link.attempts == 0)
        assert time.monotonic() - began_s > 0.3


def test_a_link_that_waits_stops_at_once(tmp_path: Path) -> None:
    with linked(tmp_path / "j", "ws://127.0.0.1:1", TRADES, reconnect_delay_s=60.0, reconnect_cap_s=60.0) as running:
        until(lambda: running.link.state is State.BACKOFF)
        began_s = time.monotonic()
        running.stop()
        assert time.monotonic() - began_s < 10.0
        assert running.link.state is State.CLOSED


def test_a_stream_that_got_no_answer_is_reported_requested_again_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.capture.requests.ANSWER_S", 0.2)
    monkeypatch.setattr("recorder.capture.requests.UNANSWERED_AGAIN_S", 0.3)
    goes_on = threading.Event()

    def behaviour(peer: Peer) -> None:
        peer.next()  # no answer, twice
        peer.next()
        assert goes_on.wait(10)
        peer.answer(peer.next())
        peer.send(trade(1))
        peer.serve()

    with Server(behaviour).running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.refused)
        assert running.link.refused == {TRADES: "no answer in 10 s, twice"}
        assert running.link.figures().refused == 1
        until(lambda: running.link.state is State.LIVE)
        goes_on.set()
        until(lambda: running.link.figures().events == 1)
        until(lambda: running.link.figures().refused == 0)
    (gap,) = [row for row in Read(tmp_path / "j").gaps("trade") if row["cause"] == b"refused"]
    assert gap["ended_at"] is not None


def test_data_of_a_refused_stream_ends_its_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.capture.requests.ANSWER_S", 0.1)
    goes_on = threading.Event()

    def behaviour(peer: Peer) -> None:
        assert goes_on.wait(10)
        peer.send(trade(1))
        peer.serve()

    with Server(behaviour).running() as url, linked(tmp_path / "j", url, TRADES) as running:
        until(lambda: running.link.refused)
        goes_on.set()
        until(lambda: running.link.figures().events == 1)
        until(lambda: running.link.figures().refused == 0)
