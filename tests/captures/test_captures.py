"""Every captured file through `tapedeck decode`, compared with a plain reading of its JSON."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.captured_data import CAPTURES, require
from support.venues.message_types import BESIDE, capture_files, dialect_of, messages

from recorder.cli import main
from recorder.cli.decode.frame_files import read_frames

VENUES = ("binance", "bitfinex", "coinbase", "figure", "kraken", "okx", "polymarket")
FRAMES = [(venue, file) for venue in VENUES for file in capture_files(venue)]
OTHERS = [
    (venue, file)
    for venue in VENUES
    for file in (sorted((CAPTURES / venue).glob("*.json*")) if (CAPTURES / venue).is_dir() else [])
    if (venue, file) not in FRAMES
]
TAKER = {"b": "buy", "s": "sell", "buy": "buy", "sell": "sell", "BUY": "buy", "SELL": "sell"}
OPPOSITE = {"buy": "sell", "sell": "buy"}


def of_each(files: list[tuple[str, Path]]) -> pytest.MarkDecorator:
    """Run the test for each file, under its name."""
    return pytest.mark.parametrize(("venue", "file"), files, ids=[f"{venue}/{file.name}" for venue, file in files])


class Decoded:
    """The output of the command for one file."""

    def __init__(self, venue: str, file: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        assert main(["decode", venue, str(file)]) == 0
        out, err = capsysbinary.readouterr()
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
        self.summary: dict[str, Any] = json.loads(err)
        self.messages = [
            (dialect_of(venue, message), message) for frame in read_frames(file) for message in messages(venue, frame)
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one type."""
        return [row for row in self.rows if row["type"] == kind]


Print = tuple[str | None, str | None, float, float]
"""Symbol (None where the frame names only an id), side of the taker, price, size."""


def prints(dialect: str, m: Any) -> list[Print]:
    """Return the trades of a message, by its shape and the rule of its protocol page for the taker's side."""
    match dialect:
        case "binance":
            data = m.get("data", m)
            if data.get("e") == "trade":  # m: the buyer was the maker
                return [(data["s"], "sell" if data["m"] else "buy", float(data["p"]), float(data["q"]))]
        case "coinbase":
            if m["type"] in ("match", "last_match"):  # the maker's side
                return [(m["product_id"], OPPOSITE[m["side"]], float(m["price"]), float(m["size"]))]
        case "coinbase_advanced":
            if m.get("channel") == "market_trades":  # the maker's side
                return [
                    (row["product_id"], OPPOSITE[TAKER[row["side"]]], float(row["price"]), float(row["size"]))
                    for event in m["events"]
                    for row in event["trades"]
                ]
        case "figure":
            if isinstance(m, dict) and m.get("channel") == "TRADES":  # no side is given
                return [(None, None, float(m["price"]), float(m["quantity"]))]
        case "kraken":
            if m.get("channel") == "trade":
                return [(row["symbol"], TAKER[row["side"]], row["price"], row["qty"]) for row in m["data"]]
        case "kraken_v1":
            if isinstance(m, list) and m[-2] == "trade":
                return [(m[-1], TAKER[row[3]], float(row[0]), float(row[1])) for row in m[1]]
        case "okx":
            if m.get("arg", {}).get("channel") == "trades" and "data" in m:
                return [(row["instId"], TAKER[row["side"]], float(row["px"]), float(row["sz"])) for row in m["data"]]
        case "polymarket":
            if m["event_type"] == "last_trade_price":
                return [(m["asset_id"], TAKER[m["side"]], float(m["price"]), float(m["size"]))]
    return []


def bitfinex_prints(decoded: Decoded) -> Counter[Print]:
    """Count each id once, whether in a snapshot, as te or as tu; the sign of the amount is the taker's side."""
    symbols: dict[Any, str] = {}
    once: dict[tuple[str, int], Print] = {}
    for _, m in decoded.messages:
        if isinstance(m, dict):
            if m.get("event") == "subscribed" and m["channel"] == "trades":
                symbols[m["chanId"]] = m["symbol"]
            continue
        if isinstance(m[0], dict):
            symbol = m[0]["symbol"] if m[0]["channel"] == "trades" else None
        else:
            symbol = None if isinstance(m[0], list) else symbols.get(m[0])
        if symbol is not None and m[1] != "hb":
            for number, _, amount, price in [m[2]] if isinstance(m[1], str) else m[1]:
                side = "buy" if amount > 0 else "sell"
                assert once.setdefault((symbol, number), (symbol, side, price, abs(amount)))[1] == side
    return Counter(once.values())


def checksums(dialect: str, m: Any) -> int:
    """Return the number of checksums in a message."""
    if dialect == "kraken" and m.get("channel") == "book":
        return len(m["data"])
    if dialect == "kraken_v1" and isinstance(m, list):
        return sum("c" in part and m[-2].startswith("book") for part in m[1:-2])
    if dialect == "okx" and "action" in m:
        return sum(bool(row.get("checksum")) for row in m["data"])
    return int(dialect == "bitfinex" and isinstance(m, list) and m[1] == "cs")


def levels(dialect: str, m: Any) -> int:
    """Return the levels in a book message; 0 where it may be no row (a repeat, or older than its snapshot)."""
    match dialect:
        case "coinbase":
            return len(m.get("changes", [])) + len(m.get("bids", [])) + len(m.get("asks", []))
        case "coinbase_advanced" if m.get("channel") == "l2_data":
            return sum(len(event["updates"]) for event in m["events"])
        case "kraken" if m.get("channel") == "book":
            return sum(len(row["bids"]) + len(row["asks"]) for row in m["data"])
        case "kraken_v1" if isinstance(m, list) and m[-2].startswith("book"):
            return sum(len(part.get(side, [])) for part in m[1:-2] for side in ("as", "bs", "a", "b"))
        case "okx" if "action" in m:
            return sum(len(row["bids"]) + len(row["asks"]) for row in m["data"])
    return 0


def test_there_are_captures_of_every_venue() -> None:
    for venue in VENUES:
        require(CAPTURES / venue)
        assert any(venue == other for other, _ in FRAMES)


@of_each(FRAMES)
def test_nothing_of_a_capture_is_quarantined_and_its_trades_are_those_of_a_plain_reading(
    venue: str, file: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    decoded = Decoded(venue, file, capsysbinary)
    assert decoded.summary["frames"] == sum(1 for _ in read_frames(file)) > 0
    assert decoded.summary["quarantined"] == 0, decoded.summary["quarantine_reasons"]
    assert decoded.summary["sequence_breaks"] == decoded.summary["books_crossed"] == 0
    known = {None: None} if venue == "figure" else {row["symbol"]: row["symbol"] for row in decoded.of("trade")}
    ours = Counter(
        (known.get(row["symbol"]), row["aggressor"], row["price"], row["size"]) for row in decoded.of("trade")
    )
    theirs = Counter(one for dialect, message in decoded.messages for one in prints(dialect, message))
    assert ours == (bitfinex_prints(decoded) if venue == "bitfinex" else theirs)
    keys = Counter((row["symbol"], row["trade_id"]) for row in decoded.of("trade"))
    assert set(keys.values()) <= {1}  # one row a print


@of_each(FRAMES)
def test_every_checksum_of_a_capture_is_verified_and_passes(
    venue: str, file: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    decoded = Decoded(venue, file, capsysbinary)
    carried = sum(checksums(dialect, message) for dialect, message in decoded.messages)
    if venue != "polymarket":  # there best prices are compared instead, and counted under the same name
        assert decoded.summary["checksums_passed"] == carried
    assert decoded.summary["checksums_failed"] == 0


@of_each([(venue, file) for venue, file in FRAMES if venue in ("coinbase", "kraken", "okx")])
def test_no_level_of_a_captured_book_is_lost(
    venue: str, file: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    decoded = Decoded(venue, file, capsysbinary)
    ours = sum(len(row["bids"]) + len(row["asks"]) for row in decoded.of("book"))
    assert ours == sum(levels(dialect, message) for dialect, message in decoded.messages)


@of_each([(venue, file) for venue, file in FRAMES if venue == "binance"])
def test_books_join_on_every_rest_snapshot_beside_their_capture(
    venue: str, file: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    decoded = Decoded(venue, file, capsysbinary)
    name = file.name.removesuffix(".gz").removesuffix(".jsonl")
    answers = [json.loads(line) for line in read_frames(file.with_name(f"{name}.rest.jsonl"))]
    assert decoded.summary["rest_answers"] == {"read": len(answers), "unread": 0}
    fetched = {answer["url"].partition("symbol=")[2].partition("&")[0] for answer in answers}
    books = decoded.of("book")
    snapshots = [row["symbol"] for row in books if row["kind"] == "snapshot"]
    assert sorted(snapshots) == sorted(fetched)  # each at its first snapshot: none was requested again
    assert decoded.summary["control"]["fetch"] == len(fetched)
    assert {(gap["symbol"], gap["cause"]) for gap in decoded.of("gap")} == {(name, "no_snapshot") for name in fetched}
    # The rows alone: from its snapshot on each delta follows the one before it.
    chains: dict[str, int] = {}
    deltas = {
        (data["s"], data["u"]): data["U"]
        for data in (message["data"] for _, message in decoded.messages)
        if data.get("e") == "depthUpdate"
    }
    for row in books:
        symbol, sequence = row["symbol"], row["sequence"]
        if row["kind"] == "snapshot":
            chains[symbol] = sequence
        elif symbol in chains and sequence > chains[symbol]:
            assert deltas[symbol, sequence] <= chains[symbol] + 1
            chains[symbol] = sequence
    assert set(chains) == fetched


def test_trades_of_bitfinex_sent_as_te_and_tu_are_counted_once(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    require(CAPTURES / "bitfinex")
    sent = counted = 0
    for venue, file in FRAMES:
        if venue == "bitfinex":
            decoded = Decoded(venue, file, capsysbinary)
            sent += sum(isinstance(m, list) and m[1] in ("te", "tu") for _, m in decoded.messages)
            counted += len(decoded.of("trade"))
    assert sent >= 4
    assert counted >= 218


def test_prices_and_sizes_come_back_as_they_were_spelled(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """The shortest text of a stored number is the decimal that the venue sent."""
    require(CAPTURES / "coinbase")
    for venue, file in FRAMES:
        if file.name.startswith("exchange_2021"):
            decoded = Decoded(venue, file, capsysbinary)
            spelled = [
                (Decimal(price), Decimal(size))
                for _, message in decoded.messages
                for price, size in [change[-2:] for change in message.get("changes", [])]
            ]
            stored = [
                (Decimal(repr(price)), Decimal(repr(size)))
                for row in decoded.of("book")
                if row["kind"] == "delta"
                for price, size in (*row["bids"], *row["asks"])
            ]
            assert Counter(stored) == Counter(spelled)
            assert spelled


@of_each(OTHERS)
def test_a_file_beside_the_frames_is_refused_with_one_sentence(
    venue: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["decode", venue, str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    what = "requests of a client" if BESIDE[0] in file.name else "REST answers" if BESIDE[1] in file.name else "REST"
    assert f"{file} holds" in err
    assert what in err
