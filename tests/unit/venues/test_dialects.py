"""A file of frames is read by the decoder of its own wire dialect."""

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, OWN, lines

from recorder.venues import VENUES
from recorder.venues.dialects import dialects_of, match_dialect

HANDMADE = [(name, f"{name}/handmade.jsonl", name) for name in sorted(VENUES)] + [
    ("coinbase", "coinbase_advanced/handmade.jsonl", "coinbase_advanced"),
    ("kraken", "kraken_v1/handmade.jsonl", "kraken_v1"),
    ("polymarket", "polymarket/until_2025_09.jsonl", "polymarket_until_2025_09"),
]
CAPTURED = [
    ("bitfinex", "bitfinex/ws2_seq_20210417.jsonl", "bitfinex"),
    ("bitfinex", "bitfinex/single_messages_msgparser.jsonl", "bitfinex_recorded_2022"),
    ("okx", "okx/v5_20210722_l2tbt_1.jsonl", "okx_until_2026_06"),
    ("okx", "okx/v5_20220513.jsonl", "okx_until_2026_06"),
    ("okx", "okx/v5_single_20260808.jsonl", "okx"),
]


@pytest.mark.parametrize(("venue", "file", "dialect"), HANDMADE)
def test_handmade_frames_are_matched_with_their_dialect(venue: str, file: str, dialect: str) -> None:
    assert match_dialect(dialects_of(venue), lines(OWN / file), NOW_NS).name == dialect


@pytest.mark.parametrize(("venue", "file", "dialect"), CAPTURED)
def test_captured_frames_are_matched_with_their_dialect(venue: str, file: str, dialect: str) -> None:
    assert match_dialect(dialects_of(venue), lines(CAPTURES / file)[:100], NOW_NS).name == dialect


def test_the_dialect_that_is_recorded_comes_first() -> None:
    assert [dialects_of(name)[0].name for name in VENUES] == list(VENUES)
