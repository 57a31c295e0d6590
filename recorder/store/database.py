"""Connections to Postgres, and the classification of its errors by what the caller must do."""

import re
from urllib.parse import urlsplit

import psycopg2
import psycopg2.extensions

from recorder.errors import ConfigError, NoAnswer, RecorderError, RowRejected, StoreError, StoreUnavailable

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

WRITER = "tapedeck_writer"
READER = "tapedeck_reader"
RECORDER = "tapedeck_recorder"
REPLAY = "tapedeck_replay"
TRAINER = "tapedeck_trainer"
WATCHDOG = "tapedeck_watchdog"
DERIVER = "tapedeck_deriver"
WEB = "tapedeck_web"

CONNECT_TIMEOUT_S = 4  # a server that hangs accepts connections and answers none of them
LOCK_TIMEOUT_S = 10.0
POSITION_MOVED = "TD001"  # raised by advance_journal, sql/0009_ledger.sql

# SQLSTATE classes and codes: PostgreSQL manual, appendix A.
_TRANSIENT = (
    "08",  # connection exception
    "25006",  # read-only transaction: a standby, or a server set to read-only
    "25P0",  # a transaction or session was idle for too long
    "40",  # deadlock, serialization failure
    "53",  # disk full, out of memory, too many connections
    "55",  # lock not available, object in use
    "57",  # shutdown, starting up, cancelled by a timeout
    "58",  # I/O error outside of Postgres
    "XX",  # internal error, damaged data
)
_NO_ANSWER = ("55P03", "57014")  # a lock or a statement took longer than its limit
_ROW = (
    "08P01",  # COPY BINARY met a value of a wrong length
    "22",  # a value out of its range or not in its format
    "23",  # a constraint
    "54",  # a value too large for an index
)
_CONFIG = {
    "28": "the database refuses this login: {message}; check the user and password in DATABASE_URL",
    "3D": "{message}; create it, or run: tapedeck migrate",
    "42501": "the login lacks a right ({message}); `tapedeck roles --sql` prints the grants it needs",
    "3F": "the schema does not fit this program ({message}); run: tapedeck migrate",
    "42": "the schema does not fit this program ({message}); run: tapedeck migrate",
    "0A": "the server cannot do this ({message}); PostgreSQL 15 or later is needed",
}

# The text itself is not repeated, because it contains a password.
_UNREADABLE = (
    "DATABASE_URL is not an address like postgresql://user:password@host:5432/database "
    "(in the password, write / @ : % as %2F %40 %3A %25)"
)

# A refused connection has no SQLSTATE, only the server's message.
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
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    autocommit: bool = True,
) -> Connection:
    """Open a connection in UTC, with limits on waiting and the least privileges.

    Args:
        url: DATABASE_URL, `postgresql://user:password@host:port/database`.
        application_name: Name of the program, as pg_stat_activity shows it.
        role: Group role to assume. A login that is not a member keeps its own rights.
        statement_timeout_s: Limit of one statement; None keeps the limit of the server.
        lock_timeout_s: Longest wait for one lock; a person may keep a table locked for hours.
        autocommit: False makes psycopg2 open a transaction at the first statement.

    Raises:
        StoreUnavailable: A later attempt may succeed.
        ConfigError: A person must change something first.
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
            cursor.execute("SET lock_timeout = %s", (milliseconds(lock_timeout_s),))
            if statement_timeout_s is not None:
                cursor.execute("SET statement_timeout = %s", (milliseconds(statement_timeout_s),))
            if role is not None and _may_become(cursor, role):
                cursor.execute("SELECT set_config('role', %s, false)", (role,))
    except psycopg2.Error as error:
        connection.close()
        raise classify(error) from error
    connection.autocommit = autocommit
    return connection


def milliseconds(seconds: float) -> str:
    """Return a duration as Postgres reads it in a setting."""
    return f"{round(seconds * 1000)}ms"


def check_url(url: str) -> None:
    """Refuse an address that libpq would misread as a host or a file name.

    Raises:
        ConfigError: DATABASE_URL is not a postgresql:// address. Its text is not repeated: it contains a password.
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
    """Return the name of the database in an address."""
    try:
        name = psycopg2.extensions.parse_dsn(url).get("dbname", "")
    except psycopg2.Error as error:
        raise ConfigError(_UNREADABLE) from error
    if not name:
        raise ConfigError("DATABASE_URL names no database: end it with /name")
    return str(name)


def with_database(url: str, name: str) -> str:
    """Return the address of another database of the same server."""
    parts = urlsplit(url)
    return parts._replace(path=f"/{name}").geturl()


def classify(error: psycopg2.Error) -> RecorderError:
    """Return an error of Postgres as the error of ours that says what the caller must do.

    Returns:
        StoreUnavailable (retry later), ConfigError (a person must act), RowRejected (a row can never be
        stored), or StoreError (another writer advanced the journal).
    """
    if error.pgcode is None and isinstance(error, psycopg2.ProgrammingError):  # libpq could not read the address
        return ConfigError(_UNREADABLE)
    text = error.diag.message_primary if error.pgcode is not None else str(error)
    return judge(error.pgcode, text or type(error).__name__)


def judge(code: str | None, text: str) -> RecorderError:
    """Return the same as `classify`, for the error of another driver.

    Args:
        code: SQLSTATE; None where the server did not answer, or refused the connection.
        text: Message of the error.
    """
    message = _message(text)
    if code is None:
        code = next((found for pattern, found in _REFUSED if pattern.search(message)), None)
        if code is None:
            return NoAnswer(message) if "timeout expired" in message else StoreUnavailable(message)
    if code == POSITION_MOVED:
        return StoreError(f"another writer is active: {message}")
    if code.startswith(_ROW):
        return RowRejected(message)
    if code in _NO_ANSWER:
        return NoAnswer(f"{message} (SQLSTATE {code})")
    if code.startswith(_TRANSIENT):
        return StoreUnavailable(f"{message} (SQLSTATE {code})")
    for prefix, sentence in _CONFIG.items():
        if code.startswith(prefix):
            return ConfigError(sentence.format(message=message))
    return StoreUnavailable(f"{message} (SQLSTATE {code})")


def _message(text: str) -> str:
    """Return a message on one line, without the severity."""
    lines = text.strip().splitlines() or [""]
    # A host may have several addresses. The answer of one says more than the failure of another.
    answer = next((line for line in lines if re.search(r"(FATAL|ERROR):\s", line)), lines[0])
    return re.sub(r"^.*?(FATAL|ERROR):\s+", "", answer).strip()


def _may_become(cursor: Cursor, role: str) -> bool:
    # Since PostgreSQL 16 a membership may come without the right to SET ROLE.
    right = "SET" if cursor.connection.server_version >= 160_000 else "MEMBER"
    cursor.execute("SELECT true FROM pg_roles WHERE rolname = %s AND pg_has_role(session_user, oid, %s)", (role, right))
    return cursor.fetchone() is not None
