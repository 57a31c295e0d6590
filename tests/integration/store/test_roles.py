import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from support.batches import batch, trades_part

from recorder.cli.appliance import psql_program
from recorder.errors import ConfigError
from recorder.store.database import DERIVER, KEEPER, READER, WATCHDOG, WEB, connect, with_database
from recorder.store.loader import Store
from recorder.store.migrate import drop_database, migrate, sql_folder
from recorder.store.roles import ROLES, roles_sql

PASSWORD = "no-secret-in-a-test"


@pytest.fixture
def login(postgres: str) -> Iterator[str]:
    """A login without any right, whose name needs quotes. What it owns is dropped afterwards."""
    name = f'Own "login" {secrets.token_hex(4)}'
    identifier = sql.Identifier(name)
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(identifier, sql.Literal(PASSWORD)))
        yield name
        cursor.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(identifier))
    connection.close()


def url_of(postgres: str, login: str, database: str) -> str:
    parts = psycopg2.extensions.parse_dsn(postgres)
    user = login.replace('"', "%22").replace(" ", "%20")
    host = parts["host"].replace("/", "%2F")
    return f"postgresql://{user}:{PASSWORD}@/{database}?host={host}&port={parts.get('port', '5432')}"


def test_the_printed_sql_is_all_that_a_login_needs_to_migrate_and_load(postgres: str, login: str) -> None:
    database = f"own_{secrets.token_hex(4)}"
    url = url_of(postgres, login, database)
    text = roles_sql(login, database)
    try:
        for _ in range(2):  # it may be run again
            done = subprocess.run(
                [psql_program() or "psql", "-X", "-v", "ON_ERROR_STOP=1", postgres],
                input=text,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert done.returncode == 0, done.stderr
        assert migrate(url)
        store = Store(url)
        assert store.load(batch(None, [trades_part(0, 3)])).total.inserted == 3
        store.close()
        connection = connect(url, application_name="test", role=READER)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, (SELECT count(*) FROM trade), (SELECT count(*) FROM trade_named)")
            assert cursor.fetchone() == (READER, 3, 0)  # the instrument has no row yet
        connection.close()
    finally:
        drop_database(with_database(postgres, database))


def test_the_printed_sql_names_every_role_and_no_password() -> None:
    text = roles_sql("me", "tape")
    for role in ROLES:
        assert f"CREATE ROLE {role} NOLOGIN" in text
    assert f"GRANT {', '.join(ROLES)} TO" in text
    assert "PASSWORD '" not in text


def test_a_login_that_may_not_create_roles_learns_of_all_missing_ones_at_once(
    postgres: str, login: str, tmp_path: Path
) -> None:
    """Roles belong to the server, so the migration is run with the names of roles that the server does not have."""
    database = f"own_{secrets.token_hex(4)}"
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(login)))
    connection.close()
    text = (sql_folder() / "0001_base.sql").read_text().replace("tapedeck_", "absent_")
    (tmp_path / "0001_base.sql").write_text(text)
    try:
        with pytest.raises(ConfigError) as refused:
            migrate(url_of(postgres, login, database), tmp_path)
        for role in ROLES.keys() - {WATCHDOG, DERIVER, KEEPER, WEB}:
            assert f"CREATE ROLE {role.replace('tapedeck_', 'absent_')} NOLOGIN;" in str(refused.value)
        for name, later in (("0001_base.sql", "0001_base.sql"), ("0022_alert.sql", "0002_alert.sql")):
            text = (sql_folder() / name).read_text().replace(WATCHDOG, "absent_watchdog")
            (tmp_path / later).write_text(text)
        with pytest.raises(ConfigError, match="CREATE ROLE absent_watchdog NOLOGIN;"):
            migrate(url_of(postgres, login, database), tmp_path)
    finally:
        drop_database(with_database(postgres, database))
