"""`tapedeck backup`, `backups` and `restore`: base backups of Postgres, their proofs, and the way back."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg2
import typer

from recorder.appliance.embedded_postgres import SUPERUSER, database_url
from recorder.appliance.hints import hint
from recorder.appliance.supervisor import Supervisor
from recorder.backup import catalog
from recorder.backup.catalog import Backup
from recorder.backup.prove import Proof, prove
from recorder.backup.restore import restore as restore_backup
from recorder.backup.take import take
from recorder.cli.columns import duration, size
from recorder.cli.common import Context
from recorder.errors import ConfigError, RecorderError
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import classify, connect

_EVERY_S = 5.0
_LAST = "SELECT name, verdict, detail, extract(epoch FROM began_at)::float8 FROM restore_proof ORDER BY began_at"
_DAMAGED = 1


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(backups)
    app.command()(restore)


def backup(context: typer.Context) -> int:
    """Take a base backup of Postgres now: copied while everything runs, checked file by file, and only then counted.

    The keeper does it every day at 02:10 UTC and removes backups after backup.keep_days; journals keep what the oldest
    backup lacks. The folder is backup.dir. With DATABASE_URL its login needs the right REPLICATION.

    Example: `tapedeck backup`
    """
    options: Context = context.obj
    settings = options.settings()
    options.log_to_stderr(settings, "backup", "ERROR")
    shown_s = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown_s
        if time.monotonic() - shown_s >= _EVERY_S:
            shown_s = time.monotonic()
            say(f"copied {size(done)} of about {size(total)}", err=True)

    made = take(settings, database_url(settings, SUPERUSER), threading.Event(), progress=progress)
    say(f"{made.note.name}  {size(made.note.bytes)}, every file agrees with its manifest")
    say(f"in {made.folder}")
    return 0


def backups(
    context: typer.Context,
    proved: Annotated[
        str | None,
        typer.Option(
            "--prove", metavar="NAME", help="Restore this backup beside the server and compare; newest: the last."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List the backups with their last proofs, or prove now that one can be restored.

    A proof checks every file, starts the backup on a server of the moment, which listens on a socket only, and compares
    the last complete day with the tables by counts and hashes. The keeper does it every day at 04:10 UTC.

    Exit code: 0; with --prove 1 when the backup is not proved.

    Examples:

    `tapedeck backups`

    `tapedeck backups --prove newest`
    """
    options: Context = context.obj
    settings = options.settings()
    options.log_to_stderr(settings, "backups", "ERROR")
    if proved is not None:
        name = "" if proved == "newest" else proved
        found = prove(settings, database_url(settings, SUPERUSER), threading.Event(), name=name)
        if as_json:
            say_json(found)
        else:
            _say_proof(found)
        return 0 if found.verdict == "proved" else _DAMAGED
    kept = catalog.backups(settings.backup.dir)
    known = _proofs(settings)
    proofs = known or {}
    if as_json:
        say_json([{"note": one.note, "proof": proofs.get(one.note.name)} for one in kept])
        return 0
    if not kept:
        say(f"there is no backup in {settings.backup.dir}; `tapedeck backup` takes one")
    for one in kept:
        age = duration(max(0.0, time.time() - one.note.began_at))
        say(f"{one.note.name}  {size(one.note.bytes):>9}  {age:>6} old  Postgres {one.note.server.split()[0]}")
        unproved = "whether it is proved is not known now" if known is None else "not proved yet"
        verdict, detail, at = proofs.get(one.note.name, (unproved, "", 0.0))
        when = f" {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" if at else ""
        say(f"  {verdict}{when}{f': {detail}' if detail else ''}")
    return 0


def restore(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The backup. Default: the newest.")] = "",
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="Folder of backups, such as one of another machine.")
    ] = None,
) -> int:
    """Put a backup in place of the embedded Postgres. The appliance must be stopped.

    The backup is checked and started once before anything is exchanged, and the data that is there now is kept beside
    it as data.before-TIME. Afterwards `tapedeck up` starts the appliance, and the writer loads from the kept journals
    what the backup lacks, each row once; what they do not hold any more is declared in table gap.

    Examples:

    `tapedeck down && tapedeck restore && tapedeck up`

    `tapedeck restore 2026-12-01T02-10-00Z --from /mnt/backups/tapedeck`
    """
    options: Context = context.obj
    settings = options.settings()
    options.log_to_stderr(settings, "restore", "ERROR")
    if Supervisor(settings.home).pid() is not None:
        raise ConfigError(f"the appliance in {settings.home} runs: {hint('down')} stops it, then restore")
    folder = settings.backup.dir if source is None else source
    chosen: Backup = catalog.named(folder, name)
    earlier = restore_backup(settings, chosen, threading.Event(), say)
    say(f"restored {chosen.note.name} into {settings.home / 'postgres'}")
    if earlier is not None:
        say(f"the earlier data is in {earlier}; remove it when all is well")
    say(f"{hint('up')} starts the appliance, and the journals fill in what the backup lacks")
    return 0


def _say_proof(proof: Proof) -> None:
    say(f"{proof.name}  {proof.verdict} in {duration(proof.ended_at - proof.began_at)}")
    if proof.since is not None and proof.until is not None:
        say(f"  from {proof.since:%Y-%m-%d %H:%M} to {proof.until:%Y-%m-%d %H:%M} UTC")
    say(f"  {proof.detail}")


def _proofs(settings: Settings) -> dict[str, tuple[str, str, float]] | None:
    """Return verdict, reason and time of the last proof of each backup; None where the database does not answer."""
    try:
        connection = connect(database_url(settings, SUPERUSER), application_name="backups", statement_timeout_s=10.0)
    except RecorderError:
        say("tapedeck: the database does not answer, so that the proofs are not known", err=True)
        return None
    try:
        with connection.cursor() as cursor:
            cursor.execute(_LAST)
            return {
                str(name): (str(verdict), str(detail), float(at)) for name, verdict, detail, at in cursor.fetchall()
            }
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
