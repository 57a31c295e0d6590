"""The command `doctor`: whether this machine can run the appliance, and what to do when it cannot."""

import time
from pathlib import Path
from typing import Annotated

import psycopg2
import requests
import typer

from recorder.appliance import checks
from recorder.appliance.checks import Finding
from recorder.appliance.embedded_postgres import database_url
from recorder.appliance.supervisor import Supervisor
from recorder.cli.common import console
from recorder.cli.in_force import not_in_force
from recorder.errors import StoreUnavailable
from recorder.process.screen import shown
from recorder.process.terminal import say_json
from recorder.settings import Settings
from recorder.store.database import READER, connect
from recorder.venues import venue_class

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
_HTTP_S = 5.0
_ANSWER_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """Check ports, disk, clock, rights, network, locks and versions. Exit code 1 when there is a problem.

    Example: `tapedeck doctor`, `tapedeck --config live doctor --json`
    """
    settings: Settings = context.obj.settings()
    findings = examine(settings, Path.cwd() if context.obj.config is None else None)
    if as_json:
        say_json(findings, indented=True)
    else:
        screen = console()
        for finding in findings:
            line = shown(f"{finding.check:<9} ")
            line.append(f"{finding.level:<8} ", style=_COLOURS[finding.level])
            line.append_text(shown(finding.text + (f": {finding.advice}" if finding.advice else "")))
            screen.print(line, soft_wrap=True)
    return 1 if any(finding.level == "problem" for finding in findings) else 0


def examine(settings: Settings, folder: Path | None = None) -> list[Finding]:
    """Run every check.

    Args:
        settings: Of the appliance.
        folder: Where a settings file would be looked for; None where one was named.
    """
    supervisord = Supervisor(settings.home)
    running = supervisord.pid() is not None
    findings = list(checks.local_checks(settings, running))
    notes = not_in_force(settings, supervisord.processes() if running else [], folder)
    findings += [Finding("settings", "warning", note) for note in notes]
    offsets: dict[str, float] = {}
    if running or settings.database.url is not None:
        findings.append(_check_database(settings, offsets))
    enabled = {name: values for name, values in settings.venues.items() if values.enabled}
    hosts = checks.public_hosts({name: values.url or venue_class(name).url for name, values in enabled.items()})
    if hosts:
        reached = list(checks.check_network(hosts))
        findings += reached
        first = next((host for (_name, host, _port), finding in zip(hosts, reached, strict=True)
                      if finding.level == "ok"), None)  # fmt: skip
        if first is not None:
            _ask_clock(first, offsets)
    else:
        findings.append(Finding("network", "ok", "not needed: every venue is simulated on this machine"))
    findings.append(checks.check_clock(offsets))
    return findings


def _check_database(settings: Settings, offsets: dict[str, float]) -> Finding:
    """Check that the database answers, and note how its clock differs from ours."""
    try:
        connection = connect(
            database_url(settings, READER), application_name="tapedeck-doctor", statement_timeout_s=_ANSWER_S
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT extract(epoch FROM clock_timestamp()), current_setting('server_version')")
                row = cursor.fetchone()
                assert row is not None
                offsets["Postgres"] = time.time() - float(row[0])
                return Finding("database", "ok", f"Postgres {row[1].split()[0]} answers")
        finally:
            connection.close()
    except (StoreUnavailable, psycopg2.Error) as error:
        return Finding("database", "problem", f"it cannot be reached: {str(error).strip()}")


def _ask_clock(host: str, offsets: dict[str, float]) -> None:
    """Note how the clock of a venue's web server differs from ours; a server without a Date is no clock."""
    try:
        answer = requests.head(f"https://{host}", timeout=_HTTP_S)
        offsets[host] = checks.http_offset_s(answer.headers["Date"], time.time())
    except (requests.RequestException, KeyError, ValueError):
        return
