"""The life of one simulated market, from its creation to its payout: a pure function of seed, slot and generation.

Times are whole seconds since 1970. A market is first seen at Gamma (`created_s`), then gets a book at the CLOB
(`clob_s`), stops trading (`stop_s`), and takes one of the paths to a resolution, or vanishes without one.
"""

import math
import random
from typing import Literal

import msgspec

from recorder.simulator.services.noise import path
from recorder.simulator.services.polymarket.ids import (
    Key,
    Version,
    condition_v1,
    condition_v2,
    digest,
    gamma_id,
    padded,
    position_v2,
    token_v1,
)
from recorder.simulator.services.polymarket.lanes import HOUR_S, Lane

MICRO = 1_000_000  # payouts are millionths of a dollar per share

Path = Literal["automatic", "proposed", "disputed", "half", "split", "vanished"]
Odd = Literal[
    "", "no_version", "version_3", "no_prices", "no_ids", "no_end", "overdue", "early", "no_book", "null_numbers"
]
Status = Literal["active", "posed", "proposed", "challenged", "reproposed", "disputed", "resolved"]

_IN_TURN: tuple[Path, ...] = ("automatic", "proposed", "disputed", "half", "proposed", "vanished", "automatic", "split")
_CATEGORIES = ("crypto", "politics", "sports", "economy", "weather", "tech", "pop-culture", "world", "mentions")
_SUBJECTS = ("bitcoin", "ethereum", "solana", "turnout", "rainfall", "rate", "goals", "launches", "subscribers")
_OUTCOMES = (("Yes", "No"), ("Up", "Down"), ("Over", "Under"), ("Harbour", "Valley"))
_STEEP = 3.5  # how far the price leans towards the outcome at the end, in logits
_HURRIED_H = (50.0, 9.0, 2.5, 0.5, 0.0)  # how much later than the true end a hurried market is scheduled, by fifths


class Market(msgspec.Struct, frozen=True):
    """One market. Everything about it at any moment follows from these fields."""

    key: Key
    seed: int
    lane: Lane
    number: int  # its id at Gamma
    event: int  # the number of its event
    place: int  # its place in the event
    neg_risk: bool
    winner: int  # place of the market that pays in an event of which exactly one does
    slug: str
    outcomes: tuple[str, str]
    category: str
    version: Version  # at its creation
    both_ids: bool  # a v1 market that shows positions, too
    switch_s: int | None  # when a v1 market becomes v2
    created_s: int
    clob_s: int
    stop_s: int
    hurried: bool  # its schedule comes nearer in four steps
    way: Path
    proposed_s: int
    resolved_s: int
    payouts: tuple[int, int]
    odd: Odd
    tick: int  # in ten-thousandths of a dollar
    fine_s: int | None  # when the tick becomes a tenth
    fee: bool
    start: float  # logit of its first price
    volume: float  # dollars per hour
    traded: bool  # whether it ever trades
    one_sided: bool  # whether one side of the book is empty
    noise: int
    event_noise: int  # the same for all markets of an event

    def version_at(self, at_s: float) -> Version:
        """Return the version that the services show."""
        return "v2" if self.switch_s is not None and at_s >= self.switch_s else self.version

    def condition(self, version: Version) -> str:
        """Return the condition id in the long form."""
        if version == "v1":
            return condition_v1(self.seed, self.key)
        return padded(condition_v2(self.seed, self.key, self.neg_risk))

    def tokens(self, version: Version) -> tuple[str, str]:
        """Return the ids under which its outcomes are traded."""
        if version == "v1":
            return token_v1(self.seed, self.key, 0), token_v1(self.seed, self.key, 1)
        return (
            position_v2(self.seed, self.key, self.neg_risk, 0),
            position_v2(self.seed, self.key, self.neg_risk, 1),
        )

    def end_at(self, at_s: float) -> int | None:
        """Return the end that Gamma shows, which is a schedule and not the end of trading."""
        if self.odd == "no_end":
            return None
        if self.odd == "overdue":
            return self.created_s + (self.stop_s - self.created_s) // 10
        if self.odd == "early":
            return self.stop_s + (self.stop_s - self.created_s) // 2
        if not self.hurried:
            return self.stop_s
        done = (at_s - self.created_s) / (self.stop_s - self.created_s)
        return self.stop_s + int(_HURRIED_H[max(0, min(4, int(done * 5)))] * HOUR_S)

    def has_book(self, at_s: float) -> bool:
        """Return whether the CLOB has a book."""
        return self.clob_s <= at_s < self.stop_s and self.odd != "no_book"

    def visible(self, at_s: float) -> bool:
        """Return whether Gamma knows it."""
        return self.created_s <= at_s and not (self.way == "vanished" and at_s >= self.resolved_s)

    def resolved(self, at_s: float) -> bool:
        """Return whether it has paid out."""
        return self.way != "vanished" and at_s >= self.resolved_s

    def status(self, at_s: float) -> Status:
        """Return the state of its resolution as the Data API names it."""
        if self.resolved(at_s):
            return "resolved"
        if self.way in ("automatic", "vanished") or at_s < self.proposed_s:
            return "active" if self.version_at(at_s) == "v2" else "posed"
        if self.way != "disputed":
            return "proposed"
        states: tuple[Status, ...] = ("proposed", "challenged", "reproposed", "disputed")
        done = (at_s - self.proposed_s) / (self.resolved_s - self.proposed_s)
        return states[min(3, int(done * 4))]

    def tick_at(self, at_s: float) -> int:
        """Return the tick in ten-thousandths of a dollar."""
        return self.tick // 10 if self.fine_s is not None and at_s >= self.fine_s else self.tick

    def price_at(self, at_s: float) -> float:
        """Return the value of outcome 0, between 0 and 1. It leans to the outcome only when trading is about to end."""
        life_s = self.stop_s - self.created_s
        late = 1 - (self.stop_s - at_s) / (life_s * 0.2)
        lean = _STEEP * min(1.0, late) ** 2 if late > 0 else 0.0
        if self.neg_risk:
            value = self._share(at_s - self.created_s, life_s / 4, lean)
        else:
            logit = self.start + 1.4 * path(self.noise, at_s - self.created_s, life_s / 4)
            logit += lean * (self.payouts[0] - self.payouts[1]) / MICRO
            value = 1 / (1 + math.exp(-logit))
        return min(0.995, max(0.005, value))

    def _share(self, age_s: float, longest_s: float, lean: float) -> float:
        """Return the value of a market whose event pays exactly one: those of all its markets add up to one."""
        weights = [
            math.exp(1.4 * path(self.event_noise + place * 9, age_s, longest_s) + (lean if place == self.winner else 0))
            for place in range(self.lane.group)
        ]
        return weights[self.place] / sum(weights)

    def volume_at(self, at_s: float) -> float:
        """Return the volume until then in dollars, to the cent."""
        if not self.traded:
            return 0.0
        return round(150 + self.volume * max(0.0, min(at_s, self.stop_s) - self.created_s) / HOUR_S, 2)


def generation_at(seed: int, lane: Lane, slot: int, at_s: float) -> int:
    """Return the generation of a slot that lives at that second."""
    return int((at_s - _phase(seed, lane, slot)) // lane.life_s)


def created_at(seed: int, lane: Lane, slot: int, generation: int) -> int:
    """Return when a generation is created."""
    return _phase(seed, lane, slot) + generation * lane.life_s


def longest_wait_s(lane: Lane) -> int:
    """Return the longest time between the end of trading and the payout."""
    return max(2, lane.challenge_s // 4) + 2 * lane.challenge_s


def _phase(seed: int, lane: Lane, slot: int) -> int:
    """Return the phase of a slot. The events of a lane begin one after the other; a seed shifts all of them."""
    groups = lane.slots // lane.group
    shift = int.from_bytes(digest(seed, "phase", lane.name)[:4], "big")
    return ((slot - lane.first) // lane.group * lane.life_s // groups + shift) % lane.life_s


def born(seed: int, lane: Lane, key: Key) -> Market:
    """Return the market of a slot and generation."""
    slot, generation = key
    leader = lane.first + (slot - lane.first) // lane.group * lane.group
    of_event = random.Random(int.from_bytes(digest(seed, "event", leader, generation)[:8], "big"))
    rng = random.Random(int.from_bytes(digest(seed, "market", slot, generation)[:8], "big"))
    created_s = created_at(seed, lane, slot, generation)
    stop_s = created_s + lane.life_s
    neg_risk = lane.group > 1 and of_event.random() < 0.6
    winner = of_event.randrange(lane.group)
    version: Version = "v2" if of_event.random() < 0.4 else "v1"
    disputed = of_event.random() < 0.1
    place = slot - leader
    way = _way(lane, slot, generation, rng, version)
    if neg_risk:
        way = "disputed" if disputed else "proposed"
    wait_s = max(2, lane.challenge_s // 4)
    proposed_s = stop_s + wait_s
    resolved_s = {
        "automatic": stop_s + wait_s, "vanished": stop_s + wait_s, "disputed": proposed_s + 2 * lane.challenge_s,
    }.get(way, proposed_s + lane.challenge_s)  # fmt: skip
    first_wins = place == winner if neg_risk else rng.random() < 0.5
    payouts = {"half": (MICRO // 2, MICRO // 2), "split": (700_000, 300_000)}.get(
        way, (MICRO, 0) if first_wins else (0, MICRO)
    )
    switches = version == "v1" and not neg_risk and rng.random() < 0.04
    odd = _odd(rng, lane)
    start = rng.gauss(0, 1.0)
    category = of_event.choice(_CATEGORIES)
    subject = of_event.choice(_SUBJECTS)
    return Market(
        key=key, seed=seed, lane=lane, number=gamma_id(slot, created_s), event=gamma_id(leader, created_s),
        place=place, neg_risk=neg_risk, winner=winner, slug=f"{subject}-{lane.name}-{slot}-{created_s}",
        outcomes=_OUTCOMES[0] if neg_risk or rng.random() < 0.4 else rng.choice(_OUTCOMES[1:]), category=category,
        version=version, both_ids=version == "v1" and rng.random() < 0.1,
        switch_s=created_s + lane.life_s // 2 if switches else None,
        created_s=created_s, clob_s=created_s + min(lane.lag_s, lane.life_s // 4), stop_s=stop_s,
        hurried=lane.varied and lane.life_s > 200 and slot % 4 == 1, way=way, proposed_s=proposed_s,
        resolved_s=resolved_s, payouts=payouts, odd=odd, tick=100, fee=rng.random() < 0.5,
        fine_s=created_s + lane.life_s // 3 if rng.random() < 0.08 else None,
        start=start, volume=rng.lognormvariate(6.0, 1.5), traded=rng.random() < 0.96,
        one_sided=rng.random() < 0.1, noise=rng.getrandbits(60),
        event_noise=of_event.getrandbits(60),
    )  # fmt: skip


def _way(lane: Lane, slot: int, generation: int, rng: random.Random, version: Version) -> Path:
    if lane.varied:
        way = _IN_TURN[(slot + generation) % len(_IN_TURN)]
    elif lane.life_s <= HOUR_S:
        way = rng.choices(("automatic", "proposed", "half", "vanished"), (80, 15, 3, 2))[0]
    else:
        way = rng.choices(("proposed", "disputed", "half", "split", "vanished"), (88, 6, 3, 1, 2))[0]
    return "half" if way == "split" and version == "v1" else way  # a v1 market pays one, none or half


def _odd(rng: random.Random, lane: Lane) -> Odd:
    """Return what is unusual about a market: most often nothing."""
    draw = rng.random()
    limits: tuple[tuple[float, Odd], ...] = (
        (0.003, "version_3"), (0.013, "no_version"), (0.018, "no_prices"), (0.021, "no_ids"), (0.025, "no_end"),
        (0.028, "no_book"), (0.048, "null_numbers"), (0.068, "overdue"), (0.1, "early"),
    )  # fmt: skip
    found: Odd = next((odd for limit, odd in limits if draw < limit), "")
    return "" if found == "overdue" and lane.life_s < 12 * HOUR_S else found
