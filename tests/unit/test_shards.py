"""Several processes of one venue: each symbol has exactly one, and no two names are equal."""

import argparse

import pytest

from recorder.shards import Shard, most_links, recorder_names, shard_of, venue_of

SYMBOLS = [f"{base}-USD" for base in range(2000)]


def test_every_symbol_has_exactly_one_process_and_no_process_has_much_more_than_its_part() -> None:
    for processes in (1, 2, 3, 7):
        shards = [Shard(number, processes) for number in range(processes)]
        carried = [sum(shard.carries(symbol) for symbol in SYMBOLS) for shard in shards]
        assert all(sum(shard.carries(symbol) for shard in shards) == 1 for symbol in SYMBOLS)
        assert max(carried) < 1.15 * len(SYMBOLS) / processes


def test_the_shard_of_a_symbol_never_changes() -> None:
    """The numbers are fixed here: another hash would move every stream of every installation at its next start."""
    assert [shard_of(symbol, 4) for symbol in ("BTC-USD", "ETH-USD", "BTC/USD", "tBTCUSD", "")] == [3, 1, 1, 1, 1]


def test_one_process_more_moves_symbols_to_the_new_one_only() -> None:
    moved = [symbol for symbol in SYMBOLS if shard_of(symbol, 4) != shard_of(symbol, 5)]
    assert {shard_of(symbol, 5) for symbol in moved} == {4}
    assert len(moved) < 1.15 * len(SYMBOLS) / 5


def test_names_of_one_process_and_of_several_are_all_different() -> None:
    assert recorder_names("kraken", 1) == ["recorder-kraken"]
    assert recorder_names("kraken", 2) == ["recorder-kraken-00", "recorder-kraken-01"]
    assert Shard(1, 2).recorder("kraken") == "recorder-kraken-01"


def test_the_venue_of_a_process_follows_from_its_name() -> None:
    names = ["recorder-kraken", "recorder-kraken-07", "recorder-coinbase_advanced", "writer"]
    assert [venue_of(name) for name in names] == ["kraken", "kraken", "coinbase_advanced", None]


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "", "1/", "0/0"])
def test_a_text_that_is_not_a_shard_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not K/N"):
        Shard.parse(text)


def test_a_shard_is_read_as_it_is_written() -> None:
    assert Shard.parse("1/3") == Shard(1, 3)


def test_links_are_as_many_as_a_minute_brings_back_unless_the_settings_say_otherwise() -> None:
    assert most_links(20.0, 1, None) == 20
    assert most_links(20.0, 3, None) == 6
    assert most_links(1.0, 3, None) == 1
    assert most_links(20.0, 3, 50) == 50
