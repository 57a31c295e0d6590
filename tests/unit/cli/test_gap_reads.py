"""`tapedeck gaps` says of every gap that has ended when it is read next, and why the last try failed."""

from datetime import UTC, datetime, timedelta

import pytest

from recorder.cli.polls.gaps import GapLine
from recorder.cli.polls.reads import Failure, Reads, failures_of
from recorder.poller.slots import Schedule

NOW = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
SCHEDULE = Schedule(30, 11)
REFUSED = Failure(NOW - timedelta(seconds=40), "HTTP 429", NOW + timedelta(minutes=8))


def gap(ended_s_ago: float | None, venue: str = "kraken", channel: str = "trade") -> GapLine:
    ended_at = None if ended_s_ago is None else NOW - timedelta(seconds=ended_s_ago)
    started_at = NOW - timedelta(hours=1)
    return GapLine(
        venue, "BTC/USD", channel, "disconnect", "open", None, 1, 5, started_at, ended_at, None, None, None, 1
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "reads", "stage", "words", "next_try"),
    [
        (gap(None), Reads("", SCHEDULE, {}), "going on", "read 30 s after its end", None),
        (gap(5), Reads("", SCHEDULE, {}), "ended", "read in 41 s", NOW + timedelta(seconds=41)),
        (gap(90), Reads("", SCHEDULE, {}), "ended", "read in 11 s", NOW + timedelta(seconds=11)),
        (
            gap(600), Reads("", SCHEDULE, {}), "ended",
            "due for 10 min, waits for its turn or for stored trades on both sides; read in 11 s",
            NOW + timedelta(seconds=11),
        ),
        (
            gap(90), Reads("", SCHEDULE, {"kraken": REFUSED}), "ended",
            "the try 40 s ago failed (HTTP 429); read in 8 min", NOW + timedelta(minutes=8, seconds=11),
        ),
        (gap(90), Reads("no poller runs", SCHEDULE, {}), "ended", "not read now: no poller runs", None),
        (gap(90, "polymarket"), Reads("", SCHEDULE, {}), "ended", "its venue has no history that proves it", None),
        (gap(None, channel="book"), Reads("", SCHEDULE, {}), "going on", "data is missing now", None),
    ],
)  # fmt: skip
def test_a_gap_says_whether_it_goes_on_and_when_it_is_read(
    one: GapLine, reads: Reads, stage: str, words: str, next_try: datetime | None
) -> None:
    one.judge(reads, NOW)
    assert (one.stage, one.what(NOW, reads), one.next_try_at) == (stage, words, next_try)


def test_an_answer_after_a_failure_ends_its_story() -> None:
    one = gap(4000)
    one.reads, one.not_yet = 1, "the venue does not list id 3"
    one.next_at, one.read_at = NOW + timedelta(minutes=10), NOW - timedelta(seconds=20)
    reads = Reads("", SCHEDULE, {"kraken": REFUSED})
    one.judge(reads, NOW)
    assert one.failure is None
    assert one.what(NOW, reads) == "the venue does not list id 3; read once, again in 10 min"


def test_the_reason_of_a_failed_round_gives_each_venue_its_own_part() -> None:
    earlier = "by hand; okx (again at 2026-12-01T11:00:00Z): no answer; really: none"
    newer = "kraken (again at 2026-12-01T12:01:00Z): HTTP 503; okx (again at 2026-12-01T12:04:00Z): timed out"
    found = failures_of([(NOW, newer), (NOW - timedelta(hours=1), earlier), (NOW, "the disk is full")])
    assert {name: (one.reason, one.again_at.minute) for name, one in found.items()} == {
        "kraken": ("HTTP 503", 1), "okx": ("timed out", 4),
    }  # fmt: skip
    assert failures_of([(NOW, earlier)])["okx"].reason == "no answer; really: none"
