"""The files of a column store: their names, their values, and what they cannot hold. Pure.

    {dir}/{venue}/{symbol}/manifest.json
    {dir}/{venue}/{symbol}/MD/{time,nanos,price,volume,side,best_bid,best_ask}.DD.MM.YY.bin
    {dir}/{venue}/{symbol}/TRADES/{id,time,nanos,price,size,side,maker_order_id,taker_order_id}.DD.MM.YY.bin

A file is one column of one UTC day: little-endian values without header, row n at n times the width of a value.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote, unquote

Floats = Literal["f32", "f64"]
Kind = Literal["MD", "TRADES"]

KINDS: tuple[Kind, ...] = ("MD", "TRADES")
UNKNOWN, BUY, SELL = 0, 1, 2
"""Values of a column `side`: the taker's side."""

WIDTHS = {"u32": 4, "u64": 8, "f32": 4, "f64": 8, "uuid": 16}
"""Bytes of a value, by type."""

MANIFEST = "manifest.json"
_DAY_S = 86_400
_LONGEST = 255  # bytes of a name in the file systems that matter
_FLOAT = "float"

_COLUMNS: dict[Kind, dict[str, str]] = {
    "MD": {
        "time": "u32", "nanos": "u32", "price": _FLOAT, "volume": _FLOAT, "side": "u32",
        "best_bid": _FLOAT, "best_ask": _FLOAT,
    },
    "TRADES": {
        "id": "u64", "time": "u32", "nanos": "u32", "price": _FLOAT, "size": _FLOAT, "side": "u32",
        "maker_order_id": "uuid", "taker_order_id": "uuid",
    },
}  # fmt: skip

_NOTES = {
    "time": "seconds since 1970, UTC. MD: when the message was received, by our clock. TRADES: the venue's clock.",
    "nanos": "nanoseconds within the second; the microsecond is the last digit that is known, as in Postgres.",
    "id": "the venue's number, or a stable 64-bit hash where its id is a text; a negative one as two's complement. "
    "The text is in the column venue_trade_id of the table trade.",
    "side": "side of the taker: 0 unknown, 1 buy, 2 sell.",
    "MD": "one row for each row of the tables quote and trade that a recorder received; price, volume and side are of "
    "the last trade, 0 before the first; best_bid and best_ask are 0 where there is none.",
    "TRADES": "one row for each row of the table trade, in the order of their arrival: a late or healed one is at the "
    "end of the file of its own day.",
    "maker_order_id": "16 bytes of a UUID; always zero: no decoder reads it. The raw frames of the journal have it "
    "where the venue sends it.",
    "taker_order_id": "as maker_order_id.",
}
_F32 = (
    "f32 keeps about 7 significant digits: a price of 65432.18 is read as 65432.1796875. columns.floats = f64 is exact."
)


def columns_of(kind: Kind, floats: Floats) -> dict[str, str]:
    """Return the type of each column, by its name."""
    return {name: floats if kind_ == _FLOAT else kind_ for name, kind_ in _COLUMNS[kind].items()}


def folder_name(symbol: str) -> str:
    """Return a symbol as the name of a folder: letters, digits and `-_.` as they are, every other byte as %XX.

    Raises:
        ValueError: The name would be empty or too long for a file system.
    """
    name = quote(symbol, safe="")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    name = name.replace("~", "%7E")
    if not name or len(name) > _LONGEST:
        raise ValueError(f"a symbol of {len(name)} characters names no folder")
    return name


def symbol_of(folder: str) -> str:
    """Return the symbol whose folder has this name."""
    return unquote(folder)


def day_name(day: int) -> str:
    """Return a day as the files name it.

    Args:
        day: Days since 1970, UTC.
    """
    return f"{datetime.fromtimestamp(day * _DAY_S, UTC):%d.%m.%y}"


def day_of(name: str) -> int:
    """Return the day, in days since 1970, that a file names.

    Raises:
        ValueError: It is no day.
    """
    at = datetime.strptime(name, "%d.%m.%y").replace(tzinfo=UTC)
    return int(at.timestamp()) // _DAY_S


def file_name(column: str, day: int) -> str:
    """Return the name of a file."""
    return f"{column}.{day_name(day)}.bin"


def parse_file_name(name: str) -> tuple[str, int]:
    """Return column and day of a file.

    Raises:
        ValueError: It is no column file.
    """
    column, dot, rest = name.partition(".")
    if not dot or not rest.endswith(".bin"):
        raise ValueError(f"{name} is no column file")
    return column, day_of(rest.removesuffix(".bin"))


def manifest(venue: str, symbol: str, floats: Floats) -> dict[str, object]:
    """Return what the manifest beside the files of a symbol says."""
    notes: Mapping[str, str] = {**_NOTES, "floats": _F32} if floats == "f32" else _NOTES
    return {
        "format": 1,
        "venue": venue,
        "symbol": symbol,
        "byte_order": "little",
        "floats": floats,
        "columns": {kind: columns_of(kind, floats) for kind in KINDS},
        "notes": notes,
    }
