"""Identity without coordination."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from recorder.identity import instrument_id, stable_hash64

KRAKEN_BTC = 5718794645911260690
COINBASE_BTC = -182675015248588876


def test_ids_never_change() -> None:
    """Stored rows carry them: a change here would orphan all of them."""
    assert instrument_id("kraken", "BTC/USD") == KRAKEN_BTC
    assert instrument_id("coinbase", "BTC-USD") == COINBASE_BTC


def test_every_process_derives_the_same_id() -> None:
    code = "from recorder.identity import instrument_id; print(instrument_id('kraken', 'BTC/USD'))"
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True)
    assert int(other.stdout) == KRAKEN_BTC


@given(st.text())
def test_a_hash_fits_a_bigint(text: str) -> None:
    assert -(2**63) <= stable_hash64(text) < 2**63


def test_names_that_join_to_another_venue_are_still_distinguished() -> None:
    names = [("a", "b:c"), ("a", "b"), ("b", "a"), ("ab", "c"), ("a", "bc")]
    assert len({instrument_id(*name) for name in names}) == len(names)
