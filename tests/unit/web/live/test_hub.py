"""What clients of the stream get: snapshot first, one tick, the latest value of each stream, events at once."""

import json
from datetime import UTC, datetime

import pytest

from recorder.web.live import protocol
from recorder.web.live.hub import Client, Hub, Limits
from recorder.web.live.outbox import MOST_EVENTS, MOST_REPLIES
from recorder.web.live.protocol import Refused, Topic, Wanted

NOW = datetime(2026, 12, 1, 10, 0, tzinfo=UTC)
BTC, ETH = Topic("quote", 1), Topic("quote", 2)


def subscribed(hub: Hub, *topics: Topic, user: str = "") -> Client:
    client = hub.join(user)
    hub.want(client, topics, 1, {}, hub.generation)
    client.outbox.take()
    return client


def ticks(client: Client) -> list[dict[str, object]]:
    return [json.loads(frame) for frame in client.outbox.take()]


def test_a_snapshot_comes_before_the_tick_after_it() -> None:
    hub = Hub()
    client = hub.join("")
    hub.want(client, [BTC], 7, {(BTC, 0): '{"bid":1}'}, 0)
    hub.publish({(BTC, 0): '{"bid":2}'}, 1, NOW)
    assert ticks(client) == [
        {"op": "snapshot", "id": 7, "items": [{"bid": 1}]},
        {"op": "tick", "seq": 1, "ts": "2026-12-01T10:00:00.000000Z", "items": [{"bid": 2}]},
    ]


def test_a_value_published_while_the_snapshot_was_read_is_not_lost() -> None:
    hub = Hub()
    subscribed(hub, BTC)
    hub.publish({(BTC, 0): "2"}, 5, NOW)
    late = hub.join("")
    hub.want(late, [BTC], 1, {(BTC, 0): "1"}, 4)
    assert ticks(late) == [{"op": "snapshot", "id": 1, "items": [2]}]


def test_a_slow_client_gets_the_latest_value_of_each_stream_once() -> None:
    hub = Hub()
    client = subscribed(hub, BTC, ETH)
    hub.publish({(BTC, 0): "1", (ETH, 0): "10"}, 1, NOW)
    hub.publish({(BTC, 0): "2"}, 2, NOW)
    (only,) = ticks(client)
    assert only["seq"] == 2
    assert sorted(only["items"]) == [2, 10]  # type: ignore[call-overload]
    assert ticks(client) == []


def test_a_client_gets_only_what_it_wants_and_an_empty_tick_otherwise() -> None:
    hub = Hub()
    client = subscribed(hub, ETH)
    hub.publish({(BTC, 0): "1"}, 1, NOW, "Postgres is away")
    (only,) = ticks(client)
    assert only["items"] == []
    assert only["problem"] == "Postgres is away"


def test_clients_of_the_same_streams_share_one_frame() -> None:
    hub = Hub()
    one, other = subscribed(hub, BTC), subscribed(hub, BTC)
    hub.publish({(BTC, 0): "1"}, 1, NOW)
    assert one.outbox.take()[0] is other.outbox.take()[0]


def test_what_waits_of_a_stream_is_dropped_when_it_is_not_wanted_any_more() -> None:
    hub = Hub()
    client = subscribed(hub, BTC, ETH)
    hub.publish({(BTC, 0): "1", (ETH, 0): "2"}, 1, NOW)
    hub.unwant(client, [ETH])
    assert ticks(client)[0]["items"] == [1]
    assert hub.topics() == {BTC}
    hub.leave(client)
    assert hub.topics() == frozenset()


def test_a_closed_bar_and_the_forming_one_are_both_sent() -> None:
    hub = Hub()
    bars = Topic("bar", 1, 60)
    client = subscribed(hub, bars)
    hub.publish({(bars, 0): '"closed"', (bars, 60): '"forming"'}, 1, NOW)
    assert sorted(ticks(client)[0]["items"]) == ["closed", "forming"]  # type: ignore[call-overload]


def test_a_gap_goes_at_once_to_those_who_watch_all_or_this_instrument() -> None:
    hub = Hub()
    watches = subscribed(hub, Topic("gap")), subscribed(hub, Topic("gap", 1))
    other = subscribed(hub, Topic("gap", 2))
    hub.event([Topic("gap"), Topic("gap", 1)], 99, '{"op":"gap","state":"open"}')
    hub.event([Topic("gap"), Topic("gap", 1)], 99, '{"op":"gap","state":"healed"}')
    assert [ticks(client) for client in watches] == [[{"op": "gap", "state": "healed"}]] * 2
    assert ticks(other) == []


def test_a_client_that_never_reads_is_closed_and_holds_no_more_than_the_bound() -> None:
    hub = Hub()
    asks, listens = subscribed(hub, BTC), subscribed(hub, Topic("gap"))
    for number in range(MOST_REPLIES + 1):
        hub.want(asks, [BTC], number, {}, hub.generation)
    for number in range(MOST_EVENTS + 1):
        hub.event([Topic("gap")], number, "{}")
    assert asks.closing is not None
    assert asks.closing[0] == 1013
    assert listens.closing is not None
    assert listens.closing[0] == 1013
    assert len(listens.outbox.take()) == MOST_EVENTS


def test_limits_of_streams_sockets_and_books_are_said_in_words() -> None:
    hub = Hub(Limits(clients=3, of_user=2, streams=2, books=1))
    client = hub.join("ann")
    hub.join("ann")
    with pytest.raises(Refused, match="at most 2 streams; close another"):
        hub.join("ann")
    hub.join("bob")
    with pytest.raises(Refused, match="no room"):
        hub.join("cid")
    with pytest.raises(Refused, match="at most 2 streams"):
        hub.check(client, [BTC, ETH, Topic("trade", 1)], 1)
    with pytest.raises(Refused, match="at most 1 books"):
        hub.check(client, [Topic("book", 1), Topic("book", 2)], 1)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("no json", 400),
        ("[]", 400),
        ('{"op":"order","streams":[]}', 400),
        ('{"op":"subscribe","streams":[]}', 400),
        ('{"op":"subscribe","streams":[{"kind":"quote","instrument":"a:b","sql":"x"}]}', 400),
        ('{"op":"subscribe","streams":[{"kind":"bar","instrument":"a:b","width":"2m"}]}', 400),
        ('{"op":"subscribe","id":-1,"streams":[{"kind":"status"}]}', 400),
        (b"\xff\xfe", 400),
        (" " * (protocol.FRAME_BYTES + 1), 413),
    ],
)
def test_a_bad_message_gets_a_problem_and_not_a_closed_socket(text: str | bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        protocol.parse(text)
    problem = json.loads(refused.value.frame())["problem"]
    assert problem["status"] == status
    assert problem["detail"]


def test_streams_become_topics_once_each_and_an_unknown_instrument_is_named() -> None:
    wanted = [Wanted("bar", "a:b", "5m"), Wanted("quote", "a:b"), Wanted("quote", "7"), Wanted("gap"), Wanted("alert")]
    found = protocol.topics(wanted, {"a:b": 7, "7": 7})
    assert found == [Topic("bar", 7, 300), Topic("quote", 7), Topic("gap"), Topic("alert")]
    with pytest.raises(Refused, match="no instrument 'x:y'"):
        protocol.topics([Wanted("quote", "x:y")], {}, 3)
    with pytest.raises(Refused, match="quote needs an instrument"):
        protocol.topics([Wanted("quote")], {}, 3)
