import contextlib
import socket
import threading
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import sql
from support.batches import batch, trades_part
from support.database_server import DatabaseServer
from support.machine.ports import free_port

from recorder.errors import ConfigError, NoAnswer, RecorderError, RowRejected, StoreUnavailable
from recorder.store.database import READER, WRITER, classify, connect, database_name, with_database
from recorder.store.loader import Store
from recorder.store.migrate import migrate


def fault(url: str, *statements: str, role: str | None = None) -> RecorderError:
    """Return the classified error of the last statement."""
    connection = connect(url, application_name="test", role=role)
    try:
        with connection.cursor() as cursor:
            for statement in statements[:-1]:
                cursor.execute(statement)
            with pytest.raises(psycopg2.Error) as caught:
                cursor.execute(statements[-1])
            return classify(caught.value)
    finally:
        connection.close()


def refused(url: str) -> RecorderError:
    """Return the classified error of a connection that fails."""
    with pytest.raises((StoreUnavailable, ConfigError)) as caught:
        connect(url, application_name="test").close()
    assert isinstance(caught.value, RecorderError)
    return caught.value


@pytest.fixture
def login(postgres: str) -> Iterator[str]:
    """The name of a login that is a member of the reader role only."""
    name, password = "tapedeck_test_login", "no-secret-in-a-test"
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    identifier = sql.Identifier(name)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(identifier))
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, sql.Literal(password)))
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(READER), identifier))
        yield name
        cursor.execute(sql.SQL("DROP ROLE {}").format(identifier))
    connection.close()


def as_login(url: str, name: str, password: str = "no-secret-in-a-test") -> str:
    """Return the same address with another user."""
    parts = psycopg2.extensions.parse_dsn(url)
    host = parts["host"].replace("/", "%2F")
    return f"postgresql://{name}:{password}@/{parts['dbname']}?host={host}&port={parts.get('port', '5432')}"


def test_a_connection_speaks_utc_and_names_its_program(database: str) -> None:
    connection = connect(database, application_name="test-program", role=READER, statement_timeout_s=1.5)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('TimeZone'), current_setting('application_name'), current_user,"
            " current_setting('statement_timeout')"
        )
        assert cursor.fetchone() == ("UTC", "test-program", READER, "1500ms")
    connection.close()


def test_a_reader_cannot_write(database: str) -> None:
    found = fault(database, "DELETE FROM trade", role=READER)
    assert isinstance(found, ConfigError)
    assert "lacks a right" in str(found)


def test_a_login_assumes_a_role_only_when_it_is_a_member(database: str, login: str) -> None:
    url = as_login(database, login)
    for role, expected in ((READER, READER), (WRITER, login)):
        connection = connect(url, application_name="test", role=role)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (expected,)
        connection.close()


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (["INSERT INTO load_ledger VALUES ('j', 1, 't', 1, 2, 1, 0, 0)"], RowRejected),
        (["SELECT 'x'::integer"], RowRejected),
        (["SELECT 1 / 0"], RowRejected),
        (["SELECT repeat('x', 1 << 30) || repeat('x', 1 << 30)"], RowRejected),
        (["SET statement_timeout = '20ms'", "SELECT pg_sleep(5)"], NoAnswer),
        (["SET default_transaction_read_only = on", "INSERT INTO venue VALUES ('x')"], StoreUnavailable),
        (["SELECT pg_terminate_backend(pg_backend_pid())"], StoreUnavailable),
        (["DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'could not extend file'; END $$"], StoreUnavailable),
        (["SELECT * FROM no_such_table"], ConfigError),
        (["SELECT no_such_column FROM trade"], ConfigError),
        (["SET ROLE tapedeck_reader", "CREATE TABLE public.x ()"], ConfigError),
    ],
)
def test_an_error_says_whether_to_retry_to_ask_a_person_or_to_quarantine(
    statements: list[str], kind: type[RecorderError], database: str
) -> None:
    assert type(fault(database, *statements)) is kind


def test_a_lock_of_another_session_is_transient(database: str) -> None:
    holder = connect(database, application_name="test", autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE trade")
        found = fault(database, "SET lock_timeout = '30ms'", "SELECT count(*) FROM trade")
    holder.close()
    assert isinstance(found, StoreUnavailable)


def test_a_wrong_password_is_for_a_person(postgres: str, login: str) -> None:
    found = refused(as_login(postgres, login, "wrong"))
    assert isinstance(found, ConfigError)
    assert "refuses this login" in str(found)
    assert "wrong" not in str(found).replace("password", "")


def test_a_missing_database_is_for_a_person(empty_database: str) -> None:
    found = refused(empty_database)
    assert isinstance(found, ConfigError)
    assert "does not exist" in str(found)
    assert "tapedeck migrate" in str(found)


def test_a_server_that_does_not_run_is_transient() -> None:
    assert isinstance(refused(f"postgresql://user@127.0.0.1:{free_port()}/x"), StoreUnavailable)


def test_a_host_without_an_address_is_transient() -> None:
    assert isinstance(refused("postgresql://user@no-such-host.invalid/x"), StoreUnavailable)


def test_a_server_that_never_answers_is_transient_within_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.store.database.CONNECT_TIMEOUT_S", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = refused(f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/x")
    assert isinstance(found, StoreUnavailable)


@pytest.mark.parametrize(
    "url",
    ["", "mysql://x/y", "host=/tmp", "postgresql://a:b@[::1/x", "postgresql://a:b/c@host/d", "postgresql://a:%zz@h/d"],
)
def test_an_invalid_address_is_reported_without_its_secret(url: str) -> None:
    found = refused(url)
    assert isinstance(found, ConfigError)
    assert str(found).startswith("DATABASE_URL is not an address like postgresql://")
    assert "%zz" not in str(found)


def test_too_many_connections_are_transient(database_server: DatabaseServer) -> None:
    url = database_server.url()
    with contextlib.ExitStack() as held:

        def take_all() -> None:
            for _ in range(80):
                held.enter_context(contextlib.closing(connect(url, application_name="test")))

        with pytest.raises(StoreUnavailable):
            take_all()


def test_a_server_shut_down_under_a_store_is_transient_and_comes_back(database_server: DatabaseServer) -> None:
    url = database_server.url("tapedeck")
    migrate(url)
    store = Store(url)
    first = store.load(batch(None, [trades_part(0, 3)]))
    database_server.stop()
    with pytest.raises(StoreUnavailable):
        store.load(batch(first.end, [trades_part(3, 6)]))
    with pytest.raises(StoreUnavailable):
        store.position("x")
    database_server.start()
    assert store.load(batch(first.end, [trades_part(3, 6)])).total.inserted == 3
    store.close()


def test_the_database_of_an_address_can_be_read_and_replaced() -> None:
    url = "postgresql://user:p%40ss@/one?host=%2Ftmp%2Fx&port=5433"
    assert database_name(url) == "one"
    assert psycopg2.extensions.parse_dsn(with_database(url, "two")) == {
        "user": "user",
        "password": "p@ss",
        "dbname": "two",
        "host": "/tmp/x",
        "port": "5433",
    }


def test_a_change_of_subscriptions_is_announced_with_its_venue(database: str) -> None:
    listener = connect(database, application_name="test")
    writer = connect(database, application_name="test", role=WRITER)
    pause = threading.Event()
    with listener.cursor() as cursor, writer.cursor() as changes:
        cursor.execute("LISTEN subscription")
        changes.execute("INSERT INTO subscription (venue, symbol, channel) VALUES ('kraken', 'BTC/USD', 'trade')")
        changes.execute("UPDATE subscription SET active = false")
        changes.execute("DELETE FROM subscription")
        for _ in range(100):
            listener.poll()
            if len(listener.notifies) >= 3:
                break
            pause.wait(0.02)
    assert [notice.payload for notice in listener.notifies] == ["kraken"] * 3
    listener.close()
    writer.close()
