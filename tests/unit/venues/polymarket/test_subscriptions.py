"""Requests of one connection, and what shows that a subscription has begun."""

import json
from collections.abc import Iterable

from support.venues.polymarket import NO, NOW_NS, YES

from recorder.events import CHANNELS, Accepted, Channel, Stream
from recorder.venues.polymarket.subscriptions import PONG_NS, Subscriptions


def streams(*tokens: str, channels: Iterable[Channel] = CHANNELS) -> list[Stream]:
    return [Stream(channel, token) for token in tokens for channel in channels]


def begun(*tokens: str) -> Subscriptions:
    """Return the subscriptions of tokens whose first books have come."""
    subscriptions = Subscriptions()
    subscriptions.subscribe(streams(*tokens))
    for token in tokens:
        assert {one.stream for one in subscriptions.accepted_by_book(token)} == set(streams(token))
    return subscriptions


def test_the_first_request_opens_the_channel_and_later_ones_add_to_it() -> None:
    subscriptions = Subscriptions()
    first, later = (json.loads(subscriptions.subscribe(streams(token))[0]) for token in (YES, NO))
    assert (first["type"], first["assets_ids"]) == ("market", [YES])
    assert later == {"operation": "subscribe", "assets_ids": [NO], "custom_feature_enabled": True}


def test_a_token_begins_again_by_ending_its_subscription_first() -> None:
    end, ping, begin = begun(YES, NO).subscribe(streams(YES, channels=("book",)))
    assert json.loads(end) == {"operation": "unsubscribe", "assets_ids": [YES]}
    assert ping == "PING"
    assert json.loads(begin)["operation"] == "subscribe"


def test_a_token_that_was_dropped_begins_again_behind_a_ping_too() -> None:
    subscriptions = begun(YES)
    subscriptions.unsubscribe(streams(YES))
    ping, begin = subscriptions.subscribe(streams(YES))
    assert ping == "PING"
    assert json.loads(begin)["assets_ids"] == [YES]
    assert subscriptions.accepted_by_book(YES) == []
    subscriptions.pong()
    assert len(subscriptions.accepted_by_book(YES)) == 3


def test_a_book_accepts_a_subscription_only_behind_the_pong_to_the_ping_before_it() -> None:
    subscriptions = begun(YES)
    subscriptions.pinged()  # a heartbeat whose pong is still on its way
    subscriptions.subscribe(streams(YES))
    for _ in range(2):
        assert subscriptions.accepted_by_book(YES) == []
        subscriptions.pong()
    assert len(subscriptions.accepted_by_book(YES)) == 3


def test_many_pings_on_their_way_are_all_awaited() -> None:
    """A slow venue that is asked for thirty tokens again answers the first of them after seconds."""
    subscriptions = begun(YES)
    subscriptions.subscribe(streams(YES))
    for _ in range(50):
        subscriptions.pinged()
    assert subscriptions.accepted_by_book(YES) == []
    subscriptions.pong()
    assert len(subscriptions.accepted_by_book(YES)) == 3


def test_a_trade_behind_the_pong_accepts_its_channel_where_no_book_comes() -> None:
    subscriptions = begun(YES)
    subscriptions.subscribe(streams(YES))
    assert subscriptions.accepted(YES, ("trade",)) == []
    subscriptions.pong()
    assert subscriptions.accepted(YES, ("trade",)) == [Accepted(Stream("trade", YES))]
    assert subscriptions.accepted(YES, ("trade",)) == []


def test_a_missing_pong_is_waited_for_in_vain_only_where_a_token_waits() -> None:
    subscriptions = begun(YES)
    subscriptions.pinged()  # a heartbeat alone
    assert not subscriptions.waits_in_vain(NOW_NS)
    assert not subscriptions.waits_in_vain(NOW_NS + 2 * PONG_NS)
    subscriptions.subscribe(streams(YES))
    assert subscriptions.waits_in_vain(NOW_NS + 2 * PONG_NS)  # one is missing, and it cannot be known which


def test_pings_that_are_all_answered_are_not_waited_for() -> None:
    subscriptions = begun(YES)
    for minute in range(5):
        subscriptions.pinged()
        subscriptions.subscribe(streams(YES))
        assert not subscriptions.waits_in_vain(NOW_NS + minute * PONG_NS)
        subscriptions.pong()
        subscriptions.pong()
        assert not subscriptions.waits_in_vain(NOW_NS + minute * PONG_NS)


def test_a_subscription_ends_with_the_last_of_its_channels() -> None:
    subscriptions = begun(YES)
    assert subscriptions.unsubscribe(streams(YES, channels=("book", "quote"))) == []
    assert subscriptions.wants("trade", YES)
    (end,) = subscriptions.unsubscribe(streams(YES, channels=("trade",)))
    assert json.loads(end) == {"operation": "unsubscribe", "assets_ids": [YES]}
    assert not subscriptions.wants("trade", YES)
