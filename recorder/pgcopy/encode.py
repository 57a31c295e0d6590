"""Encodes events as tuples of Postgres' binary COPY format, a batch at a time.

Format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format). A tuple is a 16-bit field
count, then for each field a 32-bit length (-1 is null) and its big-endian bytes. Timestamps are
microseconds since 2000-01-01; nanoseconds are truncated, never rounded.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from recorder.events import Book, BookAudit, Gap, Quote, SessionRow, Trade, WitnessRow
from recorder.pgcopy.polled import POLLED
from recorder.pgcopy.scalars import PG_EPOCH_US, float8, instant, int4, int8, text, tuple_of

_FLOAT8_OID = 701

COLUMNS: dict[str, tuple[str, ...]] = {
    "trade": ("instrument_id", "trade_id", "ts_event", "ts_recv", "price", "size", "aggressor", "venue_trade_id"),
    "quote": (
        "instrument_id", "ts_recv", "ts_event", "session_id", "frame_seq", "sequence",
        "bid", "bid_size", "ask", "ask_size",
    ),
    "book": (
        "instrument_id", "ts_recv", "ts_event", "session_id", "frame_seq", "kind", "sequence", "bids", "asks",
    ),
    "instrument": ("instrument_id", "venue", "symbol", "first_seen"),
    "session": (
        "session_id", "venue", "recorder", "link", "url", "started_at", "ended_at", "end_reason", "last_frame_at",
        "frames", "bytes", "trades", "quotes", "books", "quarantined", "revision",
    ),
    "gap": (
        "gap_id", "instrument_id", "channel", "session_id", "cause", "state", "reason", "last_id", "first_id",
        "started_at", "ended_at", "last_ts_event", "first_ts_event", "revision",
    ),
    "quarantine": (
        "journal_id", "segment", "position", "item", "scope", "table_name", "instrument_id", "session_id",
        "ts_recv", "reason", "sample", "sha256",
    ),
    "book_audit": (
        "session_id", "instrument_id", "started_at", "ended_at", "checksums_passed", "checksums_failed",
        "crossed", "resyncs",
    ),
    "witness": (
        "witness_id", "recorder", "instrument_id", "channel", "cause", "verdict", "reason", "asked_at", "answered_at",
        "request_id", "session_id", "silent_since", "last_id", "last_ts_event", "venue_id", "venue_ts_event", "levels",
        "levels_different",
    ),
    **{table: tuple(column for column, _ in columns) for table, columns in POLLED.items()},
}  # fmt: skip

Ids = Mapping[str, int]
"""instrument_id by symbol"""

# The encoders below are the second largest cost of the hot path. Values that many rows share (instrument, receipt time,
# session) are packed once with the lengths around them, so that a row packs half as many values. The length of a field
# goes in as its four bytes, which are copied, where a number would be converted each time.

_EIGHT = struct.pack("!i", 8)
_shared = struct.Struct("!iqi").pack  # a length, a value, the length of the next field
_prefix = struct.Struct("!hiq").pack


class _Prefixes(dict[str, bytes]):
    """The first bytes of the rows of a symbol: field count, length, instrument_id, and optionally the next length."""

    def __init__(self, ids: Ids, fields: int, next_length: bytes = b"") -> None:
        super().__init__()
        self._ids, self._fields, self._next_length = ids, fields, next_length

    def __missing__(self, symbol: str) -> bytes:
        prefix = self[symbol] = _prefix(self._fields, 8, self._ids[symbol]) + self._next_length
        return prefix


# ---- trade ----------------------------------------------------------------------------------------

_trade = struct.Struct("!18sq4sq16sd4sd9s").pack
_TRADE_END = {side: struct.pack("!ici", 1, side.encode(), -1) for side in ("b", "s")}  # aggressor, no venue_trade_id


def encode_trades(trades: Sequence[Trade], ids: Ids) -> bytes:
    """Return tuples of table trade."""
    pack, end, epoch, eight, prefixes = _trade, _TRADE_END, PG_EPOCH_US, _EIGHT, _Prefixes(ids, 8, _EIGHT)
    receipt_ns, receipt = -1, b""
    out: list[bytes] = []
    append = out.append
    for t in trades:
        if t.ts_recv_ns != receipt_ns:
            receipt_ns = t.ts_recv_ns
            receipt = _shared(8, receipt_ns // 1000 - epoch, 8)
        if t.aggressor is not None and t.venue_trade_id is None:
            ts_us = t.ts_event_ns // 1000 - epoch
            append(
                pack(prefixes[t.symbol], t.trade_id, eight, ts_us, receipt, t.price, eight, t.size, end[t.aggressor])
            )
        else:
            append(_uncommon_trade(t, ids[t.symbol]))
    return b"".join(out)


def _uncommon_trade(t: Trade, instrument_id: int) -> bytes:
    return tuple_of(
        int8(instrument_id), int8(t.trade_id), instant(t.ts_event_ns), instant(t.ts_recv_ns),
        float8(t.price), float8(t.size), text(t.aggressor), text(t.venue_trade_id),
    )  # fmt: skip


# ---- quote ----------------------------------------------------------------------------------------

_quote = struct.Struct("!14s16sq16sq4sq4sd4sd4sd4sd").pack


def encode_quotes(quotes: Sequence[Quote], ids: Ids, session_id: int) -> bytes:
    """Return tuples of table quote, all of one session."""
    pack, epoch, eight, prefixes = _quote, PG_EPOCH_US, _EIGHT, _Prefixes(ids, 10)
    session = _shared(8, session_id, 8)
    receipt_ns, receipt = -1, b""
    out: list[bytes] = []
    append = out.append
    for q in quotes:
        if q.ts_recv_ns != receipt_ns:
            receipt_ns = q.ts_recv_ns
            receipt = _shared(8, receipt_ns // 1000 - epoch, 8)
        try:
            ts_us = q.ts_event_ns // 1000 - epoch  # type: ignore[operator]
            append(
                pack(
                    prefixes[q.symbol], receipt, ts_us, session, q.frame_seq,
                    eight, q.sequence, eight, q.bid, eight, q.bid_size, eight, q.ask, eight, q.ask_size,
                )
            )  # fmt: skip
        except (struct.error, TypeError):  # a field is null
            append(_uncommon_quote(q, ids[q.symbol], session_id))
    return b"".join(out)


def _uncommon_quote(q: Quote, instrument_id: int, session_id: int) -> bytes:
    return tuple_of(
        int8(instrument_id), instant(q.ts_recv_ns), instant(q.ts_event_ns), int8(session_id), int8(q.frame_seq),
        int8(q.sequence), float8(q.bid), float8(q.bid_size), float8(q.ask), float8(q.ask_size),
    )  # fmt: skip


# ---- book -----------------------------------------------------------------------------------------

_BOOK_HEAD = "!14s16sq16sq9s"  # up to the null sequence
_BOOK_KIND = {True: struct.pack("!ici", 1, b"s", -1), False: struct.pack("!ici", 1, b"d", -1)}
_BOOK_SHAPES = 4096
_COMMON_LEVELS = 256
_flatten = chain.from_iterable


class _Shape:
    """Packer of a row with a given number of levels per side, and its argument list, which is filled in place."""

    __slots__ = ("arrays", "asks", "bids", "pack", "values")

    def __init__(self, bids: int, asks: int) -> None:
        layout = ""
        values: list[float | bytes] = [0] * 6  # the head
        slices = []
        constant = b""  # bytes that no level changes are one argument
        for count in (bids, asks):
            if count:
                # length, dimensions, has nulls, element type, (size, lower bound) of each dimension, a number's length
                constant += struct.pack("!9i", 28 + 24 * count, 2, 0, _FLOAT8_OID, count, 1, 2, 1, 8)
                layout += f"{len(constant)}sd" + "4sd" * (2 * count - 1)
                values.append(constant)
                constant = b""
            else:
                constant += struct.pack("!4i", 12, 0, 0, _FLOAT8_OID)
            first = len(values)
            values += [_EIGHT] * (4 * count - 1 if count else 0)
            slices.append(slice(first, first + 4 * count, 2))
        if constant:
            layout += f"{len(constant)}s"
            values.append(constant)
        self.pack = struct.Struct(_BOOK_HEAD + layout).pack
        self.arrays = "!" + layout
        self.values = values
        self.bids, self.asks = slices


class BookEncoder:
    """Encodes tuples of table book. Not thread-safe, because the argument lists of its packers are reused."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, int], _Shape] = {}

    def encode(self, books: Sequence[Book], ids: Ids, session_id: int) -> bytes:
        """Return tuples of the books of one session, with sides as float8[n][2] and an empty side as {}."""
        out: list[bytes] = []
        shapes = self._shapes
        if len(shapes) > _BOOK_SHAPES:
            shapes.clear()
        epoch, kinds, prefixes = PG_EPOCH_US, _BOOK_KIND, _Prefixes(ids, 9)
        session = _shared(8, session_id, 8)
        receipt_ns, receipt = -1, b""
        for b in books:
            counts = (len(b.bids), len(b.asks))
            shape = shapes.get(counts)
            if shape is None:
                shape = _Shape(*counts)
                if sum(counts) <= _COMMON_LEVELS:  # that of a complete book takes megabytes and is not needed again
                    shapes[counts] = shape
            if b.ts_recv_ns != receipt_ns:
                receipt_ns = b.ts_recv_ns
                receipt = _shared(8, receipt_ns // 1000 - epoch, 8)
            values = shape.values
            if b.bids:
                values[shape.bids] = _flatten(b.bids)
            if b.asks:
                values[shape.asks] = _flatten(b.asks)
            if b.ts_event_ns is not None and b.sequence is None:
                ts_us = b.ts_event_ns // 1000 - epoch
                values[:6] = (prefixes[b.symbol], receipt, ts_us, session, b.frame_seq, kinds[b.snapshot])
                out.append(shape.pack(*values))
            else:
                out.append(_uncommon_book_head(b, ids[b.symbol], session_id))
                out.append(struct.pack(shape.arrays, *values[6:]))
        return b"".join(out)


def _uncommon_book_head(b: Book, instrument_id: int, session_id: int) -> bytes:
    return struct.pack("!h", 9) + b"".join(
        (
            int8(instrument_id), instant(b.ts_recv_ns), instant(b.ts_event_ns), int8(session_id), int8(b.frame_seq),
            text("s" if b.snapshot else "d"), int8(b.sequence),
        )
    )  # fmt: skip


# ---- rare tables -----------------------------------------------------------------------------------


def encode_gaps(gaps: Iterable[Gap], ids: Ids) -> bytes:
    """Return tuples of table gap."""
    return b"".join(
        tuple_of(
            int8(g.gap_id), int8(ids[g.symbol]), text(g.channel), int8(g.session_id), text(g.cause), text(g.state),
            text(g.reason), int8(g.last_id), int8(g.first_id), instant(g.started_ns), instant(g.ended_ns),
            instant(g.last_ts_event_ns), instant(g.first_ts_event_ns), int4(g.revision),
        )
        for g in gaps
    )  # fmt: skip


def encode_sessions(sessions: Iterable[SessionRow]) -> bytes:
    """Return tuples of table session."""
    return b"".join(
        tuple_of(
            int8(s.session_id), text(s.venue), text(s.recorder), int4(s.link), text(s.url), instant(s.started_ns),
            instant(s.ended_ns), text(s.end_reason), instant(s.last_frame_ns), int8(s.frames), int8(s.bytes),
            int8(s.trades), int8(s.quotes), int8(s.books), int8(s.quarantined), int4(s.revision),
        )
        for s in sessions
    )  # fmt: skip


def encode_instruments(names: Iterable[tuple[int, str, str]], first_seen_ns: int) -> bytes:
    """Return tuples of table instrument from (instrument_id, venue, symbol)."""
    return b"".join(
        tuple_of(int8(number), text(venue), text(symbol), instant(first_seen_ns)) for number, venue, symbol in names
    )


def encode_audits(audits: Iterable[BookAudit], ids: Ids) -> bytes:
    """Return tuples of table book_audit."""
    return b"".join(
        tuple_of(
            int8(a.session_id), int8(ids[a.symbol]), instant(a.started_ns), instant(a.ended_ns),
            int8(a.checksums_passed), int8(a.checksums_failed), int8(a.crossed), int8(a.resyncs),
        )
        for a in audits
    )  # fmt: skip


def encode_witnesses(rows: Iterable[WitnessRow], ids: Ids) -> bytes:
    """Return tuples of table witness."""
    return b"".join(
        tuple_of(
            int8(w.witness_id), text(w.recorder), int8(ids[w.symbol]), text(w.channel), text(w.cause), text(w.verdict),
            text(w.reason), instant(w.asked_ns), instant(w.answered_ns), text(w.request_id), int8(w.session_id),
            instant(w.silent_since_ns), int8(w.last_id), instant(w.last_ts_event_ns), int8(w.venue_id),
            instant(w.venue_ts_event_ns), _optional_int4(w.levels), _optional_int4(w.levels_different),
        )
        for w in rows
    )  # fmt: skip


def _optional_int4(value: int | None) -> bytes:
    return int8(None) if value is None else int4(value)
