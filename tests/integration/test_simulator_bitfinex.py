"""The simulated Bitfinex speaks as the captured one does."""

from pathlib import Path

from decoded import Truth, decoding, rows_of, trades_of

from recorder.events import CHANNELS, Lost, Resync, Stream
from recorder.simulator.running import running
from recorder.venues.bitfinex import Bitfinex

SYMBOLS = ("tBTCUSD", "tBTTUSD", "tAVAX:USD")
STREAMS = [Stream(channel, symbol) for symbol in SYMBOLS for channel in CHANNELS]


def test_our_decoder_finds_exactly_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, seed=3, rate=1500) as venue:
        venue.do("every", checksum_s=0.05, ticker_s=0.5, heartbeat_s=0.5)
        with decoding(venue, Bitfinex(), STREAMS) as found:
            found.until(lambda one: one.frames > 6000)
            venue.do("close", how="frame")
            found.to_the_end()
    truth = Truth(path)
    assert found.unreadable == []
    assert found.of(Lost) == found.of(Resync) == []
    assert trades_of(found) == truth.trades()
    assert len(trades_of(found)) > 100
    assert rows_of(found) == truth.rows()
    print({k: (v.checksums_passed, v.checksums_failed) for k, v in found.session.audits.items()}, found.frames)
    assert sum(one.checksums_failed for one in found.session.audits.values()) == 0
