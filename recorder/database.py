"""Connections to Postgres, and what an error of Postgres means to the caller."""

import re
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions

from recorder.errors import ConfigError, RecorderError, RowRejected, StoreError, StoreUnavailable

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

WRITER = "tapedeck_writer"
READER = "tapedeck_reader"

CONNECT_TIMEOUT_S = 5
POSITION_MOVED = "TD001"  # raised by advance_journal, sql/0008_ledger.sql

# SQLSTATE classes and codes: PostgreSQL manual, appendix A.
_TRANSIENT = (
    "08",  # connection exception
    "25006",  # read-only transaction: a standby, or a server someone froze
    "25P0",  # a transaction or session was idle for too long
    "40",  # deadlock, serialization failure
    "53",  # disk full, out of memory, too many connections
    "55",  # lock not available, object in use
    "57",  # shutdown, starting up, cancelled by a timeout
    "58",  # I/O error outside of Postgres
    "XX",  # internal error, damaged data
)
_ROW = (
    "08P01",  # what COPY BINARY says of a value with a wrong length
    "22",  # a value out of its range or not in its format
    "23",  # a constraint
    "54",  # a value too large for an index
)
_CONFIG = {
    "28": "the database refuses this login: {message}; check the user and password in DATABASE_URL",
    "3D": "{message}; create it, or run: tapedeck migrate",
    "42501": "the login lacks a right ({message}); grant it the roles " + f"{WRITER} and {READER}",
    "3F": "the schema does not fit this program ({message}); run: tapedeck migrate",
    "42": "the schema does not fit this program ({message}); run: tapedeck migrate",
    "0A": "the server cannot do this ({message}); PostgreSQL 15 or later is needed",
}

# Says nothing of the text itself, which holds a password.
_UNREADABLE = (
    "DATABASE_URL is not an address like postgresql://user:password@host:5432/database "
    "(in the password, write / @ : % as %2F %40 %3A %25)"
)

# A refused connection carries no SQLSTATE, only the server's words.
_REFUSED = (
    (re.compile(r"authentication failed|no password supplied|no pg_hba.conf entry|role .* does not exist"), "28"),
    (re.compile(r"is not permitted to log in|permission denied for database"), "28"),
    (re.compile(r"database .* does not exist"), "3D"),
)


def connect(
    url: str,
    *,
    application_name: str,
    role: str | None = None,
    statement_timeout_s: float | None = None,
    autocommit: bool = True,
) -> Connection:
    """Open a connection with the house's settings: UTC, limits on waiting, the least privilege.

    Args:
        url: DATABASE_URL, `postgresql://user:password@host:port/database`.
        application_name: Program, as pg_stat_activity shows it.
        role: Group role to take on. A login that is no member keeps its own rights.
        statement_timeout_s: Longest statement; None leaves the server's own limit.
        autocommit: False makes psycopg2 open a transaction at the first statement.

    Raises:
        StoreUnavailable: it may work later.
        ConfigError: it cannot work until a person changes something.
    """
    check_url(url)
    try:
        connection = psycopg2.connect(
            url,
            application_name=application_name,
            connect_timeout=CONNECT_TIMEOUT_S,
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=15_000,
        )
    except psycopg2.Error as error:
        raise classify(error) from error
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'; SET client_encoding = 'UTF8'; SET bytea_output = 'hex'")
            if statement_timeout_s is not None:
                cursor.execute("SET statement_timeout = %s", (f"{round(statement_timeout_s * 1000)}ms",))
            if role is not None and _may_become(cursor, role):
                cursor.execute("SELECT set_config('role', %s, false)", (role,))
    except psycopg2.Error as error:
        connection.close()
        raise classify(error) from error
    connection.autocommit = autocommit
    return connection


def check_url(url: str) -> None:
    """Refuse what libpq would misread as a host or a file name.

    Raises:
        ConfigError: DATABASE_URL is not a postgresql:// address. The text is not repeated: it holds a password.
    """
    try:
        parts = urlsplit(url)
        if "," not in parts.netloc:  # several hosts have a port each
            _ = parts.port
    except ValueError:
        raise ConfigError(_UNREADABLE) from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise ConfigError(_UNREADABLE)


def database_name(url: str) -> str:
    """Name of the database an address leads to."""
    try:
        name = psycopg2.extensions.parse_dsn(url).get("dbname", "")
    except psycopg2.Error as error:
        raise ConfigError(_UNREADABLE) from error
    if not name:
        raise ConfigError("DATABASE_URL names no database: end it with /name")
    return str(name)


def with_database(url: str, name: str) -> str:
    """The same address for another database of its server."""
    parts = urlsplit(url)
    return parts._replace(path=f"/{name}").geturl()


def classify(error: psycopg2.Error) -> RecorderError:
    """The branch of our error tree that tells the caller what to do about an error of Postgres.

    Returns:
        StoreUnavailable (retry later), ConfigError (a person must act), RowRejected (a row can never be
        stored), or StoreError (another writer moved the journal).
    """
    if error.pgcode is None and isinstance(error, psycopg2.ProgrammingError):  # libpq could not read the address
        return ConfigError(_UNREADABLE)
    text = error.diag.message_primary if error.pgcode is not None else str(error)
    return judge(error.pgcode, text or type(error).__name__)


def judge(code: str | None, text: str) -> RecorderError:
    """As `classify`, for another driver.

    Args:
        code: SQLSTATE; None where there was no answer at all, or a refused connection.
        text: What was said.
    """
    message = _message(text)
    if code is None:
        code = next((found for pattern, found in _REFUSED if pattern.search(message)), None)
        if code is None:
            return StoreUnavailable(message)
    if code == POSITION_MOVED:
        return StoreError(f"another writer is at work: {message}")
    if code.startswith(_ROW):
        return RowRejected(message)
    if code.startswith(_TRANSIENT):
        return StoreUnavailable(f"{message} (SQLSTATE {code})")
    for prefix, sentence in _CONFIG.items():
        if code.startswith(prefix):
            return ConfigError(sentence.format(message=message))
    return StoreUnavailable(f"{message} (SQLSTATE {code})")


def _message(text: str) -> str:
    """What was said, on one line, without the severity."""
    lines = text.strip().splitlines() or [""]
    # Of a host with several addresses, the one that answered says more than the one that did not.
    answer = next((line for line in lines if re.search(r"(FATAL|ERROR):\s", line)), lines[0])
    return re.sub(r"^.*?(FATAL|ERROR):\s+", "", answer).strip()


def _may_become(cursor: Cursor, role: str) -> bool:
    # Since 16 a membership may come without the right to SET ROLE.
    right = "SET" if cursor.connection.server_version >= 160_000 else "MEMBER"
    cursor.execute("SELECT true FROM pg_roles WHERE rolname = %s AND pg_has_role(session_user, oid, %s)", (role, right))
    return cursor.fetchone() is not None
