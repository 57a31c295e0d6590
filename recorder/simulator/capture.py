"""Playing a capture: every client that subscribes gets the frames exactly as they stand in the file.

A capture is `NAME.jsonl` or `NAME.jsonl.gz` with one frame per line. Playing at the recorded speed needs
`NAME.recv_ts.txt` beside it, with one receive time per line in seconds or nanoseconds.
"""

import gzip
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.wire import Request, Response
from recorder.truth import Closed, Ended, Opened, RawItem, Sent, Started, TruthLog

_HIGH_WATER = 1 << 20
_TURN = 1000
_WAIT_S = 0.05


class Capture(msgspec.Struct):
    """A capture file in memory."""

    frames: list[bytes]
    at_s: list[float] | None  # seconds since the first frame

    @classmethod
    def read(cls, path: Path) -> "Capture":
        """Read a capture.

        Raises:
            ConfigError: a file cannot be read, or the number of times is not the number of frames.
        """
        try:
            data = path.read_bytes()
            frames = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
            name = path.name.removesuffix(".gz").removesuffix(".jsonl")
            times = path.with_name(f"{name}.recv_ts.txt")
            stamps = [float(line) for line in times.read_text().split()] if times.exists() else None
        except (OSError, EOFError, ValueError) as error:
            raise ConfigError(f"cannot read capture {path}: {error}") from error
        if stamps is None:
            return cls(frames, None)
        if len(stamps) != len(frames):
            raise ConfigError(f"capture {path} has {len(frames)} frames but {times.name} has {len(stamps)} times")
        unit = 1e9 if (stamps and stamps[0] > 1e12) or _nanoseconds(stamps) else 1.0
        return cls(frames, [(stamp - stamps[0]) / unit for stamp in stamps])


def _nanoseconds(stamps: list[float]) -> bool:
    """Return whether stamps are nanoseconds: integers that span more than a million. Monotonic ones may be small."""
    return len(stamps) > 1 and all(stamp == int(stamp) for stamp in stamps) and stamps[-1] - stamps[0] > 1e6


class _Cursor(msgspec.Struct):
    """The position of a client in the capture."""

    connection: Connection
    began_s: float | None = None
    next: int = 0


class CapturePlayer:
    """An `App` that knows no protocol: the first text message of a client starts the capture for it."""

    def __init__(
        self, name: str, capture: Capture, truth: TruthLog, *, speed: float, now_ns: int, close_at_end: bool = False
    ) -> None:
        self.name = name
        self.truth = truth
        self._capture = capture
        self._speed = speed  # 1 is as recorded, 0 as fast as the client reads
        self._close_at_end = close_at_end
        self._cursors: dict[int, _Cursor] = {}
        self._clients: dict[int, Connection] = {}
        if speed > 0 and capture.at_s is None:
            raise ConfigError("this capture has no receive times: play it at speed 0")
        truth.line(Started(name, now_ns, 0, now_ns))

    @property
    def finished(self) -> bool:
        """Return whether at least one client began and every client that began got all frames."""
        return bool(self._cursors) and all(one.next == len(self._capture.frames) for one in self._cursors.values())

    def handshake(self, request: Request) -> Response | None:
        """Accept every client."""
        return None

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None:
        """Add a client."""
        self._clients[connection.number] = connection
        self.truth.line(Opened(connection.number, now_ns, request.headers.get("user-agent", "")))

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Start the capture at the first message of a client."""
        if connection.number not in self._cursors:
            self._cursors[connection.number] = _Cursor(connection)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client."""
        self._clients.pop(connection.number, None)
        self._cursors.pop(connection.number, None)
        self._log_sent(connection, now_ns)
        self.truth.line(Closed(connection.number, now_ns, why, connection.unsent))

    def http(self, request: Request, now_ns: int) -> Response:
        """Answer 404: a capture has no REST service."""
        return Response(404, b"{}")

    def advance(self, now_ns: int, now_s: float) -> float:
        """Send the frames whose time has come."""
        wait_s = _WAIT_S
        for cursor in self._cursors.values():
            if cursor.began_s is None:
                cursor.began_s = now_s
            wait_s = min(wait_s, self._play(cursor, now_s - cursor.began_s))
        return wait_s

    def _play(self, cursor: _Cursor, passed_s: float) -> float:
        frames, at_s = self._capture.frames, self._capture.at_s
        for _ in range(_TURN):
            if cursor.next >= len(frames):
                if self._close_at_end and not cursor.connection.ending:
                    cursor.connection.goodbye(1000)
                return _WAIT_S
            if cursor.connection.pending > _HIGH_WATER:
                return _WAIT_S
            if self._speed > 0 and at_s is not None and (ahead_s := at_s[cursor.next] / self._speed - passed_s) > 0:
                return max(0.001, ahead_s)
            number = self.truth.item(RawItem(0, cursor.next + 1))
            payload = frames[cursor.next]
            cursor.connection.text(payload, wire.frame(payload), (number, number))
            cursor.next += 1
        return 0.0

    def before_writes(self) -> None:
        """Commit the truth log, so that an item is in its file before it is on a socket."""
        self.truth.commit()

    def after_writes(self, now_ns: int, now_s: float) -> None:
        """Log the items written to the sockets."""
        for connection in self._clients.values():
            self._log_sent(connection, now_ns)

    def end(self, now_ns: int) -> None:
        """Close the truth log."""
        self.truth.line(Ended(now_ns))
        self.truth.close()

    def _log_sent(self, connection: Connection, now_ns: int) -> None:
        if connection.written:
            self.truth.line(Sent(connection.number, now_ns, connection.written))
            connection.written = []
