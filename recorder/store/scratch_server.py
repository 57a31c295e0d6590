"""A Postgres server of the moment, for work that needs a server and no data."""

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recorder.appliance.embedded_postgres import EmbeddedPostgres
from recorder.appliance.processes import wait_until
from recorder.errors import ConfigError, StoreUnavailable
from recorder.settings.filled import POSTGRES_PORT
from recorder.store.database import connect

START_S = 60.0
STOP_S = 30.0


@contextlib.contextmanager
def scratch_server() -> Iterator[str]:
    """Run an embedded server in a temporary folder, and yield the address of its database `postgres`.

    It listens on a Unix socket only, so it needs no free port.

    Raises:
        ConfigError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="tapedeck-") as name:
        home = Path(name)
        server = EmbeddedPostgres(home, POSTGRES_PORT)
        server.folder.mkdir(mode=0o700)
        server.prepare()
        log = home / "postgres.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*server.command(), "-c", "listen_addresses="],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            url = server.url("postgres")
            if (
                not wait_until(lambda: process.poll() is not None or _answers(url), START_S)
                or process.poll() is not None
            ):
                last = log.read_text(errors="replace").splitlines()[-1:]
                raise ConfigError(f"the temporary Postgres does not start: {''.join(last)}")
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: it does not wait for clients
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    try:
        connect(url, application_name="migrate").close()
    except StoreUnavailable:
        return False
    return True
