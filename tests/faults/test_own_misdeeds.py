"""What only some venues do wrong, and everything any venue does wrong, against recorders of each of them."""

from collections.abc import Callable
from typing import Any

import pytest
from rig import Rig
from test_misdeeds import FIRST, LAST, MISDEEDS

MakeRig = Callable[..., Rig]

# What a venue can do wrong that no other does. A session's announced end is in test_make_before_break.py.
OWN: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "binance": [
        ("old_snapshot", {"times": 2, "symbol": FIRST}),
        ("session_end", {"lead_s": 0.0}),
        ("session_end", {"lead_s": 3.0}),
    ],
    "okx": [
        ("keepalive", {"every_s": 0.2}),
        ("maintenance", {}),
        ("maintenance", {"symbol": FIRST}),
        ("checksum_returns", {}),
        ("checksum_returns", {"right": False}),
        ("checksum_returns", {"symbol": FIRST, "times": 1}),
        ("upgrade", {"lead_s": 0.0}),
        ("upgrade", {"lead_s": 3.0}),
    ],
}
# Rules that wait for something that does not come: no venue here sends checksums, unless it was told to.
IDLE = {"checksum"}
# A book asked for by REST again and again is waited for up to half a minute.
_SETTLED_S = 75.0


def provoke(rig: Rig, venue: str, action: str, arguments: dict[str, Any]) -> None:
    """Misbehave, make sure that it happened, and end it."""
    market = rig.venues[venue].venue
    filled = {key: rig.symbols[venue][0] if value == FIRST else value for key, value in arguments.items()}
    print(venue, action, filled)
    rig.do(venue, action, **filled)
    if action in ("refuse", "old_snapshot") or (action == "republish" and not arguments.get("now")):
        rig.do(venue, "close")  # it waits for new subscriptions
    if action in ("freeze", "slow", "fragment") or action in {name for name, _ in OWN[venue]} - {"old_snapshot"}:
        rig.pause(0.4)
    else:
        rig.wait(f"{action} has happened", lambda: all(rule.do in IDLE for rule in market.mischief.rules))
        rig.wait("the burst is over", lambda: not market.burst)
    if action == "refuse":
        rig.wait("it is declared", lambda: bool(rig.gaps("cause IN ('refused', 'disconnect') AND ended_at IS NULL")))
        rig.do(venue, "close")  # refused streams are asked for again with the next session, or in five minutes
    rig.do(venue, "heal")
    rig.wait_subscribed()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("venue", sorted(OWN))
@pytest.mark.parametrize("each", [pytest.param(12, id="short"), pytest.param(1, id="long", marks=pytest.mark.long)])
def test_after_any_misdeed_of_a_venue_everything_sent_is_stored_or_declared(
    venue: str, each: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=(venue,)).up()
    misdeeds = [*MISDEEDS, *OWN[venue]]
    rig.rng.shuffle(misdeeds)
    for number, (action, arguments) in enumerate([*misdeeds, LAST], 1):
        provoke(rig, venue, action, arguments)
        if number % each == 0 or action == LAST[0]:
            rig.do(venue, "close", how="frame")  # a new session has fresh books: those that failed often wait for one
            rig.prove(_SETTLED_S)
