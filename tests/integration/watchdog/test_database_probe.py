"""What the watchdog asks a real Postgres, and that it calls only a server hung that does not answer."""

import threading
import time
from pathlib import Path

import psycopg2
from support.database_server import DatabaseServer

from recorder.appliance.processes import wait_until
from recorder.load.watch import HANGING_S
from recorder.store.migrate import migrate
from recorder.watchdog.acting.book import RestartBook
from recorder.watchdog.acting.policy import Stuck
from recorder.watchdog.acting.table import RestartTable
from recorder.watchdog.alerts import Change, Held
from recorder.watchdog.book import AlertBook
from recorder.watchdog.database import STATEMENT_S, DatabaseProbe, Errand, kind_of
from recorder.watchdog.delivery.alert_table import AlertTable
from recorder.watchdog.delivery.marks import Ack, Marks, Silence
from recorder.watchdog.evidence import DatabaseFacts

HELD = Held("venue_no_data", "kraken", "no data", 601.0, 1.0, alert_id=5, fired_at=2.0)
FIRED, OVER = Change("firing", HELD, 2.0), Change("resolved", HELD, 9.0)


def probe_of(url: str, *errands: Errand) -> DatabaseProbe:
    return DatabaseProbe(lambda: url, 0.2, errands)


def asked(url: str, *errands: Errand) -> DatabaseFacts:
    probe = probe_of(url, *errands)
    probe.ask()
    evidence = probe.evidence()
    assert evidence.state == "up", evidence
    assert evidence.facts is not None
    return evidence.facts


def test_what_is_unusual_in_a_database_is_found(database: str) -> None:
    quiet = asked(database)
    assert (quiet.default_partitions, quiet.breaks, quiet.gaps, quiet.kinds) == ([], {}, {}, [])
    assert quiet.max_connections > quiet.connections > 0
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)"
            " VALUES (1, 1, '2010-01-01', now(), 1, 1);"
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (1, 'kraken', 'A', now());"
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, revision)"
            " VALUES (1, 1, 'trade', 'disconnect', 'open', now() - interval '90 s', 1),"
            "        (2, 1, 'quote', 'unsubscribed', 'open', now(), 1);"
            "INSERT INTO journal (journal_id, recorder, segment, position, block_seq)"
            " VALUES ('j', 'recorder-kraken', 2, 99, 7);"
            "INSERT INTO journal_break (journal_id, incarnation, block_seq, recorder, reason, ended_at, gaps)"
            " VALUES ('j', 1, 9, 'recorder-kraken', 'missing', now(), 1);"
            "INSERT INTO quarantine (journal_id, segment, position, item, scope, ts_recv, reason)"
            " VALUES ('j', 1, 1, 1, 'frame', now(), 'unknown message {\"a\": 1}'),"
            "        ('j', 1, 2, 1, 'frame', now(), 'unknown message {\"b\": 2}'),"
            "        ('j', 1, 3, 1, 'block', now(), 'a checksum')"
        )
    connection.close()
    facts = asked(database)
    assert facts.default_partitions == ["trade"]
    assert facts.gaps == {"kraken": 1}
    assert facts.breaks == {"recorder-kraken": 2}, "a break, and a damaged block"
    kinds = [(kind.recorder, kind.kind, kind.count) for kind in facts.kinds]
    assert kinds == [("recorder-kraken", "unknown message", 2)]
    assert [(one.recorder, one.segment, one.position) for one in facts.positions] == [("recorder-kraken", 2, 99)]


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    connection.close()
    return found


def test_an_alert_is_stored_once_and_its_later_revision_wins(database: str, tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    table = AlertTable(book, Marks)
    book.deliver(FIRED, "page", book.alert(FIRED, "page"))
    book.save()
    older = AlertBook(tmp_path)  # it has not been stored yet
    asked(database, table)
    book.deliver(OVER, "page", book.alert(OVER, "page"))
    asked(database, table, AlertTable(older, Marks), table)
    assert rows(database, "SELECT state, revision, extract(epoch FROM resolved_at)::int FROM alert") == [
        ("resolved", 2, 9)
    ]
    assert book.unsaved_count == 0


def test_what_a_person_notes_and_what_was_done_is_in_the_table(database: str, tmp_path: Path) -> None:
    query = (
        "SELECT action, acknowledged_note, extract(epoch FROM acknowledged_at)::bigint,"
        " extract(epoch FROM silenced_until)::bigint FROM alert"
    )
    now = time.time()
    until = int(now) + 3600
    marks = Marks()
    book = AlertBook(tmp_path)
    table = AlertTable(book, lambda: marks)
    book.deliver(FIRED, "page", book.alert(FIRED, "page"))
    asked(database, table)
    assert rows(database, query) == [(None, None, None, None)]
    marks = Marks((Ack(5, 3.0, "seen\0"),), (Silence("venue_no_data", None, now, until),))
    book.note_action(5, "restarted at noon")
    asked(database, table)
    assert rows(database, query) == [("restarted at noon", "seen\\x00", 3, until)]
    marks = Marks(silences=(Silence("venue_no_data", None, now - 90, until - 60, "shorter"),))
    asked(database, table)
    assert rows(database, query) == [("restarted at noon", "seen\\x00", 3, until - 60)], "an ack stays"
    marks = Marks()
    asked(database, table)
    assert rows(database, query) == [("restarted at noon", "seen\\x00", 3, None)], "the silence was called off"
    marks = Marks(silences=(Silence("venue_no_data", "kraken", now, until),))
    book.deliver(OVER, "page", book.alert(OVER, "page"))
    asked(database, table)
    assert rows(database, query) == [("restarted at noon", "seen\\x00", 3, None)], "it came after the end"
    assert book.unsaved_count == 0


def test_restarts_are_in_their_table(database: str, tmp_path: Path) -> None:
    book = RestartBook(tmp_path)
    table = RestartTable(book)
    restart = book.begin(Stuck("recorder-kraken", 7, 95.0), 1_000.0)
    assert restart is not None
    query = "SELECT program, pid, still_s, outcome, killed, reason, ended_at IS NULL, revision FROM program_restart"
    asked(database, table)
    assert rows(database, query) == [("recorder-kraken", 7, 95.0, "running", False, None, True, 1)]
    book.end(restart, "failed", 1_040.0, killed=True, reason="no answer")
    asked(database, table)
    assert rows(database, query) == [("recorder-kraken", 7, 95.0, "failed", True, "no answer", False, 2)]
    assert book.unsaved() == []


def test_a_lock_on_a_table_is_no_hanging_server(database: str) -> None:
    holder = psycopg2.connect(database)
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE gap, load_ledger IN ACCESS EXCLUSIVE MODE")
        assert asked(database).gaps == {}
    holder.close()


def test_a_server_that_hangs_and_one_that_is_down_are_distinguished(database_server: DatabaseServer) -> None:
    migrate(database_server.url("tape"))
    probe = probe_of(database_server.url("tape"))
    stop = threading.Event()
    thread = threading.Thread(target=probe.part, args=(stop,))
    thread.start()
    try:
        assert wait_until(lambda: probe.evidence().state == "up", 20.0)
        database_server.pause()
        assert wait_until(lambda: probe.evidence().state == "hung", HANGING_S + STATEMENT_S + 20.0)
        began_s = time.monotonic()
        assert probe.evidence().facts is not None, "the last answer stays, with its age"
        assert time.monotonic() - began_s < 1.0, "it waits for no answer"
        database_server.resume()
        assert wait_until(lambda: probe.evidence().state == "up", 30.0)
        database_server.kill()
        assert wait_until(lambda: probe.evidence().state == "down", 30.0)
    finally:
        stop.set()
        thread.join(30)


def test_kinds_of_messages_leave_out_what_the_message_says() -> None:
    assert kind_of("unknown message {'x': 1}") == kind_of("unknown message [2]") == "unknown message"
    assert kind_of("price is no number: 'abc'") == "price is no number"
    assert kind_of("{}") == "other"
    assert len(kind_of("a" * 500)) == 60
