"""A simulated venue that is started again: its ids go on, and its history has what came before."""

from pathlib import Path

import pytest

from recorder.appliance.processes import wait_until
from recorder.simulator.main import last_trades
from recorder.simulator.running import running
from recorder.truth import TradeItem

_VENUES = ("binance", "bitfinex", "coinbase", "coinbase_advanced", "figure", "kraken", "okx")


@pytest.mark.parametrize("name", _VENUES)
def test_a_restarted_venue_continues_its_ids_and_lists_the_trades_from_before(name: str, tmp_path: Path) -> None:
    folder, logs = tmp_path, f"truth-{name}"
    with running(name, truth=folder / f"{logs}-1.jsonl", rate=2000) as first:
        assert wait_until(lambda: first.venue.events > 2000, 20.0)
    before: dict[str, list[TradeItem]] = {
        symbol: [first.venue.trade_item(symbol, trade) for trade in market.history]
        for symbol, market in first.venue.symbols.items()
    }
    newest = max(trade.id for market in first.venue.symbols.values() for trade in market.history)

    with running(name, truth=folder / f"{logs}-2.jsonl", rate=2000, past=last_trades(folder, logs)) as second:
        assert wait_until(lambda: second.venue.events > 2000, 20.0)
    for symbol, market in second.venue.symbols.items():
        listed = [second.venue.trade_item(symbol, trade) for trade in market.history]
        assert listed[: len(before[symbol])] == before[symbol]
        ids = [trade.id for trade in market.history][len(before[symbol]) - 1 :]
        assert len(ids) > 1
        if name == "bitfinex":  # one count over all pairs
            assert ids == sorted(set(ids))
            assert ids[1] > newest
        else:
            assert ids == list(range(ids[0], ids[0] + len(ids)))
    logged = {(item.s, item.id) for items in last_trades(folder, f"{logs}").values() for item in items}
    assert len(logged) == sum(len(market.history) for market in second.venue.symbols.values())


def test_ids_that_a_venue_began_again_are_continued_and_a_torn_line_is_no_trade(tmp_path: Path) -> None:
    path = tmp_path / "truth-kraken-5.jsonl"
    with running("kraken", truth=path, rate=500) as venue:
        assert wait_until(lambda: venue.venue.events > 200, 20.0)
        venue.do("reset_ids", symbol="BTC/USD", first=50)
        assert wait_until(lambda: venue.venue.symbols["BTC/USD"].next_id > 55, 20.0)
    following = venue.venue.symbols["BTC/USD"].next_id
    with path.open("ab") as file:
        file.write(b'{"k":"trade","n":9,"s":"BTC/USD","id":99')
    (tmp_path / "truth-kraken-notes.jsonl").write_text("not a log")
    past = last_trades(tmp_path, "truth-kraken")["BTC/USD"]
    assert [past[0].id, past[-1].id] == [50, following - 1]
