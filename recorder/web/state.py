"""What the program `web` consists of; every route reaches it as `web_of(request)`."""

import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import cast

from starlette.requests import HTTPConnection

from recorder.appliance.embedded_postgres import database_url
from recorder.settings import Settings
from recorder.store.database import READER, WEB
from recorder.web.access import Principal
from recorder.web.answers.cache import Cache
from recorder.web.live.reading import Reader
from recorder.web.live.service import Live
from recorder.web.live.watching import Watching
from recorder.web.market_data.books import Books
from recorder.web.monitor.gather import Monitor
from recorder.web.monitor.observed import Observed
from recorder.web.queries.pool import Attempts, Pool
from recorder.web.security import keys
from recorder.web.security.accounts import Accounts
from recorder.web.security.tokens import Tokens

PULSE_S = 0.25
LOOK_S = 5.0  # so soon a login that another program ended is refused
BROWSER_SIZE = 4
EXPORT_SIZE = 1
USERS_SIZE = 3


class Web:
    """The parts of the program."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts; nothing is connected yet.

        Raises:
            ConfigError: the key that signs tokens cannot be read or made.
        """
        self.settings = settings
        self.keys = keys.load(settings)
        self.tokens = Tokens(self.keys.tokens)
        attempts = Attempts()
        reader, web = (functools.partial(database_url, settings, role) for role in (READER, WEB))
        self.pool = Pool(reader, READER, attempts=attempts)
        self.browser_pool = Pool(reader, READER, size=BROWSER_SIZE, attempts=attempts)
        self.export_pool = Pool(reader, READER, size=EXPORT_SIZE, attempts=attempts)
        self.users_pool = Pool(web, WEB, size=USERS_SIZE, read_only=False, attempts=attempts)
        self.accounts = Accounts(settings, self.users_pool, self.keys, self.tokens)
        self.cache: Cache[bytes] = Cache()
        self.books = Books()
        self.counts = Counts()
        self.observed = Observed(settings)
        self.monitor = Monitor(settings, self.pool, self.observed)
        self.live = Live(Reader(reader, self.observed.behind_s), Watching(self.observed.now))
        self.started_at = time.time()
        self.parts: list[Callable[[Web], AbstractAsyncContextManager[None]]] = []
        """What runs beside the requests from start to stop, such as the hub of the stream; `app.make_app` fills it."""

    def denied(self, principal: Principal) -> bool:
        """Return whether the login of a token was ended before the token expires."""
        return self.accounts.denied(principal)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run what runs beside the requests."""
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._pulse, args=(stop,), name="web.pulse"),
            threading.Thread(target=self._look, args=(stop,), name="web.logins"),
        ]
        for thread in threads:
            thread.start()
        try:
            async with contextlib.AsyncExitStack() as stack:
                for part in self.parts:
                    await stack.enter_async_context(part(self))
                yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(5.0)
            for pool in (self.pool, self.browser_pool, self.export_pool, self.users_pool):
                pool.close()

    def _pulse(self, stop: threading.Event) -> None:
        """Find out four times a second whether Postgres answers, so that pages say it although nothing asks it."""
        while not stop.wait(PULSE_S):
            self.pool.ping()

    def _look(self, stop: threading.Event) -> None:
        """Learn which logins have ended; in a thread of its own, since its statements wait while Postgres hangs."""
        while True:
            if self.pool.problem() is None:
                self.accounts.look()
            if stop.wait(LOOK_S):
                return


class Counts:
    """What the program counts; added to on the event loop only."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}  # by route and status
        self.seconds = 0.0
        self.sockets = 0
        self.refused = 0  # by the rate limit

    def answered(self, route: str, status: int, took_s: float) -> None:
        """Count an answer."""
        key = (route, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        self.seconds += took_s


def web_of(connection: HTTPConnection) -> Web:
    """Return the program that a request has reached."""
    return cast(Web, connection.app.state.web)
