"""Silence is judged by the usual rate of a stream, over weeks of virtual time."""

import itertools
import math
import random
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest
import zstandard
from structlog.testing import capture_logs

from recorder.capture.liveness.judgement import COOLDOWN_S, MIN_SILENCE_S, Action, Liveness, Verdict
from recorder.capture.liveness.rates import _HEAD, ExpectedRates
from recorder.capture.liveness.rates_file import load, path_of, save
from recorder.events import Stream

DAY_S, WEEK_S = 86_400, 604_800
MONDAY = 1_772_409_600  # 2026-03-02 00:00 UTC
A, B, C = (Stream("trade", symbol) for symbol in "ABC")
BUSY, SLOW = 0.8, 0.02  # fraction of seconds with data


class World:
    """Streams that deliver data at random, and a recorder that acts on each verdict at once."""

    def __init__(self, streams: dict[Stream, int], liveness: Liveness | None = None, start: int = MONDAY) -> None:
        self.rng = random.Random(5)
        self.liveness = liveness or Liveness(ExpectedRates(), 120.0)
        self.links = streams
        self.rates: dict[Stream, float] = dict.fromkeys(streams, BUSY)
        self.dead: set[Stream] = set()
        self.snapshots = False  # whether a new subscription delivers one, even for a dead stream
        self.now = start
        self.verdicts: list[tuple[int, Verdict]] = []

    def run(self, seconds: float) -> list[Verdict]:
        """Let time pass; return the verdicts of that time."""
        before = len(self.verdicts)
        fresh: set[Stream] = set()
        for _ in range(int(seconds)):
            self.now += 1
            active = {s for s, rate in self.rates.items() if s not in self.dead and self.rng.random() < rate}
            self.liveness.sample(active | fresh, self.links, self.now)
            fresh = set()
            for verdict in self.liveness.judge(self.now):
                self.verdicts.append((self.now, verdict))
                if self.snapshots and verdict.action in ("resubscribe", "reconnect"):
                    whole = [s for s, link in self.links.items() if link == verdict.link]
                    fresh |= {verdict.stream} if verdict.action == "resubscribe" and verdict.stream else set(whole)
        return [verdict for _, verdict in self.verdicts[before:]]

    def teach(self, days: float, rates: Callable[[int], dict[Stream, float]] | None = None) -> "World":
        """Let time pass during which rates are learned and nothing is judged.

        Args:
            days: How long.
            rates: By hour since the start, where they change.
        """
        learned, watched, rng = self.liveness.rates, list(self.links), self.rng.random
        for hour in range(int(days * 24)):
            of_hour = list((rates(hour) if rates else self.rates).items())
            for second in range(3600):
                learned.sample([s for s, rate in of_hour if rng() < rate], watched, self.now + second)
            self.now += 3600
        return self


def actions(verdicts: Iterable[Verdict], stream: Stream | None) -> list[Action]:
    return [verdict.action for verdict in verdicts if verdict.stream == stream]


def test_a_dead_stream_among_live_ones_is_resubscribed_then_reconnected_then_alerted() -> None:
    world = World({A: 0, B: 0}).teach(1)
    assert world.run(600) == []
    world.dead = {A}
    verdicts = world.run(120)
    assert actions(verdicts, A) == ["resubscribe", "reconnect", "alert"]
    assert actions(verdicts, B) == actions(verdicts, None) == []
    assert verdicts[0].silence_s < MIN_SILENCE_S + 3
    resubscribed_s = next(at_s for at_s, verdict in world.verdicts if verdict is verdicts[0])
    assert verdicts[0].since_s == resubscribed_s - verdicts[0].silence_s - 1  # the sample before that of the last data
    assert verdicts[0].expected_per_s == pytest.approx(-math.log(1 - BUSY), rel=0.2)
    assert world.liveness.silent() == [A]
    world.dead = set()
    assert actions(world.run(60), A) == ["recovered"]
    assert world.liveness.silent() == []


def test_a_dead_connection_is_renewed_at_once_and_the_others_are_left_alone() -> None:
    world = World({A: 0, B: 0, C: 1}).teach(1)
    world.run(60)
    world.dead = {A, B}
    verdicts = world.run(300)
    assert [(verdict.action, verdict.link, verdict.stream) for verdict in verdicts] == [
        ("reconnect", 0, None),
        ("alert", 0, None),
    ]
    assert verdicts[0].silence_s < MIN_SILENCE_S + 3
    assert set(world.liveness.silent()) == {A, B}
    world.dead = set()
    assert actions(world.run(60), None) == ["recovered"]


def test_many_slow_streams_together_prove_a_dead_connection_long_before_one_of_them_does() -> None:
    streams = {Stream("trade", f"S{number}"): 0 for number in range(100)}
    world = World(streams)
    world.rates = dict.fromkeys(streams, SLOW)
    world.teach(1).run(60)
    world.dead = set(streams)
    verdicts = world.run(60)
    assert actions(verdicts, None)[0] == "reconnect"
    assert verdicts[0].silence_s < MIN_SILENCE_S + 3 < -math.log(1e-6) / SLOW


def test_a_quiet_market_is_never_disturbed_once_its_rate_is_known() -> None:
    world = World({A: 0, B: 0})
    world.rates = {A: 0.001, B: 0.002}
    world.teach(7)
    assert world.run(DAY_S) == []


def test_a_market_that_falls_quiet_is_not_resubscribed_again_within_half_an_hour() -> None:
    """Its rate falls to a hundredth: each subscription brings a snapshot, then silence again."""
    world = World({A: 0, B: 0}).teach(2)
    world.snapshots = True
    world.rates = {A: BUSY / 100, B: BUSY}
    world.run(6 * 3600)
    for action in ("resubscribe", "reconnect"):
        times = [at for at, verdict in world.verdicts if verdict.action == action]
        assert all(later - earlier >= COOLDOWN_S for earlier, later in itertools.pairwise(times))
        assert len(times) <= 12
    assert actions([verdict for _, verdict in world.verdicts], B) == []


def test_the_snapshot_of_a_new_subscription_is_no_proof_of_life() -> None:
    world = World({A: 0, B: 0}).teach(1)
    world.run(60)
    world.snapshots, world.dead = True, {A}
    assert actions(world.run(300), A) == ["resubscribe", "reconnect", "alert"]
    assert world.liveness.silent() == [A]


def day_and_night(hour: int) -> dict[Stream, float]:
    return {A: BUSY if 8 <= hour % 24 < 20 else 0.004}


def test_a_silence_of_the_night_is_usual_and_the_same_by_day_is_not() -> None:
    world = World({A: 0}).teach(7, day_and_night)
    world.rates = {A: 0.004}
    assert world.run(6 * 3600) == []  # Monday, midnight to six
    world.run(2 * 3600 - 60)
    world.rates = {A: BUSY}
    assert world.run(600) == []
    world.dead = {A}
    assert world.run(90)[0].silence_s < MIN_SILENCE_S + 3


def test_a_connection_that_dies_again_within_half_an_hour_is_alerted() -> None:
    world = World({A: 0}).teach(1)
    world.run(60)
    for expected in ("reconnect", "alert"):
        world.dead = {A}
        assert actions(world.run(25), None) == [expected]
        assert world.liveness.silent() == ([A] if expected == "alert" else [])
        world.dead = set()
        world.run(60)
    world.dead = {A}
    assert world.run(60) == []  # the alert is a minute old
    assert world.liveness.silent() == [A]


def test_hours_of_the_week_are_distinguished() -> None:
    """A market that sleeps on Sunday: its silence is usual then, and on Saturday it is not."""

    def rates(hour: int) -> dict[Stream, float]:
        return {A: 0.0005 if hour // 24 % 7 == 6 else BUSY}

    world = World({A: 0}).teach(14, rates)
    learned = world.liveness.rates
    saturday, sunday = world.now + 5 * DAY_S + 12 * 3600, world.now + 6 * DAY_S + 12 * 3600
    assert learned.rate(A, saturday).per_s > 1.0
    assert learned.rate(A, sunday).per_s < 0.001
    assert learned.rate(A, sunday + WEEK_S).per_s == learned.rate(A, sunday).per_s


def test_hours_are_utc_all_year() -> None:
    """No clock change moves what was learned: noon of a July Monday is noon of a January Monday."""
    world = World({A: 0}, start=1_767_571_200)  # 2026-01-05, a Monday
    world.teach(7, day_and_night)
    july = 1_783_296_000  # 2026-07-06, a Monday
    by_day, by_night = (world.liveness.rates.rate(A, july + hour * 3600).per_s for hour in (8, 7))
    assert by_day > 50 * by_night


def test_nothing_is_judged_before_its_time_where_no_rate_is_known() -> None:
    world = World({A: 0, B: 1})
    world.run(600)
    world.dead = {A}
    assert world.run(100) == []
    assert [(verdict.action, verdict.stream) for verdict in world.run(1000)] == [("reconnect", None)]
    assert world.liveness.silent() == []  # no alert for a silence that may be usual


def test_a_bursty_market_is_judged_by_its_own_longest_silences() -> None:
    """Two minutes of trades, then up to two of none: no constant rate fits, and after a day there is no alert."""
    world = World({A: 0, B: 0})
    for day in range(2):
        before = len(world.verdicts)
        until = world.now + DAY_S
        while world.now < until:
            world.rates = {A: BUSY, B: BUSY}
            world.run(120)
            world.rates = {A: 0.0, B: BUSY}
            world.run(world.rng.uniform(30, 120))
        found = [verdict for _, verdict in world.verdicts[before:]]
        assert "alert" not in actions(found, A)
        assert day == 0 or len(found) <= 24  # one an hour at most, of 480 silences


def test_a_machine_that_slept_or_a_clock_that_was_set_is_no_silence() -> None:
    world = World({A: 0, B: 1}).teach(1)
    world.run(60)
    for jump in (7200, -3600, 86_400 * 3):
        world.now += jump
        assert world.run(30) == []


def test_a_stream_whose_link_is_down_is_not_judged_and_starts_again() -> None:
    world = World({A: 0, B: 1}).teach(1)
    world.run(60)
    links, world.links = world.links, {B: 1}
    assert world.run(300) == []
    world.links = links
    assert world.run(60) == []


def test_suspicion_outlives_the_reconnect_it_led_to() -> None:
    world = World({A: 0, B: 0}).teach(1)
    world.run(60)
    world.dead = {A}
    assert actions(world.run(35), A) == ["resubscribe", "reconnect"]
    links, world.links = world.links, {}
    world.run(20)  # the link connects again
    world.links, world.snapshots = links, True
    assert actions(world.run(60), A) == ["alert"]


def test_what_was_learned_survives_a_restart_and_fades_with_the_time_away(tmp_path: Path) -> None:
    world = World({A: 0, B: 0}).teach(7, lambda hour: {**day_and_night(hour), B: SLOW})
    path = path_of(tmp_path, "recorder-x")
    save(path, world.liveness.rates, world.now)
    noon, night = world.now + 12 * 3600, world.now + 3 * 3600
    again = load(path, world.now)
    for at in (noon, night):
        for stream in (A, B):
            before = world.liveness.rates.rate(stream, at)
            assert again.rate(stream, at).per_s == pytest.approx(before.per_s, rel=0.01)
            assert again.rate(stream, at).known
    assert load(path, world.now + 3 * WEEK_S).rate(A, noon).known
    assert not load(path, world.now + 52 * WEEK_S).rate(A, noon).known

    restarted = World({A: 0}, Liveness(again, 120.0), world.now)
    restarted.rates = {A: 0.004}
    assert (
        restarted.run(4 * 3600) == []
    )  # at night; without the learned rates it would be resubscribed after two minutes


def test_restarts_within_an_hour_forget_nothing(tmp_path: Path) -> None:
    world = World({A: 0}).teach(7)
    path, now = path_of(tmp_path, "recorder-x"), world.now
    save(path, world.liveness.rates, now)
    before = load(path, now).rate(A, now - 60)
    for _ in range(100):
        rates = load(path, now)
        rates.sample((), [A], now - 60)
        save(path, rates, now)
    after = load(path, now)
    assert after.rate(A, now - 60).per_s == pytest.approx(before.per_s, rel=0.1)
    assert after.rate(A, now - 60).known


@pytest.mark.parametrize("damage", ["nothing", "text", "another version", "cut", "flipped", "of another shape"])
def test_rates_are_learned_again_after_a_damaged_file_with_a_warning(tmp_path: Path, damage: str) -> None:
    world = World({A: 0, B: 0}).teach(1)
    path = path_of(tmp_path, "recorder-x")
    save(path, world.liveness.rates, world.now)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    raw = msgspec.msgpack.encode(["no", "such", "thing"])
    odd = _HEAD.pack(good[:22], zlib.crc32(raw), len(raw)) + zstandard.compress(raw)
    bad = {"nothing": b"", "text": b"{}", "another version": b"tapedeck expectation 2" + good[22:],
           "cut": good[:-9], "flipped": bytes(flipped), "of another shape": odd}  # fmt: skip
    path.write_bytes(bad[damage])
    with capture_logs() as logs:
        rates = load(path, world.now)
    assert [entry["event"] for entry in logs] == ["rates.unreadable"]
    assert not rates.rate(A, world.now).known


def test_the_file_is_bounded_and_keeps_the_most_recently_observed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.capture.liveness.rates.MAX_STREAMS", 2)
    rates = ExpectedRates()
    for hour, stream in enumerate((A, B, C)):
        for second in range(3600):
            rates.sample([stream], [stream], MONDAY + hour * 3600 + second)
    now = MONDAY + 3 * 3600
    again = ExpectedRates.decode(rates.encode(now), now)
    assert [again.rate(stream, MONDAY + hour * 3600).known for hour, stream in enumerate((A, B, C))] == [
        False, True, True,
    ]  # fmt: skip
    assert len(rates.encode(now)) < 2 * 720 + 200


def test_a_disk_that_takes_no_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "rates").write_text("in the way")
    with capture_logs() as logs:
        save(path_of(tmp_path, "recorder-x"), ExpectedRates(), MONDAY)
    assert [entry["event"] for entry in logs] == ["rates.not_saved"]


def test_a_thousand_streams_cost_less_than_half_a_percent_of_a_core() -> None:
    streams = {
        Stream(channel, f"S{number}"): number % 4 for number in range(334) for channel in ("trade", "quote", "book")
    }
    world = World(streams)
    world.run(20)
    active = [stream for number, stream in enumerate(streams) if number % 2]
    costs = []
    for _ in range(300):
        world.now += 1
        given = dict(streams)  # a new object each time, as the recorder makes it
        began_s = time.process_time()
        world.liveness.sample(active, given, world.now)
        world.liveness.judge(world.now)
        costs.append(time.process_time() - began_s)
    assert min(costs) < 0.005  # the least disturbed second; a busy machine slows all of them
