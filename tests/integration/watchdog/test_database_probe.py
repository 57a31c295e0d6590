"""What the watchdog asks a real Postgres, and that it calls only a server hung that does not answer."""

import threading
import time

import psycopg2
from support.database_server import DatabaseServer

from recorder.appliance.processes import wait_until
from recorder.load.watch import HANGING_S
from recorder.store.migrate import migrate
from recorder.watchdog.alerts import Alert
from recorder.watchdog.database import STATEMENT_S, DatabaseProbe, kind_of
from recorder.watchdog.evidence import DatabaseFacts

ALERT = Alert(5, "venue_no_data", "kraken", "page", "firing", "no data", 601.0, 1.0, 2.0, None, 1)


def probe_of(url: str, alerts: list[Alert] | None = None) -> DatabaseProbe:
    return DatabaseProbe(lambda: url, 0.2, lambda: alerts or [], lambda saved: None)


def asked(url: str, alerts: list[Alert] | None = None) -> DatabaseFacts:
    probe = probe_of(url, alerts)
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
    facts = asked(database, [ALERT])
    assert facts.default_partitions == ["trade"]
    assert facts.gaps == {"kraken": 1}
    assert facts.breaks == {"recorder-kraken": 2}, "a break, and a damaged block"
    kinds = [(kind.recorder, kind.kind, kind.count) for kind in facts.kinds]
    assert kinds == [("recorder-kraken", "unknown message", 2)]
    assert [(one.recorder, one.segment, one.position) for one in facts.positions] == [("recorder-kraken", 2, 99)]


def test_an_alert_is_stored_once_and_its_later_revision_wins(database: str) -> None:
    over = Alert(5, "venue_no_data", "kraken", "page", "resolved", "no data", 601.0, 1.0, 2.0, 9.0, 2)
    for alert in (ALERT, over, ALERT):
        asked(database, [alert])
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT state, revision, extract(epoch FROM resolved_at)::int FROM alert")
        assert cursor.fetchall() == [("resolved", 2, 9)]
    connection.close()


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
