"""The program `web`: serves the API and the pages. It starts without Postgres, and says so on every page."""

import resource
import signal
import socket
import threading
from types import FrameType

import uvicorn

from recorder.errors import ConfigError
from recorder.process.health import HealthFile, WebFigures
from recorder.process.log import get_logger
from recorder.process.reporting import Health, reporting
from recorder.settings import Settings
from recorder.web.app import make_app
from recorder.web.security.start import require_users
from recorder.web.state import Web

SOCKET_BYTES = 64 << 10
MOST_CONNECTIONS = 3000
FILES = 4096
_GRACE_S = 5
_BACKLOG = 256

_log = get_logger(__name__)


def main(settings: Settings) -> int:
    """Serve until the process is stopped.

    Raises:
        ConfigError: the port is in use, the key cannot be read, or the address needs users first.
    """
    _raise_file_limit()
    app = make_app(settings)
    web: Web = app.state.web
    listener = _listen(settings)
    require_users(settings, web.users_pool)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=SOCKET_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=settings.web.tls_cert,
        ssl_keyfile=settings.web.tls_key,
    )
    server = uvicorn.Server(config)
    # uvicorn handles these itself, and raises them once more at its end, which must not kill the process then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    stop = threading.Event()
    report = reporting(HealthFile(settings.home, "web"), lambda: health(web, server.started), settings.monitoring)
    reporter = threading.Thread(target=report, args=(stop,), name="web.health")
    reporter.start()
    _log.info("web.start", url=settings.web.url, public_read=settings.web.public_read)
    try:
        server.run(sockets=[listener])
    finally:
        stop.set()
        reporter.join(5.0)
        listener.close()
    _log.info("web.stop")
    return 0 if server.started else 1


def health(web: Web, started: bool) -> Health:
    """Return how the program is: it is live without Postgres, because it answers."""
    problem = web.pool.problem()
    counts = list(web.counts.requests.items())
    figures = WebFigures(
        requests=sum(number for _key, number in counts),
        failed=sum(number for (_route, status), number in counts if status >= 500),
        sockets=web.counts.sockets,
        connections=web.pool.in_use,
        cache_hits=web.cache.hits,
        cache_misses=web.cache.misses,
        database="up" if problem is None else problem,
        port=web.settings.web.port,
    )
    if not started:
        return Health("starting", "", figures)
    return Health("live", "" if problem is None else f"Postgres: {problem}", figures)


def _listen(settings: Settings) -> socket.socket:
    """Return the listening socket.

    Raises:
        ConfigError: the address cannot be used.
    """
    web = settings.web
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((web.host, web.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {web.port} of the web pages cannot be used ({error.strerror}); set web.port or port_base"
        ) from None
    listener.set_inheritable(False)
    return listener


def _raise_file_limit() -> None:
    """Let the process open a file for each client, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < FILES:
        _log.warning("web.few_files", limit=wanted, wanted=FILES)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing; uvicorn has noticed."""
