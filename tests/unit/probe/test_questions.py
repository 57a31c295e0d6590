"""Questions of every venue as values: whatever they are answered, each comes to a verdict."""

import itertools
from collections.abc import Iterator

import pytest

from recorder.errors import DecodeError
from recorder.probe.run import answered, listed
from recorder.venues import VENUES
from recorder.venues.questionnaires import QUESTIONNAIRES
from recorder.venues.questions import (
    SEEN_MAX,
    Ask,
    Frame,
    Heard,
    Listen,
    Question,
    Reply,
    Rest,
    Settled,
    Steps,
    Subject,
    agrees,
    no_answer,
    rest,
)

NOW_NS = 1_796_000_000 * 10**9
BODIES = (
    b"",
    b"null",
    b"{}",
    b"[]",
    b"\xff\xfe",
    b"<!DOCTYPE html><html></html>",
    b"[" * 100_000,
    b'"' + b"\\u001b" * 10_000 + b'"',
    b'{"error":[],"result":{"x":[[1]],"last":{}},"code":"0","data":[{"id":1e999,"trade_id":-1,"price":"nan"}]}',
    b'{"error":[],"result":{"x":[],"last":"9"},"code":"0","data":[],"matches":[],"markets":[],"trades":[]}',
    b'{"error":["\x1b[2J"],"code":"1","msg":"\x1b[2J"}',
    b'[{"trade_id":1,"id":1,"a":1,"time":"2026-11-30T00:00:00Z","price":"1","size":"1","qty":"1","side":"x"}]',
)
STATUSES = (200, 302, 400, 404, 429, 451, 500, 503)


class Hostile:
    """Answers every request and every listening with the same bytes."""

    def __init__(self, status: int, body: bytes) -> None:
        self._status = status
        self._body = body

    def answer(self, ask: Ask) -> Reply | Heard:
        if isinstance(ask, Rest):
            return Reply(self._status, self._body, {"age": "x" * 1000, "x-cache": "\x1b"}, NOW_NS)
        frames = [Frame(self._body, NOW_NS), Frame(b'{"channel":"books","data":' + self._body + b"}", NOW_NS)]
        return Heard(frames, [], ["not understood"] * 3)


def asked(name: str) -> Iterator[tuple[Question, Steps]]:
    subject = Subject(QUESTIONNAIRES[name].symbol, NOW_NS)
    for question in QUESTIONNAIRES[name].questions:
        if question.steps is not None:
            yield question, question.steps(subject)


@pytest.mark.parametrize("name", sorted(QUESTIONNAIRES))
def test_every_question_comes_to_a_short_verdict_whatever_it_is_answered(name: str) -> None:
    for status, body in itertools.product(STATUSES, BODIES):
        for question, steps in asked(name):
            verdict = answered(steps, Hostile(status, body))
            assert verdict.word in ("agrees", "differs", "no answer"), question.name
            assert len(verdict.seen) <= SEEN_MAX, question.name


@pytest.mark.parametrize("status", [429, 451, 503])
@pytest.mark.parametrize("name", sorted(QUESTIONNAIRES))
def test_a_venue_that_does_not_serve_us_gives_no_answer(name: str, status: int) -> None:
    for question, steps in asked(name):
        if _first(steps) is Rest:
            verdict = answered(_fresh(name, question), Hostile(status, b'{"error":"not now"}'))
            assert verdict.word == "no answer", question.name


def _first(steps: Steps) -> type[Ask]:
    return type(next(steps))


def _fresh(name: str, question: Question) -> Steps:
    assert question.steps is not None
    return question.steps(Subject(QUESTIONNAIRES[name].symbol, NOW_NS))


def test_every_venue_has_questions_with_names_of_their_own() -> None:
    assert set(VENUES) <= set(QUESTIONNAIRES)
    for name in QUESTIONNAIRES:
        lines = listed(name).lines
        names = [line.question for line in lines]
        assert len(set(names)) == len(names), name
        assert all(line.source and line.assumed for line in lines), name
        assert all(line.seen for line in lines if line.state == "not asked"), name


def test_questions_that_listen_come_first() -> None:
    for name in VENUES:
        if name == "polymarket":
            continue  # it asks for a market first
        kinds = [_first(steps) is Listen for _, steps in asked(name)]
        assert kinds[:3] == [True, True, True], name


class Raises:
    """Gives an answer that a question cannot read."""

    def answer(self, ask: Ask) -> Reply | Heard:
        return Reply(200, b"1", {}, NOW_NS)


@pytest.mark.parametrize(
    "error", [DecodeError("no list"), KeyError("id"), ValueError("\x1b"), RecursionError(), OverflowError()]
)
def test_an_error_of_reading_is_another_form(error: Exception) -> None:
    def steps() -> Steps:
        yield from rest("/")
        raise error

    verdict = answered(steps(), Raises())
    assert verdict.word == "differs"
    assert type(error).__name__ in verdict.seen


def test_a_question_may_go_on_without_an_answer() -> None:
    class Nothing:
        def answer(self, ask: Ask) -> Reply | Heard:
            raise Settled(no_answer("out of reach"))

    def steps() -> Steps:
        try:
            yield from rest("/")
        except Settled as settled:
            return agrees(f"after {settled.verdict.seen}")
        raise AssertionError

    assert answered(steps(), Nothing()) == agrees("after out of reach")
