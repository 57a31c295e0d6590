"""Stored plus declared against sent: what is right passes, and every kind of fault is found."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from recorder.events import Channel
from recorder.published import StreamTruth, book_values, load_truth
from recorder.reconcile import (
    DeclaredGap,
    Span,
    StoredRow,
    StoredTrade,
    StreamCheck,
    check_rows,
    check_trades,
)
from recorder.simulator.truth import (
    BookItem,
    Closed,
    Line,
    Opened,
    QuoteItem,
    Reset,
    Sent,
    Started,
    Subscribed,
    TradeItem,
    TruthLog,
)

FOREVER = 1 << 62
US = 1000


def write(folder: Path, items: Iterable[TradeItem | QuoteItem | BookItem], *after: Line, agent: str = "") -> Path:
    path = folder / "truth.jsonl"
    log = TruthLog(path)
    log.line(Started("kraken", 0, 1, 0))
    log.line(Opened(1, 0, agent))
    for channel in ("trade", "quote", "book"):
        log.line(Subscribed(1, 0, channel, "BTC/USD"))
    for item in items:
        log.item(item)
    for line in after:
        log.line(line)
    log.close()
    return path


def trade(number: int, held: str | None = None) -> TradeItem:
    return TradeItem(0, "BTC/USD", number, number * 10 * US, f"{number}.50", "0.10", "b", held=held)


def row(number: int, price: float | None = None) -> StoredTrade:
    return StoredTrade(number, number * 10, (price if price is not None else number + 0.5, 0.1, "b"))


def gap(last: int | None, first: int | None, cause: str = "disconnect") -> DeclaredGap:
    times = [number * 10 if number is not None else None for number in (last, first)]
    return DeclaredGap(cause, last, first, times[0] or 0, times[1], times[0], times[1])


def judge_trades(path: Path, rows: list[StoredTrade], gaps: list[DeclaredGap], until_us: int = FOREVER) -> StreamCheck:
    truth = load_truth([path])["kraken"].streams["BTC/USD", "trade"]
    return check_trades(StreamCheck("kraken", "BTC/USD", "trade"), truth, rows, gaps, Span(0, until_us))


def test_everything_sent_and_stored_is_clean(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 5)]), Closed(1, 0, "stop"))
    check = judge_trades(path, [row(n) for n in range(1, 6)], [])
    assert check.ok
    assert (check.sent, check.stored, check.declared) == (5, 5, 0)


def test_a_sent_trade_that_is_not_stored_is_missing_unless_a_gap_has_its_id(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 5)]), Closed(1, 0, "stop"))
    rows = [row(n) for n in (1, 2, 5)]
    assert judge_trades(path, rows, []).missing == 2
    declared = judge_trades(path, rows, [gap(2, 5)])
    assert (declared.ok, declared.declared) == (True, 2)
    assert judge_trades(path, rows, [gap(3, 5)]).missing == 1
    assert judge_trades(path, rows, [gap(2, 4)]).missing == 1


def test_a_trade_never_sent_must_be_declared_between_the_first_and_the_last_stored(tmp_path: Path) -> None:
    items = [trade(1), trade(2), trade(3, "skip"), trade(4), trade(5, "freeze")]
    path = write(tmp_path, items, Sent(1, 0, [(1, 2), (4, 4)]), Closed(1, 0, "stop"))
    rows = [row(n) for n in (1, 2, 4)]
    assert judge_trades(path, rows, []).missing == 1
    assert judge_trades(path, rows, [gap(2, 4, "sequence")]).ok


def test_a_trade_withheld_from_everybody_is_owed_only_where_ids_tell_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(1), trade(2, held="freeze"), trade(3)], Sent(1, 9, [(1, 1), (3, 3)]))
    truth = load_truth([path])["kraken"].streams["BTC/USD", "trade"]
    for contiguous, missing in ((True, 1), (False, 0)):
        check = StreamCheck("kraken", "BTC/USD", "trade")
        check_trades(check, truth, [row(1), row(3)], [], Span(), contiguous=contiguous)
        assert (check.missing, check.sent) == (missing, 2)
    path = write(tmp_path / "unheld", [trade(1), trade(2), trade(3)], Sent(1, 9, [(1, 1), (3, 3)]))
    truth = load_truth([path])["kraken"].streams["BTC/USD", "trade"]
    check = StreamCheck("kraken", "BTC/USD", "trade")
    assert check_trades(check, truth, [row(1), row(3)], [], Span(), contiguous=False).missing == 1


def test_an_open_gap_declares_what_comes_after_it(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 5)]), Closed(1, 0, "stop"))
    check = judge_trades(path, [row(1), row(2)], [gap(2, None)])
    assert (check.ok, check.declared) == (True, 3)


def test_a_wrong_value_a_strange_trade_and_a_doubled_one_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 4)], Sent(1, 0, [(1, 3)]), Closed(1, 0, "stop"))
    assert judge_trades(path, [row(1), row(2, 2.51), row(3)], []).wrong == 1
    assert judge_trades(path, [row(1), row(2), row(3), row(99)], []).wrong == 1
    assert judge_trades(path, [row(1), row(2), row(2), row(3)], []).duplicates == 1
    late = StoredTrade(2, 21, (2.5, 0.1, "b"))
    assert judge_trades(path, [row(1), row(2), late, row(3)], []).duplicates == 1


def test_ids_that_begin_anew_are_judged_by_time(tmp_path: Path) -> None:
    again = [TradeItem(0, "BTC/USD", n, (100 + n) * 10 * US, f"{n}.50", "0.10", "b") for n in (1, 2, 3)]
    items = [*[trade(n) for n in (1, 2, 3)], *again]
    path = write(tmp_path, items, Reset("BTC/USD", 0, 1), Sent(1, 0, [(1, 6)]), Closed(1, 0, "stop"))
    later = [StoredTrade(n, (100 + n) * 10, (n + 0.5, 0.1, "b")) for n in (2, 3)]
    reset = DeclaredGap("sequence_reset", 3, 2, 30, 1020, 30, 1020)
    assert judge_trades(path, [row(1), row(2), row(3), *later], []).missing == 1
    assert judge_trades(path, [row(1), row(2), row(3), *later], [reset]).ok


def test_what_a_killed_simulator_may_have_sent_need_not_be_stored_but_may(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 3)]))
    assert judge_trades(path, [row(n) for n in (1, 2, 3)], []).ok
    check = judge_trades(path, [row(n) for n in (1, 2, 3, 4)], [])
    assert (check.ok, check.sent, check.stored) == (True, 4, 4)
    changes = write(tmp_path / "books", [delta(1_000), delta(2_000, "3")], Sent(1, 0, [(1, 1)]))
    kept = [StoredRow(at, at, book_values(False, [("1.5", size)], [])) for at, size in ((1_000, "2"), (2_000, "3"))]
    check = judge_books(changes, kept)
    assert (check.ok, check.sent, check.stored) == (True, 2, 2)
    assert judge_trades(path, [row(n) for n in (1, 2)], []).missing == 1


def test_nothing_is_judged_after_the_given_instant(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 5)]), Closed(1, 0, "stop"))
    assert judge_trades(path, [row(1), row(2)], [], until_us=20).ok
    assert judge_trades(path, [row(1), row(2)], [], until_us=30).missing == 1


def test_clients_of_another_kind_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(1)], Sent(1, 0, [(1, 1)]), Closed(1, 0, "stop"), agent="curl/8")
    for agent, expected in ((None, 1), ("tapedeck", 0), ("curl", 1)):
        truth = load_truth([path], agent)["kraken"].streams["BTC/USD", "trade"]
        check = check_trades(StreamCheck("kraken", "BTC/USD", "trade"), truth, [], [], Span())
        assert check.missing == expected


def test_rows_of_a_run_whose_log_is_not_given_are_not_judged(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(5)], Sent(1, 0, [(1, 1)]), Closed(1, 0, "stop"))
    truth = load_truth([path])["kraken"].streams["BTC/USD", "trade"]
    check = check_trades(StreamCheck("kraken", "BTC/USD", "trade"), truth, [row(1), row(5)], [], Span(40))
    assert check.ok
    assert check.stored == 1


def test_the_parts_of_a_log_are_one_truth_even_when_the_first_are_gone(tmp_path: Path) -> None:
    log = TruthLog(tmp_path / "truth.jsonl", part_bytes=1, parts=2)
    log.line(Started("kraken", 0, 1, 0))
    log.line(Opened(1, 0))
    seconds = 1_000_000_000
    for part in range(1, 5):
        log.item(TradeItem(0, "BTC/USD", part, part * 10 * seconds, "1.50", "0.10", "b"))
        log.commit()
        assert log.full
        at_ns = part * 10 * seconds + seconds
        log.next_part([Started("kraken", 0, 1, 0, part + 1, at_ns), Opened(1, at_ns)])
    log.line(Sent(1, 0, [(1, 4)]))
    log.close()
    left = sorted(tmp_path.iterdir())
    assert [path.name for path in left] == ["truth-0004.jsonl", "truth-0005.jsonl"]
    (truth,) = load_truth(left).values()
    assert [(item.id, item.sent) for item in truth.streams["BTC/USD", "trade"].items] == [(4, 1)]
    assert truth.since_us == 33_000_000


# ---- quotes and books -----------------------------------------------------------------------------


def judge_rows(
    path: Path, channel: Channel, rows: list[StoredRow], gaps: list[DeclaredGap], until_us: int = FOREVER
) -> StreamCheck:
    truth: StreamTruth = load_truth([path])["kraken"].streams["BTC/USD", channel]
    return check_rows(StreamCheck("kraken", "BTC/USD", channel), truth, rows, gaps, Span(0, until_us))


def quote(at_us: int, bid: str = "1.5") -> QuoteItem:
    return QuoteItem(0, "BTC/USD", at_us * US, bid, "2", "1.6", "3")


def quote_row(at_us: int, bid: float = 1.5) -> StoredRow:
    return StoredRow(at_us, at_us, (None, bid, 2.0, 1.6, 3.0))


@pytest.fixture
def quotes(tmp_path: Path) -> Path:
    """Four quotes, two of them equal in everything; all sent."""
    items = [quote(10), quote(20), quote(20), quote(30)]
    return write(tmp_path, items, Sent(1, 0, [(1, 4)]), Closed(1, 0, "stop"))


def test_equal_quotes_are_counted(quotes: Path) -> None:
    rows = [quote_row(at) for at in (10, 20, 20, 30)]
    assert judge_rows(quotes, "quote", rows, []).ok
    assert judge_rows(quotes, "quote", rows[:-2] + rows[-1:], []).missing == 1
    assert judge_rows(quotes, "quote", [*rows, quote_row(20)], []).duplicates == 1


def test_a_quote_stored_otherwise_is_wrong_once_and_not_missing_as_well(quotes: Path) -> None:
    check = judge_rows(quotes, "quote", [quote_row(10), quote_row(20), quote_row(20), quote_row(30, 1.4)], [])
    assert (check.wrong, check.missing, check.duplicates) == (1, 0, 0)


def test_a_gap_declares_quotes_by_their_time(quotes: Path) -> None:
    rows = [quote_row(10), quote_row(30)]
    inside = DeclaredGap("disconnect", None, None, 9, 31, 10, 30)
    check = judge_rows(quotes, "quote", rows, [inside])
    assert (check.ok, check.declared) == (True, 2)
    before = DeclaredGap("disconnect", None, None, 1, 12, 5, 11)
    assert judge_rows(quotes, "quote", rows, [before]).missing == 2


def test_messages_without_a_time_that_come_again_are_excused_each_by_its_own(tmp_path: Path) -> None:
    """The same level is deleted twice, minutes apart; what a gap says of the second is not asked of the first."""
    deltas = [BookItem(0, "BTC/USD", None, at * US, False, [], [("1.1", "0.0")]) for at in (10, 60)]
    path = write(tmp_path, deltas, Sent(1, 0, [(1, 2)]), Closed(1, 0, "stop"))
    rows = [StoredRow(11, None, book_values(False, [], [(1.1, 0.0)]))]
    late, elsewhere = (
        DeclaredGap("restart", None, None, start, end, None, None) for start, end in ((50, 70), (20, 30))
    )
    assert judge_rows(path, "book", rows, []).missing == 1
    assert judge_rows(path, "book", rows, [elsewhere]).missing == 1
    check = judge_rows(path, "book", rows, [late])
    assert (check.ok, check.declared, check.missing) == (True, 1, 0)
    check = judge_rows(path, "book", [], [late])
    assert (check.declared, check.missing) == (1, 1)


def test_a_book_message_without_a_time_is_placed_by_when_it_was_made(tmp_path: Path) -> None:
    snapshot = BookItem(0, "BTC/USD", None, 50 * US, True, [("1.0", "2.0")], [("1.1", "0.5")])
    delta = BookItem(0, "BTC/USD", 60 * US, 60 * US, False, [], [("1.1", "0.0")])
    path = write(tmp_path, [snapshot, delta], Sent(1, 0, [(1, 2)]), Closed(1, 0, "stop"))
    rows = [
        StoredRow(55, None, book_values(True, [(1.0, 2.0)], [(1.1, 0.5)])),
        StoredRow(60, 60, book_values(False, [], [(1.1, 0.0)])),
    ]
    assert judge_rows(path, "book", rows, []).ok
    assert judge_rows(path, "book", rows[1:], []).missing == 1
    assert judge_rows(path, "book", rows[1:], [DeclaredGap("checksum", None, None, 45, 55, 45, None)]).ok


def delta(at_us: int, size: str = "2") -> BookItem:
    return BookItem(0, "BTC/USD", at_us * US, at_us * US, False, [("1.5", size)], [])


def judge_books(path: Path, rows: list[StoredRow]) -> StreamCheck:
    truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
    return check_rows(StreamCheck("kraken", "BTC/USD", "book"), truth, rows, [], Span())


def test_while_two_sessions_carry_a_stream_a_message_may_be_stored_once_or_twice_and_no_oftener(tmp_path: Path) -> None:
    after = (Opened(2, 0), Subscribed(2, 0, "book", "BTC/USD"), Sent(1, 0, [(1, 1)]), Sent(2, 0, [(1, 1)]))
    path = write(tmp_path, [delta(5_000_000)], *after)
    stored = StoredRow(5_000_000, 5_000_000, book_values(False, [("1.5", "2")], []))
    assert judge_books(path, [stored]).ok
    assert judge_books(path, [stored, stored]).ok
    assert judge_books(path, [stored] * 3).duplicates == 1
    assert judge_books(path, []).missing == 1


def test_what_was_on_its_way_to_a_session_as_the_next_one_joined_is_excused_and_nothing_else(tmp_path: Path) -> None:
    joined_us = 5_000_000
    items = [delta(joined_us - 2_000_000), delta(joined_us - 500_000, "3"), delta(joined_us + 200_000, "4")]
    after = (Opened(2, 0), Subscribed(2, joined_us * US, "book", "BTC/USD"), Sent(1, 0, [(1, 3)]))
    check = judge_books(write(tmp_path, items, *after), [])
    assert (check.declared, check.missing) == (1, 2)


def test_a_change_that_a_snapshot_by_another_way_holds_already_is_excused(tmp_path: Path) -> None:
    change = delta(5_000_000)
    change.seq = 100
    path = write(tmp_path, [change], Sent(1, 0, [(1, 1)]))
    book = book_values(True, [("1.5", "2")], [])
    truth_of_it = StoredRow(5_100_000, 5_100_000, book, (5_100_000, 100))
    assert judge_books(path, [truth_of_it]).missing == 0
    older = StoredRow(5_100_000, 5_100_000, book, (5_100_000, 99))
    assert judge_books(path, [older]).missing == 1


def test_what_has_no_time_of_the_venues_is_in_a_gap_from_the_making_of_the_last_message_before_it(
    tmp_path: Path,
) -> None:
    """A recorder that is behind receives late what was made early; a cut then loses what was made before that."""
    made_us = (1_000_000, 2_000_000, 3_000_000, 9_000_000)
    items = [BookItem(0, "BTC/USD", None, at * US, False, [("1.5", str(at))], []) for at in made_us]
    path = write(tmp_path, items, Sent(1, 0, [(1, 4)]))

    def judged(*stored: tuple[int, int]) -> StreamCheck:
        rows = [StoredRow(at, None, book_values(False, [("1.5", str(made))], [])) for made, at in stored]
        truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
        lost = DeclaredGap("disconnect", None, None, 5_000_000, 8_000_000, None, None)
        return check_rows(StreamCheck("kraken", "BTC/USD", "book"), truth, rows, [lost], Span())

    late = (made_us[0], 5_000_000), (made_us[3], 9_100_000)
    assert (judged(*late).declared, judged(*late).missing) == (2, 0)
    prompt = (made_us[0], 1_100_000), (made_us[1], 2_100_000), (made_us[3], 9_100_000)
    assert judged(*prompt).declared == 1
    assert judged((made_us[3], 9_100_000)).missing == 3


def test_words_said_twice_do_not_tell_when_the_last_message_before_a_gap_was_made(tmp_path: Path) -> None:
    """Seen on a machine that stood still for two seconds: an emptied level, emptied again within what was lost."""
    said = [(1_000_000, "7"), (1_000_001, "0"), (2_000_000, "8"), (3_000_000, "0"), (9_000_000, "9")]
    items = [BookItem(0, "BTC/USD", None, at * US, False, [("1.5", size)], []) for at, size in said]
    path = write(tmp_path, items, Sent(1, 0, [(1, 5)]))
    late = [("7", 5_000_000), ("0", 5_000_000), ("9", 9_100_000)]
    rows = [StoredRow(at, None, book_values(False, [("1.5", size)], [])) for size, at in late]
    truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
    lost = DeclaredGap("disconnect", None, None, 5_000_000, 8_000_000, None, None)
    check = check_rows(StreamCheck("kraken", "BTC/USD", "book"), truth, rows, [lost], Span())
    assert (check.declared, check.missing) == (2, 0)


def test_a_message_later_than_the_instant_judged_is_not_owed_though_one_like_it_came_before(tmp_path: Path) -> None:
    items = [BookItem(0, "BTC/USD", None, at * US, False, [("1.5", "0")], []) for at in (1_000, 2_000, 9_000)]
    path = write(tmp_path, items, Sent(1, 0, [(1, 3)]))

    def missing(stored: int, until_us: int) -> int:
        truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
        rows = [StoredRow(at, None, book_values(False, [("1.5", "0")], [])) for at in (1_100, 2_100)[:stored]]
        check = StreamCheck("kraken", "BTC/USD", "book")
        return check_rows(check, truth, rows, [], Span(until_us=until_us)).missing

    assert (missing(2, 5_000), missing(1, 5_000), missing(2, FOREVER)) == (0, 1, 1)


def test_past_trades_told_later_do_not_make_what_lies_between_them_owed(tmp_path: Path) -> None:
    """Trades at 10, 20 and 30 us; a session from 25 on is told the first again, and the third live."""
    path = tmp_path / "truth.jsonl"
    log = TruthLog(path)
    log.line(Started("polymarket", 0, 1, 0))
    for item in (trade(1), trade(2)):
        log.item(item)
    log.line(Opened(1, 24 * US))
    log.line(Subscribed(1, 25 * US, "trade", "BTC/USD"))
    for item in (trade(3), trade(1)):
        log.item(item)
    log.line(Sent(1, 40 * US, [(3, 4)]))
    log.close()

    def missing(*, contiguous: bool, begun_us: int = 25) -> int:
        truth = load_truth([path])["polymarket"].streams["BTC/USD", "trade"]
        assert truth.begun_us == 25
        truth.begun_us = begun_us
        check = StreamCheck("polymarket", "BTC/USD", "trade")
        return check_trades(check, truth, [row(1), row(3)], [], Span(), contiguous=contiguous).missing

    assert (missing(contiguous=False), missing(contiguous=False, begun_us=15), missing(contiguous=True)) == (0, 1, 1)


def test_the_past_that_a_restarted_simulator_begins_with_is_owed_only_where_ids_tell_of_it(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    log = TruthLog(path)
    log.line(Started("kraken", 25 * US, 1, 0))
    for item in (trade(1), trade(2), trade(3)):  # at 10, 20 and 30 us; the run began at 25
        log.item(item)
    log.line(Opened(1, 0))
    log.line(Sent(1, 9, [(1, 1), (3, 3)]))
    log.close()
    rows = [row(1), row(3)]

    def missing(*, contiguous: bool) -> int:
        truth = load_truth([path])["kraken"].streams["BTC/USD", "trade"]
        check = StreamCheck("kraken", "BTC/USD", "trade")
        return check_trades(check, truth, rows, [], Span(), contiguous=contiguous).missing

    assert (missing(contiguous=True), missing(contiguous=False)) == (1, 0)
