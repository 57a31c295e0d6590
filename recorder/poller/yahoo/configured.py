"""The job and the service of Yahoo, as the settings want them."""

import random
import re
import threading

from recorder.clock import Clock, SystemClock
from recorder.errors import ConfigError, nearest
from recorder.exchanges.table import exchange
from recorder.poller.job import Every, Job
from recorder.poller.services import ClientService, Service
from recorder.poller.yahoo.bars import YahooBars
from recorder.poller.yahoo.plan import SLOT_S
from recorder.printable import printable
from recorder.rest.client import RestClient
from recorder.rest.policy import Priority
from recorder.settings import Settings
from recorder.venues.yahoo.requests import LIMITS, NAME, SYMBOL, URL

JOB = "yahoo-bars"

_GRACE_S = 45.0
_symbol = re.compile(SYMBOL, re.ASCII)


def yahoo_jobs(settings: Settings, clock: Clock) -> list[Job]:
    """Return the job; none without a symbol.

    Raises:
        ConfigError: A symbol or an exchange is misspelt.
    """
    symbols = settings.yahoo.symbols
    if not symbols:
        return []
    for symbol in symbols:
        if not _symbol.fullmatch(symbol):
            raise ConfigError(f"yahoo.symbols: {printable(symbol[:40])!r} is no symbol of Yahoo, such as AAPL or VOD.L")
    for symbol in settings.yahoo.exchanges:
        if symbol not in symbols:
            raise ConfigError(f"yahoo.exchanges names a symbol that is not polled: {symbol}{nearest(symbol, symbols)}")
    exchanges = {symbol: exchange(name) for symbol, name in settings.yahoo.exchanges.items()}
    state = settings.home / "poller" / "yahoo.json"
    handler = YahooBars(symbols, exchanges, settings.yahoo.requests_per_day, state, clock)
    summary = "Poll bars of stocks in the sessions of their exchange, their final bars, splits and dividends after it."
    return [Job(JOB, Every(SLOT_S), _GRACE_S, handler, summary)]


def yahoo_services(settings: Settings, stop: threading.Event) -> dict[str, Service]:
    """Return the service; none without a symbol.

    Raises:
        ConfigError: The file of authorities cannot be used.
    """
    if not settings.yahoo.symbols:
        return {}
    return {name: ClientService(client) for name, client in yahoo_clients(settings, stop).items()}


def yahoo_clients(settings: Settings, stop: threading.Event) -> dict[str, RestClient]:
    """Return the client of the service, by its name.

    Raises:
        ConfigError: The file of authorities cannot be used.
    """
    url = settings.poller.services.get(NAME, URL)
    client = RestClient(
        NAME, url, LIMITS, settings.yahoo.user_agent, stop, SystemClock(), random.Random(), settings.ca_file,
        settings.budgets_dir, Priority.SCHEDULED,
    )  # fmt: skip
    return {NAME: client}
