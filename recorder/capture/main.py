"""The program that records one venue, or one shard of it, into a journal."""

import gc
import os
import random
import sys
import threading
import time

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
from recorder.process.slots import HANDED_OVER, Slot, Slots, program_of
from recorder.process.threads import ThreadGroup
from recorder.settings import Settings
from recorder.shards import Shard
from recorder.store.database import RECORDER
from recorder.venues import venue_class

_COLLECT_S = 60.0
_GRACE_S = 10.0
_LEAVE_S = 1.0

_log = get_logger(__name__)


PROGRAM = "recorder.programs.recorder"
_RELEASE = "RECORDER_RELEASE_PYTHON"  # so that an interpreter that names itself differently is not run for ever
_IDLE_S = 2.0  # supervisord calls a shorter life a failure, and would start the program again


def main(settings: Settings, venue: str, shard: Shard, slot: Slot = "a") -> int:
    """Record a venue, or one shard of it, until a signal arrives or another process has taken over.

    A process whose slot does not record takes over where that is wanted, and else ends.

    Returns:
        0 after a signal, HANDED_OVER where this slot does not record, 1 after a fault.

    Raises:
        ConfigError: unknown venue, a pattern that cannot be parsed, an unusable journal folder, or another process
            that records the same.
    """
    chosen = settings.venues.get(venue)
    if chosen is None:
        raise ConfigError(
            f"no [venues.{venue}] in {settings.file}; there: {', '.join(sorted(settings.venues)) or 'none'}"
        )
    slots = Slots(settings.home, shard.recorder(venue), SystemClock())
    state = slots.read()
    records = state.active == slot
    if not records and state.token:  # of an earlier process of this slot: the one that records must not wait for it
        slots.withdraw(state.token)
        state = slots.read()
    _run_with(state.python.get(slot), required=not records)
    if records and (state.phase or state.successor(time.time()) is not None):
        slots.restarted()
    elif not records and state.successor(time.time()) != slot:
        return _idle(settings, slots.recorder, slot)
    first = [SymbolSelector(Pattern.parse(symbol).text, chosen.channels) for symbol in chosen.symbols]
    clock = SystemClock()
    seed = random.SystemRandom().getrandbits(64)
    settings = settings.for_venue(venue)
    made = configured.make_venue(venue, chosen)
    recorder = Recorder.open(settings, made, venue, shard, clock, random.Random(seed), slot, records=records)
    _log.info(
        "recorder.start",
        venue=venue,
        shard=str(shard),
        journal=str(recorder.journal.folder),
        seed=seed,
        cut_bytes=recorder.journal.recovered.cut_bytes,
        streams_known=len(recorder.journal.recovered.checkpoints),
        slot=slot,
        records=records,
    )
    recorder.start()
    file = HealthFile(settings.home, recorder.name)
    recorder.threads.add("health", reporting(file, recorder.health, settings.monitoring))
    recorder.threads.add("garbage", collect_garbage)
    cache = Cache(settings.home / "subscriptions" / f"{settings.database.name}-{venue}.json")
    kept = cache.read()
    if records or kept:
        recorder.assign(kept or ())
    recorder.followed = cache.followed
    catalog = CatalogFile(settings.home, venue, recorder.rest.url)
    listings = Listings(recorder.rest, venue_class(venue)(), catalog, clock)
    url = lambda: embedded_postgres.database_url(settings, RECORDER)  # noqa: E731 - known after the server's first start
    recorder.threads.add("subscriptions", follow(url, venue, first, cache, listings, recorder.assign), leave_s=_LEAVE_S)
    gc.collect()
    gc.freeze()
    gc.disable()  # the hot path makes no cycles; collect_garbage is enough
    status = recorder.finish(_GRACE_S)
    if not recorder.handed_over:
        return status
    file.remove()
    return HANDED_OVER


def _run_with(python: str | None, *, required: bool) -> None:
    """Replace this program by the same of another release.

    Args:
        python: Its interpreter; None, or that which runs already, changes nothing.
        required: Whether it is an error that there is no such interpreter: a slot that records must do so all the same.

    Raises:
        ConfigError: it cannot be run.
    """
    if python is None or python in (sys.executable, os.environ.get(_RELEASE)):
        return
    try:
        os.execve(python, [python, "-P", "-m", PROGRAM, *sys.argv[1:]], {**os.environ, _RELEASE: python})
    except OSError as error:
        if required:
            raise ConfigError(f"cannot run {python}: {error.strerror}") from None
        _log.error("recorder.release_gone", python=python, error=str(error), action="it runs with that of supervisord")


def _idle(settings: Settings, recorder: str, slot: Slot) -> int:
    """End, because the other slot records."""
    _log.info("recorder.idle", program=program_of(recorder, slot), action="the other slot records")
    HealthFile(settings.home, program_of(recorder, slot)).remove()  # that of a process which was killed
    group = ThreadGroup()
    group.listen()
    group.stop.wait(_IDLE_S)
    return HANDED_OVER


def collect_garbage(stop: threading.Event) -> None:
    """Collect cycles once in a while until stopped."""
    while not stop.wait(_COLLECT_S):
        gc.collect()
