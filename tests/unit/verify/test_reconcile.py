"""Stored plus declared against sent: a correct tape passes, and every kind of fault is found."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from recorder.events import Channel
from recorder.truth import (
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
from recorder.verify.expected import StreamTruth, book_values, load_truth
from recorder.verify.reconcile import (
    DeclaredGap,
    Span,
    StoredRow,
    StoredTrade,
    StreamCheck,
    check_absences,
    check_rows,
    check_trades,
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


def test_a_trade_withheld_from_every_client_is_expected_only_where_ids_reveal_it(tmp_path: Path) -> None:
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


def test_a_wrong_value_an_unknown_trade_and_a_repeated_one_are_distinguished(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 4)], Sent(1, 0, [(1, 3)]), Closed(1, 0, "stop"))
    assert judge_trades(path, [row(1), row(2, 2.51), row(3)], []).wrong == 1
    assert judge_trades(path, [row(1), row(2), row(3), row(99)], []).wrong == 1
    assert judge_trades(path, [row(1), row(2), row(2), row(3)], []).duplicates == 1
    late = StoredTrade(2, 21, (2.5, 0.1, "b"))
    assert judge_trades(path, [row(1), row(2), late, row(3)], []).duplicates == 1


def test_restarted_ids_are_checked_by_time(tmp_path: Path) -> None:
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


def test_nothing_is_checked_after_the_given_instant(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 5)]), Closed(1, 0, "stop"))
    assert judge_trades(path, [row(1), row(2)], [], until_us=20).ok
    assert judge_trades(path, [row(1), row(2)], [], until_us=30).missing == 1


def test_clients_of_another_kind_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(1)], Sent(1, 0, [(1, 1)]), Closed(1, 0, "stop"), agent="curl/8")
    for agent, expected in ((None, 1), ("tapedeck", 0), ("curl", 1)):
        truth = load_truth([path], agent)["kraken"].streams["BTC/USD", "trade"]
        check = check_trades(StreamCheck("kraken", "BTC/USD", "trade"), truth, [], [], Span())
        assert check.missing == expected


def test_rows_of_a_run_whose_log_is_not_given_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(5)], Sent(1, 0, [(1, 1)]), Closed(1, 0, "stop"))
    truth = load_truth([path])["kraken"].streams["BTC/USD", "trade"]
    check = check_trades(StreamCheck("kraken", "BTC/USD", "trade"), truth, [row(1), row(5)], [], Span(40))
    assert check.ok
    assert check.stored == 1


def test_the_parts_of_a_log_are_one_truth_even_when_the_first_are_deleted(tmp_path: Path) -> None:
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
    """Four quotes, all sent, two of them equal."""
    items = [quote(10), quote(20), quote(20), quote(30)]
    return write(tmp_path, items, Sent(1, 0, [(1, 4)]), Closed(1, 0, "stop"))


def test_equal_quotes_are_counted(quotes: Path) -> None:
    rows = [quote_row(at) for at in (10, 20, 20, 30)]
    assert judge_rows(quotes, "quote", rows, []).ok
    assert judge_rows(quotes, "quote", rows[:-2] + rows[-1:], []).missing == 1
    assert judge_rows(quotes, "quote", [*rows, quote_row(20)], []).duplicates == 1


def test_a_quote_sent_again_to_a_new_subscriber_is_stored_once_or_twice(tmp_path: Path) -> None:
    """Coinbase answers a subscription with the newest quote: its time and its sequence are those of before."""
    one = msgspec.structs.replace(quote(10), seq=7)
    path = write(tmp_path, [one, one], Sent(1, 0, [(1, 2)]), Closed(1, 0, "stop"))
    row = StoredRow(10, 10, (7, 1.5, 2.0, 1.6, 3.0))
    for times, wrong in ((0, (1, 0)), (1, (0, 0)), (2, (0, 0)), (3, (0, 1))):
        check = judge_rows(path, "quote", [row] * times, [])
        assert (check.missing, check.duplicates) == wrong


def test_a_quote_stored_with_other_values_is_wrong_once_and_not_missing_too(quotes: Path) -> None:
    check = judge_rows(quotes, "quote", [quote_row(10), quote_row(20), quote_row(20), quote_row(30, 1.4)], [])
    assert (check.wrong, check.missing, check.duplicates) == (1, 0, 0)


def test_a_gap_declares_quotes_by_their_time(quotes: Path) -> None:
    rows = [quote_row(10), quote_row(30)]
    inside = DeclaredGap("disconnect", None, None, 9, 31, 10, 30)
    check = judge_rows(quotes, "quote", rows, [inside])
    assert (check.ok, check.declared) == (True, 2)
    before = DeclaredGap("disconnect", None, None, 1, 12, 5, 11)
    assert judge_rows(quotes, "quote", rows, [before]).missing == 2


def test_equal_messages_without_a_time_are_excused_one_by_one(tmp_path: Path) -> None:
    """The same level is deleted twice, minutes apart, and only the second deletion lies in a gap."""
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


def test_a_book_message_without_a_time_is_ordered_by_its_creation(tmp_path: Path) -> None:
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


def judge_books(path: Path, rows: list[StoredRow], *, books_by_rest: bool = False) -> StreamCheck:
    truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
    check = StreamCheck("kraken", "BTC/USD", "book")
    return check_rows(check, truth, rows, [], Span(), books_by_rest=books_by_rest)


def test_while_two_sessions_carry_a_stream_a_message_may_be_stored_once_or_twice(tmp_path: Path) -> None:
    after = (Opened(2, 0), Subscribed(2, 0, "book", "BTC/USD"), Sent(1, 0, [(1, 1)]), Sent(2, 0, [(1, 1)]))
    path = write(tmp_path, [delta(5_000_000)], *after)
    stored = StoredRow(5_000_000, 5_000_000, book_values(False, [("1.5", "2")], []))
    assert judge_books(path, [stored]).ok
    assert judge_books(path, [stored, stored]).ok
    assert judge_books(path, [stored] * 3).duplicates == 1
    assert judge_books(path, []).missing == 1


def test_a_message_that_a_handover_dropped_must_be_declared(tmp_path: Path) -> None:
    joined_us = 5_000_000
    after = (Opened(2, 0), Subscribed(2, joined_us * US, "book", "BTC/USD"), Sent(1, 0, [(1, 1)]))
    path = write(tmp_path, [delta(joined_us - 500_000, "3")], *after)
    assert judge_books(path, []).missing == 1


def test_a_change_that_a_separate_snapshot_contains_is_excused(tmp_path: Path) -> None:
    change = delta(5_000_000)
    change.seq = 100
    path = write(tmp_path, [change], Sent(1, 0, [(1, 1)]))
    book = book_values(True, [("1.5", "2")], [])
    truth_of_it = StoredRow(5_100_000, 5_100_000, book, (5_100_000, 100))
    assert judge_books(path, [truth_of_it], books_by_rest=True).missing == 0
    assert judge_books(path, [truth_of_it]).missing == 1
    older = StoredRow(5_100_000, 5_100_000, book, (5_100_000, 99))
    assert judge_books(path, [older], books_by_rest=True).missing == 1


@pytest.mark.parametrize(("joined_us", "contained", "missing"), [(5_050_000, 100, 0), (5_050_000, 99, 1), (0, 100, 1)])
def test_a_change_that_the_snapshot_of_the_next_session_contains_is_excused(
    tmp_path: Path, joined_us: int, contained: int, missing: int
) -> None:
    change = delta(5_000_000)
    change.seq = 100
    path = write(
        tmp_path, [change], Sent(1, 0, [(1, 1)]), Opened(2, 0), Subscribed(2, joined_us * US, "book", "BTC/USD")
    )
    row = StoredRow(5_100_000, 5_100_000, book_values(True, [("1.5", "2")], []), (5_100_000, contained))
    assert judge_books(path, [row]).missing == missing


def test_a_gap_of_messages_without_a_time_begins_when_the_last_message_before_it_was_made(
    tmp_path: Path,
) -> None:
    """A slow recorder receives messages late, so a disconnect loses messages that were made before its last receipt."""
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


def test_repeated_values_do_not_identify_the_last_message_before_a_gap(tmp_path: Path) -> None:
    """Seen on a machine that stalled for two seconds: a level was deleted, and deleted again inside the gap."""
    sent = [(1_000_000, "7"), (1_000_001, "0"), (2_000_000, "8"), (3_000_000, "0"), (9_000_000, "9")]
    items = [BookItem(0, "BTC/USD", None, at * US, False, [("1.5", size)], []) for at, size in sent]
    path = write(tmp_path, items, Sent(1, 0, [(1, 5)]))
    late = [("7", 5_000_000), ("0", 5_000_000), ("9", 9_100_000)]
    rows = [StoredRow(at, None, book_values(False, [("1.5", size)], [])) for size, at in late]
    truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
    lost = DeclaredGap("disconnect", None, None, 5_000_000, 8_000_000, None, None)
    check = check_rows(StreamCheck("kraken", "BTC/USD", "book"), truth, rows, [lost], Span())
    assert (check.declared, check.missing) == (2, 0)


def test_a_message_after_the_instant_is_not_expected_though_an_equal_one_came_before(tmp_path: Path) -> None:
    items = [BookItem(0, "BTC/USD", None, at * US, False, [("1.5", "0")], []) for at in (1_000, 2_000, 9_000)]
    path = write(tmp_path, items, Sent(1, 0, [(1, 3)]))

    def missing(stored: int, until_us: int) -> int:
        truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
        rows = [StoredRow(at, None, book_values(False, [("1.5", "0")], [])) for at in (1_100, 2_100)[:stored]]
        check = StreamCheck("kraken", "BTC/USD", "book")
        return check_rows(check, truth, rows, [], Span(until_us=until_us)).missing

    assert (missing(2, 5_000), missing(1, 5_000), missing(2, FOREVER)) == (0, 1, 1)


def test_a_row_received_after_the_instant_counts_neither_as_stored_nor_as_twice(tmp_path: Path) -> None:
    """The log was read before the venue sent an equal message, whose row is stored already."""
    path = write(tmp_path, [BookItem(0, "BTC/USD", None, 1_000 * US, False, [("1.5", "0")], [])], Sent(1, 0, [(1, 1)]))

    def check(second_us: int) -> StreamCheck:
        truth = load_truth([path])["kraken"].streams["BTC/USD", "book"]
        rows = [StoredRow(at, None, book_values(False, [("1.5", "0")], [])) for at in (1_100, second_us)]
        return check_rows(StreamCheck("kraken", "BTC/USD", "book"), truth, rows, [], Span(until_us=5_000))

    late = check(6_000)
    assert (late.ok, late.sent, late.stored) == (True, 1, 1)
    early = check(2_000)
    assert (early.sent, early.stored, early.duplicates) == (1, 2, 1)


def test_past_trades_sent_later_do_not_make_trades_between_them_expected(tmp_path: Path) -> None:
    """Trades at 10, 20 and 30 us. A session that begins at 25 receives the first again, and the third live."""
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


def test_the_past_of_a_restarted_simulator_is_expected_only_where_ids_reveal_it(tmp_path: Path) -> None:
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


SECOND = 1_000_000


def absences(folder: Path, gaps: list[DeclaredGap], last_frames_us: list[int] | None = None) -> int:
    """Return how many times without a connection are not declared: from second 10 to 20, another connection left."""
    stream = ("quote", "BTC/USD")
    lines: list[Line] = [
        Closed(1, 10 * SECOND * US, "rst"),
        Opened(2, 19 * SECOND * US),
        Subscribed(2, 20 * SECOND * US, *stream),
    ]
    path = write(folder, [quote(5)], *lines)
    truth = load_truth([path])["kraken"].streams["BTC/USD", "quote"]
    check = StreamCheck("kraken", "BTC/USD", "quote")
    check_absences(check, truth, gaps, last_frames_us or [], Span(0, FOREVER))
    assert check.ok == (check.absent == 0)
    return check.absent


def span_of(start_s: float, end_s: float | None) -> DeclaredGap:
    end_us = None if end_s is None else int(end_s * SECOND)
    return DeclaredGap("disconnect", None, None, int(start_s * SECOND), end_us, None, None)


@pytest.mark.parametrize(
    ("gaps", "missed"),
    [
        ([], 1),
        ([span_of(9.9, 20.1)], 0),
        ([span_of(9.9, None)], 0),
        ([span_of(9.9, 15), span_of(15, 20.1)], 0),
        ([span_of(9.9, 19)], 1),  # shortened at its end
        ([span_of(12, 20.1)], 1),  # shortened at its begin
        ([span_of(9.9, 14), span_of(16, 20.1)], 1),
    ],
)
def test_a_time_without_a_connection_must_be_declared_from_end_to_end(
    gaps: list[DeclaredGap], missed: int, tmp_path: Path
) -> None:
    assert absences(tmp_path, gaps) == missed


def test_a_gap_may_begin_late_where_the_last_frames_were_read_late(tmp_path: Path) -> None:
    assert absences(tmp_path, [span_of(13, 20.1)], [13 * SECOND]) == 0


def test_a_stored_trade_that_a_gap_declares_missing_is_found(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 6)], Sent(1, 0, [(1, 5)]), Closed(1, 0, "stop"))
    check = judge_trades(path, [row(n) for n in range(1, 6)], [gap(2, 4)])
    assert (check.overdeclared, check.ok) == (1, False)


def test_sent_is_stored_plus_declared_and_withheld_trades_are_counted_apart(tmp_path: Path) -> None:
    path = write(tmp_path, [trade(n) for n in range(1, 8)], Sent(1, 0, [(1, 3), (6, 7)]), Closed(1, 0, "stop"))
    check = judge_trades(path, [row(n) for n in (1, 2, 7)], [gap(2, 7)])
    assert (check.sent, check.stored, check.declared, check.withheld, check.ok) == (5, 3, 2, 2, True)
