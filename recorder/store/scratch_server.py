"""A Postgres server of the moment, for work that needs a server and no data."""

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from recorder.appliance.embedded_postgres import EmbeddedPostgres
from recorder.appliance.processes import wait_until
from recorder.errors import ConfigError, StoreUnavailable
from recorder.process import files
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
        with _running(server, server.url("postgres"), START_S):
            yield server.url("postgres")


@contextlib.contextmanager
def restored_server(home: Path, login: str, start_s: float) -> Iterator[str]:
    """Run a server on a copy of a data folder, and yield the address of its database `postgres`.

    It listens on a Unix socket in a folder of its owner only, where it asks for no password: those of the copy may be
    unknown here.

    Args:
        home: Holds the copy as `postgres/data`.
        login: That the copy has.
        start_s: Longest wait, because it first reads the log of the writes that were made during the backup.

    Raises:
        ConfigError: It does not start, or the copy is of another version of Postgres.
    """
    server = EmbeddedPostgres(home, POSTGRES_PORT)
    server.folder.chmod(0o700)
    server.prepare()
    access = server.folder / "pg_hba.conf"
    files.write(access, b"local all all trust\n")
    host = quote(str(server.sockets), safe="")
    url = f"postgresql://{quote(login, safe='')}@/postgres?host={host}&port={server.port}"
    with _running(server, url, start_s, "-c", f"hba_file={access}", "-c", "shared_buffers=32MB"):
        yield url


@contextlib.contextmanager
def _running(server: EmbeddedPostgres, url: str, start_s: float, *words: str) -> Iterator[None]:
    """Run a server while the block lasts.

    Raises:
        ConfigError: It does not start.
    """
    log = server.folder.parent / "postgres.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*server.command(), "-c", "listen_addresses=", *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        if not wait_until(lambda: process.poll() is not None or _answers(url), start_s) or process.poll() is not None:
            last = log.read_text(errors="replace").splitlines()[-1:]
            raise ConfigError(f"the temporary Postgres does not start: {''.join(last)}")
        yield
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
