"""The folder of kept answers, in the form of a capture: `tapedeck decode VENUE probe.jsonl` reads it.

Beside the frames lie their receipt times, what we sent, and every REST answer with its request, as captures have them.
"""

from pathlib import Path
from typing import BinaryIO

import msgspec

from recorder.errors import ConfigError
from recorder.printable import masked_url
from recorder.process import files
from recorder.venues.questions import Reply, Rest

NAME = "probe"
KEPT_MAX = 256 << 20
"""Bytes of one venue; later answers are judged and not kept."""

README = """Answers of venues to `tapedeck probe`, one folder for each venue.

probe.jsonl         frames of the stream, one a line, as they came; a line break inside a frame is a blank
probe.recv_ts.txt   receipt time of each frame, ns since 1970, UTC
probe.sent.jsonl    what was sent on the stream
probe.rest.jsonl    REST requests with status, headers and answer
metadata.json       the questions, their verdicts, and where the answers come from

`tapedeck decode VENUE VENUE/probe.jsonl` decodes the frames. To make a capture of a folder, copy its files under a
name of their own and write into metadata.json what they show.
"""


class _Exchange(msgspec.Struct):
    """A line of probe.rest.jsonl. The first three fields are those of every capture."""

    ts: str  # ns since 1970
    url: str
    raw: str  # the answer; bytes that are no UTF-8 are written as escapes
    method: str
    sent: str
    status: int
    headers: dict[str, str]


class _Sent(msgspec.Struct):
    """A line of probe.sent.jsonl."""

    ts: str
    raw: str


class Keeper:
    """Writes the answers of one venue as they come, so that an interrupted probe keeps what it has."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: Of this venue in this probe; it is made.

        Raises:
            ConfigError: it is there already.
            OSError: it cannot be made.
        """
        files.make_home(folder.parent)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise ConfigError(f"{folder} has the answers of an earlier probe; name another folder") from None
        self.folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._bytes = 0
        self.left_out = 0  # answers and frames above KEPT_MAX

    def frame(self, frame: bytes, ts_ns: int) -> None:
        """Keep a received frame."""
        line = b" ".join(frame.splitlines())
        if line and self._has_room(len(line)):
            self._line(".jsonl", line)
            self._line(".recv_ts.txt", str(ts_ns).encode())

    def sent(self, text: str, ts_ns: int) -> None:
        """Keep a frame that was sent."""
        self._line(".sent.jsonl", msgspec.json.encode(_Sent(str(ts_ns), text)))

    def reply(self, request: Rest, url: str, reply: Reply) -> None:
        """Keep a REST answer.

        Args:
            request: Asked for it.
            url: Address of the service.
            reply: The answer.
        """
        if self._has_room(len(reply.body)):
            exchange = _Exchange(
                str(reply.received_ns), masked_url(url + request.path), reply.body.decode("utf-8", "backslashreplace"),
                "POST" if request.body else "GET", request.body.decode(), reply.status, dict(reply.headers),
            )  # fmt: skip
            self._line(".rest.jsonl", msgspec.json.encode(exchange))

    def close(self, metadata: object) -> None:
        """Write what the files show, and close them."""
        for file in self._files.values():
            file.close()
        files.write(self.folder / "metadata.json", msgspec.json.format(msgspec.json.encode(metadata)))

    def _has_room(self, size: int) -> bool:
        room = self._bytes + size <= KEPT_MAX
        self._bytes += size if room else 0
        self.left_out += not room
        return room

    def _line(self, ending: str, line: bytes) -> None:
        file = self._files.get(ending)
        if file is None:
            file = self._files[ending] = (self.folder / f"{NAME}{ending}").open("ab")
        file.write(line + b"\n")
        file.flush()
