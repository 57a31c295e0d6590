"""Numbers as pages show them; None is an empty text, because nothing is known."""


def age(seconds: float | None) -> str:
    """Return a duration, as refresh.js writes it."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def size(count: float | None) -> str:
    """Return a number of bytes."""
    if count is None:
        return ""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"


def number(value: float | None) -> str:
    """Return a count, or a rate per second."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 in percent; what is not complete never reads 100 %."""
    if share is None:
        return ""
    text = f"{100 * share:.1f}"
    return f"{'> 99.9' if text == '100.0' and share < 1 else text.removesuffix('.0')} %"
