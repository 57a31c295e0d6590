"""Brings a database to the schema of `sql/`: each file once, in order, in a transaction of its own.

The files stand in `sql/` of a source checkout; an installed package has them in `<prefix>/share/tapedeck/sql`.
"""

import hashlib
import random
import re
import secrets
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg2
from psycopg2 import sql

from recorder.backoff import Backoff
from recorder.database import Connection, classify, connect, database_name, with_database
from recorder.errors import ConfigError, RecorderError, StoreUnavailable
from recorder.postgres import database_url
from recorder.schema import describe
from recorder.settings import Settings

OLDEST_SERVER = 150_000
WAIT_S = 10.0
_LOCK_KEY = "tapedeck.migrate"
_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class Migration(NamedTuple):
    """One file of sql/."""

    version: int
    name: str
    checksum: str  # SHA-256, hexadecimal
    text: str


def sql_folder() -> Path:
    """Where the migrations are."""
    checkout = Path(__file__).parent.parent / "sql"
    installed = Path(sysconfig.get_path("data")) / "share" / "tapedeck" / "sql"
    for folder in (checkout, installed):
        if (folder / "0001_base.sql").is_file():
            return folder
    raise ConfigError(f"the migrations are missing: neither {checkout} nor {installed} has them; reinstall tapedeck")


def read_migrations(folder: Path) -> list[Migration]:
    """All migrations in order.

    Raises:
        ConfigError: a number is missing, there twice, or a file is misnamed.
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


def migrate(url: str, folder: Path | None = None) -> list[str]:
    """Make the database if it is missing and apply what is not applied yet; several may run at once.

    Returns:
        Names of the files applied by this call.

    Raises:
        StoreUnavailable: try again later.
        ConfigError: a person must act.
    """
    migrations = read_migrations(folder or sql_folder())
    create_database(url)
    connection = connect(url, application_name="migrate")
    try:
        if connection.server_version < OLDEST_SERVER:
            raise ConfigError(f"the server is PostgreSQL {connection.server_version // 10_000}; 15 or later is needed")
        with connection.cursor() as cursor:
            # Held by the session, not a transaction: each file commits on its own.
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (_LOCK_KEY,))
            applied = _applied(connection)
            _check_applied(applied, migrations)
            done: list[str] = []
            for migration in migrations[len(applied) :]:
                _apply(connection, migration)
                done.append(migration.name)
            return done
    except psycopg2.Error as error:
        raise _trouble(error) from error
    finally:
        connection.close()


def wait_and_migrate(url: Callable[[], str], wait_s: float, stop: threading.Event | None = None) -> list[str]:
    """`migrate`, trying again while the server is not there yet.

    Args:
        url: Gives the address; the embedded server's is not known before its first start.
        wait_s: Give up after this long, from now.
        stop: Ends the wait early.

    Raises:
        StoreUnavailable: the last answer when the time is over.
    """
    stop = stop or threading.Event()
    backoff = Backoff(0.2, 2.0, random.Random())
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return migrate(url())
        except StoreUnavailable:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or stop.wait(min(left_s, backoff.next_s())):
                raise


def create_database(url: str) -> bool:
    """Make the database an address names unless it exists; true when it was made."""
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
        raise ConfigError(f"the database {name} does not exist and cannot be made: {error}") from error
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
            )
        return True
    except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
        return False  # another one was faster
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
    """Refuse to work on a database whose schema is not exactly that of this program.

    Raises:
        ConfigError: migrations are missing, unknown or changed.
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
    """The text of `sql/schema.sql`, from a database made from nothing on the server of `url` and dropped again."""
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
    """Drop a database, with everybody connected to it."""
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
    """bin/migrate: apply what is missing, or with --dump write sql/schema.sql.

    Raises:
        ConfigError: the database cannot be reached or changed.
    """
    if arguments not in ([], ["--dump"]):
        raise ConfigError("usage: bin/migrate [--dump]")
    try:
        done = wait_and_migrate(lambda: database_url(settings), WAIT_S)
        if arguments:
            target = sql_folder() / "schema.sql"
            target.write_text(schema_text(database_url(settings)))
            print(f"wrote {target}")
    except StoreUnavailable as error:
        raise ConfigError(f"the database cannot be reached: {error}") from error
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


def _apply(connection: Connection, migration: Migration) -> None:
    with connection.cursor() as cursor:
        try:
            # A simple query: psycopg2 sends it whole, so BEGIN and COMMIT enclose the file.
            cursor.execute("BEGIN; SET LOCAL search_path = public; SET LOCAL check_function_bodies = on")
            cursor.execute(migration.text)
            cursor.execute(
                "INSERT INTO public.schema_migration (version, name, checksum) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
            cursor.execute("COMMIT")
        except psycopg2.Error as error:
            if not connection.closed:
                cursor.execute("ROLLBACK")
            trouble = _trouble(error)
            if isinstance(trouble, StoreUnavailable):
                raise trouble from error
            reason = (error.diag.message_primary or str(error)).strip()
            raise ConfigError(f"{migration.name} cannot be applied: {reason}") from error


def _trouble(error: psycopg2.Error) -> RecorderError:
    """There are no rows to reject here: what a retry cannot help is for a person."""
    trouble = classify(error)
    return trouble if isinstance(trouble, StoreUnavailable | ConfigError) else ConfigError(str(trouble))
