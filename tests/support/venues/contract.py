"""The tests that every venue must pass. A venue's own test file derives from VenueContract and brings only data."""

import gzip
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from recorder.capture.websocket.frames import Oversized
from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Book, Fetch, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues import VENUES, venue_class
from recorder.venues.base import Listing, Venue
from recorder.venues.orderbook import Side
from support.captured_data import CAPTURES, ROOT, require

OWN = ROOT / "tests/captures"
NOW_NS = 1_793_000_000 * 10**9
"""A receipt time later than every frame used here."""

ODD_VALUES: tuple[object, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**64, 10**400, -(2**63) - 1, 1e308, 0.1, "", "0", "nan", "NaN", "inf", "-inf",
    "Infinity", "1e400", "1e-7", "0.-10000", "-1", "1_0", "\u0661", "\x00", "x" * 5000, [], {}, [[]], [None], [["buy"]],
    ["buy", "1"], "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:60.999999Z", "2026-02-30T00:00:00Z", "0000-01-01",
)  # fmt: skip

# One test runs for several venues, which is the purpose of a contract.
CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.differing_executors]

_watched = threading.local()


def _audit(event: str, _arguments: tuple[object, ...]) -> None:
    seen = getattr(_watched, "events", None)
    if seen is not None and event.startswith(("open", "socket.", "os.", "subprocess.", "ctypes.", "time.")):
        seen.append(event)


sys.addaudithook(_audit)


def lines(path: Path) -> list[bytes]:
    """Return the frames of a file; skip the test where the file is absent, or fail it in CI."""
    require(path)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line for line in data.splitlines() if line.strip()]


def decode_all(venue: Venue, frames: Sequence[bytes]) -> list[Output]:
    """Return everything that one decoder makes of these frames."""
    decoder = venue.decoder()
    return [output for frame in frames for output in decoder.decode(frame, NOW_NS)]


def books_after(outputs: Sequence[Output]) -> dict[str, tuple[dict[float, float], dict[float, float]]]:
    """Build the books from Book events alone, as a reader of the recording does."""
    books: dict[str, tuple[Side[float], Side[float]]] = {}
    for output in outputs:
        if isinstance(output, Book):
            if output.snapshot:
                books[output.symbol] = (Side(output.bids), Side(output.asks))
            elif output.symbol in books:
                for side, levels in zip(books[output.symbol], (output.bids, output.asks), strict=True):
                    side.apply(levels)
    return {symbol: (bids.values, asks.values) for symbol, (bids, asks) in books.items()}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from _places(below, (*path, key))


@st.composite
def broken(draw: st.DrawFn, frames: Sequence[bytes]) -> bytes:
    """Draw a real frame with one fault: changed bytes, a cut, or a value, key or element replaced or removed."""
    frame = draw(st.sampled_from(frames))
    kind = draw(st.sampled_from(("bytes", "cut", "value", "without", "twice")))
    if kind == "cut":
        return frame[: draw(st.integers(0, len(frame) - 1))]
    if kind == "bytes":
        at = draw(st.integers(0, len(frame) - 1))
        return frame[:at] + draw(st.binary(max_size=4)) + frame[at + draw(st.integers(0, 3)) :]
    if kind == "twice":
        return frame + frame
    message = json.loads(frame)
    *above, last = draw(st.sampled_from(list(_places(message))))
    place = message
    for key in above:
        place = place[key]
    if kind == "value":
        place[last] = draw(st.sampled_from(ODD_VALUES))
    else:
        del place[last]
    return json.dumps(message, separators=(",", ":")).encode()


class VenueContract:
    """Base of a venue's test class. Derive it as Test..., and fill in the attributes."""

    name: ClassVar[str]
    symbols: ClassVar[tuple[str, str]]  # two the venue might list
    captures: ClassVar[tuple[str, ...]]  # files below the folder of captures
    listing_body: ClassVar[bytes]
    listings: ClassVar[list[Listing]]
    book_by_rest: ClassVar[bool] = False  # deltas come before the snapshot that they are joined to

    @staticmethod
    def trades_in(message: Any) -> int:
        """Return the number of trades in a message, by the shape of the wire alone."""
        raise NotImplementedError

    @staticmethod
    def spelled(stream: Stream) -> str:
        """Return the text by which a request names a stream."""
        return stream.symbol

    @property
    def venue(self) -> Venue:
        """A venue as the recorder builds it."""
        return venue_class(self.name)()

    @property
    def own(self) -> Path:
        """A file of frames invented for the tests, in the order of one connection."""
        return OWN / self.name / "handmade.jsonl"

    def streams(self, symbols: Sequence[str]) -> list[Stream]:
        """Return all channels of some symbols."""
        return [Stream(channel, symbol) for channel in self.venue.channels for symbol in symbols]

    # ---- requests --------------------------------------------------------------------------------------

    def test_the_venue_is_known_by_its_name(self) -> None:
        assert VENUES[self.name].name == self.name
        assert self.venue.contiguous <= set(self.venue.channels)

    def test_it_goes_to_the_address_of_the_settings_else_to_its_own(self) -> None:
        assert self.venue.endpoint == VENUES[self.name].url
        assert venue_class(self.name)("ws://127.0.0.1:1").endpoint == "ws://127.0.0.1:1"

    def test_requests_are_json_and_name_every_stream(self) -> None:
        for request in (self.venue.subscribe, self.venue.unsubscribe):
            named = [text for frame in request(self.streams(self.symbols)) for text in _texts(json.loads(frame))]
            spelled = [self.spelled(stream) for stream in self.streams(self.symbols)]
            assert all(named.count(text) >= spelled.count(text) for text in spelled)
            alone = {stream: tuple(request([stream])) for stream in self.streams(self.symbols)}
            assert len(set(alone.values())) == len(alone)  # the requests of no two streams are equal
            assert all(frames for frames in alone.values())
            assert list(request([])) == []

    def test_subscribing_and_unsubscribing_differ(self) -> None:
        wanted = self.streams(self.symbols[:1])
        assert set(self.venue.subscribe(wanted)).isdisjoint(self.venue.unsubscribe(wanted))

    def test_a_depth_the_venue_does_not_offer_is_refused_with_a_sentence(self) -> None:
        with pytest.raises(ConfigError, match="book_depth"):
            venue_class(self.name)(book_depth=7)

    # ---- messages --------------------------------------------------------------------------------------

    def test_every_frame_made_by_hand_is_understood_and_answers_every_channel(self) -> None:
        outputs = decode_all(self.venue, lines(self.own))
        accepted = {output.stream.channel for output in outputs if isinstance(output, Accepted)}
        assert accepted == set(self.venue.channels)
        assert {type(output) for output in outputs} >= {Trade, Quote, Book, Accepted, Refused}
        assert not [output for output in outputs if isinstance(output, Resync)]

    def test_every_captured_frame_is_understood(self) -> None:
        if not self.captures:
            pytest.skip("nothing of this venue is captured yet")
        frames = trades = 0
        for name in self.captures:
            captured = lines(CAPTURES / name)
            outputs = decode_all(self.venue, captured)
            expected = sum(self.trades_in(json.loads(frame)) for frame in captured)
            assert sum(isinstance(output, Trade) for output in outputs) == expected
            causes = {output.cause for output in outputs if isinstance(output, Resync)}
            assert causes <= ({"no_snapshot"} if self.book_by_rest else set())
            frames, trades = frames + len(captured), trades + expected
        assert frames > 500
        assert trades > 0

    def test_events_carry_finite_numbers_known_sides_and_our_receipt_time(self) -> None:
        outputs = decode_all(self.venue, lines(self.own))
        for output in outputs:
            if isinstance(output, Trade | Quote | Book):
                assert output.ts_recv_ns == NOW_NS
                assert output.symbol
            if isinstance(output, Trade):
                assert output.aggressor in ("b", "s")
                assert 0 < output.price < 1e300
                assert 0 < output.size < 1e300

    @settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)
    @given(st.data())
    def test_bytes_raise_nothing_but_a_decode_error(self, data: st.DataObject) -> None:
        decoder = self.venue.decoder()
        for frame in data.draw(st.lists(st.binary(max_size=200), max_size=5)):
            _tolerate(decoder.decode, frame)

    @settings(max_examples=400, deadline=None, suppress_health_check=CHECKS)
    @given(st.data())
    def test_a_broken_frame_raises_nothing_but_a_decode_error(self, data: st.DataObject) -> None:
        decoder = self.venue.decoder()
        frames = lines(self.own)
        for frame in frames[: data.draw(st.integers(0, len(frames)))]:
            decoder.decode(frame, NOW_NS)
        for _ in range(3):
            _tolerate(decoder.decode, data.draw(broken(frames)))
        for frame in frames:  # whatever it made of them, it goes on
            decoder.decode(frame, NOW_NS)

    @pytest.mark.parametrize("frame", [b"", b"null", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000])
    def test_anything_but_a_message_is_a_decode_error(self, frame: bytes) -> None:
        with pytest.raises(DecodeError):
            self.venue.decoder().decode(frame, NOW_NS)

    def test_an_oversized_message_is_not_decoded_as_a_frame(self) -> None:
        """Ingest recognises such a message by the error; a decode error would hide what it is."""
        with pytest.raises((TypeError, AttributeError)):
            self.venue.decoder().decode(Oversized(10**9, b"{}"), NOW_NS)  # type: ignore[arg-type]

    @settings(max_examples=200, deadline=None, suppress_health_check=CHECKS)
    @given(st.data())
    def test_nothing_of_a_frame_that_raises_is_applied(self, data: st.DataObject) -> None:
        frames = lines(self.own)
        cut = data.draw(st.integers(0, len(frames)))
        bad = data.draw(broken(frames))
        touched, spared = self.venue.decoder(), self.venue.decoder()
        for frame in frames[:cut]:
            assert touched.decode(frame, NOW_NS) == spared.decode(frame, NOW_NS)
        assume(_tolerate(touched.decode, bad) is None)
        for frame in frames[cut:]:
            assert touched.decode(frame, NOW_NS) == spared.decode(frame, NOW_NS)
        assert touched.audits == spared.audits

    def test_a_new_decoder_has_no_book_and_requests_one_once(self) -> None:
        frames = lines(self.own)
        venue = self.venue
        first = venue.decoder()
        deltas = []
        for frame in frames:
            books = [output for output in first.decode(frame, NOW_NS) if isinstance(output, Book)]
            if books and not books[0].snapshot:
                deltas.append(frame)
        assert len(deltas) >= 2
        second = venue.decoder()
        outputs = [output for frame in deltas for output in second.decode(frame, NOW_NS)]
        fetches = [output for output in outputs if isinstance(output, Fetch)]
        assert len(fetches) == self.book_by_rest
        outputs = [output for output in outputs if not isinstance(output, Fetch)]
        assert isinstance(outputs[0], Resync)
        assert outputs[0].cause == "no_snapshot"
        assert [type(output) for output in outputs[1:]] == [Book] * len(deltas)  # rows all the same

    def test_the_rows_of_the_books_alone_make_the_same_books(self) -> None:
        """No level is lost between the decoder's book and the rows that a reader has."""
        books = books_after(decode_all(self.venue, lines(self.own)))
        assert books
        for bids, asks in books.values():
            assert max(bids) < min(asks)

    def test_a_decoder_does_no_input_or_output(self) -> None:
        frames = lines(self.own)
        decoder = self.venue.decoder()
        seen: list[str] = []
        _watched.events = seen
        try:
            for frame in frames:
                decoder.decode(frame, NOW_NS)
        finally:
            del _watched.events
        assert seen == []

    # ---- listings --------------------------------------------------------------------------------------

    def test_the_list_of_instruments_is_understood(self) -> None:
        assert self.venue.listings(self.listing_body) == self.listings

    @pytest.mark.parametrize("body", [b"", b"null", b"{", b"[1]", b'{"message":"NotFound"}', b"<html>", b"[" * 100_000])
    def test_anything_but_a_list_is_a_decode_error(self, body: bytes) -> None:
        with pytest.raises(DecodeError):
            self.venue.listings(body)


def _tolerate(decode: Any, frame: bytes) -> list[Output] | None:
    try:
        outputs = list(decode(frame, NOW_NS))
    except DecodeError:
        return None
    for output in outputs:  # every output has to fit into its table
        if isinstance(output, Trade):
            assert -(2**63) <= output.trade_id < 2**63
            assert 0 <= output.price <= 1e300
            assert 0 <= output.size <= 1e300
        if isinstance(output, Book):
            assert all(0 <= number <= 1e300 for level in (*output.bids, *output.asks) for number in level)
    return outputs


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)
