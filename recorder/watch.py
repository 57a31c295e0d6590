"""The part of a recorder that looks once a second whether its streams live, and has links act where they do not."""

import threading
from collections.abc import Callable
from pathlib import Path

from recorder import expectation_file
from recorder.clock import Clock
from recorder.continuity import Continuity
from recorder.events import Stream
from recorder.link import Link
from recorder.liveness import Liveness, Verdict
from recorder.log import get_logger

_LOOK_S = 1.0
_SAVE_S = 600.0

_log = get_logger(__name__)


class Watch:
    """Liveness by data of one recorder.

    Attributes:
        silent: Streams that bring nothing though they should, after all that could be done: a person was told.
    """

    def __init__(
        self,
        venue: str,
        path: Path,
        max_no_data_s: float,
        lock: threading.Lock,
        continuity: Continuity,
        links: Callable[[], tuple[Link, ...]],
        clock: Clock,
    ) -> None:
        """
        Args:
            venue: For the log.
            path: File of what was learned.
            max_no_data_s: How long is too long where nothing is known of a stream.
            lock: Of the continuity.
            continuity: Knows what brought data.
            links: Those at work now.
            clock: Wall clock.
        """
        self.silent: tuple[Stream, ...] = ()
        self._venue = venue
        self._path = path
        self._lock = lock
        self._continuity = continuity
        self._links = links
        self._clock = clock
        self._liveness = Liveness(expectation_file.load(path, self._now_s()), max_no_data_s)

    def body(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        saved_s = self._clock.monotonic_s()
        while not stop.wait(_LOOK_S):
            self.look()
            if self._clock.monotonic_s() - saved_s >= _SAVE_S:
                saved_s = self._clock.monotonic_s()
                self._save()
        self._save()

    def look(self) -> None:
        """Take in one second and act on what follows from it."""
        links = {link.number: link for link in self._links()}
        watched = {stream: number for number, link in links.items() for stream in link.accepted}
        now_s = self._now_s()
        with self._lock:
            active = self._continuity.active_streams()
        self._liveness.sample([stream for stream in active if stream in watched], watched, now_s)
        for verdict in self._liveness.judge(now_s):
            self._act(verdict, links[verdict.link])
        self.silent = tuple(self._liveness.silent())

    def _act(self, verdict: Verdict, link: Link) -> None:
        stream = verdict.stream
        told = {
            "venue": self._venue, "link": verdict.link, "silence_s": round(verdict.silence_s),
            "expected_per_s": round(verdict.expected_per_s, 4),
            "stream": "all of the link" if stream is None else f"{stream.channel} {stream.symbol}",
        }  # fmt: skip
        match verdict.action:
            case "resubscribe" if stream is not None:
                _log.warning("stream.asked_anew", **told)
                link.ask_anew(stream)
            case "reconnect":
                _log.warning("stream.reconnect", **told)
                whose = "this connection" if stream is None else f"{stream.channel} {stream.symbol}"
                link.reconnect(
                    f"no market data of {whose} for {verdict.silence_s:.0f} s, though the connection answers"
                )
            case "recovered":
                _log.info("stream.recovered", **told)
            case _:
                _log.error("stream.silent", **told)

    def _now_s(self) -> float:
        return self._clock.wall_ns() / 1e9

    def _save(self) -> None:
        expectation_file.save(self._path, self._liveness.expectation, self._now_s())
