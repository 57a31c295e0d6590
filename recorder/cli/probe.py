"""A short look at a venue: does it answer, does it accept, does data come, and how old is it."""

import time
from collections.abc import Sequence

import msgspec

from recorder import __version__
from recorder.connection import Connection
from recorder.errors import DecodeError
from recorder.events import Accepted, Book, Quote, Refused, Reply, Stream, Trade
from recorder.sharding import allot
from recorder.venues.base import Venue, requests_of


class Probe(msgspec.Struct):
    """What was seen, in seconds from the start of the connection."""

    url: str
    connected_s: float
    wanted: int
    accepted: set[Stream]
    subscribed_s: float | None = None  # when the last stream was accepted
    first_data_s: float | None = None
    first_data: str = ""
    latency_ms: float | None = None  # receipt less the venue's time, least of what was seen; both clocks matter
    frames: int = 0
    quarantined: int = 0
    refused: list[str] = []

    def lines(self) -> list[str]:
        """The findings for a person."""
        result = [f"connected   {self.connected_s * 1000:8.0f} ms  {self.url}"]
        if self.subscribed_s is not None:
            result.append(
                f"subscribed  {self.subscribed_s * 1000:8.0f} ms  {len(self.accepted)} of {self.wanted} streams"
            )
        if self.first_data_s is not None:
            result.append(f"first data  {self.first_data_s * 1000:8.0f} ms  {self.first_data}")
        if self.latency_ms is not None:
            result.append(f"latency     {self.latency_ms:8.1f} ms  venue's clock to ours")
        if self.quarantined:
            result.append(f"not understood: {self.quarantined} of {self.frames} frames")
        return result


def probe(venue: Venue, streams: Sequence[Stream], max_frame_bytes: int, timeout_s: float) -> Probe:
    """Connect, subscribe, and read until every stream is answered and data has come, or time is up.

    Raises:
        ConnectFailed, Closed: the venue does not let us in, or sends us away.
    """
    began = time.monotonic()
    streams = sorted(allot(streams, [], venue.limits, 1).links[0], key=lambda stream: (stream.channel, stream.symbol))
    connection = Connection(venue.endpoint, max_frame_bytes, f"tapedeck-test/{__version__}")
    result = Probe(venue.endpoint, time.monotonic() - began, len(streams), set())
    session = venue.session()
    try:
        for frame in requests_of(venue, session).subscribe(streams):
            connection.send(frame)
        while time.monotonic() - began < timeout_s and not _complete(result):
            for message in connection.receive(0.25) or ():
                result.frames += 1
                if not isinstance(message, bytes):
                    continue
                now_ns = time.time_ns()
                try:
                    outputs = session.decode(message, now_ns)
                except DecodeError:
                    result.quarantined += 1
                    continue
                for output in outputs:
                    match output:
                        case Reply(frame=frame):
                            connection.send(frame)
                        case Accepted(stream=stream):
                            result.accepted.add(stream)
                            result.subscribed_s = time.monotonic() - began
                        case Refused(reason=reason):
                            result.refused.append(reason)
                        case Trade() | Quote() | Book():
                            _note(result, output, now_ns, time.monotonic() - began)
    finally:
        connection.close()
    return result


def _complete(result: Probe) -> bool:
    return bool(result.refused) or (result.first_data_s is not None and len(result.accepted) >= result.wanted)


def _note(result: Probe, event: Trade | Quote | Book, now_ns: int, elapsed_s: float) -> None:
    if result.first_data_s is None:
        result.first_data_s, result.first_data = elapsed_s, f"{type(event).__name__.lower()} of {event.symbol}"
    if event.ts_event_ns is not None:
        age_ms = (now_ns - event.ts_event_ns) / 1e6
        if result.latency_ms is None or age_ms < result.latency_ms:
            result.latency_ms = age_ms
