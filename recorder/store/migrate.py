"""Migrations: applies each file of `sql/` to a database once, in order, in a transaction of its own."""

import hashlib
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import psycopg2
from psycopg2 import sql

from recorder.appliance.embedded_postgres import SUPERUSER, EmbeddedPostgres, database_url
from recorder.backoff import Backoff
from recorder.errors import ConfigError, NoAnswer, RecorderError, StoreUnavailable
from recorder.resources import SQL
from recorder.settings import Settings
from recorder.store.access import DENY, secure_server
from recorder.store.database import Connection, Cursor, classify, connect, database_name, with_database
from recorder.store.restore import unfinished_restore
from recorder.store.schema import describe
from recorder.store.scratch_server import scratch_server

OLDEST_SERVER = 150_000
WAIT_S = 10.0
LOCK_TIMEOUT_S = 5.0
_KEPT = "public.schema_migration"
# Every login may take an advisory lock and keep it; this lock is only for those who may write the table.
_LOCK = f"LOCK TABLE {_KEPT} IN SHARE ROW EXCLUSIVE MODE"
# What DROP SCHEMA public CASCADE leaves: the schema of the partitions without a partition.
_EMPTIED = """
DO $$
BEGIN
    IF to_regnamespace('public') IS NULL THEN
        CREATE SCHEMA public;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = to_regnamespace('partition')) THEN
        DROP SCHEMA IF EXISTS partition;
    END IF;
END
$$"""
_OLDEST = """
SELECT pid, usename, application_name, state, extract(epoch FROM clock_timestamp() - xact_start)::bigint
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
   AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'relation' AND granted)
 ORDER BY xact_start NULLS LAST LIMIT 1"""
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Migration(NamedTuple):
    """One file of sql/."""

    version: int
    name: str
    checksum: str  # SHA-256, hexadecimal
    text: str


def sql_folder() -> Path:
    """Return the folder of the migrations.

    Raises:
        ConfigError: It is missing from the installed package.
    """
    if not (SQL / "0001_base.sql").is_file():
        raise ConfigError(f"the migrations are missing from {SQL}; reinstall tapedeck")
    return SQL


def read_migrations(folder: Path) -> list[Migration]:
    """Return all migrations in order.

    Raises:
        ConfigError: A number is missing or used twice, or a file is misnamed.
    """
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        if path.name == "schema.sql":
            continue
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise ConfigError(f"{path} is not named like 0001_what.sql")
        content = path.read_bytes()
        found.append(Migration(int(match[1]), path.name, hashlib.sha256(content).hexdigest(), content.decode()))
    for expected, migration in enumerate(found, 1):
        if migration.version < expected:
            raise ConfigError(f"{folder} has two migrations with the number {migration.version:04}")
        if migration.version > expected:
            raise ConfigError(f"{folder} has no migration with the number {expected:04}")
    return found


def migrate(url: str, folder: Path | None = None, *, passwords: Mapping[str, str] | None = None) -> list[str]:
    """Create the database if it is missing, and apply the migrations that it lacks. Several may run at once.

    Args:
        url: The database; a login that owns it, or may create it.
        folder: Of the files; None takes those of the package.
        passwords: Of the logins to be made, by role. Only the superuser of the embedded server can make them.

    Returns:
        Names of the files applied by this call.

    Raises:
        StoreUnavailable: A later attempt may succeed: the database cannot be reached, is locked, or is being restored.
        ConfigError: A person must act.
    """
    migrations = read_migrations(folder or sql_folder())
    create_database(url)
    connection = connect(url, application_name="migrate", lock_timeout_s=LOCK_TIMEOUT_S)
    try:
        if connection.server_version < OLDEST_SERVER:
            raise ConfigError(f"the server is PostgreSQL {connection.server_version // 10_000}; 15 or later is needed")
        with connection.cursor() as cursor:
            restoring = unfinished_restore(cursor)
            if restoring is not None:
                raise StoreUnavailable(f"a restore of this database is not complete: {restoring}")
            applied = _applied(connection)
            _check_applied(applied, migrations)
            done = [migration.name for migration in migrations[len(applied) :] if _apply(connection, migration)]
            _deny(cursor)
        if passwords:
            secure_server(connection, passwords)
        return done
    except psycopg2.Error as error:
        raise _trouble(error) from error
    finally:
        connection.close()


def _deny(cursor: Cursor) -> None:
    """Take from every login what Postgres gives it, where this login may."""
    cursor.execute(
        "SELECT pg_has_role(session_user, relowner, 'USAGE') FROM pg_class WHERE oid = %s::regclass", (_KEPT,)
    )
    if cursor.fetchone() == (True,):
        cursor.execute(f"BEGIN; {_LOCK}")
        cursor.execute(DENY)
        cursor.execute("COMMIT")


def wait_and_migrate(run: Callable[[], list[str]], wait_s: float) -> list[str]:
    """Run a migration, and try again while the server is not available yet.

    Args:
        run: Migrates; the address of the embedded server is unknown before its first start.
        wait_s: Give up after this long.

    Raises:
        StoreUnavailable: The last error when the time is over.
    """
    pause = threading.Event()
    backoff = Backoff(0.2, 2.0, random.Random())
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return run()
        except StoreUnavailable:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise
            pause.wait(min(left_s, backoff.next_s()))


def migrate_of(settings: Settings) -> list[str]:
    """Migrate the database of the settings: the embedded one as its superuser, which also makes the other logins.

    Raises:
        StoreUnavailable, ConfigError: As `migrate`.
    """
    url = database_url(settings, SUPERUSER)
    if settings.database.url is not None:
        return migrate(url)
    return migrate(url, passwords=EmbeddedPostgres(settings.home, settings.database.port).passwords())


def create_database(url: str) -> bool:
    """Create the database of an address unless it exists. Return True if it was created."""
    name = database_name(url)
    try:
        connect(url, application_name="migrate").close()
        return False
    except ConfigError as error:
        if "does not exist" not in str(error) or f'database "{name}"' not in str(error):
            raise
    try:
        connection = connect(with_database(url, "postgres"), application_name="migrate")
    except ConfigError as error:
        raise ConfigError(f"the database {name} does not exist and cannot be created: {error}") from error
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
            )
        return True
    except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
        return False  # another process was faster
    except psycopg2.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"the database {name} does not exist and this login may not create it: "
            f'have a superuser run: CREATE DATABASE "{name}"'
        ) from error
    except psycopg2.Error as error:
        raise _trouble(error) from error
    finally:
        connection.close()


def check_schema(connection: Connection, folder: Path | None = None) -> None:
    """Refuse a database whose schema is not exactly that of this program.

    Raises:
        ConfigError: Migrations are missing, unknown or changed.
    """
    migrations = read_migrations(folder or sql_folder())
    try:
        applied = _applied(connection)
    except psycopg2.Error as error:
        raise _trouble(error) from error
    _check_applied(applied, migrations)
    if len(applied) < len(migrations):
        raise ConfigError(
            f"the database lacks {len(migrations) - len(applied)} migrations, first "
            f"{migrations[len(applied)].name}; run: tapedeck migrate"
        )


def schema_text(url: str) -> str:
    """Return the text of `sql/schema.sql`, from a new database on the server of `url` that is dropped again."""
    name = f"tapedeck_schema_{secrets.token_hex(6)}"
    scratch = with_database(url, name)
    try:
        migrate(scratch)
        connection = connect(scratch, application_name="migrate")
        try:
            return describe(connection)
        finally:
            connection.close()
    finally:
        drop_database(scratch)


def drop_database(url: str) -> None:
    """Drop a database, and end all connections to it."""
    connection = connect(with_database(url, "postgres"), application_name="migrate")
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database_name(url)))
            )
    except psycopg2.Error as error:
        raise _trouble(error) from error
    finally:
        connection.close()


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Run bin/migrate: apply the migrations that are missing, or with --dump write sql/schema.sql.

    The text of the schema is made on the server of DATABASE_URL; where that is unset, on a temporary one.

    Raises:
        ConfigError: The database cannot be reached or changed.
    """
    if arguments not in ([], ["--dump"]):
        raise ConfigError("usage: bin/migrate [--dump]")
    try:
        if arguments:
            own = settings.database.url
            with scratch_server() if own is None else nullcontext(own.get_secret_value()) as url:
                text = schema_text(url)
            target = sql_folder() / "schema.sql"
            target.write_text(text)
            print(f"wrote {target}")
            return 0
        done = wait_and_migrate(lambda: migrate_of(settings), WAIT_S)
    except StoreUnavailable as error:
        raise ConfigError(f"the database cannot be migrated now: {error}") from error
    for name in done:
        print(f"applied {name}")
    return 0


def _applied(connection: Connection) -> list[Migration]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.schema_migration') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return []
        cursor.execute("SELECT version, name, checksum FROM public.schema_migration ORDER BY version")
        return [Migration(version, name, checksum, "") for version, name, checksum in cursor.fetchall()]


def _check_applied(applied: list[Migration], migrations: list[Migration]) -> None:
    if len(applied) > len(migrations):
        raise ConfigError(
            f"the database has the migration {applied[len(migrations)].name}, which this version of tapedeck "
            "does not know: install the newer version"
        )
    for old, new in zip(applied, migrations, strict=False):
        if old.version != new.version or old.checksum != new.checksum:
            raise ConfigError(
                f"{new.name} is not what was applied to this database as {old.name}: an applied file never changes, "
                "so restore it and put the change into a new file"
            )


def _apply(connection: Connection, migration: Migration) -> bool:
    """Apply one file in a transaction of its own. Return False when another program was faster."""
    with connection.cursor() as cursor:
        try:
            # psycopg2 sends the file as one simple query, so BEGIN and COMMIT enclose it.
            cursor.execute("BEGIN; SET LOCAL search_path = public; SET LOCAL check_function_bodies = on")
            if migration.version == 1:
                # In the same transaction: where another program has just applied this file, all of it is undone.
                cursor.execute(_EMPTIED)
            else:
                cursor.execute(_LOCK)
                if _is_applied(connection, migration):
                    cursor.execute("ROLLBACK")
                    return False
            cursor.execute(migration.text)
            cursor.execute(
                f"INSERT INTO {_KEPT} (version, name, checksum) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
            cursor.execute("COMMIT")
        except psycopg2.Error as error:
            if not connection.closed:
                cursor.execute("ROLLBACK")
                if isinstance(error, psycopg2.errors.LockNotAvailable):
                    raise NoAnswer(f"{migration.name} waits for a lock{_oldest_transaction(cursor)}") from error
                if migration.version == 1 and _is_applied(connection, migration):
                    return False
            trouble = _trouble(error)
            if isinstance(trouble, StoreUnavailable):
                raise trouble from error
            reason = (error.diag.message_primary or str(error)).strip()
            raise ConfigError(f"{migration.name} cannot be applied: {reason}") from error
    return True


def _is_applied(connection: Connection, migration: Migration) -> bool:
    return any(one.version == migration.version for one in _applied(connection))


def _oldest_transaction(cursor: Cursor) -> str:
    """Return who most likely keeps the lock, in words; empty where it is gone."""
    cursor.execute(_OLDEST)
    row = cursor.fetchone()
    if row is None:
        return ""
    pid, login, program, state, seconds = row
    since = "" if seconds is None else f", {state} for {seconds} s"
    return f"; the oldest transaction is that of pid {pid} (login {login}, program {program or 'unnamed'}{since})"


def _trouble(error: psycopg2.Error) -> RecorderError:
    """Return the error of ours. A rejected row is impossible here, so it becomes a ConfigError."""
    trouble = classify(error)
    return trouble if isinstance(trouble, StoreUnavailable | ConfigError) else ConfigError(str(trouble))
