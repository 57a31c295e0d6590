import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from support.database_server import ROOT

from recorder.errors import ConfigError, StoreUnavailable
from recorder.settings import Settings
from recorder.store import migrate as migrations
from recorder.store.database import connect
from recorder.store.migrate import check_schema, migrate, read_migrations, schema_text, sql_folder, wait_and_migrate
from recorder.store.schema import describe


def query(url: str, text: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of sql/ to be changed."""
    return Path(shutil.copytree(sql_folder(), tmp_path / "sql"))


def test_a_database_built_from_nothing_is_what_schema_sql_says(postgres: str) -> None:
    assert schema_text(postgres) == (sql_folder() / "schema.sql").read_text(), "run: bin/migrate --dump"


def test_the_dump_needs_no_server_that_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = (folder / "schema.sql").read_text()
    (folder / "schema.sql").unlink()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(migrations, "SQL", folder)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    settings = Settings.load(Path("demo"), {"TAPEDECK_HOME": str(tmp_path / "home")})
    assert migrations.main(settings, ["--dump"]) == 0
    assert (folder / "schema.sql").read_text() == written
    assert capsys.readouterr().out == f"wrote {folder / 'schema.sql'}\n"
    assert not (tmp_path / "home").exists()
    assert list(temporary.iterdir()) == [], "the temporary server left nothing"


def test_schema_sql_run_as_a_script_makes_that_same_schema(database: str) -> None:
    text = (sql_folder() / "schema.sql").read_text()
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA public, partition CASCADE; CREATE SCHEMA public; SET search_path = public")
        cursor.execute(text)
        assert describe(connection) == text
    connection.close()


def test_migrating_twice_applies_nothing_the_second_time(empty_database: str) -> None:
    names = [migration.name for migration in read_migrations(sql_folder())]
    assert migrate(empty_database) == names
    assert migrate(empty_database) == []
    assert [name for (name,) in query(empty_database, "SELECT name FROM schema_migration ORDER BY version")] == names


def test_four_processes_migrating_one_missing_database_at_once_apply_each_file_once(empty_database: str) -> None:
    code = "import sys; from recorder.store.migrate import migrate; print(len(migrate(sys.argv[1])))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_database],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    assert sum(int(out) for out, _ in answers) == len(read_migrations(sql_folder()))


def test_an_applied_file_that_changed_is_refused(database: str, folder: Path) -> None:
    file = folder / "0005_trade.sql"
    file.write_text(file.read_text() + "-- later thought\n")
    with pytest.raises(ConfigError, match=r"0005_trade.sql is not what was applied .* an applied file never changes"):
        migrate(database, folder)


def test_a_database_newer_than_the_program_is_refused(database: str, folder: Path) -> None:
    last = read_migrations(folder)[-1].name
    (folder / last).unlink()
    with pytest.raises(ConfigError, match=f"has the migration {last}, which this version of tapedeck does not know"):
        migrate(database, folder)


def test_a_program_newer_than_the_database_says_what_to_run(database: str, folder: Path) -> None:
    number = len(read_migrations(folder)) + 1
    (folder / f"{number:04}_more.sql").write_text("CREATE TABLE more ();")
    connection = connect(database, application_name="test")
    check_schema(connection)
    with pytest.raises(ConfigError, match=r"lacks 1 migrations, first .*_more.sql; run: tapedeck migrate"):
        check_schema(connection, folder)
    connection.close()


def test_a_file_that_fails_leaves_nothing_of_itself(database: str, folder: Path) -> None:
    number = len(read_migrations(folder)) + 1
    (folder / f"{number:04}_half.sql").write_text("CREATE TABLE half ();\nSELECT 1 / 0;")
    with pytest.raises(ConfigError, match=r"half.sql cannot be applied: division by zero"):
        migrate(database, folder)
    assert query(database, "SELECT to_regclass('half')") == [(None,)]
    (folder / f"{number:04}_half.sql").write_text("CREATE TABLE half ();")
    assert migrate(database, folder) == [f"{number:04}_half.sql"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("0004_again.sql", "two migrations with the number 0004"),
        ("0099_far.sql", "no migration with the number 00"),
        ("12_short.sql", "is not named like 0001_what.sql"),
    ],
)
def test_gaps_duplicates_and_odd_names_in_the_numbering_are_refused(name: str, sentence: str, folder: Path) -> None:
    (folder / name).write_text("SELECT 1;")
    with pytest.raises(ConfigError, match=sentence):
        read_migrations(folder)


def test_every_table_view_and_column_has_a_comment(database: str) -> None:
    bare = query(
        database,
        "SELECT c.oid::regclass::text, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0"
        "   AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL"
        " UNION ALL SELECT oid::regclass::text, '' FROM pg_class"
        " WHERE relnamespace IN ('public'::regnamespace, 'partition'::regnamespace)"
        "   AND relkind IN ('r', 'p', 'v') AND obj_description(oid, 'pg_class') IS NULL",
    )
    assert bare == []


def test_every_migration_opens_with_a_comment_that_names_it() -> None:
    for migration in read_migrations(sql_folder()):
        assert re.match(rf"-- {re.escape(migration.name)}: \S", migration.text), migration.name


def test_waiting_for_a_server_ends_with_its_last_answer() -> None:
    asked = 0

    def migrate_once() -> list[str]:
        nonlocal asked
        asked += 1
        raise StoreUnavailable("not started yet")

    with pytest.raises(StoreUnavailable, match="not started yet"):
        wait_and_migrate(migrate_once, 0.5)
    assert asked >= 2
