"""Captured frames from a file through the recorder into Postgres, compared with a plain reading of the file."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.captured_data import CAPTURES, require
from support.fault_rig import Rig

from recorder.simulator.running import playing

MakeRig = Callable[..., Rig]
FILES = {
    "coinbase": sorted((CAPTURES / "coinbase").glob("exchange_*.jsonl")),
    "kraken": sorted((CAPTURES / "kraken").glob("v2_*.jsonl")),
}
CASES = [
    pytest.param(venue, path, id=path.name)
    for venue, paths in FILES.items()
    for path in paths
    if ".sent." not in path.name
]
Row = tuple[Any, ...]
OPPOSITE = {"buy": "s", "sell": "b"}


def instant(text: str) -> datetime:
    """Return the time with its microseconds, truncated."""
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(head).replace(microsecond=int(fraction[:6].ljust(6, "0") or 0), tzinfo=UTC)


def levels(rows: Iterable[Any]) -> tuple[Row, ...]:
    return tuple((float(price), float(size)) for price, size in rows)


def of_coinbase(m: dict[str, Any]) -> Iterable[tuple[str, Row]]:
    """Yield the table and row of each event of a Coinbase message."""
    symbol = m.get("product_id")
    match m["type"]:
        case "match" | "last_match":
            yield (
                "trade",
                (symbol, m["trade_id"], instant(m["time"]), float(m["price"]), float(m["size"]), OPPOSITE[m["side"]]),
            )
        case "ticker":
            sides = [
                float(m[key]) if key in m else None
                for key in ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
            ]
            yield "quote", (symbol, instant(m["time"]) if "time" in m else None, m["sequence"], *sides)
        case "snapshot":
            yield "book", (symbol, None, "s", levels(m["bids"]), levels(m["asks"]))
        case "l2update":
            bids, asks = ([c[1:] for c in m["changes"] if c[0] == side] for side in ("buy", "sell"))
            yield "book", (symbol, instant(m["time"]), "d", levels(bids), levels(asks))


def of_kraken(m: dict[str, Any]) -> Iterable[tuple[str, Row]]:
    """Yield the table and row of each event of a Kraken message."""
    for row in m.get("data", []):
        at = instant(row["timestamp"]) if isinstance(row, dict) and "timestamp" in row else None
        match m["channel"]:
            case "trade":
                side = {"buy": "b", "sell": "s"}[row["side"]]
                yield "trade", (row["symbol"], row["trade_id"], at, float(row["price"]), float(row["qty"]), side)
            case "ticker":
                yield (
                    "quote",
                    (row["symbol"], at, None, *(float(row[key]) for key in ("bid", "bid_qty", "ask", "ask_qty"))),
                )
            case "book":
                kind = "s" if m["type"] == "snapshot" else "d"
                bids, asks = ([(level["price"], level["qty"]) for level in row[side]] for side in ("bids", "asks"))
                yield "book", (row["symbol"], at, kind, levels(bids), levels(asks))


def plain_reading(venue: str, path: Path) -> dict[str, Counter[Row]]:
    """Return the rows of a file, read by the json module alone; a trade printed twice counts once."""
    read = {"coinbase": of_coinbase, "kraken": of_kraken}[venue]
    found: dict[str, Counter[Row]] = {"trade": Counter(), "quote": Counter(), "book": Counter()}
    for line in path.read_text().splitlines():
        for table, row in read(json.loads(line, parse_float=Decimal)):
            found[table][row] += 1
    found["trade"] = Counter(set(found["trade"]))
    return found


def stored(rig: Rig) -> dict[str, Counter[Row]]:
    """Return the rows in Postgres."""
    trades = (
        "SELECT symbol, trade_id, ts_event, price, size, aggressor FROM trade JOIN instrument USING (instrument_id)"
    )
    quotes = (
        "SELECT symbol, ts_event, sequence, bid, bid_size, ask, ask_size "
        "FROM quote JOIN instrument USING (instrument_id)"
    )
    books = "SELECT symbol, ts_event, book.kind, bids, asks FROM book JOIN instrument USING (instrument_id)"
    return {
        "trade": Counter(rig.query(trades)),
        "quote": Counter(rig.query(quotes)),
        "book": Counter((*row[:3], levels(row[3]), levels(row[4])) for row in rig.query(books)),
    }


def test_there_are_captures_to_record() -> None:
    require(CAPTURES)
    assert len(CASES) > 3


@pytest.mark.parametrize(("venue", "path"), CASES)
def test_every_row_of_a_capture_arrives_in_postgres_with_its_values(
    venue: str, path: Path, make_rig: MakeRig, database: str
) -> None:
    expected = plain_reading(venue, path)
    symbols = {row[0] for rows in expected.values() for row in rows}
    frames = len(path.read_text().splitlines())
    with playing(venue, path) as (player, url):
        rig = make_rig(database, venues=[venue], urls={venue: url}, symbols={venue: sorted(symbols)})
        name = f"recorder-{venue}"
        rig.start(name)
        rig.start("writer")
        rig.wait("the complete file was sent", lambda: player.finished)
        rig.wait("and recorded", lambda: rig.metrics(name).get("frames") == frames)
        assert rig.stop(name) == 0
        rig.wait("and loaded", rig.loaded)
    rows = stored(rig)
    assert {table: sum(count.values()) for table, count in rows.items()} == {
        table: sum(count.values()) for table, count in expected.items()
    }
    assert rows == expected
    assert rig.number("SELECT count(*) FROM quarantine WHERE scope <> 'frame'") == 0
    quarantined = rig.query("SELECT convert_from(sample, 'UTF8') FROM quarantine")
    assert [text for (text,) in quarantined if json.loads(text)["type"] not in ("error",)] == []
    assert rig.number("SELECT coalesce(sum(checksums_failed), 0) FROM book_audit") == 0
