"""Polymarket carries all channels of a token in one subscription: beginning it again interrupts each of them.

What the venue still sends of the old subscription does not show that the new one has begun. A real server sends it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support.link_rig import Peer, Running, Server, linked, until
from support.write_buffers import Read, nanoseconds

from recorder.events import CHANNELS, Stream
from recorder.venues.polymarket.stream import Polymarket

TOKEN = "10" + "1" * 74 + "01"
STREAMS = tuple(Stream(channel, TOKEN) for channel in CHANNELS)


class Venue:
    """The other side of one connection: a test says what it sends, and reads what is asked of it."""

    def __init__(self) -> None:
        self.peer: Peer | None = None
        self.asked: list[str] = []  # "market", "subscribe", "unsubscribe", "PING"

    def behaviour(self, peer: Peer) -> None:
        """Note all requests, until the client leaves."""
        self.peer = peer
        while True:
            text = peer.connection.recv()
            request = {"operation": "PING"} if text == "PING" else json.loads(text)
            self.asked.append(str(request.get("operation") or request["type"]))

    def send(self, *messages: dict[str, object]) -> None:
        """Send each message in a frame of its own, stamped now."""
        assert self.peer is not None
        for message in messages:
            stamped = {"asset_id": TOKEN, "timestamp": str(time.time_ns() // 10**6)} | message
            self.peer.send(json.dumps(stamped).encode())

    def act(self, running: Running) -> int:
        """Answer each ping and send what follows, until no gap goes on; return when that began.

        A link that waits for long asks once more, as on a busy machine.
        """
        began_ns = time.time_ns()
        answered = 0

        def complete() -> bool:
            nonlocal answered
            assert self.peer is not None
            for _ in range(self.asked.count("PING") - answered):
                answered += 1
                self.peer.send(b"PONG")
                self.send(book(), quote(), trade())
            return running.rig.continuity.open_gaps() == 0

        until(complete, "the end of all gaps")
        return began_ns


def book() -> dict[str, object]:
    return {"event_type": "book", "bids": [{"price": "0.4", "size": "1"}], "asks": [{"price": "0.6", "size": "1"}]}


def quote() -> dict[str, object]:
    return {"event_type": "best_bid_ask", "best_bid": "0.4", "best_ask": "0.6"}


def trade() -> dict[str, object]:
    return {"event_type": "last_trade_price", "price": "0.5", "size": "3", "side": "BUY"}


def come(running: Running, events: int) -> None:
    until(lambda: running.link.figures().events == events, f"{events} events")


def gaps_end_behind(folder: Path, cause: bytes, at_ns: int, channels: Iterable[str] = CHANNELS) -> None:
    """Assert that a gap of that cause covers each channel until then."""
    read = Read(folder)
    for channel in channels:
        gaps = [gap for gap in read.gaps(channel, TOKEN) if gap["cause"] == cause]
        ends = [end for gap in gaps if (end := nanoseconds(gap["ended_at"])) is not None]
        assert ends, f"no gap of {channel} with cause {cause!r} has ended"
        assert max(ends) >= at_ns // 1000 * 1000, channel


def lived(venue: Venue, folder: Path, url: str, then: Callable[[Running], None]) -> None:
    """Run a link whose token is subscribed and complete, and then a part of a test."""
    with linked(folder, url, *STREAMS, venue=Polymarket, heartbeat_interval_s=60.0) as running:
        until(lambda: venue.asked == ["market"], "the subscription")
        venue.send(book(), quote(), trade())
        come(running, 3)
        until(lambda: running.rig.continuity.open_gaps() == 0, "the first gaps end")
        then(running)


@pytest.fixture
def venue() -> Venue:
    return Venue()


def test_a_token_whose_first_book_is_late_is_asked_for_again_and_all_its_channels_are_interrupted(
    venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.capture.requests.ANSWER_S", 0.2)
    folder = tmp_path / "j"
    with (
        Server(venue.behaviour).running() as url,
        linked(folder, url, *STREAMS, venue=Polymarket, heartbeat_interval_s=60.0) as running,
    ):
        until(lambda: venue.asked == ["market"], "the subscription")
        venue.send(quote(), trade())  # these live, and no book comes
        until(lambda: venue.asked[1:4] == ["unsubscribe", "PING", "subscribe"], "the second request")
        pong_ns = venue.act(running)
    gaps_end_behind(folder, b"disconnect", pong_ns, ("trade", "quote"))


def test_what_the_old_subscription_still_sends_ends_no_gap_of_the_new_one(venue: Venue, tmp_path: Path) -> None:
    folder = tmp_path / "j"
    pongs: list[int] = []

    def again(running: Running) -> None:
        running.link.resubscribe(STREAMS[0])
        until(lambda: venue.asked[1:4] == ["unsubscribe", "PING", "subscribe"], "the requests")
        venue.send(book(), quote(), trade())  # the venue has not acted yet
        come(running, 6)
        assert running.rig.continuity.open_gaps() == 3
        pongs.append(venue.act(running))

    with Server(venue.behaviour).running() as url:
        lived(venue, folder, url, again)
    gaps_end_behind(folder, b"disconnect", pongs[0])


def test_a_snapshot_that_comes_while_the_requests_wait_is_of_the_old_subscription(
    venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "j"
    pongs: list[int] = []

    def again(running: Running) -> None:
        pause = threading.Event()
        monkeypatch.setattr("recorder.capture.session.Session._empty_outbox", lambda _self, _now_s: None)
        running.link.resubscribe(STREAMS[0])
        pause.wait(0.3)  # several ticks
        venue.send(book(), quote(), trade())
        come(running, 6)
        monkeypatch.undo()
        until(lambda: venue.asked[1:4] == ["unsubscribe", "PING", "subscribe"], "the requests")
        pongs.append(venue.act(running))

    with Server(venue.behaviour).running() as url:
        lived(venue, folder, url, again)
    gaps_end_behind(folder, b"disconnect", pongs[0])


def test_a_token_that_is_dropped_and_added_again_is_complete_only_with_its_new_subscription(
    venue: Venue, tmp_path: Path
) -> None:
    folder = tmp_path / "j"
    pongs: list[int] = []

    def back(running: Running) -> None:
        running.link.change([])
        until(lambda: venue.asked[1:] == ["unsubscribe"], "the end of the subscription")
        running.link.change(STREAMS)
        until(lambda: venue.asked[2:4] == ["PING", "subscribe"], "the new subscription")
        venue.send(book(), quote(), trade())  # the venue has not acted yet
        come(running, 6)
        assert running.rig.continuity.open_gaps() == 3
        pongs.append(venue.act(running))

    with Server(venue.behaviour).running() as url:
        lived(venue, folder, url, back)
    gaps_end_behind(folder, b"unsubscribed", pongs[0])


def test_a_token_that_is_dropped_while_its_requests_wait_is_not_subscribed_again(
    venue: Venue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(running: Running) -> None:
        monkeypatch.setattr("recorder.capture.session.Session._empty_outbox", lambda _self, _now_s: None)
        running.link.resubscribe(STREAMS[0])
        running.link.change([])
        until(lambda: running.link.figures().streams == 0, "the end of the streams")
        monkeypatch.undo()
        until(lambda: venue.asked[1:] == ["unsubscribe"], "the end of the subscription")
        running.link.change(STREAMS)
        until(lambda: venue.asked[2:4] == ["PING", "subscribe"], "the new subscription")

    with Server(venue.behaviour).running() as url:
        lived(venue, tmp_path / "j", url, drop)


def test_a_channel_that_is_added_to_a_carried_token_interrupts_its_other_channels(venue: Venue, tmp_path: Path) -> None:
    folder = tmp_path / "j"
    with (
        Server(venue.behaviour).running() as url,
        linked(folder, url, STREAMS[0], venue=Polymarket, heartbeat_interval_s=60.0) as running,
    ):
        until(lambda: venue.asked == ["market"], "the subscription")
        venue.send(book(), quote(), trade())
        come(running, 1)
        until(lambda: running.rig.continuity.open_gaps() == 0, "the first gap ends")
        running.link.change(STREAMS)
        until(lambda: venue.asked[1:4] == ["unsubscribe", "PING", "subscribe"], "the new subscription")
        pong_ns = venue.act(running)
    gaps_end_behind(folder, b"disconnect", pong_ns, [STREAMS[0].channel])
