"""The jobs of Polymarket, and the memory that they share."""

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from recorder.clock import Clock, SystemClock
from recorder.poller.job import Every, Handler, Job
from recorder.poller.polymarket import snapshots
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.cases import Cases
from recorder.poller.polymarket.following import FollowTiers
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.memory import Memory, Tiers, WithMemory
from recorder.poller.polymarket.own_book import service as stream
from recorder.poller.polymarket.own_book.service import StreamService
from recorder.poller.polymarket.resolving import Forgotten, Resolutions
from recorder.poller.polymarket.snapshots import Snapshots, StoredBooks
from recorder.poller.polymarket.streams import PRIORITIES
from recorder.poller.polymarket.sweep import NewMarkets, SlowNumbers, Sweep
from recorder.poller.polymarket.tiers import PERIODS_S, Tier, TierRules
from recorder.poller.polymarket.whales import WhaleTrades
from recorder.poller.services import ClientService, Service
from recorder.rest.client import RestClient
from recorder.rest.policy import Priority
from recorder.settings import PolymarketSettings, Settings
from recorder.shards import slot_names
from recorder.venues.polymarket.polls.services import SERVICES
from recorder.venues.polymarket.stream import Polymarket

VENUE = "polymarket"
MEMORY_FILE = "poller/polymarket.msgpack"
"""In the home."""
WHALES_FILE = "poller/whales.json"

_SWEEP_S, _NUMBERS_S, _MINUTE_S, _NEW_S = 600, 300, 60, 30
_WHALES_S = 30
_FORGOTTEN_S = 3600
_BOOK_OFFSETS_S: dict[Tier, int] = {"T4": 0, "T3": 3, "T2": 7, "T1": 11, "T0": 19}
"""The tiers do not ask in the same second."""


class Shared:
    """What the jobs of Polymarket share.

    Args:
        settings: All settings.
        clock: Gives the time.
        url: Returns the address of the database, as the writer's role.
    """

    def __init__(self, settings: Settings, clock: Clock, url: Callable[[], str]) -> None:
        self.settings = settings
        self.clock = clock
        self.url = url
        self.intake = Intake(Board(tier_rules(settings.poller.polymarket)), Cases())
        self.memory = Memory(self.intake, settings.home / MEMORY_FILE, clock)

    @property
    def board(self) -> Board:
        """Return the markets in memory."""
        return self.intake.board


def tier_rules(settings: PolymarketSettings) -> TierRules:
    """Return the rules of the tiers."""
    return TierRules(settings.volume_min, settings.window_hours, settings.game_hours)


def polymarket_jobs(settings: Settings, clock: Clock, url: Callable[[], str]) -> list[Job]:
    """Return the jobs; none where the venue is not enabled."""
    if not _enabled(settings):
        return []
    shared = Shared(settings, clock, url)
    return [*_metadata(shared, VENUE), *_snapshots(shared)]


def _enabled(settings: Settings) -> bool:
    own = settings.venues.get(VENUE)
    return own is not None and own.enabled


def _job(
    shared: Shared,
    name: str,
    trigger: Every,
    handler: Handler,
    summary: str,
    *,
    at_start: bool = False,
    changes: bool = True,
) -> Job:
    # A late round is worth more than none, and must leave room for the next one.
    grace_s = trigger.period_s * 0.8
    remembering = WithMemory(handler, shared.memory, changes=changes)
    memory = shared.memory if changes else None
    return Job(f"polymarket-{name}", trigger, grace_s, remembering, summary, at_start, memory=memory)


def _snapshots(shared: Shared) -> Iterator[Job]:
    own, board = shared.settings.poller.polymarket, shared.board
    stored = StoredBooks(own.books_from)
    for tier, offset_s in _BOOK_OFFSETS_S.items():
        service = stream.NAME if tier in PRIORITIES else snapshots.SERVICE
        handler = Snapshots(board, tier, stored, service)
        job = _job(
            shared, f"books-{tier.lower()}", Every(PERIODS_S[tier], offset_s), handler,
            f"Ask for the books of the markets in tier {tier}.", changes=False,
        )  # fmt: skip
        yield msgspec.structs.replace(job, at_begin=handler.begin)
    whales = WhaleTrades(
        "polymarket-whales", board, own.whale_usdc, own.whale_row_usdc, own.whale_shown_usdc,
        shared.settings.home / WHALES_FILE,
    )  # fmt: skip
    yield _job(
        shared, "whales", Every(_WHALES_S, 21), whales,
        "Ask for the large trades of the complete site.", changes=False,
    )  # fmt: skip


def _metadata(shared: Shared, venue: str) -> Iterator[Job]:
    intake, clock = shared.intake, shared.clock
    job = partial(_job, shared)
    tiers = job(
        "tiers", Every(_MINUTE_S), Tiers(intake, shared.memory, clock),
        "Judge from memory how soon every market ends.", at_start=True, changes=False,
    )  # fmt: skip
    yield msgspec.structs.replace(tiers, at_stop=shared.memory.stopped)
    yield job(
        "markets", Every(_SWEEP_S, 11), Sweep(intake, clock),
        "Ask Gamma for the open markets that the settings choose.", at_start=True,
    )  # fmt: skip
    yield job("new", Every(_NEW_S, 13), NewMarkets(intake, clock, stream=True), "Ask Gamma for markets that are new.")
    yield job(
        "numbers", Every(_NUMBERS_S, 137), SlowNumbers(intake, clock),
        "Ask Gamma for the numbers of the markets that end within twelve hours.",
    )  # fmt: skip
    yield job(
        "resolutions", Every(_MINUTE_S, 33), Resolutions(intake, clock, stream=True),
        "Ask how markets ended, until two sources agree.",
    )  # fmt: skip
    forgotten = job(
        "unlabelled", Every(_FORGOTTEN_S, 223), Forgotten(intake, shared.url, clock),
        "Read from the database which markets ended without a label.", at_start=True, changes=False,
    )  # fmt: skip
    yield msgspec.structs.replace(forgotten, retry_s=30.0)
    most = shared.settings.poller.polymarket.streamed_markets
    if most:
        yield job(
            "streams", Every(_MINUTE_S, 43), FollowTiers(intake, venue, shared.url, most, clock),
            "Subscribe to the markets that end soonest.", changes=False,
        )  # fmt: skip


def polymarket_services(settings: Settings, stop: threading.Event) -> dict[str, Service]:
    """Return the services that the jobs ask; none where the venue is off.

    Raises:
        ConfigError: The file of authorities cannot be used.
    """
    if not _enabled(settings):
        return {}
    services: dict[str, Service] = {
        name: ClientService(client) for name, client in polymarket_clients(settings, stop).items()
    }
    folders = [settings.journal.dir / name for name in slot_names(VENUE, settings.venues[VENUE].processes)]
    services[stream.NAME] = StreamService(
        services[snapshots.SERVICE], folders, Polymarket.name, Polymarket.heartbeat.silence_s,
        settings.journal.flush_ms / 1000, SystemClock(), stop,
    )  # fmt: skip
    return services


def polymarket_clients(settings: Settings, stop: threading.Event) -> dict[str, RestClient]:
    """Return the clients of the services.

    Raises:
        ConfigError: The file of authorities cannot be used.
    """
    return {
        name: RestClient(
            name, settings.poller.services.get(name, public), limits, settings.websocket.user_agent, stop,
            SystemClock(), random.Random(), settings.ca_file, settings.budgets_dir, Priority.SCHEDULED,
        )
        for name, (public, limits) in SERVICES.items()
    }  # fmt: skip
