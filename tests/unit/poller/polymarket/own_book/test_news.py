"""What the stream announces, whatever stands around it."""

import json
from typing import Any

import pytest

from recorder.errors import DecodeError
from recorder.poller.polymarket.own_book import news
from recorder.poller.polymarket.own_book.news import MOST, News

CONDITION = "0x" + "AB" * 32
SHORT = "0x01" + "cd" * 30


def heard(*messages: Any) -> News:
    found = News()
    for one in messages:
        found.read(one if isinstance(one, bytes) else json.dumps(one).encode())
    return found


def test_both_kinds_are_found_in_objects_and_in_arrays_under_either_name() -> None:
    resolved = {"market": CONDITION, "event_type": "market_resolved", "event_message": {"id": "1"}}
    opened = {"event_type": "new_market", "condition_id": SHORT, "event_message": {"market": "0x"}}
    found = heard(resolved, [{"event_type": "book"}, opened, opened])
    assert found.take("market_resolved") == [CONDITION.lower()]
    assert found.take("new_market") == [SHORT + "00"]
    assert found.take("new_market") == []


@pytest.mark.parametrize(
    "frame",
    [b"PONG", b"", b"[", b'"market_resolved"', b"[1]", b'{"event_type":"market_resolved"}',
     b'{"event_type":"market_resolved","market":7}', b'{"event_type":"market_resolved","market":"0x03"}',
     b'{"event_type":["market_resolved"],"market":{}}', b"[" * 100_000],
)  # fmt: skip
def test_a_frame_that_is_malformed_announces_nothing(frame: bytes) -> None:
    found = heard(frame)
    assert found.take("market_resolved") == []


def test_frames_are_searched_before_they_are_decoded() -> None:
    assert News.occurs(b'xx{"event_type":"new_market"}')
    assert not News.occurs(b'{"event_type":"book","market":"0x"}')


def test_the_number_of_announced_markets_is_bounded() -> None:
    found = heard(*({"event_type": "new_market", "market": f"0x{number:064x}"} for number in range(MOST + 5)))
    assert len(found.take("new_market")) == MOST


def test_an_answer_is_read_as_it_was_written() -> None:
    assert news.decode(news.encode([CONDITION])) == [CONDITION.lower()]
    for body in (b"{}", b'["x"]', b"[1]", b""):
        with pytest.raises(DecodeError):
            news.decode(body)
