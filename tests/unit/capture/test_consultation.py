"""A silence is put to a witness before anything is done about it, and every wait for it has a bound."""

import itertools

from recorder.capture.liveness.consultation import ANSWER_S, ASK_EVERY_S, HOLD_MAX_S, HOLD_MIN_S, QUIET_MAX, Answer
from recorder.capture.liveness.judgement import MIN_SILENCE_S, Liveness, Verdict
from recorder.capture.liveness.rates import ExpectedRates
from recorder.events import Stream

MONDAY = 1_772_409_600  # 2026-03-02 00:00 UTC
A, B = Stream("trade", "A"), Stream("trade", "B")
BOOK, QUOTE = Stream("book", "A"), Stream("quote", "A")


class World:
    """Streams that deliver each second while they live, and a witness that gives one answer."""

    def __init__(self, *streams: Stream, answer: Answer | None) -> None:
        self.liveness = Liveness(ExpectedRates(), 120.0, ("trade", "book"))
        self.streams = dict.fromkeys(streams, 0)
        self.silent: set[Stream] = set()
        self.answer = answer
        self.now = MONDAY
        for _ in range(86_400):
            self.now += 1
            self.liveness.rates.sample(self.streams, self.streams, self.now)
        self.verdicts: list[tuple[int, Verdict]] = []
        self.run(30)

    def run(self, seconds: int) -> list[tuple[int, Verdict]]:
        """Let time pass; return the verdicts of that time."""
        before = len(self.verdicts)
        for _ in range(seconds):
            self.now += 1
            self.liveness.sample(set(self.streams) - self.silent, self.streams, self.now)
            for verdict in self.liveness.judge(self.now):
                self.verdicts.append((self.now, verdict))
                if verdict.action == "ask" and verdict.stream is not None and self.answer is not None:
                    self.liveness.answered(verdict.stream, self.answer)
        return self.verdicts[before:]


def actions(verdicts: list[tuple[int, Verdict]]) -> list[str]:
    return [verdict.action for _, verdict in verdicts]


def test_a_dead_stream_is_asked_about_and_redriven_at_once() -> None:
    world = World(A, B, answer="dead")
    world.silent = {A}
    verdicts = world.run(int(MIN_SILENCE_S) + 3)
    assert actions(verdicts) == ["ask", "resubscribe"]
    assert verdicts[1][0] - verdicts[0][0] <= 1
    assert verdicts[1][1].evidence == "dead"


def test_a_quiet_stream_is_left_alone_and_asked_about_ever_less_often() -> None:
    world = World(A, B, answer="quiet")
    world.silent = {A}
    verdicts = world.run(900)
    assert set(actions(verdicts)) == {"ask"}
    assert world.liveness.quiet() == [A]
    assert world.liveness.silent() == []
    times = [at for at, _ in verdicts]
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(waits) >= HOLD_MIN_S
    assert max(waits) <= HOLD_MAX_S + 3
    world.silent = set()
    world.run(3)
    assert world.liveness.quiet() == []


def test_a_cache_that_says_quiet_for_ever_delays_the_remedy_by_a_bounded_time() -> None:
    world = World(A, B, answer="quiet")
    world.silent = {A}
    verdicts = world.run(1700)  # after half an hour the silence is the usual rate of this hour
    remedied = next((number for number, (_, one) in enumerate(verdicts) if one.action == "resubscribe"), None)
    assert remedied == QUIET_MAX + 1
    assert verdicts[remedied][1].evidence == "quiet"


def test_a_stream_that_dies_after_a_quiet_verdict_is_found_within_the_bound() -> None:
    world = World(A, B, answer="quiet")
    world.silent = {A}
    world.run(500)
    world.answer = "dead"
    verdicts = world.run(int(HOLD_MAX_S) + 3)
    assert actions(verdicts)[:2] == ["ask", "resubscribe"]


def test_an_unknown_answer_changes_nothing_but_a_second() -> None:
    for answer, wait_s in (("unknown", 1), (None, ANSWER_S)):
        world = World(A, B, answer=answer)  # type: ignore[arg-type]
        world.silent = {A}
        verdicts = world.run(120)
        assert actions(verdicts)[:2] == ["ask", "resubscribe"]
        assert verdicts[1][0] - verdicts[0][0] <= wait_s + 1


def test_questions_about_one_silence_are_rare_whatever_the_answers() -> None:
    world = World(A, B, answer="unknown")
    world.silent = {A}
    asked = [at for at, verdict in world.run(1700) if verdict.action == "ask"]
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= ASK_EVERY_S
    assert 2 <= len(asked) <= 6


def test_a_silent_link_is_renewed_unless_all_its_answers_are_quiet() -> None:
    world = World(A, BOOK, QUOTE, answer="quiet")
    world.silent = {A, BOOK, QUOTE}
    verdicts = world.run(60)
    assert actions(verdicts) == ["ask", "ask"]  # quotes have no witness
    assert set(world.liveness.quiet()) == {A, BOOK, QUOTE}
    world = World(A, BOOK, QUOTE, answer="quiet")
    world.silent = {A, BOOK, QUOTE}
    while not world.run(1):
        pass
    world.liveness.answered(BOOK, "dead")
    assert actions(world.run(2)) == ["reconnect"]


def test_a_stream_without_a_witness_is_judged_as_before() -> None:
    world = World(A, QUOTE, answer="quiet")
    world.silent = {QUOTE}
    assert actions(world.run(60))[0] == "resubscribe"
