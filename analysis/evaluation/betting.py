"""A simulation of bets on a forecast, after fees and spread; a secondary figure.

It shows the sign of an edge at a price that could be paid. It ignores sizes, queues and the impact of the bets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats
from analysis.evaluation.skill import Skill, paired


@dataclass(frozen=True, slots=True)
class Costs:
    """Assumed costs of a share beyond the middle of the market; set them to those of the venue."""

    half_spread: float = 0.01  # probability
    fee_rate: float = 0.02  # of min(price, 1 - price)


@dataclass(frozen=True, slots=True)
class BettingResult:
    """Outcome of bets of one share each."""

    costs: Costs
    bets: int
    profit: Skill  # mean over all rows, USD a share, rows weighted as in training
    per_stake: float  # sum of profits / sum of stakes; NaN without a bet


def simulate_bets(
    label: Floats,
    p: Floats,
    market: Floats,
    weight: Floats,
    event: npt.NDArray[np.generic],
    costs: Costs,
    seed: int,
) -> BettingResult:
    """Simulate buying one share of YES or NO wherever the forecast exceeds price, spread and fee.

    Args:
        label: (n,) 1 or 0.
        p: (n,) forecast.
        market: (n,) middle of the market.
        weight: (n,) row weights.
        event: (n,) event of each row; the bootstrap draws events.
        costs: Costs of every share.
        seed: Seed of the bootstrap.
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
    return BettingResult(
        costs,
        int((buy_yes | buy_no).sum()),
        paired(weight * profit, weight, event, seed),
        float((weight * profit).sum()) / staked if staked > 0 else float("nan"),
    )
