"""The program that records one venue, or one shard of it, into a journal."""

import gc
import random
import threading

from recorder.appliance import embedded_postgres
from recorder.capture.recorder import Recorder
from recorder.clock import SystemClock
from recorder.errors import ConfigError
from recorder.instruments import configured
from recorder.instruments.catalog import CatalogFile, Listings
from recorder.instruments.patterns import Pattern, SymbolSelector
from recorder.instruments.subscriptions import Cache, follow
from recorder.process.health import HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import reporting
from recorder.settings import Settings
from recorder.shards import Shard
from recorder.store.database import RECORDER
from recorder.venues import venue_class

_COLLECT_S = 60.0
_GRACE_S = 10.0
_LEAVE_S = 1.0

_log = get_logger(__name__)


def main(settings: Settings, venue: str, shard: Shard) -> int:
    """Record a venue, or one shard of it, until a signal arrives.

    Raises:
        ConfigError: unknown venue, a pattern that cannot be parsed, an unusable journal folder, or another process
            that records the same.
    """
    chosen = settings.venues.get(venue)
    if chosen is None:
        raise ConfigError(
            f"no [venues.{venue}] in {settings.file}; there: {', '.join(sorted(settings.venues)) or 'none'}"
        )
    first = [SymbolSelector(Pattern.parse(symbol).text, chosen.channels) for symbol in chosen.symbols]
    clock = SystemClock()
    seed = random.SystemRandom().getrandbits(64)
    settings = settings.for_venue(venue)
    recorder = Recorder.open(settings, configured.make_venue(venue, chosen), venue, shard, clock, random.Random(seed))
    _log.info(
        "recorder.start",
        venue=venue,
        shard=str(shard),
        journal=str(recorder.journal.folder),
        seed=seed,
        cut_bytes=recorder.journal.recovered.cut_bytes,
        streams_known=len(recorder.journal.recovered.checkpoints),
    )
    recorder.start()
    file = HealthFile(settings.home, recorder.name)
    recorder.threads.add("health", reporting(file, recorder.health, settings.monitoring))
    recorder.threads.add("garbage", collect_garbage)
    cache = Cache(settings.home / "subscriptions" / f"{settings.database.name}-{venue}.json")
    recorder.assign(cache.read() or ())
    recorder.followed = cache.followed
    catalog = CatalogFile(settings.home, venue, recorder.rest.url)
    listings = Listings(recorder.rest, venue_class(venue)(), catalog, clock)
    url = lambda: embedded_postgres.database_url(settings, RECORDER)  # noqa: E731 - known after the server's first start
    recorder.threads.add("subscriptions", follow(url, venue, first, cache, listings, recorder.assign), leave_s=_LEAVE_S)
    gc.collect()
    gc.freeze()
    gc.disable()  # the hot path makes no cycles; collect_garbage is enough
    return recorder.finish(_GRACE_S)


def collect_garbage(stop: threading.Event) -> None:
    """Collect cycles once in a while until stopped."""
    while not stop.wait(_COLLECT_S):
        gc.collect()
