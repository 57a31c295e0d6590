"""Checks stream liveness once a second, and resubscribes or reconnects stalled streams."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from recorder.capture.buffer import WriteBuffer
from recorder.capture.link import Link
from recorder.capture.liveness import rates_file
from recorder.capture.liveness.judgement import Liveness, Verdict
from recorder.capture.liveness.rates import ExpectedRates
from recorder.capture.witness.asker import Question, WitnessAsker
from recorder.clock import Clock
from recorder.events import Stream
from recorder.process.log import get_logger

_CHECK_EVERY_S = 1.0
_SAVE_EVERY_S = 600.0

_log = get_logger(__name__)


class LivenessMonitor:
    """Liveness of the streams of one recorder, judged by their data.

    Attributes:
        silent: Streams that deliver nothing although they should, after all remedies: an alert was logged.
        quiet: Streams that deliver nothing because the venue has nothing newer, as a witness said.
    """

    def __init__(
        self,
        venue: str,
        path: Path,
        rates: ExpectedRates,
        max_no_data_s: float,
        buffer: WriteBuffer,
        clock: Clock,
        witnesses: WitnessAsker,
    ) -> None:
        """
        Args:
            venue: For the log.
            path: File of the learned rates.
            rates: As the file has them.
            max_no_data_s: The longest acceptable silence of a stream whose rate is not known.
            buffer: Knows which streams delivered data.
            clock: Wall clock.
            witnesses: Asks the venue about silent streams.
        """
        self.silent: tuple[Stream, ...] = ()
        self.quiet: tuple[Stream, ...] = ()
        self._venue = venue
        self._path = path
        self._buffer = buffer
        self._clock = clock
        self._witnesses = witnesses
        self._liveness = Liveness(rates, max_no_data_s, witnesses.channels)

    def part(self, links: Callable[[], tuple[Link, ...]]) -> Callable[[threading.Event], None]:
        """Return a part that checks until it is stopped.

        Args:
            links: Returns the links of now.
        """

        def body(stop: threading.Event) -> None:
            saved_s = self._clock.monotonic_s()
            while not stop.wait(_CHECK_EVERY_S):
                self.check(links())
                if self._clock.monotonic_s() - saved_s >= _SAVE_EVERY_S:
                    saved_s = self._clock.monotonic_s()
                    self._save()
            self._save()

        return body

    def check(self, links: tuple[Link, ...]) -> None:
        """Sample one second, and act on what follows from it."""
        by_number = {link.number: link for link in links}
        watched = {stream: number for number, link in by_number.items() for stream in link.accepted}
        now_s = self._now_s()
        active = [stream for stream in self._buffer.active_streams() if stream in watched]
        self._liveness.sample(active, watched, now_s)
        while not self._witnesses.said.empty():
            self._liveness.answered(*self._witnesses.said.get())
        for verdict in self._liveness.judge(now_s):
            self._act(verdict, by_number[verdict.link], watched)
        self.silent = tuple(self._liveness.silent())
        self.quiet = tuple(self._liveness.quiet())

    def _act(self, verdict: Verdict, link: Link, watched: Mapping[Stream, int]) -> None:
        stream = verdict.stream
        if verdict.action in ("resubscribe", "reconnect"):
            silent = [one for one, number in watched.items() if number == verdict.link] if stream is None else [stream]
            self._buffer.declare_silent(silent, int(verdict.since_s * 1e9))
        fields = {
            "venue": self._venue,
            "link": verdict.link,
            "silence_s": round(verdict.silence_s),
            "expected_per_s": round(verdict.expected_per_s, 4),
            "stream": "all of the link" if stream is None else str(stream),
            **({} if verdict.evidence is None else {"witness": verdict.evidence}),
        }
        match verdict.action:
            case "ask" if stream is not None:
                silent_since_ns = self._clock.wall_ns() - int(verdict.silence_s * 1e9)
                self._witnesses.ask(Question(link, stream, silent_since_ns))
            case "resubscribe" if stream is not None:
                _log.warning("stream.resubscribe", **fields)
                link.resubscribe(stream)
            case "reconnect":
                _log.warning("stream.reconnect", **fields)
                whose = "this connection" if stream is None else str(stream)
                link.reconnect(
                    f"no market data of {whose} for {verdict.silence_s:.0f} s, though the connection answers"
                )
            case "recovered":
                _log.info("stream.recovered", **fields)
            case _:
                _log.error("stream.silent", **fields)

    def _now_s(self) -> float:
        return self._clock.wall_ns() / 1e9

    def _save(self) -> None:
        rates_file.save(self._path, self._liveness.rates, self._now_s())
