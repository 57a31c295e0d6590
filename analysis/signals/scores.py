"""Scores of forecasts of a number: information coefficients and turnover."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats, Ints
from analysis.datasets.clustered import MIN_EVENTS, by_event, deviate, student_t, student_z, upper_tail
from analysis.evaluation.importance import ranks
from analysis.evaluation.skill import COVERAGE, Skill
from analysis.signals.targets import LEAST_SUBJECTS

Texts = npt.NDArray[np.str_]

_LEAST_FREEDOM = 6


@dataclass(frozen=True, slots=True)
class Decay:
    """How the order of the forecasts agrees with returns over one horizon."""

    horizon_ns: int
    rows: int
    ic: Skill
    rank_ic: Skill


def products(forecast: Floats, value: Floats, group: Ints, *, rank: bool) -> tuple[Floats, Floats]:
    """Return (n,) the part of each row in a correlation, and (n,) how much the row moves it.

    Args:
        forecast: (n,) forecasts.
        value: (n,) what followed.
        group: (n,) rows that are correlated with each other: those of an instant across subjects, those of a model
            along time.
        rank: Whether values are replaced by their ranks, for Spearman's correlation.

    Returns:
        Parts whose mean is the correlation, and their influence, of mean 0. A group in which either does not vary, or
        with fewer rows than LEAST_SUBJECTS, has NaN.
    """
    part, moves = np.full(len(value), np.nan), np.full(len(value), np.nan)
    for rows in _groups(group, len(value)):
        if len(rows) < LEAST_SUBJECTS:
            continue
        a, b = forecast[rows], value[rows]
        a, b = (ranks(a), ranks(b)) if rank else (a, b)
        if a.std() == 0 or b.std() == 0:
            continue
        a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
        part[rows] = a * b
        moves[rows] = a * b - (a * b).mean() * (a * a + b * b) / 2
    return part, moves


def correlation(
    forecast: Floats, value: Floats, event: Texts, group: Ints, *, across: bool, rank: bool = False
) -> Skill:
    """Return an information coefficient with its interval by event.

    Across subjects it is the mean of the correlations at each instant, which vary by event. Along time it is the mean
    of the correlations of each model's rows, with the standard error of their influence summed by event; rows of
    several models are not compared, because their forecasts differ in level for reasons of training.

    Args:
        forecast: (n,) forecasts.
        value: (n,) what followed.
        event: (n,) event of each row; along time, rows are in the order of their decision.
        group: (n,) instant of each row, or the number of its model; see `products`.
        across: Whether groups are instants, which count once each; the rows of models count once each.
        rank: Whether it is that of ranks.
    """
    part, moves = products(forecast, value, group, rank=rank)
    known = ~np.isnan(part)
    events = len(np.unique(event[known]))
    if not known.any():
        return Skill(float("nan"), float("nan"), float("nan"), events)
    weight = np.ones(int(known.sum()))
    if across:
        _, index, count = np.unique(group[known], return_inverse=True, return_counts=True)
        weight = 1.0 / count[index]
    mean = float(np.average(part[known], weights=weight))
    left = part[known] - mean if across else moves[known]
    sums = by_event(left * weight, _in_order(event[known]))
    freedom = (
        events - 1 if across else events - 2 * len(np.unique(group[known]))
    )  # a model's rows have a mean, a spread
    total = float((sums**2).sum())
    if not across:  # what follows overlaps the next event, so neighbours are summed together
        total = max(total, total + 2 * float((sums[1:] * sums[:-1]).sum()))
    error = float(np.sqrt(events / max(freedom, 1) * total) / weight.sum())
    if events < MIN_EVENTS or freedom < _LEAST_FREEDOM or error <= 0:
        return Skill(mean, float("nan"), float("nan"), events)
    reach = student_t(deviate((1 - COVERAGE) / 2), freedom) * error
    return Skill(mean, mean - reach, mean + reach, events, upper_tail(student_z(mean / error, freedom)))


def positions(forecast: Floats, start: Ints, *, across: bool) -> Floats:
    """Return (n,) the positions that follow a forecast; at each instant the sizes of all subjects sum to 1.

    Args:
        forecast: (n,) forecasts.
        start: (n,) decision times, ns.
        across: Ranks of the subjects at an instant around their mean; otherwise the sign of each forecast.
    """
    out = np.zeros(len(forecast))
    for rows in _groups(start, len(start)):
        mine = ranks(forecast[rows]) if across else np.sign(forecast[rows])
        mine = mine - mine.mean() if across else mine
        total = np.abs(mine).sum()
        out[rows] = mine / total if total > 0 else 0.0
    return out


def turnover(forecast: Floats, start: Ints, subject: Texts, *, across: bool) -> float:
    """Return the mean size traded from one decision to the next, 0 to 2; NaN with fewer than two decisions.

    A book that stays is 0, one that is reversed is 2. A subject without a row at a decision has no position then.
    """
    times, when = np.unique(start, return_inverse=True)
    names, who = np.unique(subject, return_inverse=True)
    if len(times) < 2:
        return float("nan")
    book = np.zeros((len(times), len(names)))
    book[when, who] = positions(forecast, start, across=across)
    return float(np.abs(np.diff(book, axis=0)).sum(axis=1).mean())


def _in_order(event: Texts) -> Ints:
    """Return (n,) the number of each row's event in the order of their first rows."""
    _, first, index = np.unique(event, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index], np.int64)


def _groups(group: Ints, count: int) -> list[Ints]:
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    return list(np.split(order, cuts)) if count else []
