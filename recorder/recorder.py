"""The process that records one venue: its links, its tape, its journal. Needs no database to record."""

import gc
import random
import threading
from collections.abc import Callable, Iterable

import msgspec

from recorder import handover, postgres
from recorder.clock import Clock, SystemClock
from recorder.continuity import Continuity
from recorder.errors import ConfigError
from recorder.events import CHANNELS, Stream
from recorder.health import HealthFile
from recorder.journal import Journal
from recorder.link import Link, State
from recorder.log import dropped, get_logger
from recorder.service import Crew
from recorder.settings import Settings, VenueSettings
from recorder.shares import Share
from recorder.subscriptions import Cache, follow
from recorder.tape import Tape
from recorder.venues import RECORDED, venue_class
from recorder.venues.base import Plan, Venue

_COLLECT_S = 60.0

_log = get_logger(__name__)


def make_venue(name: str, settings: VenueSettings) -> Venue:
    """A venue as the settings want it.

    Raises:
        ConfigError: no such venue, or an option it does not have.
    """
    if name not in RECORDED and venue_class(name):
        raise ConfigError(f"{name} can be decoded, not recorded yet; recorded are: {', '.join(sorted(RECORDED))}")
    options = dict(settings.options)
    book_depth = options.pop("book_depth", None)
    if options:
        raise ConfigError(f"venues.{name}.options: unknown {', '.join(sorted(options))}; known: book_depth")
    if book_depth is not None and not isinstance(book_depth, int):
        raise ConfigError(f"venues.{name}.options.book_depth must be a whole number, not {book_depth!r}")
    return venue_class(name)(settings.url, book_depth=book_depth)


class Links:
    """The links of a recorder; new streams go where there is room, old ones stay where they are."""

    def __init__(self, venue: Venue, make: Callable[[int, Plan], Link], start: Callable[[Link], None]) -> None:
        self._venue = venue
        self._make = make
        self._start = start
        self._links: list[Link] = []

    @property
    def all(self) -> tuple[Link, ...]:
        """Every link, also those that carry nothing now."""
        return tuple(self._links)

    def assign(self, streams: Iterable[Stream]) -> None:
        """Carry exactly these streams."""
        wanted = set(streams)
        carried = [set(link.streams) & wanted for link in self._links]
        fresh = wanted.difference(*carried)
        limit = self._venue.limits.streams_per_link
        homes = {stream.symbol: number for number, kept in enumerate(carried) for stream in kept}
        rest = []
        for stream in sorted(fresh, key=lambda stream: (stream.symbol, stream.channel)):
            home = homes.get(stream.symbol)
            if home is None or len(carried[home]) >= limit:
                home = next((number for number, kept in enumerate(carried) if len(kept) + len(CHANNELS) <= limit), None)
            if home is None:
                rest.append(stream)
            else:
                carried[home].add(stream)
                homes[stream.symbol] = home
        for link, kept in zip(self._links, carried, strict=True):
            if link.streams != kept:
                link.change(kept)
        for plan in self._venue.plan(rest):
            link = self._make(len(self._links), plan)
            self._links.append(link)
            self._start(link)


class Recorder:
    """The parts of one recorder, wired."""

    def __init__(
        self, settings: Settings, venue: Venue, key: str, share: Share, clock: Clock, rng: random.Random
    ) -> None:
        """
        Args:
            settings: All of them.
            venue: What to record.
            key: Its name in the settings; a dialect of a venue has its own.
            share: Which of its symbols.
            clock: Of everything.
            rng: For ids and delays.
        """
        self.name = name = share.recorder(key)
        self.settings = settings
        self.crew = Crew()
        self._clock = clock
        self.journal = Journal(settings.journal.dir / name, venue.name, settings.journal, clock)
        self.continuity = Continuity(venue.contiguous, lambda: rng.getrandbits(63))
        recovered = self.journal.recovered
        handover.close_abandoned(settings.journal, key, share, venue.name, clock)
        marks = handover.begin(self.journal, key, share, clock.wall_ns())
        self.continuity.restore(marks, recovered.last_frame_ns, clock.wall_ns())
        self.tape = Tape(self.journal, self.continuity, venue.name, settings.journal.pending_mb << 20, clock)
        self.links = Links(
            venue,
            lambda number, plan: Link(
                number, venue, plan, self.tape, settings.websocket, clock, random.Random(rng.getrandbits(64)), name
            ),
            lambda link: self.crew.add(f"{venue.name}.link-{link.number}", link.run),
        )
        self.tape.close_sessions(recovered.sessions, clock.wall_ns())
        self.tape.flush()  # gaps of the time we were away are known now: say so before anything else

    def start(self) -> None:
        """Start what every recorder has; the links start with `links.assign`."""
        self.crew.listen()
        journal = self.settings.journal
        self.crew.add("flush", self.tape.flush_loop(journal.flush_ms / 1000))
        self.crew.add("sync", self.tape.sync_loop(journal.fsync_ms / 1000))

    def finish(self, grace_s: float) -> int:
        """Wait for the end, then bring what the links said last into the journal.

        Returns:
            Exit status.
        """
        status = self.crew.wait(grace_s)
        self.tape.flush()
        self.journal.close()
        return status

    def metrics(self) -> dict[str, object]:
        """Figures for health and logs."""
        links = [link.status() for link in self.links.all]
        return {
            "links": [msgspec.structs.asdict(status) for status in links],
            "frames": sum(status.frames for status in links),
            "events": sum(status.events for status in links),
            "quarantined": sum(status.quarantined for status in links),
            "journal_position": msgspec.structs.asdict(self.journal.position),
            "blocks": self.tape.blocks,
            "pending_bytes": self.tape.pending_bytes,
            "open_gaps": self.continuity.open_gaps(),
            "shed": self.tape.shed_frames,
            "log_dropped": dropped(),
        }

    def state(self) -> tuple[str, str]:
        """One word and one sentence on how it is."""
        links = self.links.all
        if self.tape.full:
            return "degraded", "the disk is full: shedding, gaps are declared"
        down = [link for link in links if link.state is not State.LIVE and link.streams]
        if not any(link.streams for link in links):
            return "live", "nothing is subscribed"
        if down:
            return "starting" if not self.tape.blocks else "degraded", f"{len(down)} of {len(links)} links not live"
        return "live", ""


def report(recorder: Recorder, settings: Settings, clock: Clock) -> Callable[[threading.Event], None]:
    """A part that writes health once a second, logs a summary now and then, and collects garbage."""
    health = HealthFile(settings.home, recorder.name)

    def body(stop: threading.Event) -> None:
        last_frames, last_events, last_s = 0, 0, clock.monotonic_s()
        summary_s = collect_s = last_s
        while not stop.wait(1.0):
            now_s = clock.monotonic_s()
            metrics = recorder.metrics()
            frames, events = int(str(metrics["frames"])), int(str(metrics["events"]))
            span_s = max(now_s - last_s, 1e-9)
            metrics["frames_per_s"] = round((frames - last_frames) / span_s, 1)
            metrics["events_per_s"] = round((events - last_events) / span_s, 1)
            last_frames, last_events, last_s = frames, events, now_s
            state, detail = recorder.state()
            health.write(state, detail, metrics)
            if settings.monitoring.enabled and now_s - summary_s >= settings.monitoring.metrics_interval_s:
                summary_s = now_s
                links = metrics.pop("links")
                sessions = sum(link["sessions"] for link in links)  # type: ignore[attr-defined]
                _log.info("metrics", program=recorder.name, state=state, sessions=sessions, **metrics)
            if now_s - collect_s >= _COLLECT_S:
                collect_s = now_s
                gc.collect()
        health.write("stopping")

    return body


def main(settings: Settings, venue: str, share: Share) -> int:
    """Record a venue, or this process's share of it, until told to stop.

    Raises:
        ConfigError: unknown venue, unusable journal folder, or a twin at work.
    """
    chosen = settings.venues.get(venue)
    if chosen is None:
        raise ConfigError(
            f"no [venues.{venue}] in {settings.file}; there: {', '.join(sorted(settings.venues)) or 'none'}"
        )
    clock = SystemClock()
    seed = random.SystemRandom().getrandbits(64)
    recorder = Recorder(settings, make_venue(venue, chosen), venue, share, clock, random.Random(seed))
    _log.info(
        "recorder.start", venue=venue, share=f"{share.number}/{share.processes}",
        journal=str(recorder.journal.folder), seed=seed,
        cut_bytes=recorder.journal.recovered.cut_bytes, streams_known=len(recorder.journal.recovered.marks),
    )  # fmt: skip
    recorder.start()
    recorder.crew.add("health", report(recorder, settings, clock))
    first = [Stream(channel, symbol) for symbol in chosen.symbols for channel in chosen.channels]
    cache = Cache(settings.home / "subscriptions" / f"{settings.database.name}-{venue}.json")
    known = cache.read()

    def assign(streams: Iterable[Stream]) -> None:
        recorder.links.assign(stream for stream in streams if share.carries(stream.symbol))

    assign(first if known is None else known)
    recorder.crew.add(
        "subscriptions",
        follow(lambda: postgres.database_url(settings), venue, first, cache, assign),
    )
    # No cycles are made on the hot path; a collection now and then (report) is enough.
    gc.collect()
    gc.freeze()
    gc.disable()
    return recorder.finish(grace_s=10.0)
