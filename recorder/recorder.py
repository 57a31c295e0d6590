"""The process that records one venue: its links, its tape, its journal. Needs no database to record."""

import gc
import random
import threading
from collections.abc import Callable, Iterable, Sequence

import msgspec

from recorder import expectation_file, handover, postgres
from recorder.catalog import CatalogFile, Listings
from recorder.clock import Clock, SystemClock
from recorder.continuity import Continuity
from recorder.errors import ConfigError
from recorder.events import Stream
from recorder.fetches import Fetches
from recorder.health import HealthFile
from recorder.journal import Journal
from recorder.link import Link, State
from recorder.log import dropped, get_logger
from recorder.patterns import Pattern, Wish
from recorder.rest import RestClient
from recorder.service import Crew
from recorder.settings import Settings, VenueSettings
from recorder.sharding import allot
from recorder.shares import Share, most_links
from recorder.subscriptions import Cache, follow
from recorder.tape import Tape
from recorder.venues import venue_class
from recorder.venues.base import Limits, Venue
from recorder.watch import Watch

_COLLECT_S = 60.0
_FETCHERS = 3  # one that waits for a slow answer must not hold up the others

_log = get_logger(__name__)


def make_venue(name: str, settings: VenueSettings) -> Venue:
    """A venue as the settings want it.

    Raises:
        ConfigError: no such venue, or an option it does not have.
    """
    options = dict(settings.options)
    book_depth = options.pop("book_depth", None)
    if options:
        raise ConfigError(f"venues.{name}.options: unknown {', '.join(sorted(options))}; known: book_depth")
    if book_depth is not None and not isinstance(book_depth, int):
        raise ConfigError(f"venues.{name}.options.book_depth must be a whole number, not {book_depth!r}")
    return venue_class(name)(settings.url, book_depth=book_depth)


class Links:
    """The links of a recorder; new streams go where there is room, old ones stay where they are."""

    def __init__(
        self,
        limits: Limits,
        max_links: int,
        make: Callable[[int, Iterable[Stream], Link | None], Link],
        start: Callable[[Link], None],
        refuse: Callable[[Sequence[Stream]], None],
    ) -> None:
        """
        Args:
            limits: Of the venue.
            max_links: Connections at most.
            make: A link of that number for these streams, which takes over from another.
            start: Starts its thread.
            refuse: Told of the streams that fit nowhere, whenever they are others than before.
        """
        self._limits = limits
        self.max_links = max_links
        self._make = make
        self._start = start
        self._refuse = refuse
        self._lock = threading.Lock()  # a link asks to be renewed from its own thread
        self._links: list[Link] = []
        self.refused: list[Stream] = []

    @property
    def all(self) -> tuple[Link, ...]:
        """Every link, also those that carry nothing now; one that is being replaced is not among them."""
        return tuple(self._links)

    def assign(self, streams: Sequence[Stream]) -> None:
        """Carry exactly these streams, the most important first; what fits on no connection is refused."""
        with self._lock:
            carried = [link.streams for link in self._links]
            allotment = allot(streams, carried, self._limits, self.max_links)
            for link, kept in zip(self._links, allotment.links, strict=False):
                if link.streams != kept:
                    link.change(kept)
            for number in range(len(self._links), len(allotment.links)):
                link = self._make(number, allotment.links[number], None)
                self._links.append(link)
                self._start(link)
            if allotment.refused != self.refused:
                self.refused = allotment.refused
                self._refuse(self.refused)

    def renew(self, link: Link) -> None:
        """Make before break: start a successor, which takes the link's streams over and retires it."""
        with self._lock:
            if link not in self._links:
                return
            successor = self._make(link.number, link.streams, link)
            self._links[link.number] = successor
            self._start(successor)

    def renew_all(self) -> None:
        """Replace every session by a new one, without a gap."""
        for link in self.all:
            link.supersede()


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
        chosen = settings.venues[key]
        # Processes of one venue share its address. The burst stays: less would never let a heavy request through.
        budget = msgspec.structs.replace(venue.rest, per_s=venue.rest.per_s / share.processes)
        self.rest = RestClient(
            venue.name, chosen.rest_url or venue.rest_url, budget, settings.websocket.user_agent, self.crew.stop,
            clock, random.Random(rng.getrandbits(64)),
        )  # fmt: skip
        self._fetches = Fetches(self.rest.once, clock)
        self._rng = rng
        self._venue = venue
        self.links = Links(
            venue.limits,
            most_links(venue.limits.connects_per_minute, share.processes, chosen.max_links),
            self._link,
            lambda link: self.crew.add(f"{venue.name}.link-{link.number}", link.run, may_end=True),
            self._refuse,
        )
        self.watch = Watch(
            venue.name, expectation_file.path_of(settings.home, name), settings.websocket.max_no_data_s,
            self.tape.lock, self.continuity, lambda: self.links.all, clock,
        )  # fmt: skip
        self.tape.close_sessions(recovered.sessions, clock.wall_ns())
        self.tape.flush()  # gaps of the time we were away are known now: say so before anything else

    def _link(self, number: int, streams: Iterable[Stream], predecessor: Link | None) -> Link:
        return Link(
            number, self._venue, streams, self.tape, self._fetches, self.settings.websocket, self._clock,
            random.Random(self._rng.getrandbits(64)), self.name, renew=self.links.renew, predecessor=predecessor,
        )  # fmt: skip

    def _refuse(self, streams: Sequence[Stream]) -> None:
        """Say loudly what is wanted and not recorded: it has a gap as long as there is no room for it."""
        if streams:
            _log.error(
                "streams.refused", venue=self._venue.name, streams=len(streams), max_links=self.links.max_links,
                first=f"{streams[0].channel} {streams[0].symbol}",
            )  # fmt: skip
        now_ns = self._clock.wall_ns()
        with self.tape.lock:
            for stream in streams:
                self.continuity.watch(stream, None, now_ns)
            self.continuity.lost(streams, "overflow", now_ns, None)
        self.tape.touch()

    def start(self) -> None:
        """Start what every recorder has; the links start with `links.assign`."""
        self.crew.listen(hang_up=self.links.renew_all)
        for number in range(_FETCHERS):
            self.crew.add(f"fetch-{number}", self._fetches.work)
        self.crew.add("watch", self.watch.body)
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
            "refused": len(self.links.refused),
            "silent": [f"{stream.channel} {stream.symbol}" for stream in self.watch.silent],
            "shed": self.tape.shed_frames,
            "log_dropped": dropped(),
        }

    def state(self) -> tuple[str, str]:
        """One word and one sentence on how it is."""
        links = self.links.all
        if self.tape.full:
            return "degraded", "the disk is full: shedding, gaps are declared"
        if self.links.refused:
            refused, most = self.links.refused, self.links.max_links
            return "degraded", f"{len(refused)} streams do not fit on {most} connections: raise max_links or processes"
        down = [link for link in links if link.state is not State.LIVE and link.streams]
        silent = self.watch.silent
        if silent:
            first = f"{silent[0].channel} {silent[0].symbol}"
            return "degraded", f"silent: {first}" + (f" and {len(silent) - 1} more" if len(silent) > 1 else "")
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
            # While a session takes over, what the old one counted is missing for a moment.
            metrics["frames_per_s"] = round(max(0, frames - last_frames) / span_s, 1)
            metrics["events_per_s"] = round(max(0, events - last_events) / span_s, 1)
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
        ConfigError: unknown venue, a pattern nobody understands, unusable journal folder, or a twin at work.
    """
    chosen = settings.venues.get(venue)
    if chosen is None:
        raise ConfigError(
            f"no [venues.{venue}] in {settings.file}; there: {', '.join(sorted(settings.venues)) or 'none'}"
        )
    first = [Wish(Pattern.parse(symbol).text, chosen.channels) for symbol in chosen.symbols]
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
    cache = Cache(settings.home / "subscriptions" / f"{settings.database.name}-{venue}.json")
    file = CatalogFile(settings.home, venue, recorder.rest.url)
    listings = Listings(recorder.rest, venue_class(venue)(), file, clock)

    def assign(streams: Iterable[Stream]) -> None:
        recorder.links.assign([stream for stream in streams if share.carries(stream.symbol)])

    assign(cache.read() or ())
    recorder.crew.add(
        "subscriptions", follow(lambda: postgres.database_url(settings), venue, first, cache, listings, assign)
    )
    # No cycles are made on the hot path; a collection now and then (report) is enough.
    gc.collect()
    gc.freeze()
    gc.disable()
    return recorder.finish(grace_s=10.0)
