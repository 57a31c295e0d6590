"""Audit that features know only the past: truncate the tape at t, compute again, and compare to the bit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np

from analysis.arrays import Floats, Ints

Value = float | str
Column = Floats | Sequence[Value]


class Cuttable(Protocol):
    """A tape that can be truncated at an instant."""

    def until(self, t: int) -> Self:
        """Return the tape without anything received after t."""
        ...


T = TypeVar("T", bound=Cuttable)


@dataclass(frozen=True, slots=True)
class Finding:
    """A feature value that differs from the expected one."""

    feature: str
    t: int  # decision time, ns
    expected: Value
    found: Value


@dataclass(frozen=True, slots=True)
class Audit:
    """Result of an audit."""

    findings: tuple[Finding, ...]
    checked: int  # values compared
    features: tuple[str, ...]
    always_null: tuple[str, ...]  # features unknown at every audited time, so nothing is proven about them

    @property
    def passed(self) -> bool:
        """Return whether there is no finding."""
        return not self.findings


def truncation(tape: T, times: Ints, compute: Callable[[T, int], Mapping[str, Value]]) -> Audit:
    """Compare each feature at t, to the bit, with the same feature after everything received after t is removed.

    Args:
        tape: A tape that reaches beyond the times.
        times: (n,) decision times to audit, ns.
        compute: Returns the features of a tape at one time.
    """
    full = [compute(tape, t) for t in times.tolist()]
    cut = (compute(tape.until(t), t) for t in times.tolist())
    return _compare(times, full, cut, same)


def recomputation(
    times: Ints, published: Mapping[str, Column], recomputed: Mapping[str, Column], tolerance: float = 1e-9
) -> Audit:
    """Compare published features with recomputed ones: null masks exactly, values to a relative tolerance.

    Raises:
        ValueError: A feature is in only one of the two tables.
    """
    missing = sorted(set(published) ^ set(recomputed))
    if missing:
        raise ValueError(f"only in one of the two tables: {', '.join(missing)}")

    def rows(table: Mapping[str, Column]) -> Iterable[Mapping[str, Value]]:
        for i in range(len(times)):
            row = ((name, values[i]) for name, values in table.items())
            yield {name: value if isinstance(value, str) else float(value) for name, value in row}

    def close(a: Value, b: Value) -> bool:
        if isinstance(a, str) or isinstance(b, str) or np.isnan(a) or np.isnan(b):
            return same(a, b)
        return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b))

    return _compare(times, rows(published), rows(recomputed), close)


def same(a: Value, b: Value) -> bool:
    """Return whether two values are equal to the bit, or both null."""
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return a == b or bool(np.isnan(a) and np.isnan(b))


def _compare(
    times: Ints,
    expected: Iterable[Mapping[str, Value]],
    found: Iterable[Mapping[str, Value]],
    equal: Callable[[Value, Value], bool],
) -> Audit:
    findings: list[Finding] = []
    known: dict[str, bool] = {}
    checked = 0
    for t, left, right in zip(times.tolist(), expected, found, strict=True):
        for name, value in left.items():
            checked += 1
            known[name] = known.get(name, False) or isinstance(value, str) or not np.isnan(value)
            if not equal(value, right[name]):
                findings.append(Finding(name, t, value, right[name]))
    return Audit(tuple(findings), checked, tuple(known), tuple(name for name, seen in known.items() if not seen))
