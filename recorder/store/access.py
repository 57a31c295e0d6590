"""What a database and a server deny: rights that Postgres gives to every login, and the limits of each login."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

import msgspec
import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from recorder.process.log import get_logger
from recorder.store.database import (
    DERIVER,
    KEEPER,
    READER,
    RECORDER,
    REPLAY,
    TRAINER,
    WATCHDOG,
    WEB,
    WRITER,
    Connection,
    Cursor,
)

_log = get_logger(__name__)

# Temporary tables, large objects and logical messages fill the disk; an advisory lock of ours stops a program of ours.
# Functions keep their rights in the database, and CREATE DATABASE of a restore loses those of the database, so this is
# run at each migration. It changes nothing where nothing is to be changed, so that several may run at once.
DENY = f"""\
DO $$
DECLARE
    function record;
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_database d,
                           pg_catalog.aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
                WHERE d.datname = current_database() AND x.grantee = 0 AND x.privilege_type = 'TEMPORARY') THEN
        EXECUTE pg_catalog.format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
    IF EXISTS (SELECT FROM unnest(ARRAY['{WRITER}', '{REPLAY}', '{TRAINER}', '{DERIVER}']) role
                WHERE NOT pg_catalog.has_database_privilege(role, current_database(), 'TEMPORARY')) THEN
        EXECUTE pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO {WRITER}, {REPLAY}, {TRAINER}, {DERIVER}',
                                  current_database());
    END IF;
    FOR function IN
        SELECT oid::regprocedure AS signature, proname ~ 'advisory' AS advisory FROM pg_catalog.pg_proc
         WHERE pronamespace = 'pg_catalog'::regnamespace AND pg_catalog.has_function_privilege('public', oid, 'EXECUTE')
           AND (proname ~ '^pg_(try_)?advisory_' OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put',
                'lowrite', 'lo_truncate', 'lo_truncate64', 'pg_logical_emit_message'))
    LOOP
        EXECUTE pg_catalog.format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function.signature);
        IF function.advisory THEN
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO {WRITER}, {REPLAY}', function.signature);
        END IF;
    END LOOP;
EXCEPTION
    WHEN insufficient_privilege THEN NULL;  -- only a superuser may; `tapedeck roles --sql` prints this for one
END
$$"""


class Limits(msgspec.Struct, frozen=True):
    """What one login may use."""

    connections: int
    settings: Mapping[str, str]


_PROGRAM = {"idle_in_transaction_session_timeout": "5min", "lock_timeout": "10s"}

LIMITS: dict[str, Limits] = {
    RECORDER: Limits(-1, {**_PROGRAM, "statement_timeout": "30s"}),
    WRITER: Limits(-1, _PROGRAM),
    READER: Limits(
        20,  # of the 60 of the embedded server: the programs always get theirs
        {
            "default_transaction_read_only": "on",
            "idle_in_transaction_session_timeout": "5min",
            "lock_timeout": "10s",
            "statement_timeout": "30min",
            "temp_file_limit": "2GB",
        },
    ),
    REPLAY: Limits(5, {"idle_in_transaction_session_timeout": "5min"}),
    TRAINER: Limits(5, {**_PROGRAM, "statement_timeout": "30min", "temp_file_limit": "2GB"}),
    WATCHDOG: Limits(5, {**_PROGRAM, "statement_timeout": "30s"}),
    DERIVER: Limits(5, {**_PROGRAM, "temp_file_limit": "2GB"}),
    KEEPER: Limits(5, {**_PROGRAM, "temp_file_limit": "2GB"}),
    WEB: Limits(5, {**_PROGRAM, "statement_timeout": "10s", "temp_file_limit": "64MB"}),
}


def limit_sql(login: str, role: str) -> list[str]:
    """Return the statements that give a login the limits of a role."""
    name = '"' + login.replace('"', '""') + '"'
    limits = LIMITS[role]
    return [
        f"ALTER ROLE {name} CONNECTION LIMIT {limits.connections}",
        *(f"ALTER ROLE {name} SET {setting} = '{value}'" for setting, value in sorted(limits.settings.items())),
    ]


def secure_server(connection: Connection, passwords: Mapping[str, str]) -> None:
    """Make the roles of the embedded server logins with these passwords and limits, and close its other databases.

    Nothing is written where all is as it should be: two programs must not change one role at the same time.

    Raises:
        psycopg2.Error: The connection failed, or another program made the same change at this moment.
    """
    with connection.cursor() as cursor:
        for role, password in passwords.items():
            if not _as_wanted(cursor, role, password):
                _make_login(cursor, role, password)
                _log.info("login.changed", login=role)
        cursor.execute(
            "SELECT datname FROM pg_database WHERE datname IN ('postgres', 'template1') "
            "AND has_database_privilege('public', oid, 'CONNECT, TEMPORARY')"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        cursor.execute("SELECT pg_has_role(%s, 'pg_read_all_stats', 'USAGE')", (WRITER,))
        if cursor.fetchone() != (True,):  # it reports which session keeps a lock
            cursor.execute(f"GRANT pg_read_all_stats TO {WRITER}")


def _make_login(cursor: Cursor, role: str, password: str) -> None:
    verifier = psycopg2.extensions.encrypt_password(password, role, cursor.connection, "scram-sha-256")
    cursor.execute("BEGIN")
    try:
        cursor.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))
        for statement in limit_sql(role, role):
            cursor.execute(statement)
    except psycopg2.Error:
        cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def _as_wanted(cursor: Cursor, role: str, password: str) -> bool:
    cursor.execute(
        "SELECT a.rolpassword, a.rolcanlogin, a.rolconnlimit, s.setconfig FROM pg_authid a "
        "LEFT JOIN pg_db_role_setting s ON s.setrole = a.oid AND s.setdatabase = 0 WHERE a.rolname = %s",
        (role,),
    )
    row = cursor.fetchone()
    if row is None:
        return False
    verifier, may_login, connections, config = row
    limits = LIMITS[role]
    wanted = {f"{setting}={value}" for setting, value in limits.settings.items()}
    return (
        bool(may_login)
        and connections == limits.connections
        and wanted <= set(config or ())
        and _fits(verifier or "", password)
    )


def _fits(verifier: str, password: str) -> bool:
    """Return whether a stored SCRAM-SHA-256 verifier is that of a password (RFC 5802, RFC 7677)."""
    try:
        mechanism, salted, keys = verifier.split("$")
        iterations, salt = salted.split(":")
        stored = base64.b64decode(keys.split(":")[0])
        key = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    except ValueError:
        return False
    client_key = hmac.digest(key, b"Client Key", "sha256")
    return mechanism == "SCRAM-SHA-256" and hmac.compare_digest(hashlib.sha256(client_key).digest(), stored)
