"""What betting on a forecast would have brought, after fees and spread: a secondary figure.

It shows the sign of an edge at a price that could be paid. It knows nothing of sizes, queues or one's own impact.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats
from analysis.evaluation.skill import Skill, paired


@dataclass(frozen=True, slots=True)
class Costs:
    """What a share costs beyond the middle of the market: assumptions, to be set to those of the venue."""

    half_spread: float = 0.01  # probability
    fee_rate: float = 0.02  # of min(price, 1 - price)


@dataclass(frozen=True, slots=True)
class Money:
    """Outcome of one share a bet."""

    costs: Costs
    bets: int
    profit: Skill  # mean a row that could have been bet on, USD a share, rows weighted as in training
    per_stake: float  # all profits over all stakes; NaN without a bet


def money(
    label: Floats,
    p: Floats,
    market: Floats,
    weight: Floats,
    event: npt.NDArray[np.generic],
    costs: Costs,
    seed: int,
) -> Money:
    """Buy YES or NO, one share, wherever the forecast is worth more than the price, the spread and the fee.

    Args:
        label: (n,) 1 or 0.
        p: (n,) the forecast.
        market: (n,) middle of the market.
        weight: (n,)
        event: (n,) the bootstrap draws whole events.
        costs: Paid on every share.
        seed: Of the bootstrap.
    """

    def price(middle: Floats) -> Floats:
        ask = np.minimum(middle + costs.half_spread, 1.0)
        return ask + costs.fee_rate * np.minimum(ask, 1.0 - ask)

    yes, no = price(market), price(1.0 - market)
    buy_yes, buy_no = p > yes, (1.0 - p) > no
    stake = np.where(buy_yes, yes, np.where(buy_no, no, 0.0))
    back = np.where(buy_yes, label, np.where(buy_no, 1.0 - label, 0.0))
    profit = back - stake
    staked = float((weight * stake).sum())
    return Money(
        costs,
        int((buy_yes | buy_no).sum()),
        paired(weight * profit, weight, event, seed),
        float((weight * profit).sum()) / staked if staked > 0 else float("nan"),
    )
