"""The list of all jobs and of the services that they ask."""

import threading
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from recorder.appliance import embedded_postgres
from recorder.clock import Clock
from recorder.errors import ConfigError, StoreError, nearest
from recorder.instruments.catalog import CatalogFile
from recorder.instruments.catalog_store import store_listings
from recorder.instruments.configured import make_venue
from recorder.poller.backfilling.configured import backfill_job
from recorder.poller.certifying import certificates_job
from recorder.poller.discovery import Discovery, Source
from recorder.poller.healing.configured import healing_job, healing_services
from recorder.poller.job import Every, Job
from recorder.poller.polymarket.jobs import polymarket_clients, polymarket_jobs, polymarket_services
from recorder.poller.services import ClientService, Service
from recorder.poller.yahoo.configured import yahoo_clients, yahoo_jobs, yahoo_services
from recorder.rest.client import RestClient, client_of
from recorder.rest.policy import Priority
from recorder.settings import Settings
from recorder.store.database import WRITER, connect
from recorder.venues.base import Venue

_DISCOVERY_S = 3600
_PATIENT_S = 30.0
_ASK_AGAIN_S = 0.2
_GRACE = 0.9  # of a period: how late a round of an hour or a day may begin


class DatabaseUrl:
    """Gives the address of the database, as the writer's role.

    The first call waits for a server that is just beginning, and for its logins, which the writer makes.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._until_s: float | None = None
        self._answered = False

    def __call__(self) -> str:
        """Return the address. Call it in a thread that may be left behind.

        Raises:
            StoreUnavailable, ConfigError: the database does not take this login.
        """
        pause = threading.Event()
        if self._until_s is None:
            self._until_s = self._clock.monotonic_s() + _PATIENT_S
        while True:
            try:
                url = embedded_postgres.database_url(self._settings, WRITER)
                if not self._answered:
                    connect(url, application_name="poller").close()
                    self._answered = True
                return url
            except (StoreError, ConfigError):
                if self._clock.monotonic_s() >= self._until_s:
                    raise
                pause.wait(_ASK_AGAIN_S)


class Surroundings(NamedTuple):
    """What jobs are made of."""

    settings: Settings
    clock: Clock
    url: Callable[[], str]  # of the database, as the writer's role; known after the server's first start


def all_jobs(settings: Settings, clock: Clock) -> list[Job]:
    """Return every job, also those that are off."""
    around = Surroundings(settings, clock, DatabaseUrl(settings, clock))
    return [_scheduled(settings, job) for make in _JOBS for job in make(around)]


def jobs_of(settings: Settings, clock: Clock) -> list[Job]:
    """Return the jobs that the settings ask for.

    Raises:
        ConfigError: the settings name a job that does not exist, or give one with a time of day a period.
    """
    jobs = all_jobs(settings, clock)
    names = [job.name for job in jobs]
    for key, given in (("off", settings.poller.off), ("every_s", settings.poller.every_s)):
        for name in given:
            if name not in names:
                raise ConfigError(f"poller.{key} names a job that does not exist: {name}{nearest(name, names)}")
    return [job for job in jobs if job.name not in settings.poller.off]


def services_of(settings: Settings, stop: threading.Event) -> dict[str, Service]:
    """Return every service by name: one for each enabled venue, by its key in the settings, and those of its polls.

    Raises:
        ConfigError: a setting of a venue is wrong.
    """
    services: dict[str, Service] = {}
    for key, venue in _venues(settings).items():
        address = settings.venues[key].rest_url
        client = client_of(
            venue, address, settings.websocket.user_agent, stop, settings.ca_file, settings.budgets_dir,
            Priority.SCHEDULED,
        )  # fmt: skip
        services[key] = ClientService(client)
    services |= healing_services(settings, stop)
    return services | polymarket_services(settings, stop) | yahoo_services(settings, stop)


def public_clients(settings: Settings, stop: threading.Event) -> dict[str, RestClient]:
    """Return a client of every service that is no venue of the settings, also of those that no job asks.

    Raises:
        ConfigError: The file of authorities cannot be used.
    """
    return polymarket_clients(settings, stop) | yahoo_clients(settings, stop)


def _discovery(around: Surroundings) -> list[Job]:
    settings = around.settings
    sources: dict[str, list[Source]] = {}
    for key, venue in _venues(settings).items():
        url = settings.venues[key].rest_url or venue.rest_url
        sources.setdefault(venue.name, []).append(Source(venue, key, url, CatalogFile(settings.home, key, url)))
    period_s = settings.poller.every_s.get("discovery", _DISCOVERY_S)
    handler = Discovery(
        sources, lambda name, listings: store_listings(around.url(), name, listings), period_s, around.clock
    )
    return [
        Job(
            "discovery", Every(_DISCOVERY_S), _DISCOVERY_S * _GRACE, handler,
            "Fetch what every venue lists; patterns such as *-USD follow from it.",
            at_start=True, retry_s=5.0, changes_database=True,
        )
    ]  # fmt: skip


def _healing(around: Surroundings) -> list[Job]:
    # Its rounds are short, so they do not wait for a server that is away.
    url = partial(embedded_postgres.database_url, around.settings, WRITER)
    return [healing_job(around.settings, around.clock, url)]


def _certificates(around: Surroundings) -> list[Job]:
    return [certificates_job(around.settings.environment, around.clock)]


def _backfill(around: Surroundings) -> list[Job]:
    url = partial(embedded_postgres.database_url, around.settings, WRITER)
    return [backfill_job(around.settings, around.clock, url)]


def _polymarket(around: Surroundings) -> list[Job]:
    return polymarket_jobs(*around)


def _yahoo(around: Surroundings) -> list[Job]:
    return yahoo_jobs(around.settings, around.clock)


_JOBS: tuple[Callable[[Surroundings], list[Job]], ...] = (
    _discovery, _healing, _backfill, _certificates, _polymarket, _yahoo,
)  # fmt: skip


def _venues(settings: Settings) -> dict[str, Venue]:
    return {key: make_venue(key, own) for key, own in settings.venues.items() if own.enabled}


def _scheduled(settings: Settings, job: Job) -> Job:
    """Return a job with the period of the settings.

    Raises:
        ConfigError: it runs at a time of day.
    """
    period_s = settings.poller.every_s.get(job.name)
    if period_s is None:
        return job
    if not isinstance(job.trigger, Every):
        raise ConfigError(f"poller.every_s.{job.name} has no effect: it runs once a day; remove it")
    trigger = Every(period_s, job.trigger.offset_s % period_s)
    grace_s = min(job.grace_s / job.trigger.period_s, _GRACE) * period_s
    return msgspec.structs.replace(job, trigger=trigger, grace_s=grace_s)
