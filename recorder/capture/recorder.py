"""The parts of one recorder, wired: its links, its write buffer, its journal, its health."""

import random
import threading
from collections.abc import Callable, Iterable, Sequence

from recorder.capture import takeover
from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.evidence.recorded import RecordedStreams
from recorder.capture.handover.giving import Giving
from recorder.capture.handover.standby import Standby
from recorder.capture.handover.state import checkpoints_of
from recorder.capture.handover.taking import Taking
from recorder.capture.link import Link
from recorder.capture.links import Links
from recorder.capture.liveness import rates_file
from recorder.capture.liveness.monitor import LivenessMonitor
from recorder.capture.liveness.rates import ExpectedRates
from recorder.capture.rest_fetcher import RestFetcher
from recorder.capture.websocket import connect_budget
from recorder.capture.websocket.connect_budget import ConnectBudget
from recorder.capture.witness.asker import WitnessAsker
from recorder.clock import Clock
from recorder.events import Stream
from recorder.journal.writer import Journal
from recorder.process.health import RecorderFigures, Refusal
from recorder.process.health import State as HealthState
from recorder.process.log import dropped, get_logger
from recorder.process.reporting import Health, Rate
from recorder.process.slots import Slot, Slots, other, program_of
from recorder.process.threads import ThreadGroup
from recorder.rest.client import RestClient
from recorder.rest.policy import Priority
from recorder.settings import Settings
from recorder.shards import Shard, most_links
from recorder.venues.base import Venue

_FETCHERS = 3  # one that waits for a slow answer must not hold up the others
_REFUSALS_REPORTED = 20  # a report must stay small where a venue refuses thousands

_log = get_logger(__name__)


class Recorder:
    """Records one venue, or one shard of it, into a journal. Needs no database.

    Attributes:
        followed: Returns the symbols that the poller chose, and no person.
    """

    def __init__(
        self,
        settings: Settings,
        venue: Venue,
        key: str,
        shard: Shard,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        buffer: WriteBuffer,
        rates: ExpectedRates,
        recorded: RecordedStreams,
        slot: Slot,
    ) -> None:
        """Wire the parts; `open` makes the journal and what depends on its content."""
        self.name = program_of(shard.recorder(key), slot)
        self.settings = settings
        self.threads = ThreadGroup()
        self.journal = journal
        chosen = settings.venues[key]

        def client(priority: Priority) -> RestClient:
            return RestClient(
                venue.name,
                chosen.rest_url or venue.rest_url,
                venue.rest,
                settings.websocket.user_agent,
                self.threads.stop,
                clock,
                random.Random(rng.getrandbits(64)),
                settings.ca_file,
                settings.budgets_dir,
                priority,
            )

        self.rest = client(Priority.LIVE)
        self._connects = ConnectBudget(
            connect_budget.path_of(settings.budgets_dir, venue.name), venue.limits.connects_per_minute, clock
        )
        self.links = Links(
            venue.limits,
            most_links(venue.limits.connects_per_minute, shard.processes, chosen.max_links),
            self._link,
            lambda link: self.threads.add(f"{venue.name}.link-{link.number}", link.run, may_end=True),
            self._unplaced,
        )
        self._venue = venue
        self._clock = clock
        self._rng = rng
        self._buffer = buffer
        self._recorded = recorded
        self._shard = shard
        self._witnesses = WitnessAsker(
            self.name,
            venue.witness_questions,
            client(Priority.SCHEDULED).once,
            buffer,
            settings.monitoring.book_check_s,
            clock,
            random.Random(rng.getrandbits(64)),
        )
        path, max_no_data_s = rates_file.path_of(settings.home, self.name), settings.websocket.max_no_data_s
        self._liveness = LivenessMonitor(venue.name, path, rates, max_no_data_s, buffer, clock, self._witnesses)
        self.followed: Callable[[], frozenset[str]] = frozenset
        self._fetcher = RestFetcher(self.rest.once, clock)
        slots, old_journal = Slots(settings.home, shard.recorder(key), clock), journal.folder.parent
        self._giving = Giving(
            slots,
            slot,
            buffer,
            lambda: [link.session for link in self.links.all if link.session is not None],
            clock,
            connection_sequences=venue.connection_sequences,
        )
        self._standby = None if buffer.owns else Standby(settings.journal.pending_mb << 20)
        self._taking: Taking | None = None  # until it has taken over
        if self._standby is not None:
            old_journal /= program_of(shard.recorder(key), other(slot))
            self._taking = Taking(
                slots,
                slot,
                old_journal,
                self._standby,
                buffer,
                lambda: self.links.all,
                clock,
                connection_sequences=venue.connection_sequences,
            )
        self._to_renew: list[Link] = []  # once it has taken over
        self._frame_rate, self._event_rate = Rate(), Rate()

    @classmethod
    def open(
        cls,
        settings: Settings,
        venue: Venue,
        key: str,
        shard: Shard,
        clock: Clock,
        rng: random.Random,
        slot: Slot = "a",
        *,
        records: bool = True,
    ) -> "Recorder":
        """Open and recover the journal, and declare the gaps since the last process.

        Args:
            settings: All of them.
            venue: What to record.
            key: Its name in the settings; a dialect of a venue has its own.
            shard: Which of its symbols.
            clock: Of everything.
            rng: For ids and delays.
            slot: Of the process.
            records: Whether it records at once; else it takes over from the process in the other slot, without a gap.

        Raises:
            ConfigError: the journal folder cannot be used, or another process holds it.
            JournalError: the disk fails.
        """
        name = program_of(shard.recorder(key), slot)
        journal = Journal.open(settings.journal.dir / name, venue.name, settings.journal, clock)
        journal.recovered.checkpoints = checkpoints_of(journal.recovered)
        continuity = Continuity(venue.contiguous, lambda: rng.getrandbits(63))
        recorded = RecordedStreams.load(settings.home, name, key, shard.carries)
        if not records:
            buffer = WriteBuffer(journal, continuity, venue.name, settings.journal.pending_mb << 20, clock, owns=False)
            learned = rates_file.path_of(settings.home, program_of(shard.recorder(key), other(slot)))
            rates = rates_file.load(learned, clock.wall_ns() / 1e9)
            return cls(settings, venue, key, shard, clock, rng, journal, buffer, rates, recorded, slot)
        takeover.close_abandoned(settings.journal, key, shard, venue.name, clock)
        checkpoints = takeover.initial_checkpoints(journal, key, shard, clock.wall_ns())
        checkpoints += recorded.forgotten(checkpoints, shard.carries, f"{name}:{rng.getrandbits(64):x}")
        recorded.note((Stream(one.channel, one.symbol), one.since_ns) for one in checkpoints)
        continuity.restore(checkpoints, journal.recovered.last_frame_ns, clock.wall_ns())
        buffer = WriteBuffer(journal, continuity, venue.name, settings.journal.pending_mb << 20, clock)
        rates = rates_file.load(rates_file.path_of(settings.home, name), clock.wall_ns() / 1e9)
        recorder = cls(settings, venue, key, shard, clock, rng, journal, buffer, rates, recorded, slot)
        buffer.close_sessions(journal.recovered.sessions)
        buffer.flush()  # the gaps of the time without a process are known now and come first
        return recorder

    def assign(self, streams: Iterable[Stream]) -> None:
        """Record exactly these streams from now on, as far as they belong to this shard; the most important first."""
        carried = [stream for stream in streams if self._shard.carries(stream.symbol)]
        now_ns = self._clock.wall_ns()
        self._recorded.note((stream, now_ns) for stream in carried)
        if self._taking is not None:
            self._taking.assign(carried)
        self.links.assign(carried)

    def start(self) -> None:
        """Start the threads that every recorder has; the links start with `assign`."""
        self.threads.listen(on_sighup=self.links.renew_all)
        for number in range(_FETCHERS):
            self.threads.add(f"fetch-{number}", self._fetcher.work)
        if self._taking is None:
            self._start_writing()
            self.threads.add("handover", self._give, may_end=True)
        else:
            self.threads.add("handover", self._take, may_end=True)

    @property
    def handed_over(self) -> bool:
        """Whether a successor records now."""
        return self._giving.done

    def _take(self, stop: threading.Event) -> None:
        """Take over from the other process, then be one that records."""
        taking = self._taking
        found = None if taking is None else taking.wait(stop)
        if taking is None or found is None:
            return
        taking.begin(*found, self.journal.recovered.sessions)
        self._taking = None
        self._start_writing()
        if self.links.unplaced:
            self._unplaced(self.links.unplaced)
        for link in self._to_renew:
            self.links.renew(link)
        self._give(stop)

    def _give(self, stop: threading.Event) -> None:
        if self._giving.wait(stop):
            self.threads.end("handed over")

    def _renew(self, link: Link) -> None:
        """Start a successor of a link; while another process records, that waits."""
        if self._taking is None:
            self.links.renew(link)
        else:
            self._to_renew.append(link)

    def _start_writing(self) -> None:
        self.threads.add("liveness", self._liveness.part(lambda: self.links.all))
        self.threads.add("witness", self._witnesses.part(lambda: self.links.all))
        journal = self.settings.journal
        self.threads.add("flush", self._buffer.flush_loop(journal.flush_ms / 1000))
        self.threads.add("sync", self._buffer.sync_loop(journal.fsync_ms / 1000))

    def finish(self, grace_s: float) -> int:
        """Wait for the end, then write the last reports of the links to the journal.

        Returns:
            Exit status.
        """
        status = self.threads.wait(grace_s)
        self._buffer.flush()
        self.journal.close()
        return status

    def health(self) -> Health:
        """Return the state of the recorder and its figures."""
        links = self.links.all
        of_links = [link.figures() for link in links]
        frames, events = sum(one.frames for one in of_links), sum(one.events for one in of_links)
        errors = [one.last_error for one in of_links if one.last_error is not None]
        position = self.journal.position
        refused = [(stream, reason) for link in links for stream, reason in link.refused.items()]
        followed = self.followed()
        gap_ns = self._buffer.oldest_gap_ns(followed)
        by_hand = [(stream, reason) for stream, reason in refused if stream.symbol not in followed]
        figures = RecorderFigures(
            links=of_links,
            frames=frames,
            frames_per_s=self._frame_rate.per_s(frames),
            events=events,
            events_per_s=self._event_rate.per_s(events),
            quarantined=sum(one.quarantined for one in of_links),
            unsubscribed=sum(one.unsubscribed for one in of_links),
            sessions=sum(one.sessions for one in of_links),
            reconnects=sum(max(0, one.sessions - 1) for one in of_links),
            errors=sum(one.errors for one in of_links),
            uptime_s=min((one.uptime_s or 0.0 for one in of_links if one.streams), default=0.0),
            last_message_s=min(
                (one.last_frame_age_s for one in of_links if one.last_frame_age_s is not None), default=None
            ),
            journal_segment=position.segment,
            journal_offset=position.offset,
            blocks=self._buffer.blocks,
            pending_bytes=self._buffer.pending_bytes,
            open_gaps=self._buffer.open_gaps(),
            oldest_gap_s=0.0 if gap_ns is None else max(0.0, (self._clock.wall_ns() - gap_ns) / 1e9),
            unplaced=len(self.links.unplaced),
            refused=len(by_hand),
            followed_refused=len(refused) - len(by_hand),
            refusals=self._refusals(by_hand)[:_REFUSALS_REPORTED],
            silent=[str(stream) for stream in self._liveness.silent],
            quiet=[str(stream) for stream in self._liveness.quiet],
            witness=self._witnesses.figures,
            failures=max((one.failures for one in of_links), default=0),
            heartbeat_failures=max((one.heartbeat_failures for one in of_links), default=0),
            resyncs=sum(one.resyncs for one in of_links),
            looping=sum(symbol not in followed for link in links for symbol in link.looping),
            shed=self._buffer.shed_frames,
            log_dropped=dropped(),
            last_error=max(errors, key=lambda error: error.at, default=None),
        )
        return Health(*self._state(links, figures), figures)

    def _refusals(self, refused: Sequence[tuple[Stream, str]]) -> list[Refusal]:
        no_room = f"no room on {self.links.max_links} connections"
        refusals = [Refusal(str(stream), no_room) for stream in self.links.unplaced[:_REFUSALS_REPORTED]]
        return refusals + [Refusal(str(stream), reason) for stream, reason in refused]

    def _state(self, links: Sequence[Link], figures: RecorderFigures) -> tuple[HealthState, str]:
        taking = self._taking
        if taking is not None:
            return "starting", f"takes over from the other slot: {taking.detail}"
        if self._buffer.full:
            return "degraded", "the disk is full: frames are dropped, gaps are declared"
        unplaced = self.links.unplaced
        if unplaced:
            most = self.links.max_links
            return (
                "degraded",
                f"{len(unplaced)} streams do not fit on {most} connections: raise max_links or take fewer symbols",
            )
        silent = self._liveness.silent
        if silent:
            return "degraded", f"silent: {silent[0]}" + (f" and {len(silent) - 1} more" if len(silent) > 1 else "")
        if not any(link.streams for link in links):
            return "live", "nothing is subscribed"
        down = [link for link in links if link.streams and not self._delivers(link)]
        if down:
            return "degraded" if self._buffer.blocks else "starting", f"{len(down)} of {len(links)} links not live"
        if figures.unsubscribed:
            return "live", f"{figures.unsubscribed:,} rows of streams that are not subscribed came and were left out"
        if figures.followed_refused:
            return "live", f"streams that the poller chose and that bring nothing: {figures.followed_refused:,}"
        quiet = self._liveness.quiet
        if quiet:
            return "live", f"{len(quiet)} silent: quiet by REST"
        return "live", ""

    def _delivers(self, link: Link) -> bool:
        """Return whether a link is live, or only waits for streams that the poller chose.

        The poller ends those of markets that are over a minute after its own start, and such a market never answers.
        """
        if link.delivers:
            return True
        accepted, followed = link.accepted, self.followed()
        return bool(accepted) and all(stream.symbol in followed for stream in link.streams - accepted)

    def _link(self, number: int, streams: Iterable[Stream], predecessor: Link | None) -> Link:
        return Link(
            number,
            self._venue,
            streams,
            self._buffer,
            self._fetcher,
            self.settings.websocket,
            self._clock,
            random.Random(self._rng.getrandbits(64)),
            self.name,
            self._connects,
            ca_file=self.settings.ca_file,
            renew=self._renew,
            predecessor=predecessor,
            standby=self._standby,
        )

    def _unplaced(self, streams: Sequence[Stream]) -> None:
        """Report streams that are subscribed and not recorded: each has a gap as long as there is no room for it."""
        if streams:
            _log.error(
                "streams.unplaced",
                venue=self._venue.name,
                streams=len(streams),
                max_links=self.links.max_links,
                first=str(streams[0]),
            )
        if self._taking is None:
            self._buffer.declare_unplaced(streams, self._clock.wall_ns())
