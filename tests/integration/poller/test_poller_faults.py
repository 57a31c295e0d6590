"""The poller as a process, killed and cut off: no row twice, no received answer lost, every slot named."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.database_server import ROOT, DatabaseServer
from support.misbehaving_rest import RestServer, response, rest_server
from support.poller.program import COLUMNS, TABLE, Counting

from recorder.appliance.processes import wait_until
from recorder.journal.reader import JournalReader
from recorder.pgcopy.polled import POLLED
from recorder.poller.job import Every, Job, Kept, Round
from recorder.process.health import PollerFigures, WriterFigures, read_all
from recorder.replay.polls import PollReplay, PollTable, replay_polls
from recorder.store.migrate import migrate
from recorder.verify.check import Report, verify

WAIT_S = 60.0  # for what happens at once on an idle machine


class Numbers:
    """Answers 1, 2, 3, ... and may hold an answer or refuse all.

    Attributes:
        sent: Numbers whose answer was written completely.
        hold: The number whose answer is held back; None holds none.
        away: Whether every request is answered with 503.
    """

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.asked = 0
        self.hold: int | None = None
        self.held = threading.Event()
        self.away = False
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket, end: threading.Event) -> None:
        if self.away:
            connection.sendall(response("503 Service Unavailable"))
            return
        with self._lock:
            self.asked += 1
            number = self.asked
        if number == self.hold:
            self.held.set()
            end.wait(WAIT_S)
            return
        connection.sendall(response(body=json.dumps({"n": number}).encode()))
        self.sent.append(number)


class Rig:
    """A home with the poller and the writer as processes."""

    def __init__(self, home: Path, database: str, server: RestServer, **job: float) -> None:
        self.home = home
        self.database = database
        self._job = home / "job.json"
        self.url = server.url
        self.write_job(**job)
        config = home / "poll.toml"
        config.write_text("[log]\nlevel = 'INFO'\n")
        self.environment = {
            **os.environ,
            "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
            "PYTHONPATH": str(ROOT / "tests"),
        }  # fmt: skip
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def write_job(self, **job: float) -> None:
        values = {"period_s": 1, "grace_s": 0.9, "requests": 1, "url": self.url, **job}
        self._job.write_text(json.dumps(values))

    def start(self, name: str) -> None:
        command = {
            "poller": [sys.executable, "-m", "support.poller.program", str(self._job)],
            "writer": [sys.executable, str(ROOT / "bin" / "writer")],
        }[name]
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def end(self, name: str, number: int = signal.SIGTERM, wait_s: float = 15.0) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(wait_s)

    def figures(self) -> PollerFigures:
        report = read_all(self.home).get("poller")
        process = self.processes.get("poller")
        if report is None or process is None or report.pid != process.pid:
            return PollerFigures()
        return report.figures if isinstance(report.figures, PollerFigures) else PollerFigures()

    def rounds(self) -> int:
        return self.figures().rounds

    def query(self, text: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.database)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()
        finally:
            connection.close()

    def load_all(self) -> None:
        """Run the writer until it has loaded everything; no poller may run."""
        if "writer" not in self.processes:
            self.start("writer")
        pid = self.processes["writer"].pid

        def level() -> bool:
            report = read_all(self.home).get("writer")
            figures = report.figures if report is not None and report.pid == pid else None
            return isinstance(figures, WriterFigures) and bool(figures.journals) and not figures.lag_bytes

        self.wait(level)

    def wait(self, condition: Callable[[], bool]) -> None:
        assert wait_until(condition, WAIT_S), self.logs()

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.home.glob("*.log")))

    def verified(self) -> Report:
        connection = psycopg2.connect(self.database)
        try:
            report = verify(connection)
        finally:
            connection.close()
        assert report.ok, (report.problems, self.logs())
        assert report.polls is not None
        return report

    def numbers(self) -> list[int]:
        return [row[0] for row in self.query("SELECT n FROM polled_test ORDER BY n")]


@contextlib.contextmanager
def rig(home: Path, database: str, numbers: Numbers, **job: float) -> Iterator[Rig]:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
    connection.close()
    with rest_server(numbers) as server:
        one = Rig(home, database, server, **job)
        try:
            yield one
        finally:
            numbers.hold = None
            for process in one.processes.values():
                process.kill()
                process.wait()


def test_a_kill_in_the_middle_of_a_round_loses_no_answer_and_doubles_no_row(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = Numbers()
    numbers.hold = 9  # the third request of the third round
    with rig(tmp_path, database, numbers, requests=3) as one:
        one.start("poller")
        assert numbers.held.wait(WAIT_S), one.logs()
        one.end("poller", signal.SIGKILL)
        one.start("poller")
        one.wait(lambda: one.rounds() >= 2)
        assert one.end("poller") == 0
        one.load_all()
        # Each answer has a thread of its own, and the next may be noted as sent first.
        assert one.numbers() == sorted(numbers.sent), "9 was never answered, 7 and 8 were taken after the kill"
        killed = one.query("SELECT slots, state, reason, rows, answers FROM poll_run WHERE reason LIKE '%middle%'")
        assert killed == [(1, "failed", "stopped: the program ended in the middle of the round", 2, 2)]
        report = one.verified()
        ends = one.query("SELECT end_reason FROM session WHERE venue = 'poller' ORDER BY started_at")
        assert ends == [("the poller was killed",), ("the poller was stopped",)]
        assert report.polls is not None
        assert report.polls.answers == report.polls.frames == len(numbers.sent)
        monkeypatch.setitem(POLLED, "polled_test", COLUMNS)
        again = replayed(tmp_path, Job("numbers", Every(1), 0.9, Counting(3), ""))
        assert (again.rounds, again.answers) == (len(numbers.sent) // 3 + 1, len(numbers.sent))
        assert again.tables == {"polled_test": PollTable(same=len(numbers.sent))}
        other = replayed(tmp_path, Job("numbers", Every(1), 0.9, Doubling(3), ""))
        assert other.tables == {"polled_test": PollTable(added=len(numbers.sent), removed=len(numbers.sent))}


class Doubling(Counting):
    """A handler that makes other rows of the same answers."""

    def take(self, round: Round, answer: Kept) -> None:
        round.store("polled_test", [(2 * json.loads(answer.body)["n"], round.slot_ns, answer.received_ns)])


def replayed(home: Path, job: Job) -> PollReplay:
    reader = JournalReader(home / "journal" / "tapedeck" / "poller")
    try:
        return replay_polls(reader, lambda: {job.name: job}, 0, None, lambda _at: None)
    finally:
        reader.close()


@pytest.mark.long
def test_a_kill_again_and_again_accounts_for_each_slot_once(tmp_path: Path, database: str) -> None:
    numbers = Numbers()
    with rig(tmp_path, database, numbers, requests=5) as one:
        one.start("writer")
        for _ in range(4):
            before = len(numbers.sent)
            one.start("poller")
            one.wait(lambda at=before + 7: len(numbers.sent) >= at)  # type: ignore[misc]
            one.end("poller", signal.SIGKILL)
        one.start("poller")
        one.wait(lambda: one.rounds() >= 1)
        assert one.end("poller") == 0
        one.load_all()
        stored = one.numbers()
        assert len(stored) == len(set(stored))
        lost = set(numbers.sent) - set(stored)
        assert len(lost) <= 4, "at most the answer that was on its way at each kill"
        one.verified()


def test_while_postgres_is_away_polls_go_on_and_nothing_is_lost(
    tmp_path: Path, database_server: DatabaseServer
) -> None:
    numbers = Numbers()
    url = database_server.url("tapedeck_polls")
    migrate(url)
    (tmp_path / "poll").mkdir()
    with rig(tmp_path / "poll", url, numbers) as one:
        one.start("writer")
        one.start("poller")
        one.wait(lambda: one.rounds() >= 2)
        database_server.stop()
        before = one.rounds()
        one.wait(lambda: one.rounds() >= before + 4)
        database_server.start()
        assert one.end("poller") == 0
        one.load_all()
        assert one.numbers() == sorted(numbers.sent)
        states = {row[0] for row in one.query("SELECT state FROM poll_run")}
        assert states <= {"done", "late", "missed"}
        one.verified()


def test_while_the_service_is_away_each_slot_fails_with_its_reason(tmp_path: Path, database: str) -> None:
    numbers = Numbers()
    with rig(tmp_path, database, numbers) as one:
        one.start("poller")
        one.wait(lambda: one.rounds() >= 2)
        numbers.away = True
        failed = one.figures().jobs["numbers"].failed
        one.wait(lambda: one.figures().jobs["numbers"].failed >= failed + 3)
        assert "numbers" in one.figures().services
        numbers.away = False
        rounds = one.rounds()
        one.wait(lambda: one.rounds() > rounds + 2 and one.figures().jobs["numbers"].last_state in ("done", "late"))
        assert one.end("poller") == 0
        one.load_all()
        reasons = {row[0] for row in one.query("SELECT reason FROM poll_run WHERE state = 'failed'")}
        assert reasons == {f"{one.url}/n answers HTTP 503"}
        assert one.numbers() == sorted(numbers.sent)
        one.verified()


def test_sigterm_ends_a_round_that_waits_for_an_answer_within_ten_seconds(tmp_path: Path, database: str) -> None:
    numbers = Numbers()
    numbers.hold = 2
    with rig(tmp_path, database, numbers, requests=2) as one:
        one.start("poller")
        assert numbers.held.wait(WAIT_S), one.logs()
        assert one.end("poller", wait_s=10.0) == 0, one.logs()
        one.load_all()
        assert one.numbers() == [1]
        stopped = one.query("SELECT slots, state, reason, rows FROM poll_run WHERE started_at IS NOT NULL")
        assert stopped == [(1, "failed", "stopped", 1)]
        one.verified()


def test_a_changed_period_and_a_pause_are_accounted_for(tmp_path: Path, database: str) -> None:
    numbers = Numbers()
    with rig(tmp_path, database, numbers) as one:
        one.start("poller")
        one.wait(lambda: one.rounds() >= 2)
        assert one.end("poller") == 0
        one.write_job(period_s=2, grace_s=1.5)
        one.start("poller")
        one.wait(lambda: one.rounds() >= 2)
        assert one.end("poller") == 0
        one.load_all()
        assert one.query("SELECT period_s, continues FROM poll_schedule ORDER BY since") == [(1, False), (2, True)]
        assert ("stopped",) in one.query("SELECT DISTINCT reason FROM poll_run WHERE state = 'missed'")
        one.verified()


def test_a_second_poller_is_refused_in_one_sentence(tmp_path: Path, database: str) -> None:
    numbers = Numbers()
    with rig(tmp_path, database, numbers) as one:
        one.start("poller")
        one.wait(lambda: one.rounds() >= 1)
        command = [sys.executable, "-m", "support.poller.program", str(tmp_path / "job.json")]
        second = subprocess.run(command, env=one.environment, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert second.stderr.startswith("poller: poller is already recording (process ")


@pytest.mark.parametrize("days", [7])
def test_old_lines_become_daily_sums_and_every_slot_still_counts(days: int, tmp_path: Path, database: str) -> None:
    numbers = Numbers()
    with rig(tmp_path, database, numbers) as one:
        one.start("poller")
        one.wait(lambda: one.rounds() >= 3)
        assert one.end("poller") == 0
        one.load_all()
        slots = one.query("SELECT sum(slots), sum(rows), sum(answers) FROM poll_run")
        shift = f"interval '{days + 2} days'"
        one.query(
            f"UPDATE poll_run SET slot = slot - {shift}; UPDATE poll_schedule SET since = since - {shift}; SELECT 1"
        )
        folded = one.query(f"SELECT fold_poll_runs(date_trunc('day', now()) - interval '{days} days')")
        assert folded[0][0] >= 2
        sums = one.query("SELECT sum(slots), sum(rows), sum(answers) FROM (SELECT slots, rows, answers FROM poll_run"
                         " UNION ALL SELECT slots, rows, answers FROM poll_day) AS together")  # fmt: skip
        assert sums == slots
        assert one.query("SELECT count(*) FROM poll_run WHERE slots > 0") == [(1,)]
        one.verified()
