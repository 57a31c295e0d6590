"""Delays between attempts: full jitter under a doubling cap. Never sleeps; the caller waits."""

import random


class Backoff:
    """Full-jitter exponential backoff (Brooker, AWS Architecture Blog, 2015).

    Forgiven by `reset`, which a link calls on the first *data*, not on a successful connect: a server may
    accept and drop us all day.
    """

    def __init__(self, base_s: float, cap_s: float, rng: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng
        self.attempts = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt, uniform in (0, min(cap, base * 2**n)]."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return ceiling * (1.0 - self._rng.random())

    def reset(self) -> None:
        """Forget past failures."""
        self.attempts = 0
