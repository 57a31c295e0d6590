"""Statistics along the last axis that skip NaN and are null, never zero, where they are undefined.

`x` is (m, n) float64, one window per row; each result is (m,). A window without a finite value is NaN.
"""

import numpy as np

from analysis.arrays import Bools, Floats

FLAT = 1e-12
"""A standard deviation below this fraction of the root mean square is rounding error and counts as 0."""


def ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below; null where `below` is 0 or either is null."""
    out = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=out, where=np.asarray(below != 0))
    return out


def count(x: Floats) -> Floats:
    """Return the number of finite values of each row."""
    finite: Floats = np.isfinite(x).sum(axis=-1).astype(np.float64)
    return finite


def total(x: Floats) -> Floats:
    """Return the sum of the finite values; null without one."""
    return np.where(np.isfinite(x).any(axis=-1), np.nansum(x, axis=-1), np.nan)


def scaled_total(x: Floats) -> Floats:
    """Return the sum of the finite values, scaled to the number of values in the row; null without one."""
    scale: Floats = x.shape[-1] / np.maximum(count(x), 1)
    return total(x) * scale


def mean(x: Floats) -> Floats:
    """Return the mean of the finite values."""
    return ratio(np.nansum(x, axis=-1), count(x))


def centred(x: Floats) -> Floats:
    """Return (m, n) deviations from the mean of the row."""
    return x - mean(x)[..., None]


def variance(x: Floats, ddof: int = 1) -> Floats:
    """Return the variance of the finite values, 0 when they differ by rounding only; null with fewer than ddof + 1."""
    n = count(x)
    squares = np.nansum(centred(x) ** 2, axis=-1)
    squares = np.where(squares <= FLAT**2 * np.nansum(x**2, axis=-1), 0.0, squares)
    return ratio(squares, np.where(n > ddof, n - ddof, np.nan))


def deviation(x: Floats, ddof: int = 1) -> Floats:
    """Return the standard deviation, like `variance`."""
    return np.sqrt(variance(x, ddof))


def standardised_moment(x: Floats, order: int) -> Floats:
    """Return a central moment divided by the same power of the population deviation; null when that is 0."""
    d = centred(x)
    power = d
    for _ in range(order - 1):  # ten times faster than `d**order`
        power = power * d
    return ratio(mean(power), variance(x, 0) ** (order / 2))


def autocorrelation(x: Floats, lag: int) -> Floats:
    """Return the sum of products of deviations `lag` apart over the sum of squares; null when the deviation is 0."""
    d = centred(x)
    return ratio(total(d[..., lag:] * d[..., :-lag]), variance(x, 0) * count(x))


def extremes(x: Floats) -> tuple[Floats, Floats]:
    """Return the smallest and the largest finite value of each row."""
    low, high = np.fmin.reduce(x, axis=-1), np.fmax.reduce(x, axis=-1)
    return low, high


def positive_log(x: Floats) -> Floats:
    """Return the natural logarithm; null where x is not positive."""
    return np.log(x, out=np.full(np.shape(x), np.nan), where=np.asarray(x > 0))


def positive_root(x: Floats) -> Floats:
    """Return the square root; null where x is negative."""
    return np.sqrt(x, out=np.full(np.shape(x), np.nan), where=np.asarray(x >= 0))


def where(condition: Bools, x: Floats) -> Floats:
    """Return x where the condition holds, else null."""
    return np.where(condition, x, np.nan)
