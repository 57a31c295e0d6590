"""The simulated Figure Markets speaks as the captured one does."""

from pathlib import Path

from decoded import Truth, decoding, rows_of, trades_of
from simulator_client import FastClock

from recorder.events import CHANNELS, Accepted, Stream
from recorder.simulator.running import running
from recorder.venues.figure import Figure

SYMBOLS = ("HASH-USD", "BTC-USD-2S", "USDC-USD")
STREAMS = [Stream(channel, symbol) for symbol in SYMBOLS for channel in CHANNELS]


def test_our_decoder_finds_exactly_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    slow = running("figure", truth=path, seed=3, rate=400, clock=FastClock())
    with slow as venue, decoding(venue, Figure(), STREAMS) as found:
        found.until(lambda one: one.frames > 1500)
        venue.do("close", how="frame")
        found.to_the_end()
    truth = Truth(path)
    assert found.unreadable == []
    assert set(found.of(Accepted)) == {Accepted(stream) for stream in STREAMS}
    assert trades_of(found) == truth.trades()
    assert len(trades_of(found)) > 100
    assert rows_of(found) == truth.rows()
