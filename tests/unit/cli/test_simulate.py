"""`tapedeck simulate do`: what a person reads after an action."""

from typing import Any

import pytest

from recorder.cli.simulate import outcome

RULE = {"do": "refuse", "symbol": None, "channel": None, "left": None, "text": "", "count": 0}
HEAL = "`tapedeck simulate do kraken heal` ends it"


@pytest.mark.parametrize(
    ("action", "body", "sentence"),
    [
        ("refuse", {"armed": [RULE]}, f"kraken: refuse is armed until {HEAL}"),
        (
            "skip",
            {"armed": [{**RULE, "channel": "trade", "symbol": "BTC/USD", "left": 3}]},
            f"kraken: skip is armed for trade BTC/USD, the next 3 times; {HEAL} earlier",
        ),
        ("rest", {"armed": [{**RULE, "left": 1}]}, f"kraken: rest is armed, the next time; {HEAL} earlier"),
        ("close", {"connections": 2}, "kraken: close is done (connections: 2)"),
        ("malformed", {"kinds": ["cut", "empty"]}, "kraken: malformed is done (kinds: cut, empty)"),
        ("rate", {}, "kraken: rate is done"),
    ],
)
def test_an_action_is_answered_with_a_sentence(action: str, body: dict[str, Any], sentence: str) -> None:
    assert outcome("kraken", action, body) == sentence
