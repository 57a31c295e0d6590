"""The truth log of a simulated venue: the items its market made, and which were written to which connection.

The log is JSON lines. An *item* is one thing that a client could store (a trade, a quote, a book message) or must
survive (a malformed frame). It has a number `n`, which rises by one, and it is in the file before its first byte is
on a socket. A `sent` line names, per connection, the items whose frames the kernel accepted completely. A reader
concludes:

- The item is in a `sent` line: it was written completely to that connection.
- The connection has a `close` line and never named the item: it was not written completely to that connection.
- The connection has no `close` line, because the simulator was killed: items queued after its last `sent` line may
  or may not have been written. `sent` lines are at most 200 ms late.

The REST services (recorder/simulator/services) log in files of their own, `answers-*.jsonl`: each answer, and once each
market, book, trade and bar that was in one.

Values are the text of the wire. Trades are logged even without a subscriber. Quotes and book messages are logged only
while they have a subscriber, since otherwise no client can have received them.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from recorder.errors import ConfigError

# A demo that runs for weeks must not fill the disk.
PART_BYTES = 64 << 20  # size of a part of a truth log
PARTS = 6  # parts kept of one run
KEPT_LOGS = 12  # files of a venue, of all runs, that are left when a run begins its first
TRUTH_BYTES = PART_BYTES * (KEPT_LOGS - 1 + PARTS)  # the most that the truth logs of one venue take

Side = Literal["b", "s"]
Pairs = list[tuple[str, str]]
Ranges = list[tuple[int, int]]


class Started(msgspec.Struct, tag_field="k", tag="start", omit_defaults=True):
    """The first line of a file. The parts of one run have the same `t`, and their numbers continue."""

    venue: str
    t: int  # when the run began
    seed: int
    origin_ns: int  # venue time of the oldest trade this run can publish
    part: int = 1
    part_t: int = 0  # when this part began; 0 in the first


class TradeItem(msgspec.Struct, tag_field="k", tag="trade", omit_defaults=True, gc=False):
    """One print. `side` is the taker's, None where the venue does not publish it.

    `id` is the key of a recorder's row: the venue's number, or the documented hash of its text.
    """

    n: int
    s: str
    id: int
    ts: int
    p: str
    q: str
    side: Side | None = None
    again: bool = False  # published before: repeat, snapshot of past trades, last_match
    held: str | None = None  # the fault that withheld it from all clients
    count: int = 1  # prints merged into this one; `id` is their last
    number: int = 0  # of the print at its market, where `id` does not show it


class QuoteItem(msgspec.Struct, tag_field="k", tag="quote", omit_defaults=True, gc=False):
    """Best bid and ask; None where the venue does not publish a value. `t` is when it was made, where `ts` is None."""

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
    """One book message. `ts` is None where the venue publishes no time; `t` is when the message was made.

    `seq` is present where a snapshot may arrive on another connection than the changes, and contain some of them.
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


class MalformedItem(msgspec.Struct, tag_field="k", tag="malformed", omit_defaults=True):
    """A frame without anything that a client may store."""

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
    """The end of a connection; `unsent` items were still queued."""

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
    """Items written completely to a connection since its last such line, as closed ranges of `n`."""

    c: int
    t: int
    n: Ranges


class Reset(msgspec.Struct, tag_field="k", tag="reset", omit_defaults=True):
    """The venue restarted the trade ids of a symbol; `id` is the next."""

    s: str
    t: int
    id: int


class Done(msgspec.Struct, tag_field="k", tag="do", omit_defaults=True):
    """An action of the controls, such as a fault."""

    t: int
    do: str
    args: dict[str, str | int | float | bool | None]


class Ended(msgspec.Struct, tag_field="k", tag="end", omit_defaults=True):
    """The last line of a file whose simulator stopped cleanly."""

    t: int


class ServiceStarted(msgspec.Struct, tag_field="k", tag="service", omit_defaults=True):
    """The first line of the log of a group of REST services. The world of a seed is the same in every run."""

    services: str  # polymarket or yahoo
    t: int
    seed: int
    markets: int = 0
    part: int = 1
    part_t: int = 0


class Answered(msgspec.Struct, tag_field="k", tag="answered", omit_defaults=True):
    """One answer of a REST service. The lines of what is in it for the first time come before it."""

    t: int
    service: str
    target: str
    status: int
    size: int
    agent: str = ""
    spoiled: bool = False  # a fault left nothing of it that a client can use
    books: list[tuple[str, int]] = []  # in an answer of many books: token and `ts` of each (ServedBook)


class MarketLife(msgspec.Struct, tag_field="k", tag="market", omit_defaults=True):
    """A market whose life a service showed. Times are seconds; payouts are millionths of a dollar per share."""

    id: str
    slug: str
    conditions: list[str]  # in the long form; the second is the one after a change of version
    tokens: list[list[str]]  # of each version
    outcomes: list[str]
    version: str
    created: int
    booked: int
    stopped: int
    way: str
    resolved: int | None  # None: it vanishes without a resolution
    payouts: list[int] | None
    odd: str = ""


class ServedBook(msgspec.Struct, tag_field="k", tag="served_book", omit_defaults=True):
    """A book that the CLOB served, once per token and `ts`, the milliseconds that its `timestamp` names."""

    token: str
    ts: int
    body: msgspec.Raw


class ServedTrade(msgspec.Struct, tag_field="k", tag="served_trade", omit_defaults=True, gc=False):
    """A row of the feed of trades, once."""

    ts: int  # seconds, of the block
    tx: str
    wallet: str
    token: str
    condition: str
    side: str
    size: float
    price: float


class ServedBar(msgspec.Struct, tag_field="k", tag="served_bar", omit_defaults=True, gc=False):
    """A finished bar that was served, once; the prices are those before later splits."""

    symbol: str
    interval: str
    ts: int  # seconds, of its begin
    o: float
    h: float
    l: float  # noqa: E741 - as the wire names it
    c: float
    v: int


ServiceLine = ServiceStarted | Answered | MarketLife | ServedBook | ServedTrade | ServedBar

Item = TradeItem | QuoteItem | BookItem | MalformedItem | RawItem
Line = Item | Started | Opened | Closed | Subscribed | Sent | Reset | Done | Ended | ServiceLine


class TruthLog:
    """Writes the truth log of one venue. Only the thread of the venue uses it.

    `commit` hands the lines to the kernel. A venue calls it before it writes to a socket, so a killed simulator never
    has sent an item that is not in its log.
    """

    def __init__(self, path: Path | None, *, part_bytes: int = 0, parts: int = 0) -> None:
        """Begin a log.

        Args:
            path: File of the first part; None logs nothing.
            part_bytes: Size at which a part is full; 0 means never.
            parts: How many parts are kept; the oldest are deleted.
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
        """Return whether this part has reached its size."""
        return 0 < self._part_bytes <= self._written

    def next_part(self, preamble: Sequence[Line]) -> None:
        """Continue in another file, which begins with the lines that a reader needs from the earlier ones."""
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
        """Number an item, log it and return its number."""
        self.items += 1
        item.n = self.items
        if self._fd >= 0:
            self._lines.append(self._encoder.encode(item))
        return self.items

    def line(self, line: Line) -> None:
        """Log a line that is not an item."""
        if self._fd >= 0:
            self._lines.append(self._encoder.encode(line))

    def commit(self) -> None:
        """Hand everything logged so far to the kernel."""
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
    """Yield the lines of a truth log, except an incomplete last line that a killed simulator left.

    Raises:
        ConfigError: the file cannot be read, or a complete line of it is not a line of a truth log.
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
