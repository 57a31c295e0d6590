"""The simulated OKX speaks as the captured one does."""

from pathlib import Path

from decoded_feed import Tap, Truth, compare
from simulator_client import client

from recorder.events import CHANNELS, Book, Stream, Trade
from recorder.simulator.running import running


def test_our_decoder_makes_of_the_socket_exactly_what_the_truth_says(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("okx", truth=path, rate=2000, seed=4) as venue, client(venue.url) as socket:
        tap = Tap(venue, socket)
        tap.subscribe(*(Stream(channel, symbol) for symbol in venue.venue.symbols for channel in CHANNELS))
        tap.until(lambda tap: len(tap.of(Trade)) > 300 and len(tap.of(Book)) > 60)
        venue.do("close", how="frame")
        tap.drain()
    figures = compare(tap, Truth(path))
    assert min(figures[channel] for channel in CHANNELS) > 0
