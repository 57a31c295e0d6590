"""Play a capture to every client that subscribes: the frames exactly as in the file, whoever sent them.

`NAME.jsonl` or `NAME.jsonl.gz`, one frame a line; beside it `NAME.recv_ts.txt` with one receive time a line,
in seconds or nanoseconds, for playing at the recorded speed.
"""

import gzip
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.truth import Closed, Ended, Opened, RawItem, Sent, Started, TruthLog
from recorder.simulator.wire import Request, Response

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
            ConfigError: it cannot be read, or its times do not fit its frames.
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
    """Monotonic stamps may be small numbers; whole ones that advance by thousands are nanoseconds."""
    return len(stamps) > 1 and all(stamp == int(stamp) for stamp in stamps) and stamps[-1] - stamps[0] > 1e6


class _Cursor(msgspec.Struct):
    """How far a client is in the capture."""

    connection: Connection
    began_s: float | None = None
    next: int = 0


class CapturePlayer:
    """An `App` that knows no protocol: any text message of a client starts the tape for it."""

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
        """Whether some client was given the whole capture, and all who began were."""
        return bool(self._cursors) and all(one.next == len(self._capture.frames) for one in self._cursors.values())

    def handshake(self, request: Request) -> Response | None:
        """Everybody may come."""
        return None

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None:
        """A client is there."""
        self._clients[connection.number] = connection
        self.truth.line(Opened(connection.number, now_ns, request.headers.get("user-agent", "")))

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """The first message of a client starts the tape."""
        if connection.number not in self._cursors:
            self._cursors[connection.number] = _Cursor(connection)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """A client is gone."""
        self._clients.pop(connection.number, None)
        self._cursors.pop(connection.number, None)
        self._log_sent(connection, now_ns)
        self.truth.line(Closed(connection.number, now_ns, why, connection.unsent))

    def http(self, request: Request, now_ns: int) -> Response:
        """A capture has no REST."""
        return Response(404, b"{}")

    def advance(self, now_ns: int, now_s: float) -> float:
        """Send what is due."""
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
        """The truth is in its file before it is on a socket."""
        self.truth.commit()

    def after_writes(self, now_ns: int, now_s: float) -> None:
        """Log what was written."""
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
