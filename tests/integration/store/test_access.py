"""What each login of the embedded server may do: programs their work, readers nothing that harms."""

import contextlib
from collections.abc import Iterator

import psycopg2
import pytest
from support.batches import JOURNAL, batch, trades_part
from support.database_server import DatabaseServer

from recorder.appliance.embedded_postgres import LOGINS, SUPERUSER, database_url
from recorder.errors import StoreUnavailable
from recorder.instruments.subscription_store import list_subscriptions, set_subscriptions
from recorder.settings import Settings
from recorder.store.database import READER, RECORDER, WRITER, connect
from recorder.store.loader import Store
from recorder.store.migrate import migrate, migrate_of, read_migrations, sql_folder
from recorder.store.restore import is_vacant

FORBIDDEN = (
    "CREATE TEMP TABLE filler AS SELECT 1",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000))",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
    "INSERT INTO venue VALUES ('x')",
    "DELETE FROM subscription",
    "BEGIN; LOCK TABLE day_partition IN ROW EXCLUSIVE MODE",
    "BEGIN; LOCK TABLE schema_migration IN SHARE MODE",
    "SELECT ensure_partition('trade', current_date)",
    "SELECT declare_dropped_partition('trade', current_date)",
    "SELECT drop_partition('trade', current_date)",
    "SELECT end_idle_readers('0', '0')",
    "CREATE TABLE public.x ()",
    "CREATE TABLE partition.x ()",
    "SET temp_file_limit = -1",
    "SET ROLE tapedeck_writer",
    "SELECT pg_read_file('postgresql.conf')",
    "COPY trade TO PROGRAM 'true'",
)


@pytest.fixture
def embedded(database_server: DatabaseServer) -> Settings:
    """Settings of a migrated embedded server."""
    port = {"port": database_server.port, "name": "tape"}
    settings = Settings.model_validate({"home": database_server.home, "database": port})
    migrate_of(settings)
    return settings


@contextlib.contextmanager
def session(settings: Settings, login: str) -> Iterator[psycopg2.extensions.cursor]:
    """Connect with a login as psql does: without a role and with its own limits."""
    connection = psycopg2.connect(database_url(settings, login))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def shown(cursor: psycopg2.extensions.cursor, setting: str) -> str:
    cursor.execute(f"SHOW {setting}")
    row = cursor.fetchone()
    assert row is not None
    return str(row[0])


def test_every_program_has_a_login_of_its_own_with_a_private_password(embedded: Settings) -> None:
    folder = embedded.home / "postgres"
    for login in LOGINS:
        assert (folder / f"password.{login}").stat().st_mode & 0o777 == 0o600
        with session(embedded, login) as cursor:
            cursor.execute("SELECT current_user, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
            assert cursor.fetchone() == (login, False, False)
    assert len({database_url(embedded, login) for login in (*LOGINS, SUPERUSER)}) == 1 + len(LOGINS)


def test_migrating_again_changes_nothing_and_repairs_a_login(embedded: Settings) -> None:
    with session(embedded, SUPERUSER) as cursor:
        cursor.execute("ALTER ROLE tapedeck_reader PASSWORD 'other'")
        cursor.execute("ALTER ROLE tapedeck_reader RESET default_transaction_read_only")
    assert migrate_of(embedded) == []
    with session(embedded, READER) as cursor:
        assert shown(cursor, "default_transaction_read_only") == "on"


def test_the_programs_can_do_their_work(embedded: Settings) -> None:
    store = Store(database_url(embedded, WRITER))
    assert store.lock(JOURNAL)
    assert store.load(batch(None, [trades_part(0, 3)])).total.inserted == 3
    assert store.look() == []
    store.name_instruments("test", [("A", 1)])
    store.end_idle_readers()
    store.close()
    assert set_subscriptions(database_url(embedded, RECORDER), "test", ["A"], ("trade",), active=True) == 1
    assert [one.symbol for one in list_subscriptions(database_url(embedded, READER))] == ["A"]


def test_a_reader_may_neither_write_nor_fill_the_disk_nor_take_a_lock(embedded: Settings) -> None:
    with session(embedded, READER) as cursor:
        for statement in FORBIDDEN:
            cursor.execute("SET default_transaction_read_only = off")  # every login may change this for itself
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            cursor.execute("ROLLBACK")


def test_a_reader_has_limits_and_no_other_database(embedded: Settings) -> None:
    with session(embedded, READER) as cursor:
        cursor.execute("SELECT count(*) FROM trade")
        limits = ("statement_timeout", "idle_in_transaction_session_timeout", "temp_file_limit")
        assert [shown(cursor, name) for name in limits] == ["30min", "5min", "2GB"]
        cursor.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (20,)
    for other in ("postgres", "template1"):
        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            psycopg2.connect(database_url(embedded, READER).replace("/tape?", f"/{other}?"))


def test_readers_up_to_their_limit_leave_room_for_the_programs(embedded: Settings) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(20):
            held.enter_context(session(embedded, READER))
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            held.enter_context(session(embedded, READER))
        with session(embedded, WRITER) as cursor:
            cursor.execute("SELECT 1")


def test_a_reader_that_keeps_a_transaction_open_is_ended_whatever_it_has_set(embedded: Settings) -> None:
    idle = psycopg2.connect(database_url(embedded, READER))
    with session(embedded, WRITER) as writer, idle.cursor() as cursor:
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT count(*) FROM partition.trade_default")
        writer.execute("SELECT login FROM end_idle_readers('1 hour', '1 hour')")
        assert writer.fetchall() == []
        writer.execute("SELECT login FROM end_idle_readers('0', '1 hour')")
        assert writer.fetchall() == [(READER,)]
        with pytest.raises(psycopg2.OperationalError, match=r"terminating connection|closed the connection"):
            cursor.execute("SELECT 1")
    idle.close()


def test_the_advisory_lock_of_a_login_that_cannot_load_does_not_stop_the_writer(postgres: str, database: str) -> None:
    """A server of one's own may leave these locks to everybody."""
    with contextlib.closing(psycopg2.connect(database)) as admin, admin, admin.cursor() as cursor:
        cursor.execute("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC")
        cursor.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN PASSWORD 'x' IN ROLE tapedeck_reader")
    try:
        words = psycopg2.extensions.parse_dsn(database) | {"user": "stranger", "password": "x"}
        with contextlib.closing(psycopg2.connect(**words)) as held, held.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"tapedeck.writer.{JOURNAL}",))
            cursor.execute("SELECT pg_advisory_lock(hashtextextended('tapedeck.migrate', 0))")
            store = Store(database)
            assert store.lock(JOURNAL)
            store.close()
            assert migrate(database) == []
    finally:
        with contextlib.closing(psycopg2.connect(database)) as admin, admin, admin.cursor() as cursor:
            cursor.execute("DROP ROLE stranger")


def test_a_migration_that_waits_for_a_lock_says_who_has_it(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.store.migrate.LOCK_TIMEOUT_S", 0.2)
    last = read_migrations(sql_folder())[-1].name
    holder = connect(database, application_name="a person", autocommit=False)
    with contextlib.closing(holder), holder.cursor() as cursor:
        cursor.execute("DELETE FROM schema_migration WHERE version = (SELECT max(version) FROM schema_migration)")
        holder.commit()
        cursor.execute("LOCK TABLE schema_migration IN ROW EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match=rf"{last} waits for a lock; .* program a person"):
            migrate(database)
    assert not is_vacant(database)
