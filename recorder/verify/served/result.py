"""The result of a comparison of stored rows with what services answered."""

from collections.abc import Sequence

import msgspec

_EXAMPLES = 3
_RELATIVE = 1e-9


class ServedCheck(msgspec.Struct):
    """One kind of rows of one group of services."""

    services: str
    what: str  # snapshots, large trades, labels, bars
    served: int = 0  # that must be stored
    stored: int = 0  # rows whose values were compared
    declared: int = 0  # served and not stored, in a round that failed, or in a hole
    missing: int = 0
    wrong: int = 0  # rows with other values than were served
    unknown: int = 0  # rows whose values no log has: of our own book, or of a part that was removed
    examples: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether nothing is lost and no value is another one."""
        return not (self.missing or self.wrong)

    def note(self, example: str) -> None:
        """Keep the first few examples."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(example[:200])

    def problem(self) -> str:
        """Return the faults as one sentence."""
        return (
            f"{self.services} {self.what}: of {self.served:,} served, {self.missing:,} are missing and not declared; "
            f"of {self.stored:,} stored, {self.wrong:,} have other values than were served ({'; '.join(self.examples)})"
        )


def same(stored: object, served: object, relative: float = _RELATIVE, absolute: float = 0.0) -> bool:
    """Return whether a stored value is the served one; sums of floats may be added in another order."""
    if isinstance(stored, float | int) and isinstance(served, float | int):
        return abs(stored - served) <= max(absolute, relative * max(abs(stored), abs(served)))
    return stored == served


def differing(
    names: Sequence[str], stored: Sequence[object], served: Sequence[object], relative: float = _RELATIVE,
    absolute: float = 0.0,
) -> list[str]:  # fmt: skip
    """Return name, stored and served value of each column that differs."""
    return [
        f"{name} {one} stored, {other} served"
        for name, one, other in zip(names, stored, served, strict=True)
        if not same(one, other, relative, absolute)
    ]
