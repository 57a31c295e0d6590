"""Our own books, from the journal of a real recorder of the simulated stream, against what the services answer."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.poller.polling import Asking, Storing
from support.poller.streamed_site import StreamedSite, streamed_site

from recorder.appliance.processes import wait_until
from recorder.clock import SystemClock
from recorder.pgcopy.polled import POLLED
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.cases import Cases
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.own_book import answer as answers
from recorder.poller.polymarket.own_book import news
from recorder.poller.polymarket.own_book.service import StreamService
from recorder.poller.polymarket.snapshots import Snapshots, StoredBooks
from recorder.poller.polymarket.sweep import Sweep
from recorder.poller.polymarket.tiers import TierRules
from recorder.simulator.venues.polymarket.stream import Polymarket
from recorder.venues.polymarket.polls import books

COLUMNS = [column for column, _ in POLLED["market_snapshot"]]
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamedSite]:
    with streamed_site(tmp_path_factory.mktemp("streamed")) as one:
        yield one


@pytest.fixture(scope="module")
def board(site: StreamedSite) -> Board:
    """The markets that Gamma lists, recorded."""
    intake = Intake(Board(TierRules()), Cases())
    Sweep(intake, SystemClock()).run(Asking(**site.services.urls))
    intake.board.retier(time.time_ns())
    site.record([market.token for tier in ("T0", "T4") for market in intake.board.polled(tier)])
    return intake.board


def checks(service: StreamService, tokens: list[str]) -> dict[str, tuple[str, str]]:
    """Ask for the books of some tokens, and return what the comparison gave for each."""
    answer = answers.decode(service.ask(books.PATH, books.request(tokens)).body)
    assert answer is not None
    return {own.token: (own.check, own.reason) for own in answer.own}


def until(condition: Callable[[], bool], site: StreamedSite) -> None:
    assert wait_until(condition, LIMIT_S), (site.home / "recorder.log").read_text()[-3000:]


def rows_of(round: Storing) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in round.rows.get("market_snapshot", [])]


def test_snapshots_are_of_our_own_books_and_these_are_the_books_of_the_venue(site: StreamedSite, board: Board) -> None:
    with site.stream() as service:
        round = Asking({"stream": service}, **site.services.urls)
        handler = Snapshots(board, "T4", StoredBooks("T2"), "stream")
        counts: Counter[str] = Counter()

        def enough() -> bool:
            counts.update(handler.run(round).counts)
            return counts["agrees"] >= 200

        until(enough, site)
    own = [row for row in rows_of(round) if row["source"] == "stream"]
    assert len(own) == counts["agrees"]
    assert counts["differs"] == 0, [row for row in rows_of(round) if row["book_check"] == "differs"]
    tokens = {market.market_id: market.token for market, _ in board.all() if market.tokens}
    compared = 0
    for row in own:
        assert row["ts_event"] <= row["ts_recv"] + 10**6
        assert row["gamma_recv"] <= row["ts_recv"]
        token = tokens[row["market_id"]]
        body = site.services.world.served_at(token, row["ts_event"] // 10**6)
        if body is None:
            continue  # a market of the stream alone: its books are stamped with the time of the request
        book = json.loads(body)
        bid, ask = book["bids"][-1:], book["asks"][-1:]
        assert [row["bid"], row["bid_size"]] == ([float(bid[0]["price"]), float(bid[0]["size"])] if bid else [None] * 2)
        assert [row["ask"], row["ask_size"]] == ([float(ask[0]["price"]), float(ask[0]["size"])] if ask else [None] * 2)
        assert row["bid_levels"] == len(book["bids"])
        compared += 1
    assert compared > 100
    # What is in the journal of the poller gives the same rows again, without the stream.
    again = Storing()
    for kept in round.kept:
        if kept.service == "stream":
            Snapshots(board, "T4", StoredBooks("T2"), "stream").take(again, kept)
    assert again.rows["market_snapshot"] == round.rows["market_snapshot"]


@pytest.mark.parametrize(
    "fault", [{"do": "rest", "status": 503}, {"do": "away", "how": "silent"}], ids=["503", "silent"]
)
def test_a_check_that_fails_leaves_snapshots_of_our_own_books_in_time(
    fault: dict[str, Any], site: StreamedSite, board: Board
) -> None:
    arguments = dict(fault)
    do = str(arguments.pop("do"))
    with site.stream() as service:
        round = Asking({"stream": service}, **site.services.urls)
        streamed = set(streamed_tokens(site, board))
        until(lambda: {checks(service, [one])[one] for one in streamed} == {("agrees", "")}, site)
        handler = Snapshots(only(board, streamed), "T0", StoredBooks("none"), "stream")
        site.services.do("clob", do, times=None, path="/books", **arguments)
        try:
            began_s = time.monotonic()
            outcome = handler.run(round)
            assert time.monotonic() - began_s < 12.0
        finally:
            site.services.do("clob", "heal")
    assert (outcome.state, outcome.counts) == ("done", {"unchecked": len(streamed)})
    assert {(row["source"], row["book_check"]) for row in rows_of(round)} == {("stream", "unchecked")}
    assert {row["check_reason"] for row in rows_of(round)} == {"unavailable"}


def only(board: Board, tokens: set[str]) -> Board:
    """Return a board with the markets of some tokens."""
    some = Board(TierRules())
    for market, _ in board.all():
        if market.tokens and market.token in tokens:
            some.put(market)
    some.retier(time.time_ns())
    return some


def streamed_tokens(site: StreamedSite, board: Board) -> list[str]:
    """Return the first tokens of the markets that only the stream has: their changes come as price_change."""
    assert isinstance(site.venue.venue, Polymarket)
    listed = {market.token for market in board.polled("T0")}
    return [market.tokens[0] for market in site.venue.venue.markets if market.tokens[0] in listed]


def test_books_of_many_changes_agree_and_a_lost_change_is_found_and_healed(site: StreamedSite, board: Board) -> None:
    with site.stream() as service:
        tokens = streamed_tokens(site, board)
        assert len(tokens) >= 3
        until(lambda: set(checks(service, tokens).values()) == {("agrees", "")}, site)
        token = tokens[0]
        found: Counter[str] = Counter()

        def differs() -> bool:
            site.venue.do("skip", times=1, symbol=token, channel="book")
            found.update(check for check, _ in [checks(service, [token])[token]])
            return found["differs"] > 0

        until(differs, site)
        until(lambda: checks(service, [token])[token] == ("agrees", ""), site)


def test_a_token_that_is_not_recorded_is_not_compared(site: StreamedSite, board: Board) -> None:
    with site.stream() as service:
        other = next(market.token for market in board.polled("T3") or board.polled("T1"))
        until(
            lambda: checks(service, [other])[other] in (("uncompared", "not streamed"), ("uncompared", "no answer")),
            site,
        )
        assert checks(service, ["12345"]) == {"12345": ("uncompared", "no answer")}


def test_no_book_outlives_the_recorder_that_was_killed(site: StreamedSite, board: Board) -> None:
    with site.stream() as service:
        tokens = streamed_tokens(site, board)
        until(lambda: set(checks(service, tokens).values()) == {("agrees", "")}, site)
        site.kill_recorder()
        # Books go on at the venue: no answer may be called ours once it has changed.
        until(lambda: all(check != "agrees" for check, _ in checks(service, tokens).values()), site)
        site.record([market.token for tier in ("T0", "T4") for market in board.polled(tier)])
        until(lambda: set(checks(service, tokens).values()) == {("agrees", "")}, site)


def test_news_of_the_stream_is_what_the_venue_announced_since_it_was_asked(site: StreamedSite, board: Board) -> None:
    with site.stream() as service:
        tokens = streamed_tokens(site, board)
        until(lambda: set(checks(service, tokens).values()) == {("agrees", "")}, site)

        def asked(kind: news.Kind) -> list[str]:
            return news.decode(service.ask(news.PATHS[kind], b"").body)

        assert asked("market_resolved") == []
        site.venue.do("resolve", symbol=tokens[0])
        site.venue.do("new_market")
        heard: dict[str, list[str]] = {"market_resolved": [], "new_market": []}

        def both() -> bool:
            for kind in news.KINDS:
                heard[kind] += asked(kind)
            return all(heard.values())

        until(both, site)
        resolved = next(market for market, _ in board.all() if market.token == tokens[0])
        assert set(heard["market_resolved"]) == {resolved.condition_id}
        assert asked("market_resolved") == []


def test_a_journal_that_is_replaced_is_read_from_its_beginning(
    site: StreamedSite, board: Board, tmp_path: Path
) -> None:
    with site.stream() as service:
        tokens = streamed_tokens(site, board)[1:]
        until(lambda: set(checks(service, tokens).values()) == {("agrees", "")}, site)
        site.kill_recorder()
        site.journal.rename(tmp_path / "old")
        site.record([market.token for tier in ("T0", "T4") for market in board.polled(tier)])
        until(lambda: set(checks(service, tokens).values()) == {("agrees", "")}, site)
