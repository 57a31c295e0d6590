"""Questions that every venue's decoders raise: does the live decoder understand what comes, and do the ids hold."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from recorder.errors import DecodeError
from recorder.events import CHANNELS, Accepted, Book, Lost, Output, Refused, Resync, Stream, Trade
from recorder.venues.base import Day, Listing, ListingPage
from recorder.venues.questions import (
    Heard,
    Listen,
    Question,
    Settled,
    Steps,
    Subject,
    Verdict,
    agrees,
    ask_json,
    differs,
    judged,
    listen,
    no_answer,
)

TRADES = 10
FRAMES = 200
"""Trades and frames that end the first listening early."""

_NAMED = 3


def first_listen(subject: Subject) -> Listen:
    """Return the listening that the questions about the stream of a venue share."""
    return Listen(tuple(Stream(channel, subject.symbol) for channel in CHANNELS), least_frames=FRAMES, trades=TRADES)


def stream_questions(page: str, *, contiguous: bool) -> tuple[Question, ...]:
    """Return the questions about a venue's stream, which share one listening.

    Args:
        page: The protocol page.
        contiguous: Whether ids of trades rise by one, or by the prints that a trade stands for.
    """
    proofs = [
        ("subscriptions", "Subscribing", "every stream that a recorder asks for is accepted", accepted),
        ("messages", "Messages", "the live decoder understands every message", understood),
        ("books", "Sequences", "a book begins with a snapshot, and no message after it breaks the book", books),
    ]
    if contiguous:
        proofs.append(("trade-ids", "Sequences", "the ids of trades on the stream have no holes", trade_ids))
    return tuple(
        Question(name, f"{page}, {section}", assumed, partial(_of_first, judge))
        for name, section, assumed, judge in proofs
    )


def _of_first(judge: Callable[[Listen], Steps], subject: Subject) -> Steps:
    return judge(first_listen(subject))


def listing_question(source: str, path: str, decode: Callable[[bytes], list[Listing]]) -> Question:
    """Return the question whether the list of instruments is as its decoder assumes."""
    assumed = "the decoder understands every row of the list, and the symbol is in it"
    return Question("listing", source, assumed, lambda subject: _listing(subject, path, decode))


def volumes_question(source: str, path: str, decode: Callable[[bytes], dict[str, Day]]) -> Question:
    """Return the question whether the volumes of 24 hours are as their decoder assumes."""

    def steps(subject: Subject) -> Steps:
        reply = yield from ask_json(path)
        days = decode(reply.body)
        return judged(bool(days), f"{len(days):,} instruments")

    return Question("volumes", source, "the decoder understands the volumes of 24 hours", steps)


def trades_of(heard: Heard, symbol: str) -> list[Trade]:
    """Return the trades of a symbol that were heard, by rising id.

    Raises:
        Settled: There are none.
    """
    found = {one.trade_id: one for one in heard.outputs if isinstance(one, Trade) and one.symbol == symbol}
    if not found:
        raise Settled(no_answer(f"no trade of {symbol} came in this time"))
    return [found[number] for number in sorted(found)]


class ListedTrade(NamedTuple):
    """A trade as REST lists it."""

    trade_id: int
    price: float
    size: float
    aggressor: str | None
    ts_event_ns: int


def same_trades(streamed: Sequence[Trade], listed: Iterable[ListedTrade], tolerance_ns: int = 0) -> Verdict:
    """Return whether REST lists the trades of the stream as the stream printed them.

    Args:
        streamed: As heard.
        listed: By REST, some of them the same trades.
        tolerance_ns: How far two times of one trade may be apart, because REST rounds.
    """
    rows = {row.trade_id: row for row in listed}
    both = [(trade, rows[trade.trade_id]) for trade in streamed if trade.trade_id in rows]
    if not both:
        return no_answer(f"none of {len(streamed)} trades of the stream is among {len(rows)} of REST")
    for trade, row in both:
        own = ListedTrade(trade.trade_id, trade.price, trade.size, trade.aggressor, trade.ts_event_ns)
        if row[:4] != own[:4] or abs(row.ts_event_ns - own.ts_event_ns) > tolerance_ns:
            return differs(f"trade {trade.trade_id}: REST {_print(row)}, stream {_print(own)}")
    return agrees(f"{len(both)} trades are equal")


def _print(trade: ListedTrade) -> str:
    return f"{trade.price:g} {trade.size:g} {trade.aggressor} at {trade.ts_event_ns} ns"


def _listing(subject: Subject, path: str, decode: Callable[[bytes], list[Listing]]) -> Steps:
    reply = yield from ask_json(path)
    try:
        rows = decode(reply.body)
    except DecodeError as error:
        return differs(str(error))
    odd = rows.odd if isinstance(rows, ListingPage) else []
    if odd:
        return differs(f"{len(odd)} odd rows, such as {'; '.join(odd[:_NAMED])}")
    found = next((row for row in rows if row.symbol == subject.symbol), None)
    if found is None:
        return differs(f"{len(rows):,} instruments without {subject.symbol}")
    return agrees(f"{len(rows):,} instruments; {subject.symbol} is {found.status}")


def accepted(wanted: Listen) -> Steps:
    """Judge whether every stream was accepted."""
    heard = yield from listen(wanted)
    refused = [one for one in heard.outputs if isinstance(one, Refused)]
    if refused:
        return differs(f"refused: {refused[0].reason}")
    accepted = {one.stream for one in heard.outputs if isinstance(one, Accepted)}
    missing = [str(stream) for stream in wanted.streams if stream not in accepted]
    if missing:
        return differs(f"no word about {', '.join(missing)}")
    return agrees(f"{len(wanted.streams)} of {len(wanted.streams)} streams")


def understood(wanted: Listen) -> Steps:
    """Judge whether the live decoder understood every frame."""
    heard = yield from listen(wanted)
    if heard.odd:
        return differs(f"{len(heard.odd)} of {len(heard.frames)} frames are not understood: {heard.odd[0]}")
    return agrees(f"{len(heard.frames):,} frames")


def trade_ids(wanted: Listen) -> Steps:
    """Judge whether the ids of trades have holes."""
    heard = yield from listen(wanted)
    trades = trades_of(heard, wanted.streams[0].symbol)
    breaks = [
        (before, following)
        for before, following in pairwise(trades)
        if following.trade_id - following.count != before.trade_id
    ]
    if breaks:
        before, following = breaks[0]
        return differs(f"{len(breaks)} holes, such as {before.trade_id} to {following.trade_id}")
    if len(trades) < 2:
        return no_answer("only one trade came in this time")
    return agrees(f"{len(trades)} trades from {trades[0].trade_id} on")


def books(wanted: Listen) -> Steps:
    """Judge whether each book began with a snapshot and was not broken after it."""
    heard = yield from listen(wanted)
    first = next((at for at, one in enumerate(heard.outputs) if isinstance(one, Book) and one.snapshot), None)
    if first is None:
        return no_answer("no snapshot of a book came in this time")
    broken = [_broken(one) for one in heard.outputs[first:] if isinstance(one, Resync | Lost)]
    if broken:
        return differs(f"{len(broken)} breaks: {broken[0]}")
    books = sum(isinstance(one, Book) for one in heard.outputs)
    passed = sum(audit.checksums_passed for audit in heard.audits.values())
    proved = f", {passed:,} checksums right" if passed else ""
    return agrees(f"{books:,} messages{proved}")


def _broken(output: Output) -> str:
    match output:
        case Resync(cause=cause, reason=reason):
            return f"{cause}: {reason}"
        case Lost(reason=reason):
            return reason
    return ""
