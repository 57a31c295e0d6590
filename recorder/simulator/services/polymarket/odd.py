"""Odd rows for the listings: each replaces or spoils one row, and must cost a reader no other."""

import copy

_HUGE = "9" * 5000


def odd_rows(rows: list[object]) -> list[object]:
    """Return the rows of a page with one of each kind of odd row among them, in front of the sound ones."""
    sample = next(row for row in rows if isinstance(row, dict))
    spoiled: list[object] = [None, "a text", 7, [], {}]
    for name, value in (
        ("id", None), ("id", {"nested": 1}), ("id", _HUGE), ("conditionId", "0x12"), ("conditionId", 12),
        ("outcomes", "not JSON"), ("outcomes", '["Yes"]'), ("outcomes", '["Yes","No","Maybe"]'),
        ("clobTokenIds", "[1,2]"), ("clobTokenIds", '["-1","x"]'), ("volumeNum", "many"), ("volumeNum", -1e308),
        ("endDate", "9999-99-99T99:99:99Z"), ("endDate", 5), ("question", "\u0000\u001b[2J\u202e" + "x" * 20_000),
        ("slug", None), ("orderPriceMinTickSize", 0), ("events", "none"), ("version", ["v1"]),
    ):  # fmt: skip
        row = copy.copy(sample)
        row["slug"] = f"odd-{len(spoiled)}"
        row["id"] = str(900_000_000_000_000 + len(spoiled))
        row[name] = value
        spoiled.append(row)
    return [*spoiled, *rows]
