"""The ledger of slots: none is accounted for twice and none is left out, whatever the clock and the process do."""

import random
from collections import Counter

import msgspec
import pytest

from recorder.clock import ManualClock
from recorder.poller.clock_steps import ClockSteps
from recorder.poller.job import Every, Job, Kept, Outcome, Round
from recorder.poller.ledger import Due, Interval, Ledger, Missed, OpenRound, State
from recorder.poller.slots import Schedule

NS = 1_000_000_000
T0 = 1_700_000_000 * NS  # 20 s after a full minute


class Idle:
    """A handler without work."""

    def run(self, round: Round) -> Outcome:
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        pass


def job(period_s: int = 60, grace_s: float = 30.0, name: str = "one") -> Job:
    return Job(name, Every(period_s), grace_s, Idle(), "")


def ledger_of(*jobs: Job, now_ns: int = T0) -> Ledger:
    ledger = Ledger(State(), 0)
    ledger.begin(jobs, now_ns)
    return ledger


def copied(state: State) -> State:
    """Return a state as a block of the journal has it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State)


def plain(due: Due) -> tuple[list[tuple[int, int, str]], tuple[int, int] | None]:
    """Return missed slots as (seconds since T0, slots, reason), and the round as (seconds since T0, slots)."""
    missed = [((one.slot_ns - T0) // NS, one.slots, str(one.reason)) for one in due.missed]
    return missed, None if due.round is None else ((due.round.slot_ns - T0) // NS, due.round.slots)


def test_the_first_slot_is_the_first_after_the_first_start() -> None:
    ledger = ledger_of(job())
    assert plain(ledger.due(job(), T0 + 10 * NS)) == ([], None)
    assert plain(ledger.due(job(), T0 + 40 * NS)) == ([], (40, 1))
    assert plain(ledger.due(job(), T0 + 41 * NS)) == ([], None), "a slot is run once"


def test_slots_behind_a_long_round_are_busy_and_the_latest_is_run() -> None:
    ledger = ledger_of(job())
    ledger.due(job(), T0 + 40 * NS)
    assert plain(ledger.due(job(), T0 + 225 * NS)) == ([(100, 2, "busy")], (220, 1))


def test_a_slot_later_than_its_grace_is_missed() -> None:
    ledger = ledger_of(job())
    assert plain(ledger.due(job(), T0 + 75 * NS)) == ([(40, 1, "busy")], None)
    assert plain(ledger.due(job(), T0 + 100 * NS)) == ([], (100, 1))


def test_slots_of_a_stopped_program_are_stopped_and_the_latest_is_run_late() -> None:
    before = ledger_of(job())
    before.due(job(), T0 + 40 * NS)
    after = Ledger(before.state, T0 + 130 * NS)
    assert after.begin([job()], T0 + 470 * NS) == ([], [])
    assert plain(after.due(job(), T0 + 470 * NS)) == ([(100, 1, "busy"), (160, 5, "stopped")], (460, 1))


def test_a_clock_set_ahead_by_an_hour_misses_its_slots_by_name_and_goes_on() -> None:
    ledger = ledger_of(job())
    ledger.due(job(), T0 + 40 * NS)
    ledger.absent(Interval(T0 + 50 * NS, T0 + 3650 * NS, "clock"))
    assert plain(ledger.due(job(), T0 + 3651 * NS)) == ([(100, 59, "clock")], (3640, 1))


def test_a_clock_set_back_by_an_hour_polls_on_and_accounts_for_no_slot_twice() -> None:
    ledger = ledger_of(job())
    ledger.due(job(), T0 + 7240 * NS)
    ledger.due(job(), T0 + 7300 * NS)
    again = ledger.due(job(), T0 + 3700 * NS)
    assert plain(again) == ([], (3700, 0))
    assert again.round is not None
    assert again.round.reason == "clock"
    assert plain(ledger.due(job(), T0 + 7300 * NS)) == ([], None), "the slot of the mark itself was polled"
    assert plain(ledger.due(job(), T0 + 7360 * NS)) == ([], (7360, 1))


def test_a_job_with_another_period_is_accounted_for_until_then_and_promised_again_from_then() -> None:
    before = ledger_of(job())
    before.due(job(), T0 + 40 * NS)
    after = Ledger(before.state, T0 + 50 * NS)
    promises, missed = after.begin([job(15)], T0 + 110 * NS)
    assert [(one.since_ns, one.period_s, one.continues) for one in promises] == [(T0 + 110 * NS, 15, True)]
    assert [(one.slot_ns, one.slots, one.reason) for one in missed] == [(T0 + 100 * NS, 1, "stopped")]
    assert plain(after.due(job(15), T0 + 116 * NS)) == ([], (115, 1))


def test_a_job_that_is_turned_off_and_on_promises_nothing_in_between() -> None:
    before = ledger_of(job(), job(name="two"))
    off = Ledger(before.state, T0)
    promises, missed = off.begin([job(name="two")], T0 + 50 * NS)
    assert [(one.job, one.period_s) for one in promises] == [("one", 0)]
    assert [(one.slot_ns - T0) // NS for one in missed] == [40]
    promises, missed = Ledger(off.state, T0 + 60 * NS).begin([job(), job(name="two")], T0 + 1000 * NS)
    assert [(one.job, one.since_ns) for one in promises] == [("one", T0 + 1000 * NS)]
    assert missed == []


def test_the_state_survives_its_encoding() -> None:
    ledger = ledger_of(job())
    opened = ledger.due(job(), T0 + 40 * NS).round
    assert opened is not None
    copy = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.state), type=State)
    assert copy == ledger.state
    assert copy.open == {opened.run_id: OpenRound(opened.run_id, "one", T0 + 40 * NS, 1, "", T0 + 40 * NS)}


@pytest.mark.parametrize(
    ("wall_s", "monotonic_s", "boot_s", "reason"),
    [
        (3600.5, 0.5, 0.5, "clock"),
        (3600.5, 0.5, 3600.5, "asleep"),
        (3600.2, 3600.2, 3600.2, None),
        (0.9, 0.5, 0.5, None),
    ],
)
def test_a_clock_that_was_set_is_not_a_machine_that_slept(
    wall_s: float, monotonic_s: float, boot_s: float, reason: str | None
) -> None:
    clock, boot = ManualClock(T0), [0.0]
    steps = ClockSteps(clock, lambda: boot[0])
    clock.advance(monotonic_s)
    clock.set(wall_s - monotonic_s)
    boot[0] += boot_s
    step = steps.check()
    assert (None if step is None or step.interval is None else step.interval.reason) == reason
    assert steps.check() is None


def test_a_clock_that_was_set_back_leaves_out_no_time() -> None:
    clock = ManualClock(T0)
    steps = ClockSteps(clock, lambda: 0.0)
    clock.set(-3600)
    step = steps.check()
    assert step is not None
    assert (step.seconds, step.interval) == (-3600.0, None)


@pytest.mark.parametrize("seed", range(20))
def test_after_any_history_each_promised_slot_is_accounted_for_exactly_once(seed: int) -> None:
    """Runs, long rounds, kills, stops, sleep, clock steps and changed periods in random order."""
    rng = random.Random(seed)
    print(f"seed {seed}")
    now_ns, period_s = T0 + rng.randrange(NS), 60
    slots: Counter[int] = Counter()  # how often each slot is accounted for
    expected: list[tuple[int, int]] = []  # (since, period) of each schedule
    state, alive_ns = State(), 0

    def add(missed: list[Missed], period: int) -> None:
        for one in missed:
            for number in range(one.slots):
                slots[one.slot_ns + number * period * NS] += 1

    for _ in range(60):  # processes
        one = job(period_s, period_s * rng.choice([0.1, 0.5, 0.9]))
        ledger = Ledger(copied(state), alive_ns)
        before = expected[-1][1] if expected else period_s
        promises, missed = ledger.begin([one], now_ns)
        add(missed, before)
        expected += [(promise.since_ns, promise.period_s) for promise in promises]
        for opened in list(ledger.state.open.values()):  # as the recovery does
            slots[opened.slot_ns] += opened.slots
            ledger.close(opened.run_id)
        state, alive_ns = copied(ledger.state), now_ns
        for _ in range(rng.randrange(1, 8)):
            due = ledger.due(one, now_ns)
            if rng.random() < 0.1:
                break  # killed before anything of this was written
            add(due.missed, period_s)
            state = copied(ledger.state)  # what a block of the journal has
            alive_ns = now_ns
            if due.round is not None:
                now_ns += int(rng.choice([0.1, 0.5, 3.0]) * period_s * NS)
                if rng.random() < 0.15:
                    break  # killed in the round
                slots[due.round.slot_ns] += due.round.slots
                ledger.close(due.round.run_id)
                state, alive_ns = copied(ledger.state), now_ns
            jump = rng.choices(["none", "sleep", "ahead", "back"], [20, 1, 1, 1])[0]
            if jump in ("sleep", "ahead"):
                ledger.absent(Interval(now_ns, now_ns + 3600 * NS, "asleep" if jump == "sleep" else "clock"))
                now_ns += 3600 * NS
            elif jump == "back":
                now_ns -= 3600 * NS
            else:
                now_ns = Schedule(period_s, 0).after(now_ns) + rng.randrange(NS)
        else:  # a clean stop
            add(ledger.account("one", now_ns), period_s)
            state, alive_ns = copied(ledger.state), now_ns
        now_ns += rng.randrange(600) * NS
        if rng.random() < 0.3:
            period_s = rng.choice([15, 60, 300])
    for opened in state.open.values():
        slots[opened.slot_ns] += opened.slots
    until_ns = state.marks["one"].until_ns
    promised: set[int] = set()
    for (since_ns, period), (end_ns, _) in zip(expected, [*expected[1:], (until_ns, 0)], strict=True):
        schedule = Schedule(period, 0)
        slot = schedule.after(since_ns)
        while slot <= end_ns:
            promised.add(slot)
            slot += period * NS
    assert {slot: count for slot, count in slots.items() if count > 1} == {}
    assert {slot for slot, count in slots.items() if count} == promised
