"""Smooth random paths that are functions of time: any point of them is computed without the points before."""

_M64 = (1 << 64) - 1


def mix(value: int) -> int:
    """Return 64 well mixed bits of an integer (the finaliser of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & _M64
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _M64
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _M64
    return value ^ value >> 31


def uniform(value: int) -> float:
    """Return a number from 0 to 1 that follows from an integer."""
    return mix(value) / 18446744073709551616.0


def smooth(key: int, at: float) -> float:
    """Return a path between -1 and 1 at a point; it turns about once per unit."""
    cell = int(at // 1)
    part = at - cell
    left = uniform(key + cell * 0x2545F4914F6CDD1D) * 2 - 1
    right = uniform(key + (cell + 1) * 0x2545F4914F6CDD1D) * 2 - 1
    return left + (right - left) * part * part * (3 - 2 * part)


def path(key: int, at_s: float, longest_s: float) -> float:
    """Return a path of three scales at a time: slow, faster and small, fast and smallest."""
    return (
        smooth(key, at_s / longest_s)
        + smooth(key + 1, at_s * 5 / longest_s) * 0.45
        + smooth(key + 2, at_s * 25 / longest_s) * 0.2
    )
