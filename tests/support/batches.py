"""Hand-made batches for the store, as the journal reader would give them to the writer."""

import struct
import time
from collections.abc import Sequence

import msgspec

from recorder.events import Gap, Quote, SessionRow, Trade
from recorder.identity import instrument_id
from recorder.pgcopy import encode
from recorder.position import Position
from recorder.store.batch import Batch

JOURNAL = "0123456789abcdef0123456789abcdef"
DAY_NS = 86_400_000_000_000
NOON_NS = time.time_ns() // DAY_NS * DAY_NS + DAY_NS // 2
IDS = {symbol: instrument_id("test", symbol) for symbol in ("BTC-USD", "ETH-USD")}
FIRST = Position(1, 64)


class HandPart(msgspec.Struct, frozen=True):
    """Rows of one table."""

    table: str
    columns: tuple[str, ...]
    rows: int
    data: bytes
    days: tuple[int, ...] = ()


class HandBlock(msgspec.Struct, frozen=True):
    """One block."""

    position: Position
    seq: int
    parts: list[HandPart]


def trade(number: int, **changes: object) -> Trade:
    """Return a trade whose values follow from its number."""
    plain = Trade(
        symbol="BTC-USD" if number % 3 else "ETH-USD",
        trade_id=number,
        ts_event_ns=NOON_NS + number * 1_000_000,
        ts_recv_ns=NOON_NS + number * 1_000_000 + 5_000,
        price=100.0 + number / 8,
        size=0.25 + number % 7,
        aggressor="b" if number % 2 else "s",
    )
    return msgspec.structs.replace(plain, **changes)


def trade_part(trades: Sequence[Trade]) -> HandPart:
    """Return a part of table trade."""
    days = tuple(sorted({item.ts_event_ns // DAY_NS for item in trades}))
    return HandPart("trade", encode.COLUMNS["trade"], len(trades), encode.encode_trades(trades, IDS), days)


def trades_part(first: int, last: int) -> HandPart:
    """Return trades numbered from `first` up to but not including `last`."""
    return trade_part([trade(number) for number in range(first, last)])


def quotes_part(first: int, last: int) -> HandPart:
    """Return quotes numbered from `first` up to but not including `last`."""
    quotes = [
        Quote(
            symbol="BTC-USD",
            ts_event_ns=None,
            ts_recv_ns=NOON_NS + number * 1_000_000,
            sequence=number,
            bid=100.0,
            bid_size=1.0,
            ask=101.0,
            ask_size=None,
            frame_seq=number,
        )
        for number in range(first, last)
    ]
    return HandPart(
        "quote", encode.COLUMNS["quote"], len(quotes), encode.encode_quotes(quotes, IDS, 7), (NOON_NS // DAY_NS,)
    )


def gap_part(*gaps: Gap) -> HandPart:
    """Return a part of table gap."""
    return HandPart("gap", encode.COLUMNS["gap"], len(gaps), encode.encode_gaps(gaps, IDS))


def gap(gap_id: int, revision: int, state: str = "open") -> Gap:
    """Return a gap in one of its revisions."""
    return Gap(
        gap_id=gap_id,
        symbol="BTC-USD",
        channel="trade",
        session_id=7,
        cause="disconnect",
        state=state,  # type: ignore[arg-type]
        reason=None,
        last_id=10,
        first_id=None if state == "open" else 20,
        started_ns=NOON_NS,
        ended_ns=None if state == "open" else NOON_NS + 1_000_000_000,
        last_ts_event_ns=None,
        first_ts_event_ns=None,
        revision=revision,
    )


def session_part(session_id: int, revision: int, frames: int) -> HandPart:
    """Return a part of table session with one row."""
    row = SessionRow(
        session_id=session_id,
        venue="test",
        recorder="recorder-test",
        link=0,
        url="ws://127.0.0.1/",
        started_ns=NOON_NS,
        ended_ns=None,
        end_reason=None,
        last_frame_ns=NOON_NS,
        frames=frames,
        bytes=frames * 100,
        trades=0,
        quotes=0,
        books=0,
        quarantined=0,
        revision=revision,
    )
    return HandPart("session", encode.COLUMNS["session"], 1, encode.encode_sessions([row]))


def instrument_part(*names: tuple[int, str, str], first_seen_ns: int = NOON_NS) -> HandPart:
    """Return a part of table instrument from (instrument_id, venue, symbol)."""
    data = encode.encode_instruments(names, first_seen_ns)
    return HandPart("instrument", encode.COLUMNS["instrument"], len(names), data)


def batch(start: Position | None, *blocks: Sequence[HandPart]) -> Batch:
    """Return a batch of the blocks that follow `start`, 1000 bytes each."""
    at = start or FIRST
    made = []
    for parts in blocks:
        made.append(HandBlock(at, at.offset // 1000, list(parts)))
        at = Position(at.segment, at.offset + 1000)
    return Batch(JOURNAL, "recorder-test", start, at, made)


def raw_tuple(*fields: bytes | None) -> bytes:
    """Return a binary COPY tuple of encoded fields."""
    head = struct.pack("!h", len(fields))
    return head + b"".join(
        struct.pack("!i", -1) if field is None else struct.pack("!i", len(field)) + field for field in fields
    )
