"""Requests of a person to the running poller."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from recorder.poller.by_hand.requests import Reply, Requests
from recorder.poller.job import Every, Job, Kept, Outcome, Round
from recorder.poller.journal import RunRow

RUN = RunRow(1, "books", 5, 0, "done", "by hand", odd_samples=("x",))


class Idle:
    """A handler without work."""

    def run(self, round: Round) -> Outcome:
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        pass


JOBS = {"books": Job("books", Every(60), 30.0, Idle(), "")}


def answered(home: Path, run: Callable[[str, Callable[[RunRow | None], None]], None]) -> None:
    """Let a program read the requests once."""
    Requests(home)._answer(JOBS, run)


def test_a_request_is_run_once_and_its_outcome_read_once(tmp_path: Path) -> None:
    requests, ran = Requests(tmp_path), []
    token = requests.ask("books")
    assert requests.reply(token) is None

    def run(name: str, then: Callable[[RunRow | None], None]) -> None:
        ran.append(name)
        then(RUN)

    answered(tmp_path, run)
    answered(tmp_path, run)
    assert ran == ["books"]
    reply = requests.reply(token)
    assert reply is not None
    assert reply.run is not None
    assert reply.run._replace(odd_samples=("x",), request_ids=(), failures=()) == RUN
    assert requests.reply(token) is None
    assert not requests.withdraw(token)


def test_a_job_that_is_unknown_or_busy_is_refused_in_a_sentence(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    unknown, busy = requests.ask("bookz"), requests.ask("books")
    answered(tmp_path, lambda _name, then: then(None))
    assert requests.reply(unknown) == Reply(None, "the running poller has no job bookz")
    assert requests.reply(busy) == Reply(None, "a round of books is running already, or the poller stops")


def test_what_is_no_request_is_removed_or_left_and_ends_nothing(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    token = requests.ask("books")
    folder = tmp_path / "poll"
    (folder / f"{'0' * 16}.request").write_bytes(b"{" * 5000)
    (folder / "note.txt").write_text("of a person")
    old = folder / f"{'1' * 16}.reply"
    old.write_bytes(b"{}")
    os.utime(old, (time.time() - 3600,) * 2)
    ran: list[str] = []
    answered(tmp_path, lambda name, _then: ran.append(name))
    assert ran == ["books"]
    assert [path.name for path in folder.iterdir()] == ["note.txt"]
    assert not requests.withdraw(token)


def test_without_a_folder_of_requests_the_program_goes_on(tmp_path: Path) -> None:
    stop = threading.Event()
    part = Requests(tmp_path).part(JOBS, lambda _name, _then: None)
    thread = threading.Thread(target=part, args=(stop,))
    thread.start()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
