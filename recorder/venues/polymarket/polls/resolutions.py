"""What says how a market ended: Data API /v2/resolutions and /v2/tokens, and the CLOB's market record.

Each answer becomes readings: one source's statement about one market. Only a final statement has payouts. Nothing is
read from prices: a price of 0.999 is no label.
"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeVar

import msgspec

from recorder.errors import DecodeError
from recorder.timestamps import Rfc3339
from recorder.venues.listing_rows import row_name
from recorder.venues.polymarket.polls.gamma import SHARE, MarketRow
from recorder.venues.polymarket.polls.values import Fields, Odd, condition_id, number, token_id
from recorder.venues.wire import MALFORMED

Source = Literal["resolutions", "tokens", "clob", "gamma"]
SOURCES: tuple[Source, ...] = ("resolutions", "tokens", "clob", "gamma")
"""In the order of their authority."""

CONDITIONS_OF_RESOLUTIONS = 20
"""Condition ids that one request for resolutions may name."""

TOKENS_OF_TOKENS = 50
"""Token ids that one request for token facts may name."""

_MOST_ROWS = 1_000  # of an answer
_LONGEST_RAW = 4_000  # bytes that are kept of a row
_LONGEST_WORD = 60
Value = TypeVar("Value")
_STATUSES = frozenset({
    "initialized", "posed", "proposed", "challenged", "reproposed", "disputed", "active", "arbitration", "resolved",
})  # fmt: skip


class Reading(NamedTuple):
    """One source's statement about one market."""

    source: Source
    condition_id: str  # 64 hex digits
    status: str  # the source's word
    payouts: tuple[int, int] | None  # micro-USDC a share of outcomes 0 and 1; only of a final statement
    expected_ns: int | None  # when the settlement is expected: when to ask again, no deadline
    resolved_ns: int | None  # when it resolved, by the venue's clock
    disputed: bool | None
    received_ns: int
    raw: bytes


class TokenFact(NamedTuple):
    """What /v2/tokens says of one outcome."""

    token: str
    condition_id: str | None
    resolved: bool
    payout: int | None  # micro-USDC a share; only of a resolved one
    module: str | None  # v1_ctf, binary, neg_risk, combo
    raw: bytes


class Readings(NamedTuple):
    """The statements of one answer."""

    readings: list[Reading]
    odd: list[Odd]


class TokenFacts(NamedTuple):
    """The token facts of one answer."""

    facts: list[TokenFact]
    odd: list[Odd]


class _Data(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]


_decode_data = msgspec.json.Decoder(_Data).decode
_decode_row = msgspec.json.Decoder(dict[str, object]).decode


def resolutions(body: bytes, received_ns: int) -> Readings:
    """Decode an answer of /v2/resolutions. A market that it does not know has no row.

    Raises:
        DecodeError: It is no such answer.
    """
    odd: list[Odd] = []
    times = Rfc3339()

    def convert(raw: msgspec.Raw) -> Reading:
        row = _decode_row(raw)
        condition = condition_id(row.get("condition_id", row.get("conditionId")))
        fields = Fields(row, condition, odd, times)
        status = fields.text("status", _LONGEST_WORD)
        if status is None:
            raise ValueError("no status")
        if status not in _STATUSES:
            fields.name_odd("status", f"unknown word {status!r}")
        payouts = None
        if status == "resolved":
            payouts = _payouts(row.get("payouts"))
        return Reading(
            "resolutions", condition, status, payouts, fields.time_ns("expected_settlement_time"),
            fields.time_ns("resolved_at"), fields.flag("was_disputed"), received_ns, _kept(raw),
        )  # fmt: skip

    return Readings(list(_each(body, "resolutions", convert, odd)), odd)


def tokens(body: bytes) -> TokenFacts:
    """Decode an answer of /v2/tokens.

    Raises:
        DecodeError: It is no such answer.
    """
    odd: list[Odd] = []
    times = Rfc3339()

    def convert(raw: msgspec.Raw) -> TokenFact:
        row = _decode_row(raw)
        token = token_id(row.get("token_id", row.get("tokenId")))
        fields = Fields(row, token, odd, times)
        condition = row.get("condition_id", row.get("condition"))
        resolved = fields.flag("resolved") is True
        price = fields.number("final_price", 0.0, 1.0) if resolved else None
        return TokenFact(
            token, None if condition is None else condition_id(condition), resolved,
            None if price is None else round(price * SHARE), fields.text("module", _LONGEST_WORD),
            _kept(raw),
        )  # fmt: skip

    return TokenFacts(list(_each(body, "tokens", convert, odd)), odd)


def of_tokens(condition: str, pair: tuple[str, ...], facts: dict[str, TokenFact], received_ns: int) -> Reading | None:
    """Return the statement of two token facts about their market; None where one of them is absent.

    Args:
        condition: The market.
        pair: Its tokens in the order of its outcomes. The service's own order is another one.
        facts: By token.
        received_ns: Receipt time of the answer.

    Raises:
        ValueError: The two payouts do not sum to one share.
    """
    found = [facts[token] for token in pair if token in facts]
    if len(pair) != 2 or len(found) != 2:
        return None
    raw = b"[" + b",".join(fact.raw for fact in found) + b"]"
    first, second = (fact.payout for fact in found)
    if not all(fact.resolved for fact in found) or first is None or second is None:
        return Reading("tokens", condition, "open", None, None, None, None, received_ns, raw)
    return Reading("tokens", condition, "resolved", summed(first, second), None, None, None, received_ns, raw)


def clob_market(body: bytes, pair: tuple[str, ...], received_ns: int) -> Reading:
    """Decode the CLOB's record of a market. A winner of false is no statement: open markets say false of both.

    Args:
        body: The answer of /markets/{condition_id}.
        pair: The market's tokens in the order of its outcomes.
        received_ns: Receipt time of the answer.

    Raises:
        DecodeError: It is no such answer.
    """
    try:
        row = _decode_row(body)
        condition = condition_id(row.get("condition_id"))
        listed = row.get("tokens")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise ValueError("no tokens")
        winners = [one.get("token_id") for one in listed if one.get("winner") is True]
    except MALFORMED as error:
        raise DecodeError(f"CLOB market: {error}") from error
    closed = row.get("closed") is True
    payouts = None
    if closed and len(winners) == 1 and len(pair) == 2 and winners[0] in pair:
        payouts = (SHARE, 0) if winners[0] == pair[0] else (0, SHARE)
    kept = {"closed": row.get("closed"), "tokens": listed[:2]}  # the rest is a long description
    raw = _kept(msgspec.json.encode(kept))
    return Reading("clob", condition, "closed" if closed else "open", payouts, None, None, None, received_ns, raw)


def of_gamma(row: MarketRow) -> Reading:
    """Return Gamma's statement about a market: its row's status and, where it is closed and final, its exact prices."""
    market = row.market
    raw = msgspec.json.encode({
        "phase": market.phase, "umaResolutionStatus": market.uma_status,
        "resolutionStatus": market.resolution_status, "payouts": row.payouts,
    })  # fmt: skip
    received_ns = market.numbers.received_ns
    return Reading("gamma", market.condition_id, market.phase, row.payouts, None, None, None, received_ns, raw)


def summed(first: int, second: int) -> tuple[int, int]:
    """Return the payouts of two outcomes.

    Raises:
        ValueError: They do not sum to one share.
    """
    if first < 0 or second < 0 or first + second != SHARE:
        raise ValueError(f"payouts {first} and {second} do not sum to {SHARE}")
    return first, second


def _kept(raw: bytes | msgspec.Raw) -> bytes:
    """Return a row as it is kept: JSON, and not endless."""
    text = bytes(raw)
    return text if len(text) <= _LONGEST_RAW else msgspec.json.encode(text[:_LONGEST_RAW].decode("utf-8", "replace"))


def _payouts(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"no two payouts: {value!r:.60}")
    first, second = (number(one, 0.0, float(SHARE)) for one in value)
    if not (first.is_integer() and second.is_integer()):
        raise ValueError(f"payouts {first} and {second} are no whole micro-USDC")
    return summed(int(first), int(second))


def _each(body: bytes, what: str, convert: Callable[[msgspec.Raw], Value], odd: list[Odd]) -> Iterable[Value]:
    """Yield the rows of an envelope; one that is not understood is added to `odd`."""
    try:
        rows = _decode_data(body).data
    except MALFORMED as error:
        raise DecodeError(f"Data {what}: {error}") from error
    if len(rows) > _MOST_ROWS:
        raise DecodeError(f"Data {what}: {len(rows)} rows, above {_MOST_ROWS}")
    for raw in rows:
        try:
            yield convert(raw)
        except MALFORMED as error:
            odd.append(Odd(row_name(raw), str(error)))
