"""Commands about the database itself: its schema and its roles."""

from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from recorder.errors import ConfigError
from recorder.process.terminal import say
from recorder.settings import Settings
from recorder.store import migrate as migrations
from recorder.store.database import check_url, database_name
from recorder.store.roles import ROLES, roles_sql

_LOGIN = "tapedeck"  # an example, where DATABASE_URL is unset


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(migrate)
    app.command()(roles)


def migrate(context: typer.Context) -> int:
    """Bring the database schema up to date. It is safe at any time, and from several programs at once.

    Example: `DATABASE_URL=postgresql://me@db.example/tape tapedeck migrate`
    """
    settings: Settings = context.obj.settings()
    for name in migrations.wait_and_migrate(lambda: migrations.migrate_of(settings), migrations.WAIT_S):
        say(f"applied {name}")
    return 0


def roles(
    context: typer.Context,
    as_sql: Annotated[bool, typer.Option("--sql", help="Print the statements that a superuser runs once.")] = False,
) -> int:
    """Print the roles that your own Postgres needs, or the SQL that makes and grants all of them.

    The SQL names the login and the database of DATABASE_URL, and holds no password. The embedded server needs none of
    this.

    Example: `tapedeck roles --sql | psql postgresql://postgres@db.example/postgres`
    """
    settings: Settings = context.obj.settings()
    if not as_sql:
        for name, purpose in ROLES.items():
            say(f"{name:<18} {purpose}")
        return 0
    login, database = _LOGIN, settings.database.name
    if settings.database.url is None:
        say(f"tapedeck: DATABASE_URL is unset, so the SQL is for login {login}, database {database}", err=True)
    else:
        url = settings.database.url.get_secret_value()
        check_url(url)
        login, database = unquote(urlsplit(url).username or ""), database_name(url)
        if not login:
            raise ConfigError("DATABASE_URL names no user; write it like postgresql://user@host:5432/database")
    for line in roles_sql(login, database).splitlines():
        say(line)
    return 0
