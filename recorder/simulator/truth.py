"""The truth log: what the market did, and which of it was really written to which connection. JSON lines.

An *item* is one thing a client could store (a trade, a quote, a book message) or must survive (junk). It
has a number `n`, rising by one in its file, and is in the file before its first byte is on a socket. A
`sent` line later names the items whose frames the kernel took whole, per connection. So for a checker:

- item in a `sent` line: it was wholly written to that connection;
- connection has a `close` line and never named the item: it was not wholly written there;
- connection has no `close` line (the simulator was killed): the items queued after its last `sent` line
  may or may not have been written. `sent` lines are at most 200 ms behind.

Values are the text of the wire. Trades are logged even when nobody listens; quotes and book messages only
while someone is subscribed to them, since nobody else could have received them.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from recorder.errors import ConfigError

Side = Literal["b", "s"]
Pairs = list[tuple[str, str]]
Ranges = list[tuple[int, int]]


class Started(msgspec.Struct, tag_field="k", tag="start", omit_defaults=True):
    """First line of a file. Files of one run have one `t`; connections and `n` go on from part to part."""

    venue: str
    t: int  # when the run began
    seed: int
    origin_ns: int  # venue time of the oldest trade this run can publish
    part: int = 1
    part_t: int = 0  # when this part began; 0 in the first


class TradeItem(msgspec.Struct, tag_field="k", tag="trade", omit_defaults=True, gc=False):
    """One print, `side` being the taker's, None where the venue does not tell it.

    `id` is what a recorder keys it by: the venue's number, or the documented hash of its text.
    """

    n: int
    s: str
    id: int
    ts: int
    p: str
    q: str
    side: Side | None = None
    again: bool = False  # published before: repeat, snapshot of past trades, last_match
    held: str | None = None  # withheld from everybody by this misbehaviour
    count: int = 1  # prints merged into this one; `id` is the last of theirs


class QuoteItem(msgspec.Struct, tag_field="k", tag="quote", omit_defaults=True, gc=False):
    """Best bid and ask; None is what the venue does not print. `t` is when it was made, needed where `ts` is None."""

    n: int
    s: str
    ts: int | None
    b: str | None
    bq: str | None
    a: str | None
    aq: str | None
    seq: int | None = None
    t: int = 0
    again: bool = False
    held: str | None = None


class BookItem(msgspec.Struct, tag_field="k", tag="book", omit_defaults=True):
    """One book message; `ts` is None where the venue prints no time, `t` is when it was made.

    `seq` is given where a snapshot comes on another way than the changes, and may hold some of them already.
    """

    n: int
    s: str
    ts: int | None
    t: int
    snap: bool
    bids: Pairs
    asks: Pairs
    depth: int | None = None
    again: bool = False
    held: str | None = None
    seq: int | None = None


class JunkItem(msgspec.Struct, tag_field="k", tag="junk", omit_defaults=True):
    """A frame that carries nothing a client may store."""

    n: int
    t: int
    kind: str
    size: int


class RawItem(msgspec.Struct, tag_field="k", tag="raw", omit_defaults=True, gc=False):
    """One line of a capture being played."""

    n: int
    line: int


class Opened(msgspec.Struct, tag_field="k", tag="open", omit_defaults=True):
    """A websocket handshake succeeded."""

    c: int
    t: int
    agent: str = ""


class Closed(msgspec.Struct, tag_field="k", tag="close", omit_defaults=True):
    """A connection is over; `unsent` items were still queued for it."""

    c: int
    t: int
    why: str
    unsent: int = 0


class Subscribed(msgspec.Struct, tag_field="k", tag="sub", omit_defaults=True):
    """A stream began on a connection, ended (`on` False), or was refused (`why`)."""

    c: int
    t: int
    ch: str
    s: str
    on: bool = True
    why: str | None = None


class Sent(msgspec.Struct, tag_field="k", tag="sent", omit_defaults=True):
    """Items wholly written to a connection since its last such line, as closed ranges of `n`."""

    c: int
    t: int
    n: Ranges


class Reset(msgspec.Struct, tag_field="k", tag="reset", omit_defaults=True):
    """The venue began to count a symbol's trades anew; `id` is the next."""

    s: str
    t: int
    id: int


class Done(msgspec.Struct, tag_field="k", tag="do", omit_defaults=True):
    """A misbehaviour was asked for."""

    t: int
    do: str
    args: dict[str, str | int | float | bool | None]


class Ended(msgspec.Struct, tag_field="k", tag="end", omit_defaults=True):
    """Last line of a file whose simulator stopped cleanly."""

    t: int


Item = TradeItem | QuoteItem | BookItem | JunkItem | RawItem
Line = Item | Started | Opened | Closed | Subscribed | Sent | Reset | Done | Ended


class TruthLog:
    """Writes one venue's truth. Owned by that venue's thread.

    `commit` hands the lines to the kernel; a venue calls it before it writes to a socket, so a killed
    simulator never has published an item that its log does not know.
    """

    def __init__(self, path: Path | None, *, part_bytes: int = 0, parts: int = 0) -> None:
        """Begin a log.

        Args:
            path: Of the first part; None logs nothing.
            part_bytes: Size at which a part is full; 0 never.
            parts: How many parts are kept; the oldest go first.
        """
        self.path = path
        self.items = 0
        self.part = 1
        self._part_bytes = part_bytes
        self._parts = parts
        self._written = 0
        self._kept: list[Path] = []
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._fd = -1
        if path is not None:
            self._open(path)

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._kept.append(path)
        self._written = 0

    @property
    def full(self) -> bool:
        """Whether this part is as large as it may be."""
        return 0 < self._part_bytes <= self._written

    def next_part(self, preamble: Sequence[Line]) -> None:
        """Go on in another file, which begins with what a reader must know of the earlier ones."""
        if self.path is None:
            return
        self.close()
        self.part += 1
        self._open(self.path.with_name(f"{self.path.stem}-{self.part:04d}{self.path.suffix}"))
        for line in preamble:
            self.line(line)
        while len(self._kept) > self._parts:
            self._kept.pop(0).unlink(missing_ok=True)

    def item(self, item: Item) -> int:
        """Number and log an item."""
        self.items += 1
        item.n = self.items
        if self._fd >= 0:
            self._lines.append(self._encoder.encode(item))
        return self.items

    def line(self, line: Line) -> None:
        """Log anything that is not an item."""
        if self._fd >= 0:
            self._lines.append(self._encoder.encode(line))

    def commit(self) -> None:
        """Give everything logged so far to the kernel."""
        if not self._lines:
            return
        self._lines.append(b"")
        data = memoryview(b"\n".join(self._lines))
        self._lines.clear()
        self._written += len(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Commit and close the file."""
        self.commit()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_truth(path: Path) -> Iterator[Line]:
    """Stream the lines of a truth file; a torn last line (killed simulator) is left out.

    Raises:
        ConfigError: the file cannot be read, or a whole line of it is no truth.
    """
    decoder = msgspec.json.Decoder(Line)
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                if not text.endswith(b"\n"):
                    return
                try:
                    yield decoder.decode(text)
                except msgspec.DecodeError as error:
                    raise ConfigError(f"{path} line {number} is not a line of a truth log: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot read truth log {path}: {error.strerror}") from error
