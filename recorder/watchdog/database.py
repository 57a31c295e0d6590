"""Asks Postgres in a thread of its own, so that a hanging database delays neither a round nor an answer over HTTP.

Every question uses a connection of its own: whether one can be opened is a part of the answer. Errands, such as
the storing of alerts that Postgres lacks, use the same connection.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import psycopg2

from recorder.errors import ConfigError, NoAnswer, StoreError, StoreUnavailable
from recorder.load.watch import HANGING_S, Attempt
from recorder.printable import one_line
from recorder.process.log import get_logger
from recorder.store.database import WATCHDOG, Cursor, classify, connect
from recorder.watchdog.evidence import (
    BackupFacts,
    DatabaseEvidence,
    DatabaseFacts,
    DatabaseState,
    JournalPosition,
    Loaded,
    MessageKind,
    PollSlots,
)

STATEMENT_S = 3.0
_SUMS_EVERY_S = 60.0
_SIGNS_EVERY_S = 15.0  # an alert that fires at once must not wait for a minute
_HABIT_EVERY_S = 900.0
_MOST_ROWS = 500  # of any list: a label has that many values at most
_ODD = re.compile(r"[\"'{\[(<:=0-9].*", re.DOTALL)

_SERVER = """
SELECT (SELECT sum(numbackends)::bigint FROM pg_stat_database),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       xact_commit, xact_rollback, deadlocks, temp_bytes
  FROM pg_stat_database WHERE datname = current_database()"""

_GAPS = """
SELECT i.venue, count(*)
  FROM gap g JOIN instrument i USING (instrument_id)
 WHERE g.state = 'open' AND g.ended_at IS NULL AND g.cause NOT IN ('refused', 'unsubscribed')
 GROUP BY i.venue ORDER BY i.venue LIMIT %s"""

_HABIT = """
SELECT i.venue, percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM g.ended_at - g.started_at))
  FROM gap g JOIN instrument i USING (instrument_id)
 WHERE g.ended_at > now() - interval '7 days' GROUP BY i.venue HAVING count(*) >= 20 LIMIT %s"""

_KINDS = """
SELECT coalesce(j.recorder, ''), left(q.reason, 120), count(*)
  FROM quarantine q LEFT JOIN journal j USING (journal_id)
 WHERE q.ts_recv > now() - interval '15 minutes' AND q.scope <> 'block' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT %s"""

_BREAKS = """
SELECT recorder, count(*)
  FROM (SELECT recorder FROM journal_break WHERE found_at > now() - interval '1 hour'
         UNION ALL
        SELECT j.recorder FROM quarantine q JOIN journal j USING (journal_id)
         WHERE q.ts_recv > now() - interval '1 hour' AND q.scope = 'block') AS damage
 GROUP BY 1 LIMIT %s"""

_POSITIONS = """
SELECT recorder, segment, position, extract(epoch FROM clock_timestamp() - updated_at)::float8
  FROM journal ORDER BY updated_at DESC LIMIT %s"""

_SLOTS = "SELECT state, sum(slots)::bigint FROM poll_run WHERE slot > now() - interval '1 hour' GROUP BY 1 LIMIT %s"

_LEDGER = """
SELECT table_name, sum(offered)::bigint, sum(inserted)::bigint, sum(duplicate)::bigint, sum(quarantined)::bigint
  FROM load_ledger GROUP BY 1 ORDER BY 1 LIMIT %s"""

_AHEAD = """
SELECT min(last) - current_date FROM (SELECT max(day) AS last FROM day_partition
 WHERE table_name IN ('trade', 'quote', 'book') GROUP BY table_name) t"""

_SIZES = """
SELECT pg_database_size(current_database()), (SELECT max(version) FROM schema_migration),
       (SELECT count(*) FROM subscription WHERE active)"""

_BACKUP = """
SELECT p.verdict, p.detail, p.name,
       (SELECT extract(epoch FROM now() - max(began_at)) / 86400 FROM restore_proof WHERE verdict = 'proved')::float8,
       (SELECT extract(epoch FROM now() - min(began_at)) / 86400 FROM backup)::float8,
       (SELECT extract(epoch FROM now() - max(began_at)) / 86400 FROM backup WHERE removed_at IS NULL)::float8
  FROM (SELECT) one LEFT JOIN (SELECT * FROM restore_proof ORDER BY began_at DESC LIMIT 1) p ON true"""

_DEFAULT = "SELECT table_name FROM default_partitions_in_use()"

_SUMS = {"sizes": _SIZES, "slots": _SLOTS, "ledger": _LEDGER}
_SIGNS = {"ahead": _AHEAD, "breaks": _BREAKS, "kinds": _KINDS, "backup": _BACKUP}

_log = get_logger(__name__)


class Errand(Protocol):
    """Something that the watchdog does at Postgres besides the questions about its state."""

    def run(self, cursor: Cursor) -> None:
        """Do it; each statement is a transaction of its own, and ends within STATEMENT_S.

        Raises:
            psycopg2.Error: Postgres counts as down, or as silent, for that reason.
        """
        ...


class DatabaseProbe:
    """Keeps the latest answer of Postgres.

    Args:
        url: Returns the address; it is unknown before the first start of the embedded server.
        every_s: Time between two questions.
        errands: What is done after each answer.
    """

    def __init__(self, url: Callable[[], str], every_s: float, errands: Sequence[Errand]) -> None:
        self._url = url
        self._every_s = every_s
        self._errands = errands
        self._attempt = Attempt()
        self._failed: tuple[DatabaseState, str] | None = ("unknown", "Postgres has not been asked yet")
        self._facts: DatabaseFacts | None = None
        self._sums_at_s = self._signs_at_s = float("-inf")
        self._habits: dict[str, float] = {}
        self._habits_at_s = float("-inf")

    def evidence(self) -> DatabaseEvidence:
        """Return what is known now; never waits."""
        facts, failed, silent_s = self._facts, self._failed, self._attempt.silent_s
        if silent_s >= HANGING_S:
            reason = self._attempt.reason or "it does not answer"
            return DatabaseEvidence("hung", reason, silent_s, facts)
        if failed is not None:
            return DatabaseEvidence(failed[0], failed[1], silent_s, facts)
        return DatabaseEvidence("up", "", 0.0, facts)

    def part(self, stop: threading.Event) -> None:
        """Ask until it is stopped."""
        while not stop.is_set():
            self.ask()
            stop.wait(self._every_s)

    def ask(self) -> None:
        """Ask once, and do the errands."""
        self._attempt.begin()
        try:
            self._facts = self._answer()
        except NoAnswer as error:
            self._attempt.timed_out(one_line(str(error))[:200])
            return
        except (StoreUnavailable, StoreError, ConfigError) as error:
            self._failed = ("down", one_line(str(error))[:200])
            self._attempt.answered()
            return
        self._failed = None
        self._attempt.answered()

    def _answer(self) -> DatabaseFacts:
        began_s = time.monotonic()
        connection = connect(
            self._url(), application_name="watchdog", role=WATCHDOG, statement_timeout_s=STATEMENT_S, lock_timeout_s=1.0
        )
        try:
            with connection.cursor() as cursor:
                facts = self._facts_of(cursor, began_s)
                for errand in self._errands:
                    errand.run(cursor)
                    self._attempt.alive()
            return facts
        except psycopg2.Error as error:
            raise classify(error) from error
        finally:
            connection.close()

    def _facts_of(self, cursor: Cursor, began_s: float) -> DatabaseFacts:
        cursor.execute(_SERVER)
        connections, most, commits, rollbacks, deadlocks, temporary = cursor.fetchall()[0]
        self._attempt.alive()
        facts = self._facts or DatabaseFacts()
        if began_s - self._sums_at_s >= _SUMS_EVERY_S:
            facts = self._sums(cursor, facts)
            self._sums_at_s = began_s
        if began_s - self._signs_at_s >= _SIGNS_EVERY_S:
            facts = self._signs(cursor, facts)
            self._signs_at_s = began_s
        gaps = self._rows(cursor, _GAPS)
        positions = self._rows(cursor, _POSITIONS)
        partitions = self._rows(cursor, _DEFAULT)
        newest: dict[str, JournalPosition] = {}
        for row in positions or ():
            newest.setdefault(row[0], JournalPosition(*row))
        return msgspec.structs.replace(
            facts,
            at_s=time.monotonic(),
            answer_s=time.monotonic() - began_s,
            server_version=cursor.connection.server_version,
            connections=connections,
            max_connections=most,
            commits=commits,
            rollbacks=rollbacks,
            deadlocks=deadlocks,
            temporary_bytes=temporary,
            default_partitions=facts.default_partitions if partitions is None else sorted(row[0] for row in partitions),
            gaps=facts.gaps if gaps is None else {str(venue): int(count) for venue, count in gaps},
            gap_habits=self._habits,
            positions=facts.positions if positions is None else list(newest.values()),
        )

    def _sums(self, cursor: Cursor, facts: DatabaseFacts) -> DatabaseFacts:
        """Ask what takes longest: sizes, sums, and what is usual."""
        now_s = time.monotonic()
        if now_s - self._habits_at_s >= _HABIT_EVERY_S:
            self._habits = {venue: float(habit_s) for venue, habit_s in self._rows(cursor, _HABIT) or ()}
            self._habits_at_s = now_s
        answers = {name: self._rows(cursor, query) for name, query in _SUMS.items()}
        changes: dict[str, Any] = {}
        if sizes := answers["sizes"]:
            changes["bytes"], changes["schema_version"], changes["subscriptions"] = sizes[0]
        if (slots := answers["slots"]) is not None:
            changes["slots"] = [PollSlots(*row) for row in slots]
        if (ledger := answers["ledger"]) is not None:
            changes["loaded"] = [Loaded(*row) for row in ledger]
        return msgspec.structs.replace(facts, **changes)

    def _signs(self, cursor: Cursor, facts: DatabaseFacts) -> DatabaseFacts:
        """Ask for the evidence of rules that need more than a glance: partitions, and what the last hour brought."""
        answers = {name: self._rows(cursor, query) for name, query in _SIGNS.items()}
        changes: dict[str, Any] = {}
        if ahead := answers["ahead"]:
            changes["partitions_ahead_days"] = ahead[0][0]
        if backup := answers["backup"]:
            changes["backup"] = BackupFacts(*backup[0])
        if (breaks := answers["breaks"]) is not None:
            changes["breaks"] = {str(recorder): int(count) for recorder, count in breaks}
        if (reasons := answers["kinds"]) is not None:
            kinds: dict[tuple[str, str], int] = {}
            for recorder, reason, count in reasons:
                kind = recorder, kind_of(reason)
                kinds[kind] = kinds.get(kind, 0) + count
            changes["kinds"] = [MessageKind(recorder, kind, count) for (recorder, kind), count in sorted(kinds.items())]
        return msgspec.structs.replace(facts, **changes)

    def _rows(self, cursor: Cursor, query: str) -> list[tuple[Any, ...]] | None:
        """Return the answer to one question; None where it took too long or waited for a lock.

        A large table or a lock of a person must not pass for a server that hangs: it answered that the time is over.
        """
        try:
            cursor.execute(query, (_MOST_ROWS,) if "%s" in query else None)
            rows = cursor.fetchall()
        except psycopg2.Error as error:
            if not isinstance(classify(error), NoAnswer) or cursor.connection.closed:
                raise
            _log.debug("question.unanswered", query=query.split("FROM")[-1][:60], error=one_line(str(error))[:200])
            rows = None
        self._attempt.alive()
        return rows


def kind_of(reason: str) -> str:
    """Return the kind of a quarantine reason: its words before the first value of the message itself."""
    return one_line(_ODD.sub("", reason)).strip()[:60] or "other"
