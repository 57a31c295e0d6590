"""The one WebSocket connection of a probe: it subscribes, listens for a bounded time, and decodes as recorders do."""

import threading
from collections.abc import Callable

from recorder import __version__
from recorder.capture.rest_fetcher import framed
from recorder.capture.websocket.connect_budget import ConnectBudget, path_of
from recorder.capture.websocket.connection import Connection
from recorder.clock import Clock
from recorder.errors import Closed, ConnectFailed, DecodeError
from recorder.events import Accepted, Alive, Book, Fetch, Quote, Reply, Stream, Trade
from recorder.probe.keeping import Keeper
from recorder.settings import Settings
from recorder.venues.base import CountsPings, Venue, requests_of
from recorder.venues.questions import Frame, Heard, Listen, Rest
from recorder.venues.questions import Reply as RestReply

HEARD_BYTES = 64 << 20
"""A venue that sends more ends one listening."""
HEARD_FRAMES = 50_000
ODD_MAX = 1_000
FETCHES_MAX = 5
"""Book snapshots by REST that a decoder gets in one probe."""
_SLICE_S = 0.25

Ask = Callable[[Rest], RestReply | None]
"""Makes a REST request; None where there is no answer."""


class ProbeStream:
    """A connection with its decoder. One thread uses it."""

    def __init__(
        self,
        venue: Venue,
        settings: Settings,
        keeper: Keeper,
        ask: Ask,
        clock: Clock,
        stop: threading.Event,
        most_s: float,
    ) -> None:
        """Connect.

        Args:
            venue: Its decoder reads the frames.
            settings: Of all connections.
            keeper: Keeps every frame.
            ask: Answers a decoder that needs a REST answer.
            clock: For receipt times and waits.
            stop: Ends every wait.
            most_s: The longest listening, whatever a question wants.

        Raises:
            ConnectFailed: there is no connection.
        """
        connects = ConnectBudget(path_of(settings.budgets_dir, venue.name), venue.limits.connects_per_minute, clock)
        while wait_s := connects.take(0.0):  # the recorders of the venue share its limit with us
            if stop.wait(wait_s):
                raise ConnectFailed("its limit of connects allows none in this time")
        self._connection = Connection(
            venue.endpoint, int(settings.websocket.max_frame_mb * 2**20), f"tapedeck-probe/{__version__}",
            settings.ca_file, clock, stop,
        )  # fmt: skip
        self._venue, self._keeper, self._ask, self._clock, self._stop = venue, keeper, ask, clock, stop
        self._decoder = venue.decoder()
        self._pinged_s = clock.monotonic_s()
        self._ended = ""
        self._fetches = 0
        self._most_s = most_s

    def listen(self, wanted: Listen) -> Heard:
        """Subscribe, and read until all is there or the time is over."""
        heard = Heard(audits=self._decoder.audits, ended=self._ended)
        if self._ended:
            return heard
        until_s = self._clock.monotonic_s() + min(wanted.seconds, self._most_s)
        progress = _Progress(wanted)
        size = 0
        try:
            for text in requests_of(self._venue, self._decoder).subscribe(wanted.streams) if wanted.streams else ():
                self._send(text)
            for text in wanted.frames:
                self._send(text)
            while self._clock.monotonic_s() < until_s and not progress.complete and not self._stop.is_set():
                self._ping()
                for message in self._connection.receive(_SLICE_S) or ():
                    ts_ns = self._clock.wall_ns()
                    if not isinstance(message, bytes):
                        heard.odd.append(f"a message of {message.length:,} bytes")
                        continue
                    size += len(message)
                    self._keeper.frame(message, ts_ns)
                    heard.frames.append(Frame(message, ts_ns))
                    self._decode(message, ts_ns, heard, progress)
                    progress.seen(message)
                if size > HEARD_BYTES or len(heard.frames) > HEARD_FRAMES or len(heard.odd) > ODD_MAX:
                    break
        except Closed as error:
            self._ended = heard.ended = f"the connection ended: {error}"
        return heard

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _decode(self, frame: bytes, ts_ns: int, heard: Heard, progress: "_Progress") -> None:
        try:
            outputs = self._decoder.decode(frame, ts_ns)
        except DecodeError as error:
            heard.odd.append(str(error))
            return
        for output in outputs:
            heard.outputs.append(output)
            match output:
                case Reply(frame=text):
                    self._send(text)
                case Fetch(path=path):
                    self._fetch(path, heard, progress)
                case Accepted(stream=stream):
                    progress.accepted.discard(stream)
                case Trade(symbol=symbol):
                    progress.trades -= 1
                    progress.data.discard(Stream("trade", symbol))
                case Quote(symbol=symbol):
                    progress.data.discard(Stream("quote", symbol))
                case Book(symbol=symbol):
                    progress.data.discard(Stream("book", symbol))
                case Alive(stream=Stream() as stream):
                    progress.data.discard(stream)

    def _fetch(self, path: str, heard: Heard, progress: "_Progress") -> None:
        """Give the decoder a REST answer that it asked for, as a recorder does."""
        self._fetches += 1
        reply = self._ask(Rest(path)) if self._fetches <= FETCHES_MAX else None
        if reply is not None and reply.status == 200:  # a refusal is not decoded, because it would be asked for again
            self._decode(framed(path, reply.status, reply.body), reply.received_ns, heard, progress)

    def _ping(self) -> None:
        """Send the heartbeat of the venue when it is time."""
        now_s = self._clock.monotonic_s()
        if now_s - self._pinged_s < self._venue.heartbeat.every_s:
            return
        self._pinged_s = now_s
        if self._venue.heartbeat.frame is None:
            self._connection.ping()
            return
        if isinstance(self._decoder, CountsPings):
            self._decoder.pinged()
        self._connection.send(self._venue.heartbeat.frame)

    def _send(self, text: str) -> None:
        self._keeper.sent(text, self._clock.wall_ns())
        self._connection.send(text)


class _Progress:
    """What a listening still waits for."""

    def __init__(self, wanted: Listen) -> None:
        self.accepted = set(wanted.streams)
        self.data = set(wanted.streams)
        self.frames = wanted.least_frames
        self.trades = wanted.trades
        self.until = list(wanted.until)
        self._by_time = not (wanted.least_frames or wanted.trades or wanted.until)

    def seen(self, frame: bytes) -> None:
        """Note a frame."""
        self.frames -= 1
        if self.until:
            self.until = [text for text in self.until if text not in frame]

    @property
    def complete(self) -> bool:
        """Whether everything came that ends the listening before its time."""
        missing = self._by_time or self.accepted or self.data or self.frames > 0 or self.trades > 0 or self.until
        return not missing
