"""`tapedeck probe` against the unbroken simulator: whatever it can answer agrees."""

from pathlib import Path

import pytest
from support.simulator.probed import ask, probed

from recorder.venues.questionnaires import QUESTIONNAIRES

UNSERVED = {
    "binance": {"candle-count"},
    "bitfinex": set[str](),
    "coinbase": {"candles"},
    "coinbase_advanced": {"candles"},
    "figure": {"history"},
    "kraken": {"candle-count"},
    "okx": {"candles", "retention"},
    "polymarket": set[str](),
    "yahoo": set[str](),
}
"""What the simulated venue does not have: candles, and a history of weeks."""


@pytest.mark.parametrize("name", sorted(QUESTIONNAIRES))
def test_whatever_the_simulator_can_answer_agrees(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with probed(name, tmp_path, monkeypatch):
        answers = ask(name, capsys)
    others = {question: answers.seen(question) for question, state in answers.states.items() if state != "agrees"}
    assert set(others) == UNSERVED[name], others
    assert answers.report["unreached"] == ""
