"""The group roles of tapedeck, and the SQL that prepares an existing Postgres server for it."""

from recorder.store.access import DENY, limit_sql
from recorder.store.database import DERIVER, READER, RECORDER, REPLAY, TRAINER, WATCHDOG, WEB, WRITER

ROLES = {
    WRITER: "stores what is recorded: bin/writer, bin/poller",
    RECORDER: "reads and changes the subscriptions: bin/recorder, tapedeck subscribe",
    READER: "reads every table and view: verify, notebooks, psql",
    REPLAY: "corrects stored rows: tapedeck replay --apply",
    TRAINER: "stores models and predictions: tapedeck-analysis train and score",
    WATCHDOG: "looks at what is recorded and stores alerts: bin/watchdog",
    DERIVER: "derives bars from what is recorded: bin/deriver",
    WEB: "keeps users, their sessions and the audit log: bin/web",
}


def roles_sql(login: str, database: str) -> str:
    """Return the statements a superuser runs in psql so that a login can migrate and use a database.

    The text holds no password and may be run again at any time.

    Args:
        login: User of DATABASE_URL.
        database: Database of DATABASE_URL.
    """
    user, name, desk = _identifier(login), _identifier(database), _identifier(f"{database}_desk")
    create = f"CREATE DATABASE {name} OWNER {user} TEMPLATE template0 ENCODING 'UTF8'"
    lines = [
        "-- Run with psql as a superuser, connected to any database of the server.",
        f"-- The login must exist: CREATE ROLE {user} LOGIN; then set its password with \\password in psql.",
        "",
    ]
    for role, purpose in ROLES.items():
        lines += [
            f"-- {role} {purpose}.",
            f"SELECT 'CREATE ROLE {role} NOLOGIN' WHERE to_regrole('{role}') IS NULL \\gexec",
        ]
    lines += [
        f"GRANT {', '.join(ROLES)} TO {user};",
        "",
        f"SELECT {_literal(create)}",
        f" WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {_literal(database)}) \\gexec",
        "",
        "-- The owner of the database has these rights already; another login needs them.",
        f"GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO {user};",
        f"\\connect {name}",
        f"GRANT CREATE, USAGE ON SCHEMA public TO {user};",
        "",
        "-- Rights that Postgres gives to every login, and with which a reader could fill the disk or stop a program.",
        f"{DENY};",
        "",
        "-- Report which session keeps a lock, and end the sessions of readers that keep a transaction open.",
        f"GRANT pg_read_all_stats, pg_signal_backend TO {user};",
        "",
        f"-- A login for people and notebooks, which can only read; set its password with \\password {desk}.",
        f"SELECT {_literal(f'CREATE ROLE {desk} LOGIN')}",
        f" WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {_literal(f'{database}_desk')}) \\gexec",
        f"GRANT {READER} TO {desk};",
        *(f"{statement};" for statement in limit_sql(f"{database}_desk", READER)),
        "",
        "-- A query over years of day partitions locks each of them. This needs a restart of the server:",
        "-- ALTER SYSTEM SET max_locks_per_transaction = 1024;",
    ]
    return "\n".join(lines) + "\n"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
