"""Puts a backup in place of the embedded server's data: checked, started once, and only then exchanged."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
from psycopg2 import sql

from recorder.appliance.embedded_postgres import SUPERUSER, EmbeddedPostgres
from recorder.backup import catalog
from recorder.backup.catalog import Backup
from recorder.backup.take import verify
from recorder.errors import ConfigError, StoreError
from recorder.process import files
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.store.database import classify, connect
from recorder.store.scratch_server import restored_server

_DRAFT = "restore.new"
_SPARE = 1.05

_log = get_logger(__name__)


def restore(
    settings: Settings, backup: Backup, stop: threading.Event, say: Callable[[str], None] = lambda _: None
) -> Path | None:
    """Restore a backup into the home, whose embedded server must not run.

    The data that the home has is kept beside it. The journals stay as they are: at its next start the writer loads what
    the backup lacks and they hold, once, and declares the rest.

    Args:
        settings: Of the home.
        backup: From any folder.
        stop: Gives up at once, and nothing is changed.
        say: Receives what is done, for a person.

    Returns:
        Where the earlier data is now; None where there was none.

    Raises:
        ConfigError: The server runs, the backup is damaged, or it does not start.
        StoreError: There is no room, or it was given up.
        OSError: The disk does not take it.
    """
    if settings.database.url is not None:
        raise ConfigError(
            f"DATABASE_URL names a server of your own: stop it, and put {backup.data} in place of its data folder"
        )
    server = EmbeddedPostgres(settings.home, settings.database.port)
    server.lock()
    try:
        return _exchanged(settings, server, backup, stop, say)
    finally:
        server.unlock()


def _exchanged(
    settings: Settings, server: EmbeddedPostgres, backup: Backup, stop: threading.Event, say: Callable[[str], None]
) -> Path | None:
    say(f"checking {backup.note.name}")
    reason = verify(backup.data, stop, settings.backup.timeout_s)
    if reason:
        raise ConfigError(f"the backup {backup.note.name} is damaged, and nothing was changed: {reason}")
    catalog.require_room(server.folder, int(backup.note.bytes * _SPARE))
    draft = server.folder / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(server.restored, ignore_errors=True)
    (draft / "postgres").mkdir(parents=True, mode=0o700)
    say("copying it")
    shutil.copytree(backup.data, draft / "postgres" / "data", symlinks=True)
    if stop.is_set():
        raise StoreError("the restore was given up; nothing was changed")
    say("starting it once")
    with restored_server(draft, SUPERUSER, settings.backup.timeout_s) as url:
        _set_password(url, server.superuser_password())
    os.sync()  # of thousands of files at once
    earlier = None
    # After a kill before the last rename, the next start of the server finds the restored data by this name.
    (draft / "postgres" / "data").rename(server.restored)
    files.sync_folder(server.folder)
    if server.data.exists():
        earlier = server.folder / f"data.before-{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}"
        server.data.rename(earlier)
    server.restored.rename(server.data)
    files.sync_folder(server.folder)
    shutil.rmtree(draft)
    _log.info("backup.restored", backup=backup.note.name, earlier=str(earlier or ""))
    return earlier


def _set_password(url: str, password: str) -> None:
    """Give the superuser the password of this home; the programs' logins get theirs when the schema is looked at."""
    connection = connect(url, application_name="restore")
    try:
        verifier = psycopg2.extensions.encrypt_password(password, SUPERUSER, connection, "scram-sha-256")
        with connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(SUPERUSER), sql.Literal(verifier))
            )
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
