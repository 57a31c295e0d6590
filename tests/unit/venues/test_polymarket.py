"""Polymarket: the contract, three shapes of a change, two tokens of a market, and trades without ids."""

import gzip
import json
from typing import Any, ClassVar

import pytest
from support.captured_data import CAPTURES, require
from support.venues.contract import NOW_NS, OWN, VenueContract, books_after, decode_all, lines

from recorder.capture.placement import assign_streams
from recorder.errors import ConfigError, DecodeError, NotAFeedFrame
from recorder.events import Accepted, Alive, Book, Lost, Output, Quote, Resync, Stream, Trade
from recorder.venues.base import Audit, Conversation, Listing, requests_of
from recorder.venues.polymarket.changes_2025_09 import PolymarketUntil202509Decoder
from recorder.venues.polymarket.stream import (
    CONTRADICTIONS_TO_RESYNC,
    TOKENS_PER_LINK,
    Polymarket,
    PolymarketDecoder,
)
from recorder.venues.polymarket.subscriptions import PONG_NS

MS = 1_772_719_200_000
YES, NO = "10" + "1" * 74 + "01", "20" + "2" * 74 + "02"
CHANNELS = ("book", "quote", "trade")
Levels = list[tuple[str, str]]


def capture(name: str) -> bytes:
    """Return one captured message, which is printed over several lines."""
    return require(CAPTURES / "polymarket" / name).read_bytes()


class TestPolymarket(VenueContract):
    name = "polymarket"
    symbols = (YES, NO)
    captures = ()
    listing_body = json.dumps(
        {
            "markets": [
                {
                    "slug": "up-or-down", "outcomes": '["Up", "Down"]', "clobTokenIds": json.dumps([YES, NO]),
                    "orderPriceMinTickSize": 0.001, "orderMinSize": 5, "closed": False, "acceptingOrders": True,
                },
                {"slug": "of-2020", "outcomes": '["Yes", "No"]', "closed": True, "acceptingOrders": True},
            ],
            "next_cursor": "abc",
        }
    ).encode()  # fmt: skip
    listings: ClassVar[list[Listing]] = [
        Listing(YES, "up-or-down:Up", "USDC", "outcome", "0.001", "5", "open"),
        Listing(NO, "up-or-down:Down", "USDC", "outcome", "0.001", "5", "open"),
    ]

    @staticmethod
    def trades_in(message: Any) -> int:
        rows = message if isinstance(message, list) else [message]
        return sum(row["event_type"] == "last_trade_price" for row in rows)

    def test_requests_are_json_and_name_every_stream(self) -> None:
        """All channels of a token are one subscription, so a token is named once."""
        (request,) = (json.loads(frame) for frame in self.venue.subscribe(self.streams(self.symbols)))
        assert request == {
            "type": "market", "assets_ids": [YES, NO], "initial_dump": True, "custom_feature_enabled": True
        }  # fmt: skip
        (request,) = (json.loads(frame) for frame in self.venue.unsubscribe(self.streams(self.symbols)))
        assert request == {"operation": "unsubscribe", "assets_ids": [YES, NO]}
        assert self.venue.subscribe([]) == self.venue.unsubscribe([]) == []

    def test_every_frame_made_by_hand_is_understood_and_answers_every_channel(self) -> None:
        """The venue answers no request; the first book of a token acknowledges all its streams."""
        outputs = decoded(subscribed(YES, NO), *lines(self.own))
        accepted = [output.stream for output in outputs if isinstance(output, Accepted)]
        assert accepted == [Stream(channel, token) for token in (YES, NO) for channel in CHANNELS]  # type: ignore[arg-type]
        assert {type(output) for output in outputs} == {Accepted, Trade, Quote, Book}

    def test_every_captured_frame_is_understood(self) -> None:
        counted = {}
        for path in sorted(require(CAPTURES / "polymarket").glob("ws_*.json")):
            older = path.name == "ws_price_change_legacy.json"
            decoder = PolymarketUntil202509Decoder() if older else Polymarket().decoder()
            for frame in (path.read_bytes(), b"[" + path.read_bytes() + b"]"):  # alone, and in an array
                outputs = decoder.decode(frame, NOW_NS)
                assert sum(isinstance(o, Trade) for o in outputs) == self.trades_in(json.loads(frame))
                counted[path.stem] = [type(output).__name__ for output in outputs]
        assert counted == {
            "ws_best_bid_ask": ["Quote"],
            "ws_book_full": ["Book"],
            "ws_last_trade_price": ["Trade"],
            "ws_market_resolved": [],
            "ws_new_market": [],
            "ws_price_change_legacy": ["Book"],
            "ws_price_change_v2": ["Book"],
            "ws_tick_size_change": [],
        }

    def test_a_new_decoder_has_no_book_and_requests_one_once(self) -> None:
        decoder = Polymarket().decoder()
        outputs = decoded(decoder, change(YES, "0.1", "1"), change(NO, "0.1", "1"), change(YES, "0.2", "1"))
        assert [type(output) for output in outputs] == [Resync, Book, Resync, Book, Book]
        assert {output.cause for output in outputs if isinstance(output, Resync)} == {"no_snapshot"}

    @pytest.mark.parametrize("frame", [b"", b"null", b"7", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000])
    def test_anything_but_a_message_is_a_decode_error(self, frame: bytes) -> None:
        with pytest.raises(DecodeError):
            self.venue.decoder().decode(frame, NOW_NS)


def subscribed(*tokens: str) -> PolymarketDecoder:
    decoder = Polymarket().decoder()
    decoder.subscribe(streams(*tokens))
    return decoder


def streams(*tokens: str, channels: tuple[str, ...] = CHANNELS) -> list[Stream]:
    return [Stream(channel, token) for token in tokens for channel in channels]  # type: ignore[arg-type]


def decoded(decoder: PolymarketDecoder, *frames: bytes) -> list[Output]:
    return [output for frame in frames for output in decoder.decode(frame, NOW_NS)]


def message(kind: str, **more: object) -> bytes:
    return json.dumps({"event_type": kind, "market": "0xab", "timestamp": str(MS), **more}).encode()


def book(token: str, bids: Levels, asks: Levels, ms: int = MS) -> bytes:
    sides = {name: [{"price": p, "size": s} for p, s in side] for name, side in (("bids", bids), ("asks", asks))}
    return message("book", asset_id=token, timestamp=str(ms), **sides)


def change(token: str, price: str, size: str, ms: int = MS, best: dict[str, str] | None = None) -> bytes:
    row = {"asset_id": token, "price": price, "size": size, "side": "BUY"} | (best or {})
    return message("price_change", timestamp=str(ms), price_changes=[row])


def trade(token: str = YES, **more: str) -> bytes:
    return message("last_trade_price", **{"asset_id": token, "price": "0.4", "size": "5", "side": "BUY", **more})


# ---- events ----------------------------------------------------------------------------------------


def test_the_frames_written_by_hand_give_exactly_these_events() -> None:
    outputs = decode_all(Polymarket(), lines(OWN / "polymarket/handmade.jsonl"))

    def at(ms: int) -> int:
        return (MS + ms) * 10**6

    trades = [output for output in outputs if isinstance(output, Trade)]
    assert [(t.symbol, t.ts_event_ns, t.price, t.size, t.aggressor, t.venue_trade_id) for t in trades] == [
        (YES, at(200), 0.52, 25.0, "b", "0x" + "cd" * 32),
        (NO, at(200), 0.491, 85.36, "s", None),
    ]
    assert [output for output in outputs if isinstance(output, Quote)] == [
        Quote(YES, at(300), NOW_NS, None, 0.49, None, 0.53, None),
        Quote(NO, at(300), NOW_NS, None, None, None, 0.51, None),
    ]
    deltas = [output for output in outputs if isinstance(output, Book) and not output.snapshot]
    assert [(delta.symbol, delta.ts_event_ns, delta.bids, delta.asks) for delta in deltas] == [
        (YES, at(100), [(0.49, 12.0)], []),
        (NO, at(100), [], [(0.51, 12.0)]),
        (YES, at(200), [(0.48, 31.0)], [(0.52, 0.0)]),
        (YES, at(210), [], [(0.53, 8.0)]),
    ]
    assert books_after(outputs)[YES] == ({0.01: 500.0, 0.47: 10.5, 0.48: 31.0, 0.49: 12.0}, {0.53: 8.0, 0.99: 100.0})


def test_a_token_of_78_digits_stays_a_text() -> None:
    accepted, row = decoded(subscribed(YES), trade())
    assert accepted == Accepted(Stream("trade", YES))
    assert isinstance(row, Trade)
    assert row.symbol == YES
    assert len(YES) == 78


def test_the_captured_book_comes_worst_price_first_and_is_complete() -> None:
    raw = json.loads(capture("ws_book_full.json"))
    (row,) = decode_all(Polymarket(), [capture("ws_book_full.json")])
    assert isinstance(row, Book)
    assert row.snapshot
    assert row.bids == [(float(level["price"]), float(level["size"])) for level in raw["bids"]]
    assert row.asks[0][0] > row.asks[-1][0]
    assert row.bids[0][0] < row.bids[-1][0] < row.asks[-1][0]


def test_the_captured_trade_and_changes_are_what_their_texts_say() -> None:
    (print_,) = decode_all(Polymarket(), [capture("ws_last_trade_price.json")])
    assert isinstance(print_, Trade)
    assert (print_.price, print_.size, print_.aggressor) == (0.491, 85.36, "s")
    assert print_.ts_event_ns == 1_724_564_136_087 * 10**6
    _, legacy = PolymarketUntil202509Decoder().decode(capture("ws_price_change_legacy.json"), NOW_NS)
    assert isinstance(legacy, Book)
    assert (legacy.bids, legacy.asks) == ([], [(0.514, 21574.08)])
    _, recent = decode_all(Polymarket(), [capture("ws_price_change_v2.json")])
    assert isinstance(recent, Book)
    assert recent.bids == [(0.6, 3300.0), (0.5, 3400.0), (0.7, 3400.0)]


def test_pongs_and_empty_arrays_are_alive_and_no_data() -> None:
    assert decoded(subscribed(YES), b"PONG", b"[]") == [Alive(), Alive()]
    assert Polymarket.heartbeat.frame == "PING"
    assert Polymarket.heartbeat.every_s == 10


def test_messages_of_an_unknown_type_are_counted_with_samples_and_cost_no_other_message() -> None:
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [("0.4", "1")], [("0.6", "1")]))
    samples = []
    for _ in range(5):
        try:
            assert decoded(decoder, message("surprise", asset_id=YES)) == [Alive()]
        except DecodeError as error:
            samples.append((str(error), error.no_data))
    assert samples == [
        (f"unknown event_type 'surprise', message {count} of it on this connection", True) for count in (1, 2, 4)
    ]
    mixed = b"[" + change(YES, "0.5", "9") + b"," + message("surprise") + b"]"
    assert [type(output) for output in decoded(decoder, mixed)] == [Book]


@pytest.mark.parametrize("text", [b"PING", b"ping", b"pong\n", b" Pong "])
def test_a_ping_or_pong_in_another_spelling_is_alive(text: bytes) -> None:
    assert decoded(subscribed(YES), text) == [Alive()]


def stamped(decoder: PolymarketDecoder, stamp_ms: int, size: str, recv_ns: int = NOW_NS) -> list[Output]:
    row = {"asset_id": YES, "price": "0.46", "size": size, "side": "BUY", "best_bid": "0.46", "best_ask": "0.6"}
    return list(decoder.decode(message("price_change", price_changes=[row], timestamp=str(stamp_ms)), recv_ns))


def test_changes_stamped_before_their_book_are_rows_once_they_are_doubtful_and_from_then_on() -> None:
    """The book may come from a faster clock or a cache ahead; none of the changes may be lost for ever."""
    now_ms = NOW_NS // 10**6
    decoder = subscribed(YES)
    ahead = book(YES, [("0.4", "1")], [("0.6", "1")], ms=now_ms + 3000)
    decoded(decoder, ahead)
    for number in range(CONTRADICTIONS_TO_RESYNC - 1):
        assert stamped(decoder, now_ms + number, str(number + 1)) == []
    resync, *rows = stamped(decoder, now_ms + 10, "9")
    assert resync == Resync(YES, "sequence", "5 changes are stamped before their book")
    assert [row.bids for row in rows if isinstance(row, Book)] == [[(0.46, float(size))] for size in (1, 2, 3, 4, 9)]
    decoded(decoder, ahead)
    assert [type(output) for output in stamped(decoder, now_ms + 20, "7")] == [Book]


def test_a_change_stamped_before_its_book_is_doubtful_seconds_after_it() -> None:
    now_ms = NOW_NS // 10**6
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [("0.46", "1")], [("0.6", "1")], ms=now_ms))
    assert stamped(decoder, now_ms - 1, "1") == []
    assert [type(one) for one in stamped(decoder, now_ms - 1, "2", NOW_NS + 4 * 10**9)] == [Resync, Book, Book]


@pytest.mark.parametrize("factor", [1000, 10**6])
def test_a_book_stamped_in_another_unit_or_far_ahead_drops_no_change(factor: int) -> None:
    now_ms = NOW_NS // 10**6
    decoder = subscribed(YES)
    outputs = decoded(decoder, book(YES, [("0.46", "1")], [("0.6", "1")], ms=now_ms * factor))
    assert [output.ts_event_ns for output in outputs if isinstance(output, Book)] == [NOW_NS]
    assert [type(output) for output in stamped(decoder, now_ms + 1, "2")] == [Book]
    decoded(decoder, book(YES, [("0.46", "1")], [("0.6", "1")], ms=now_ms + 3_600_000))
    assert [type(output) for output in stamped(decoder, now_ms + 2, "3")] == [Book]


@pytest.mark.parametrize("missing", ["asset_id", "price", "size", "side"])
def test_a_change_that_lacks_a_field_makes_its_frame_unreadable(missing: str) -> None:
    row = {"asset_id": YES, "price": "0.5", "size": "9", "side": "BUY"}
    del row[missing]
    wrong = message("price_change", price_changes=[row])
    decoder = subscribed(YES)
    for frame in (wrong, b"[" + book(YES, [], []) + b"," + wrong + b"]"):
        with pytest.raises(DecodeError):
            decoded(decoder, frame)
    assert [type(o) for o in decoded(decoder, change(YES, "0.5", "9"))] == [Resync, Book]  # still without a book


# ---- before 2025-09-15 -------------------------------------------------------------------------------


def test_messages_in_their_older_shapes_mean_what_they_mean_today() -> None:
    """Books named their sides buys and sells; a change had its token at the top, or was the message itself."""
    frames = lines(OWN / "polymarket/until_2025_09.jsonl")
    outputs = decoded(PolymarketUntil202509Decoder(), *frames)
    assert outputs == [
        Book(YES, MS * 10**6, NOW_NS, True, None, [(0.01, 500.0), (0.47, 10.5), (0.48, 30.0)],
             [(0.99, 100.0), (0.53, 7.0), (0.52, 25.0)]),
        Book(YES, (MS + 200) * 10**6, NOW_NS, False, None, [(0.48, 31.0)], [(0.52, 0.0)]),
        Book(YES, (MS + 210) * 10**6, NOW_NS, False, None, [], [(0.53, 8.0)]),
        *decode_all(Polymarket(), frames[-1:]),
    ]  # fmt: skip
    assert decoded(PolymarketUntil202509Decoder(), b"[" + b",".join(frames) + b"]") == outputs


def test_messages_of_today_mean_the_same_to_the_decoder_of_the_older_shapes() -> None:
    frames = lines(OWN / "polymarket/handmade.jsonl")
    assert decoded(PolymarketUntil202509Decoder(), *frames) == decode_all(Polymarket(), frames)


def test_older_shapes_are_refused_where_only_todays_are_expected() -> None:
    for frame in lines(OWN / "polymarket/until_2025_09.jsonl")[:-1]:
        with pytest.raises(DecodeError):
            decoded(subscribed(YES), frame)


@pytest.mark.parametrize("missing", ["asset_id", "price", "size", "side"])
def test_an_older_change_that_lacks_a_field_makes_its_frame_unreadable(missing: str) -> None:
    row = {"asset_id": YES, "price": "0.5", "size": "9", "side": "BUY"}
    del row[missing]
    for wrong in (message("price_change", price_changes=[row]), message("price_change", **row)):
        decoder = PolymarketUntil202509Decoder()
        for frame in (wrong, b"[" + book(YES, [], []) + b"," + wrong + b"]"):
            with pytest.raises(DecodeError):
                decoded(decoder, frame)
        assert [type(o) for o in decoded(decoder, change(YES, "0.5", "9"))] == [Resync, Book]  # still without a book


# ---- two tokens of a market --------------------------------------------------------------------------


def test_changes_quotes_and_trades_of_a_token_that_was_not_subscribed_are_left_out() -> None:
    decoder = subscribed(YES)
    both = message(
        "price_change",
        price_changes=[
            {"asset_id": YES, "price": "0.4", "size": "2", "side": "BUY"},
            {"asset_id": NO, "price": "0.6", "size": "2", "side": "SELL"},
        ],
    )
    quote = message("best_bid_ask", asset_id=NO, best_bid="0.5", best_ask="0.6")
    outputs = decoded(decoder, book(YES, [], []), book(NO, [], []), both, quote, trade(NO))
    assert {o.symbol for o in outputs if isinstance(o, Book | Quote | Trade | Resync)} == {YES}
    assert [type(output) for output in outputs] == [Accepted] * 3 + [Book, Book]


def test_only_subscribed_channels_make_rows() -> None:
    decoder = Polymarket().decoder()
    decoder.subscribe(streams(YES, channels=("trade",)))
    outputs = decoded(decoder, book(YES, [], []), change(YES, "0.4", "2"), trade())
    assert [type(output) for output in outputs] == [Accepted, Trade]


def test_a_trade_of_no_keeps_the_token_the_price_and_the_side_that_the_venue_named() -> None:
    (row,) = decode_all(Polymarket(), [trade(NO, price="0.9", side="BUY")])
    assert isinstance(row, Trade)
    assert (row.symbol, row.price, row.aggressor) == (NO, 0.9, "b")  # and not YES sold at 0.1


# ---- trades without ids --------------------------------------------------------------------------------


def test_equal_prints_are_different_trades_and_a_second_connection_gives_them_the_same_ids() -> None:
    frames = [trade(), trade(), trade(size="6"), trade(), trade(transaction_hash="0xaa")]
    first, second = ([o.trade_id for o in decoded(subscribed(YES), *frames) if isinstance(o, Trade)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(frames)


def test_the_same_numbers_in_other_texts_are_the_same_trade() -> None:
    one, other = (
        decoded(subscribed(YES), trade(price=price, size=size)) for price, size in (("0.4", "5"), ("0.40", "5.0"))
    )
    assert one == other


def test_the_memory_of_prints_is_bounded() -> None:
    decoder = subscribed(YES)
    for number in range(9000):
        decoder.decode(trade(timestamp=str(MS + number)), NOW_NS)
    assert len(decoder._prints) == 8192


# ---- books without sequence numbers ----------------------------------------------------------------------


def test_a_change_older_than_its_book_makes_no_row() -> None:
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [("0.4", "1")], [], ms=MS))
    assert decoded(decoder, change(YES, "0.4", "9", ms=MS - 1)) == []
    assert [type(output) for output in decoded(decoder, change(YES, "0.4", "9", ms=MS))] == [Book]


def test_a_book_crossed_for_a_moment_is_usual_and_for_longer_is_wrong() -> None:
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [("0.4", "1")], [("0.6", "1")]))
    crossing = [change(YES, "0.7", str(size)) for size in range(1, CONTRADICTIONS_TO_RESYNC + 2)]
    assert [type(o) for o in decoded(decoder, *crossing[: CONTRADICTIONS_TO_RESYNC - 1])] == [Book] * (
        CONTRADICTIONS_TO_RESYNC - 1
    )
    assert [type(o) for o in decoded(decoder, change(YES, "0.7", "0"))] == [Book]  # in order again: the count restarts
    outputs = decoded(decoder, *crossing)
    assert [type(o) for o in outputs] == [Book] * (CONTRADICTIONS_TO_RESYNC - 1) + [Resync, Book, Book]
    assert [o.cause for o in outputs if isinstance(o, Resync)] == ["crossed"]
    assert decoder.audits == {YES: Audit(crossed=1)}
    assert [type(o) for o in decoded(decoder, book(YES, [], []), change(YES, "0.4", "1"))] == [Book, Book]


def test_best_prices_the_venue_names_are_compared_with_the_book() -> None:
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [("0.4", "1")], [("0.6", "1")]))
    right = [change(YES, "0.3", "1", best={"best_bid": "0.4", "best_ask": "0.6"})] * 2
    wrong = [change(YES, "0.3", "1", best={"best_bid": "0.41", "best_ask": "0.6"})] * CONTRADICTIONS_TO_RESYNC
    outputs = decoded(decoder, *right, *wrong)
    assert [o.cause for o in outputs if isinstance(o, Resync)] == ["checksum"]
    assert isinstance(outputs[-2], Resync)  # before the row it follows from
    assert decoder.audits == {YES: Audit(checksums_passed=2, checksums_failed=1)}


@pytest.mark.parametrize("best", [{"best_bid": "0.4"}, {"best_bid": "0.4", "best_ask": "1"}, {}])
def test_an_empty_side_is_absent_or_named_zero_or_one(best: dict[str, str]) -> None:
    decoder = subscribed(YES)
    frames = [change(YES, "0.4", str(size), best=best) for size in range(1, CONTRADICTIONS_TO_RESYNC + 3)]
    outputs = decoded(decoder, book(YES, [("0.4", "1")], []), *frames)
    assert not [output for output in outputs if isinstance(output, Resync)]


# ---- requests --------------------------------------------------------------------------------------


def test_the_decoder_makes_the_requests_of_its_connection() -> None:
    decoder = Polymarket().decoder()
    assert isinstance(decoder, Conversation)
    assert requests_of(Polymarket(), decoder) is decoder


@pytest.mark.parametrize("pong", [b"PONG", b" pong\n"])
def test_data_behind_the_pong_accepts_what_was_subscribed_again(pong: bytes) -> None:
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [], []))
    decoder.subscribe(streams(YES))
    assert [type(output) for output in decoded(decoder, book(YES, [], []), trade())] == [Book, Trade]
    assert [type(output) for output in decoded(decoder, pong, trade(), trade())] == [Alive, Accepted, Trade, Trade]
    assert [type(output) for output in decoded(decoder, book(YES, [], []))] == [Accepted, Accepted, Book]


def test_a_ping_without_a_pong_ends_the_connection_where_a_token_waits_for_it() -> None:
    decoder = subscribed(YES)
    decoded(decoder, book(YES, [], []))
    decoder.pinged()
    decoder.subscribe(streams(YES))
    assert [type(output) for output in decoder.decode(trade(), NOW_NS)] == [Trade]
    (lost,) = decoder.decode(trade(), NOW_NS + PONG_NS + 1)
    assert isinstance(lost, Lost)


def test_what_is_not_subscribed_any_more_makes_no_row() -> None:
    decoder = subscribed(YES)
    decoder.unsubscribe(streams(YES, channels=("book", "quote")))
    assert [type(o) for o in decoded(decoder, change(YES, "0.4", "2"), trade())] == [Accepted, Trade]
    decoder.unsubscribe(streams(YES, channels=("trade",)))
    assert decoded(decoder, trade(), book(YES, [], [])) == []


def test_no_connection_carries_so_many_tokens_that_it_goes_silent() -> None:
    tokens = [str(number) for number in range(501)]
    for channels in (CHANNELS, ("trade",)):
        links = assign_streams(streams(*tokens, channels=channels), [], Polymarket.limits, 10).links
        assert [len({stream.symbol for stream in link}) for link in links] == [251, 250]
        assert TOKENS_PER_LINK < 500


# ---- listings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tokens"), [("gamma_markets_2026", 600), ("gamma_markets_closed_2020_era", 324)])
def test_captured_markets_list_every_token_with_its_outcome(name: str, tokens: int) -> None:
    rows = gzip.decompress(capture(f"{name}.jsonl.gz")).splitlines()
    expected = []
    for row in map(json.loads, rows):
        ids, outcomes = (json.loads(row.get(key) or "[]") for key in ("clobTokenIds", "outcomes"))
        expected += [(one, f"{row['slug']}:{outcome}") for one, outcome in zip(ids, outcomes, strict=bool(ids))]
    listed = Polymarket().listings(b'{"markets":[' + b",".join(rows) + b"]}")
    assert [(listing.symbol, listing.base) for listing in listed] == expected
    assert len(listed) == tokens


def test_tokens_that_do_not_match_their_outcomes_are_refused() -> None:
    market = {"slug": "x", "outcomes": '["Yes"]', "clobTokenIds": '["1","2"]'}
    with pytest.raises(DecodeError, match="market list"):
        Polymarket().listings(json.dumps({"markets": [market]}).encode())


def test_a_depth_is_refused_because_books_are_complete() -> None:
    with pytest.raises(ConfigError, match="complete books"):
        Polymarket(book_depth=10)


@pytest.mark.parametrize(("frame", "kind"), [
    (b'{"market":"0xab","asset_id":"7","bids":[],"asks":[]}', NotAFeedFrame),
    (b'[{"id":"1","slug":"a"},{"id":"2","slug":"b"}]', NotAFeedFrame),
    (b'{"event_type":"surprise"}', DecodeError),
    (b'[{"event_type":"book"},{"id":"2"}]', DecodeError),
    (b"{}", DecodeError),
])  # fmt: skip
def test_an_answer_of_rest_is_distinguished_from_a_broken_message(frame: bytes, kind: type[DecodeError]) -> None:
    with pytest.raises(DecodeError) as raised:
        Polymarket().decoder().decode(frame, NOW_NS)
    assert raised.type is kind
