"""Which stuck program is restarted, and when. Pure.

A program is stuck when nothing of its own has moved for a long time although its process runs. It is restarted at once,
and when it is stuck again after that, only after pauses that grow. Ten minutes of health end the pauses. At most one
program is restarted at a time, and few in an hour: where many are stuck, it is the machine.

All times are sums of monotonic durations between rounds, so that a clock that is set, a machine that slept, and a
watchdog that was stopped make nothing look stuck.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

FIRST_PAUSE_S = 300.0
LONGEST_PAUSE_S = 3600.0
HEALTHY_S = 600.0
"""A program that has moved for this long begins again without a pause."""
APART_S = 60.0
"""The least time between two restarts of any programs."""
MOST_PER_HOUR = 6
"""Restarts of all programs together."""
_HOUR_S = 3600.0
_STEADY_S = 10.0  # a program that pauses for longer than this is not healthy


class Signs(NamedTuple):
    """What one round shows of a program."""

    pid: int
    progress: tuple[object, ...]  # differs from that of the round before when the program did something of its own
    exempt: str = ""  # why it may not be restarted now; empty where it may


class Stuck(NamedTuple):
    """A program that is to be restarted."""

    program: str
    pid: int
    still_s: float  # how long nothing has moved


class History(msgspec.Struct):
    """The restarts of one program that still count."""

    restarts: int = 0  # in a row
    pause_s: float = 0.0  # until the next one may be
    healthy_s: float = 0.0  # since it moved again


class Memory(msgspec.Struct):
    """What must survive a restart of the watchdog."""

    programs: dict[str, History] = {}
    ages_s: list[float] = []  # seconds since each restart of the last hour


class _Seen(msgspec.Struct):
    """A program as the last rounds saw it."""

    signs: Signs
    known_s: float = 0.0  # since this process was seen first
    still_s: float = 0.0  # since something moved


class RestartPolicy:
    """Watches for stuck programs.

    Attributes:
        memory: What must survive a restart of the watchdog.
    """

    def __init__(self, stuck_s: float, memory: Memory) -> None:
        """
        Args:
            stuck_s: So long nothing of a program must have moved. For twice as long after the start of a program, and
                after our own, nothing is restarted.
            memory: As the watchdog before left it.
        """
        self.memory = memory
        self._stuck_s = stuck_s
        self._grace_s = 2 * stuck_s
        self._seen: dict[str, _Seen] = {}

    def observe(self, signs: Mapping[str, Signs], passed_s: float) -> Stuck | None:
        """Take a round, and return the program that is to be restarted now.

        Args:
            signs: Of every program that may be restarted, by name.
            passed_s: Monotonic seconds since the round before.
        """
        self._pass_time(passed_s)
        self._seen = {name: seen for name, seen in self._seen.items() if name in signs}
        for name, found in signs.items():
            self._look(name, found, passed_s)
        memory = self.memory
        if len(memory.ages_s) >= MOST_PER_HOUR or any(age_s < APART_S for age_s in memory.ages_s):
            return None
        stuck = [
            (seen.still_s, name)
            for name, seen in self._seen.items()
            if seen.still_s >= self._stuck_s and seen.known_s >= self._grace_s and not self._pause_s(name)
        ]
        if not stuck:
            return None
        still_s, name = max(stuck)
        return Stuck(name, self._seen[name].signs.pid, still_s)

    def restarted(self, program: str) -> float:
        """Note a restart, whatever becomes of it, and return the pause before the next one, seconds."""
        history = self.memory.programs.setdefault(program, History())
        history.pause_s = min(FIRST_PAUSE_S * 2.0 ** min(history.restarts, 16), LONGEST_PAUSE_S)
        history.restarts += 1
        history.healthy_s = 0.0
        self.memory.ages_s.append(0.0)
        self._seen.pop(program, None)
        return history.pause_s

    def _look(self, name: str, found: Signs, passed_s: float) -> None:
        seen = self._seen.get(name)
        if seen is None or seen.signs.pid != found.pid:
            self._seen[name] = _Seen(found)
            return
        seen.known_s += passed_s
        moved = seen.signs.progress != found.progress
        seen.still_s = 0.0 if moved or found.exempt else seen.still_s + passed_s
        seen.signs = found
        history = self.memory.programs.get(name)
        if history is None:
            return
        if moved:
            history.healthy_s += passed_s
        elif seen.still_s > _STEADY_S:
            history.healthy_s = 0.0
        if history.healthy_s >= HEALTHY_S:
            del self.memory.programs[name]

    def _pause_s(self, name: str) -> float:
        history = self.memory.programs.get(name)
        return 0.0 if history is None else history.pause_s

    def _pass_time(self, passed_s: float) -> None:
        for history in self.memory.programs.values():
            history.pause_s = max(0.0, history.pause_s - passed_s)
        self.memory.ages_s = [age_s + passed_s for age_s in self.memory.ages_s if age_s + passed_s < _HOUR_S]
