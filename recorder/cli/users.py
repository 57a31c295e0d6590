"""The command `users`: who may log in to the pages and the API."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import psycopg2
import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.cli.columns import Column, table_of
from recorder.cli.common import console
from recorder.errors import ConfigError, StoreUnavailable
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import WEB, Cursor, classify, connect
from recorder.web.access import Role
from recorder.web.security import keys, setup, users
from recorder.web.security.passwords import Passwords
from recorder.web.security.tokens import ACCESS_S, Tokens

_LOCAL = "local"
_LONGEST_TOKEN_H = 24


class RoleName(StrEnum):
    """A role, as it is typed."""

    viewer = "viewer"
    analyst = "analyst"
    admin = "admin"


Name = Annotated[str, typer.Argument(help="Name of the user, lower case.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(
        rich_markup_mode=None,
        no_args_is_help=True,
        help="Manage who may log in to the pages and the API.\n\n"
        "Roles: viewer reads, analyst exports, too, admin manages users, too. A password is asked for, or read from "
        "standard input where that is no terminal.\n\n"
        "Example: `tapedeck users add ana --role analyst`, `tapedeck users token ana`",
    )
    for command in (link, add, list_users, role, password, deactivate, activate, logout, token):
        group.command("list" if command is list_users else command.__name__)(command)
    app.add_typer(group, name="users")


def link(context: typer.Context) -> int:
    """Print the link that makes the first admin; it works once, and only while there is no user."""
    settings: Settings = context.obj.settings()
    try:
        with _tables(settings) as cursor:
            found = users.any_user(cursor)
    except StoreUnavailable:
        found = False  # the page asks again before it adds a user
    if found:
        raise ConfigError("there are users already; `tapedeck users add NAME --role admin` adds an admin")
    say(setup.link(settings))
    return 0


def add(
    context: typer.Context,
    name: Name,
    role: Annotated[RoleName, typer.Option("--role", help="What the user may do.")] = RoleName.viewer,
) -> int:
    """Add a user. Example: `tapedeck users add ana --role analyst`"""
    settings: Settings = context.obj.settings()
    users.require_name(name)
    hashed = Passwords().make(_password())
    with _tables(settings) as cursor:
        users.add(cursor, name, Role[role.value], hashed)
        users.note(cursor, "", _LOCAL, "user.add", f"{name} {role.value}")
    setup.remove(settings.home)
    say(f"{name} may log in as {role.value}: {settings.web.url}/login")
    return 0


def list_users(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> int:
    """List the users."""
    with _tables(context.obj.settings()) as cursor:
        found = users.everyone(cursor)
    if as_json:
        say_json(
            [
                {"name": one.name, "role": one.role.name, "active": one.active, "last_login_at": one.last_login_at}
                for one in found
            ],
            indented=True,
        )
        return 0
    if not found:
        say("there is no user; `tapedeck users link` prints the link that makes the first admin")
        return 0
    screen = console()
    columns = [
        Column("name", [one.name for one in found], 100, right=False),
        Column("role", [one.role.name for one in found], 90, right=False),
        Column("state", ["active" if one.active else "inactive" for one in found], 80, right=False),
        Column("last login", [_when(one.last_login_at) for one in found], 70, right=False),
    ]
    screen.print(table_of(columns, screen.width, lambda _title, _row: ""))
    return 0


def role(context: typer.Context, name: Name, role: Annotated[RoleName, typer.Argument(help="New role.")]) -> int:
    """Change what a user may do; the logins of the user end."""
    return _change(context.obj.settings(), name, f"{name} is {role.value} now", role=Role[role.value])


def password(context: typer.Context, name: Name) -> int:
    """Change the password of a user; the logins of the user end."""
    hashed = Passwords().make(_password())
    return _change(context.obj.settings(), name, f"the password of {name} is changed", password_hash=hashed)


def deactivate(context: typer.Context, name: Name) -> int:
    """Let a user not log in any more; the logins of the user end."""
    return _change(context.obj.settings(), name, f"{name} may not log in any more", active=False)


def activate(context: typer.Context, name: Name) -> int:
    """Let a user log in again."""
    return _change(context.obj.settings(), name, f"{name} may log in again", active=True)


def logout(context: typer.Context, name: Name) -> int:
    """End all logins of a user."""
    with _tables(context.obj.settings()) as cursor:
        if users.find(cursor, name) is None:
            raise ConfigError(f"there is no user {name}; `tapedeck users list` lists them")
        ended = users.revoke_all(cursor, name, "revoked")
        users.note(cursor, "", _LOCAL, "session.revoke", f"{name} all")
    say(f"{len(ended)} {'login' if len(ended) == 1 else 'logins'} of {name} ended")
    return 0


def token(
    context: typer.Context,
    name: Name,
    hours: Annotated[
        float, typer.Option("--hours", min=0.01, max=_LONGEST_TOKEN_H, help="How long it is valid.")
    ] = ACCESS_S / 3600,
) -> int:
    """Print an access token of a user, for scripts on this machine.

    Example: `curl -H "Authorization: Bearer $(tapedeck users token ana)" http://127.0.0.1:8000/api/v1/status`
    """
    settings: Settings = context.obj.settings()
    loaded = keys.load(settings)
    lasts_s = round(hours * 3600)
    with _tables(settings) as cursor:
        user = users.find(cursor, name)
        if user is None or not user.active:
            raise ConfigError(f"there is no active user {name}; `tapedeck users list` lists them")
        session, _refresh = users.log_in(cursor, loaded.of("refresh"), user, "command", lasts_s, _LOCAL, "tapedeck")
        users.note(cursor, name, _LOCAL, "login", "command")
    say(Tokens(loaded.tokens).make(user.name, user.role, session, lasts_s))
    return 0


def _change(
    settings: Settings,
    name: str,
    done: str,
    *,
    role: Role | None = None,
    password_hash: str | None = None,
    active: bool | None = None,
) -> int:
    with _tables(settings) as cursor:
        users.change(cursor, name, role=role, password_hash=password_hash, active=active)
        what = [role.name] if role else ["password"] if password_hash else ["active" if active else "inactive"]
        users.note(cursor, "", _LOCAL, "user.change", " ".join([name, *what]))
    say(done)
    return 0


def _password() -> str:
    """Return a password that was typed twice, or the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(1024).rstrip("\n")
    typed: str = typer.prompt("Password, 10 characters or more", hide_input=True, confirmation_prompt=True)
    return typed


def _when(at: datetime | None) -> str:
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


@contextmanager
def _tables(settings: Settings) -> Iterator[Cursor]:
    """Give a cursor in one transaction of the role that may write users."""
    connection = connect(database_url(settings, WEB), application_name="tapedeck", role=WEB, autocommit=False)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
